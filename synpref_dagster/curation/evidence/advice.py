"""What to do about each warning, and the way out where models may not filter."""

from collections.abc import Mapping

WARNINGS: Mapping[str, str] = {  # code -> what to do
    "gold_rm_at_chance": "Have people verify more pairs (seed_set.num_gold, iterations.num_human), "
    "or take a stronger model (reward_model). What it filtered says nothing about labels.",
    "best_rm_at_chance": "Give the judges more and better exemplars or take other judges, or take "
    "a stronger model (reward_model): it trains on what judges label.",
    "released_rm_at_chance": "Do not use it. Take a stronger model or more steps ([release]); a "
    "stand-in shows the way and nothing else.",
    "judges_at_chance": "Give judges more exemplars (seed_set.num_gold) or take others "
    "([judges]): what they label teaches the best RM and decides pairs.",
    "gold_rm_no_better_than_length": "Sort by length instead, which costs nothing, or have people "
    "verify more pairs, also such whose shorter response is better.",
    "best_rm_no_better_than_length": "See how judges take length (judge quality in the report), "
    "and have people verify pairs whose shorter response is better.",
    "released_rm_no_better_than_length": "Do not use it where length must not decide. Take a "
    "stronger model or more steps ([release]), and see whether curation made labels follow length.",
    "gold_is_length": "Ask the people again, with a guideline that says what is better besides "
    "length: a model trained on this gold learns to measure length.",
    "gold_follows_length": "Read the models' accuracy where length misleads, and have people look "
    "at pairs whose shorter response is better.",
    "gold_never_disagrees": "See whether the recorded votes are those that made the labels; if so, "
    'have people answer anew (people.backend = "page"), also about sources without votes.',
    "few_gold_of_source": "Have people verify pairs of these sources, too (a larger "
    "seed_set.num_gold, people.recorded_first where they bring no votes), or claim nothing about "
    "their labels.",
    "few_validation_pairs": "Raise seed_set.num_gold or seed_set.validation_share until there are "
    "as many as named.",
    "undecided_claims": "Take no such claim from this campaign, or measure it on as many pairs as "
    "named.",
    "source_dominates": "What holds for the whole holds for this source: read the table by source "
    "before you trust the set for what the others are about.",
    "category_dominates": "What holds for the whole holds for this category: read figures by "
    "category before you use the set for other tasks.",
    "curation_follows_length": "Compare with an export of the original labels before you train on "
    "this one, see how judges and models take length, and have people verify pairs whose shorter "
    "response is better.",
    "people_against_votes": "Compare your guideline with that of the people who voted: both cannot "
    "be gold for the same model.",
    "more_discarded_than_kept": "Read the reasons (decisions by reason): split evidence asks for "
    "better models or judges, guarded flips for more gold.",
}
WAY_OUT = (
    "set filtering.allow_weak_models = true in the profile to filter by them all the same, or have "
    "people verify more pairs (seed_set.num_gold), or take a stronger model (reward_model)"
)
