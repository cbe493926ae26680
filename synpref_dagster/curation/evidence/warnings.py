"""What a campaign's figures warn of, as sentences with numbers and what to do.

Each warning is about one thing that would make the rest of the report worth little. `WARNINGS`
lists them all; docs/warnings.md says more about each.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isnan
from typing import Any

import numpy as np
import pandas as pd

from synpref_dagster.curation.evidence.claims import Claim
from synpref_dagster.pairs.accuracy import Accuracy, accuracy_of
from synpref_dagster.pairs.differences import difference, everywhere

CHANCE = 0.5
UNTRAINED = "gold pairs that it did not train on"
WRITTEN_BY_LENGTH, FOLLOWS_LENGTH = 0.9, 0.7  # share of gold whose interval lies above
FEWEST_VALIDATION, ENOUGH_VALIDATION = 100, 400  # pairs: the interval is +-10, +-5 points wide
MOST_OF_A_SOURCE, MOST_OF_A_CATEGORY = 0.8, 2 / 3
ENOUGH_TO_DISAGREE = 20  # gold pairs
LEAST_AGREEMENT = 0.8  # of people with recorded votes
MANY = 100_000
NUM_NAMED = 3

WARNINGS: Mapping[str, str] = {  # code -> what to do
    "gold_rm_at_chance": "Have people verify more pairs (seed_set.num_gold, iterations.num_human), "
    "or take a stronger model (reward_model). What it filtered says nothing about labels.",
    "best_rm_at_chance": "Give the judges more and better exemplars or take other judges, or take "
    "a stronger model (reward_model): it trains on what judges label.",
    "gold_rm_no_better_than_length": "Sort by length instead, which costs nothing, or have people "
    "verify more pairs, also such whose shorter response is better.",
    "best_rm_no_better_than_length": "See how judges take length (judge quality in the report), "
    "and have people verify pairs whose shorter response is better.",
    "gold_is_length": "Ask the people again, with a guideline that says what is better besides "
    "length: a model trained on this gold learns to measure length.",
    "gold_follows_length": "Read the models' accuracy where length misleads, and have people look "
    "at pairs whose shorter response is better.",
    "gold_never_disagrees": "See whether the recorded votes are those that made the labels; if so, "
    'have people answer anew (people.backend = "page"), also about sources without votes.',
    "few_validation_pairs": "Raise seed_set.num_gold or seed_set.validation_share until there are "
    "as many as named.",
    "undecided_claims": "Take no such claim from this campaign, or measure it on as many pairs as "
    "named.",
    "source_dominates": "What holds for the whole holds for this source: read the table by source "
    "before you trust the set for what the others are about.",
    "category_dominates": "What holds for the whole holds for this category: read figures by "
    "category before you use the set for other tasks.",
    "people_against_votes": "Compare your guideline with that of the people who voted: both cannot "
    "be gold for the same model.",
    "more_discarded_than_kept": "Read the reasons (decisions by reason): split evidence asks for "
    "better models or judges, guarded flips for more gold.",
}
WAY_OUT = (
    "set filtering.allow_weak_models = true in the profile to filter by them all the same, or have "
    "people verify more pairs (seed_set.num_gold), or take a stronger model (reward_model)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Warned:
    """One warning: its code, what was found with numbers, what to do."""

    code: str
    sentence: str

    @property
    def advice(self) -> str:
        """What to do about it."""
        return WARNINGS[self.code]


@dataclass(frozen=True, kw_only=True, slots=True)
class WarningFacts:
    """The figures that warnings are made of."""

    gold: pd.DataFrame
    """Gold pairs: human_label (+1 the source's label is right, -1 wrong), gold_margin of models
    that did not train on the pair, best_margin, `longer` (+1 the chosen response is longer, -1 the
    rejected one, 0 equally long) and `vote` (+1, -1, 0 tied, NaN without recorded votes), all but
    lengths relative to the source's label."""
    num_validation: int
    """Gold pairs that validate."""
    sources: Mapping[str, int]
    """Clean pairs by source."""
    categories: Mapping[str, int]
    """Clean pairs by task category, where they have one."""
    decisions: Mapping[str, int]
    """Pairs kept, flipped, discarded."""
    claims: Sequence[Claim]


def campaign_warnings(facts: WarningFacts) -> list[Warned]:
    """Everything that the figures warn of, what weighs most first."""
    gold = facts.gold
    return [
        *models_at_chance(gold),
        *_models_against_length(gold),
        *_gold_by_length(gold),
        *_gold_never_disagrees(gold),
        *_validation(facts.num_validation),
        *_undecided(facts.claims),
        *_dominating("source", facts.sources, MOST_OF_A_SOURCE),
        *_dominating("category", facts.categories, MOST_OF_A_CATEGORY),
        *_people_against_votes(gold),
        *_discarded(facts.decisions),
    ]


def models_at_chance(gold: pd.DataFrame) -> list[Warned]:
    """Warnings about reward models that are no better than a coin on gold they did not train on.

    Better means that the whole 95% interval of its accuracy lies above one half, which is a
    one-sided test at 2.5%: of 1,000 pairs 531 are enough, 530 are not.

    Args:
        gold: human_label, gold_margin, best_margin.
    """
    found = []
    for name, title in (("gold", "The gold RM"), ("best", "The best RM")):
        accuracy = accuracy_of(_right(gold, name))
        if not accuracy.low > CHANCE:
            sentence = f"{title} is no better than chance: right about {_of(accuracy, UNTRAINED)}."
            found.append(Warned(code=f"{name}_rm_at_chance", sentence=sentence))
    return found


def refusal_to_filter(gold: pd.DataFrame) -> str | None:
    """Why these models may not filter, in one line with the way out; None where they may.

    Args:
        gold: see `models_at_chance`.
    """
    weak = models_at_chance(gold)
    if not weak:
        return None
    return f"{' '.join(each.sentence for each in weak)[:-1]}: {WAY_OUT}"


def as_report(warnings: Iterable[Warned]) -> list[dict[str, Any]]:
    """Warnings as the report has them."""
    return [
        {"code": each.code, "sentence": each.sentence, "advice": each.advice} for each in warnings
    ]


def _models_against_length(gold: pd.DataFrame) -> Iterator[Warned]:
    longer = (gold["longer"] * gold["human_label"] > 0).to_numpy()
    for name, title in (("gold", "The gold RM"), ("best", "The best RM")):
        right = _right(gold, name)
        accuracy = accuracy_of(right)
        if not accuracy.low > CHANCE:
            continue  # it is warned of already, and by more
        gain = difference(everywhere(right), everywhere(longer))
        if not gain.low > 0:
            yield Warned(
                code=f"{name}_rm_no_better_than_length",
                sentence=f"{title} is no better than 'the longer one wins': right about "
                f"{_of(accuracy, UNTRAINED)}, and that rule about {int(longer.sum()):,}.",
            )


def _gold_by_length(gold: pd.DataFrame) -> Iterator[Warned]:
    said = (gold["longer"] * gold["human_label"]).to_numpy()
    for rule, prefers in (("longer", said > 0), ("shorter", said < 0)):
        share = accuracy_of(prefers[said != 0])
        numbers = f"people prefer the {rule} response in {_of(share, 'gold pairs')}"
        if share.low > WRITTEN_BY_LENGTH:
            yield Warned(
                code="gold_is_length",
                sentence=f"Gold is written by 'the {rule} one wins': {numbers}.",
            )
        elif share.low > FOLLOWS_LENGTH:
            yield Warned(
                code="gold_follows_length",
                sentence=f"Gold is largely explained by 'the {rule} one wins': {numbers}.",
            )


def _gold_never_disagrees(gold: pd.DataFrame) -> Iterator[Warned]:
    if len(gold) >= ENOUGH_TO_DISAGREE and (gold["human_label"] > 0).all():
        yield Warned(
            code="gold_never_disagrees",
            sentence=f"Gold calls the source's label right in all {len(gold):,} pairs, as it does "
            "where the same votes made both: how right labels are, and how precise flips, is not "
            "known from it.",
        )


def _validation(num_pairs: int) -> Iterator[Warned]:
    if num_pairs >= FEWEST_VALIDATION:
        return
    half = accuracy_of(np.arange(num_pairs) % 2 == 0)
    width = f" to within {50 * (half.high - half.low):.0f} points" if num_pairs else " not at all"
    yield Warned(
        code="few_validation_pairs",
        sentence=f"{num_pairs:,} gold pairs validate every model, which tells an accuracy{width}: "
        f"{ENOUGH_VALIDATION:,} would tell it to within 5.",
    )


def _undecided(claims: Sequence[Claim]) -> Iterator[Warned]:
    undecided = [each for each in claims if each.outcome == "not decided"]
    if not undecided:
        return
    told = [
        f"'{each.claim}' measured {each.value:+.3f} ({each.low:+.3f} to {each.high:+.3f}) on "
        f"{each.n:,}, {_needed(each)}"
        for each in undecided[:NUM_NAMED]
    ]
    more = len(undecided) - NUM_NAMED
    rest = f"; and {more} more" if more > 0 else ""
    number = "1 claim is" if len(undecided) == 1 else f"{len(undecided)} claims are"
    yield Warned(
        code="undecided_claims",
        sentence=f"{number} not decided, too few pairs: {'; '.join(told)}{rest}.",
    )


def _needed(claim: Claim) -> str:
    """With how many pairs the same figure would be decided: intervals shrink with their root."""
    least = max(claim.threshold, 0.0)
    gap = abs(claim.value - least)
    width = claim.value - claim.low if claim.value > least else claim.high - claim.value
    needed = claim.n * (width / gap) ** 2 if gap else float("inf")
    if needed > MANY:
        return f"more than {MANY:,} would do"
    return f"about {ceil(needed):,} would do"


def _dominating(kind: str, counts: Mapping[str, int], most: float) -> Iterator[Warned]:
    total = sum(counts.values())
    if len(counts) < 2 or not total:
        return
    name = max(counts, key=lambda each: counts[each])
    if counts[name] > most * total:
        yield Warned(
            code=f"{kind}_dominates",
            sentence=f"One {kind} dominates: {name} has {counts[name]:,} of {total:,} clean pairs "
            f"({counts[name] / total:.0%}).",
        )


def _people_against_votes(gold: pd.DataFrame) -> Iterator[Warned]:
    both = gold[gold["vote"].notna() & (gold["vote"] != 0)]
    agreed = accuracy_of((both["vote"] * both["human_label"] > 0).to_numpy())
    if not isnan(agreed.high) and agreed.high < LEAST_AGREEMENT:
        yield Warned(
            code="people_against_votes",
            sentence="People disagree with the votes that the sources bring: they say the same of "
            f"{_of(agreed, 'gold pairs with both')}.",
        )


def _discarded(decisions: Mapping[str, int]) -> Iterator[Warned]:
    kept, discarded = decisions.get("kept", 0), decisions.get("discarded", 0)
    if discarded > kept:
        yield Warned(
            code="more_discarded_than_kept",
            sentence=f"More pairs were discarded than kept: {discarded:,} against {kept:,}.",
        )


def _right(gold: pd.DataFrame, name: str) -> np.ndarray:
    """Bool (n,): where a model prefers what people prefer; a tie or no reward is wrong."""
    return np.asarray((gold[f"{name}_margin"] * gold["human_label"] > 0).to_numpy())


def _of(share: Accuracy, what: str) -> str:
    """`530 of 1,000 gold pairs (53.0%, 95% interval 49.9% to 56.1%)`."""
    if not share.n:
        return f"none of 0 {what}"
    interval = f"{share.value:.1%}, 95% interval {share.low:.1%} to {share.high:.1%}"
    return f"{round(share.value * share.n):,} of {share.n:,} {what} ({interval})"
