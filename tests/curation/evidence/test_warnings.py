"""What figures warn of: every sentence on tables whose numbers can be counted."""

from dataclasses import replace
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from synpref_dagster.curation.evidence.advice import WARNINGS
from synpref_dagster.curation.evidence.claims import Claim
from synpref_dagster.curation.evidence.warnings import (
    WarningFacts,
    campaign_warnings,
    models_at_chance,
    refusal_to_filter,
)
from synpref_dagster.pairs.accuracy import Accuracy, wilson_interval

DOCS = Path(__file__).resolve().parents[3] / "docs" / "warnings.md"


def gold(num, *, right=None, best=None, longer=None, shorter=0, vote=None):
    """Gold whose first `right` pairs the gold RM gets right, and so on; of `longer` people prefer
    the longer response, of the `shorter` next ones the shorter one, the others are equally long."""
    right, best = (num if each is None else each for each in (right, best))
    number = np.arange(num)
    longer = num // 2 if longer is None else longer
    shorter = shorter or (num - longer if longer == num // 2 else 0)
    sign = np.where(number < longer, 1, np.where(number < longer + shorter, -1, 0))
    label = np.where(number % 3 == 0, -1, 1)
    return pd.DataFrame(
        {
            "human_label": label,
            "gold_margin": label * np.where(number < right, 1.0, -1.0),
            "best_margin": label * np.where(number < best, 1.0, -1.0),
            "longer": sign * label,
            "vote": nan if vote is None else label * np.where(number < vote, 1.0, -1.0),
            "source": np.where(number % 2 == 0, "a", "b"),
            "split": np.where(number % 4 < 2, "validation", "train"),
        }
    )


def share(number, total):
    """A share as a report has it."""
    low, high = wilson_interval(number, total)
    value = number / total if total else None
    return {"value": value, "low": low, "high": high, "n": total}


def source(name, clean=500, *, before=(250, 500), after=(200, 400), gold=50, by="people"):
    """A row of the table of sources; before and after: (longer preferred, pairs)."""
    return {
        "source": name,
        "num_clean": clean,
        "longer_before": share(*before),
        "longer_after": share(*after),
        "label_accuracy": {**share(gold * 7 // 10, gold), "by": by, "covers": 1.0},
    }


SOUND = WarningFacts(
    gold=gold(1_000),
    num_validation=400,
    released={"small": Accuracy(**share(300, 400))},
    judges={"panel": Accuracy(**share(80, 100))},
    by_source=[source("a"), source("b")],
    categories={"math": 500, "chat": 500},
    decisions={"kept": 700, "flipped": 100, "discarded": 200},
    claims=[],
)


def told(**other):
    return [(each.code, each.sentence) for each in campaign_warnings(replace(SOUND, **other))]


def test_sound_figures_warn_of_nothing():
    assert told() == []


def test_a_model_at_chance_is_named_with_its_numbers():
    assert told(gold=gold(1_000, right=530)) == [
        (
            "gold_rm_at_chance",
            "The gold RM is no better than chance: right about 530 of 1,000 gold pairs that it did "
            "not train on (53.0%, 95% interval 49.9% to 56.1%).",
        )
    ]
    assert [code for code, _ in told(gold=gold(1_000, best=480))] == ["best_rm_at_chance"]


@pytest.mark.parametrize(("right", "weak"), [(530, True), (531, False), (0, True), (1_000, False)])
def test_better_than_chance_is_an_interval_above_one_half(right, weak):
    assert bool(models_at_chance(gold(1_000, right=right))) == weak


def test_few_pairs_prove_no_model():
    assert [each.code for each in models_at_chance(gold(5, right=5, best=3))] == [
        "best_rm_at_chance"
    ]
    assert len(models_at_chance(gold(0))) == 2


def test_a_reward_that_is_missing_or_tied_is_no_right_answer():
    missing = gold(100).assign(gold_margin=nan, best_margin=0.0)
    assert len(models_at_chance(missing)) == 2


def test_models_at_chance_may_not_filter_and_the_refusal_names_the_way_out():
    assert refusal_to_filter(gold(1_000)) is None
    why = refusal_to_filter(gold(1_000, right=530))
    assert why.startswith("The gold RM is no better than chance: right about 530 of 1,000")
    assert "set filtering.allow_weak_models = true" in why
    assert "\n" not in why


def test_a_model_that_length_would_replace_is_named():
    # Right about 70%, and the longer response is the better one in 72%.
    found = told(gold=gold(1_000, right=700, longer=720, shorter=280), released={})
    assert [code for code, _ in found] == ["gold_rm_no_better_than_length"]
    assert found[0][1] == (
        "The gold RM is no better than 'the longer one wins': right about 700 of 1,000 gold pairs "
        "that it did not train on (70.0%, 95% interval 67.1% to 72.8%), and that rule about 720."
    )


def test_gold_written_by_length_is_called_that():
    found = told(gold=gold(300, longer=294, shorter=6))
    assert dict(found)["gold_is_length"] == (
        "Gold is written by 'the longer one wins': people prefer the longer response in 294 of 300 "
        "gold pairs (98.0%, 95% interval 95.7% to 99.1%)."
    )
    shorter = dict(told(gold=gold(300, longer=6, shorter=294)))
    assert shorter["gold_is_length"].startswith("Gold is written by 'the shorter one wins'")


def test_gold_that_mostly_follows_length_is_said_to():
    found = dict(told(gold=gold(1_000, longer=800, shorter=200)))
    assert found["gold_follows_length"].startswith(
        "Gold is largely explained by 'the longer one wins': people prefer the longer response in "
        "800 of 1,000 gold pairs"
    )
    assert "gold_is_length" not in found


@pytest.mark.parametrize(("right", "weak"), [(143, True), (215, True), (216, False)])
def test_a_released_model_at_chance_is_named_by_its_size(right, weak):
    released = {"0.6b": Accuracy(**share(right, 392)), "8b": Accuracy(**share(300, 392))}
    found = dict(told(released=released))
    assert ("released_rm_at_chance" in found) == weak
    assert not weak or f"0.6b is right about {right} of 392 gold" in found["released_rm_at_chance"]


def test_a_release_that_length_would_replace_is_named_with_both_figures():
    # 500 of 1,000 gold pairs validate; people prefer the longer one in 72% of them.
    longer = gold(1_000, longer=720, shorter=280)
    found = dict(told(gold=longer, released={"8b": Accuracy(**share(375, 500))}))
    assert found["released_rm_no_better_than_length"] == (
        "A released model is not shown to be better than 'the longer one wins', which is right "
        "about 360 of 500 gold pairs that validate (72.0%, 95% interval 67.9% to 75.8%): 8b is "
        "right about 375 of 500 gold pairs that validate (75.0%, 95% interval 71.0% to 78.6%)."
    )
    better = told(gold=longer, released={"8b": Accuracy(**share(450, 500))})
    assert "released_rm_no_better_than_length" not in dict(better)


def test_gold_of_an_earlier_version_holds_no_release_against_length_and_no_source_to_account():
    earlier = gold(1_000, longer=720, shorter=280).assign(source=nan, split=nan)
    assert told(gold=earlier, released={"8b": Accuracy(**share(375, 500))}) == []


def test_judges_who_agree_with_people_as_a_coin_does_are_named():
    judges = {
        "one": Accuracy(**share(53, 100)), "two": Accuracy(**share(61, 100)),
        "panel": Accuracy(**share(50, 100)), "never_asked": Accuracy(**share(0, 0)),
    }  # fmt: skip
    assert told(judges=judges) == [
        (
            "judges_at_chance",
            "Judges are no better than chance against people: one says what people say of 53 of "
            "100 pairs (53.0%, 95% interval 43.3% to 62.5%); panel says what people say of 50 of "
            "100 pairs (50.0%, 95% interval 40.4% to 59.6%).",
        )
    ]


def test_curation_that_follows_length_is_told_for_all_and_by_source():
    rows = [source("hh", before=(1_020, 2_288), after=(625, 747)), source("lm")]
    assert told(by_source=rows) == [
        (
            "curation_follows_length",
            "Curation made labels follow length more. How often the longer response is preferred, "
            "as labels came → curated: all sources 45.6% of 2,788 → 71.9% of 1,147; hh 44.6% of "
            "2,288 → 83.7% of 747.",
        )
    ]


@pytest.mark.parametrize(
    ("before", "after", "is_worse"),
    [
        ((450, 1_000), (840, 1_000), True),
        ((500, 1_000), (560, 1_000), True),  # 50% to 56%: sure of one source
        ((500, 1_000), (540, 1_000), False),  # 50% to 54%: chance
        ((200, 1_000), (400, 1_000), False),  # towards half
        ((840, 1_000), (450, 1_000), False),
        ((450, 1_000), (250, 1_000), True),  # the shorter one wins
        ((500_000, 1_000_000), (510_000, 1_000_000), False),  # sure, and too little to care
        ((0, 0), (10, 10), False),
    ],
)
def test_worse_is_a_shift_for_sure_away_from_half(before, after, is_worse):
    found = dict(told(by_source=[source("hh", before=before, after=after)]))
    assert ("curation_follows_length" in found) == is_worse


def test_curation_that_brings_labels_to_where_people_are_is_no_worse():
    rows = [source("hh", before=(550, 1_000), after=(650, 1_000))]
    people = {"longer": 660, "shorter": 340}
    assert told(by_source=rows, gold=gold(1_000, **people)) == []
    assert "curation_follows_length" in dict(told(by_source=rows))


def test_one_of_many_sources_that_moves_by_chance_is_no_news():
    moved = source("moved", before=(203, 296), after=(102, 129))  # 68.6% to 79.1%
    others = [source(f"s{n}", before=(148, 296), after=(64, 129)) for n in range(6)]
    assert told(by_source=[moved, *others]) == []


def test_pairs_of_equal_length_say_nothing_about_length():
    assert told(gold=gold(1_000, longer=4, shorter=1)) == []


def test_gold_without_a_wrong_label_says_that_it_knows_none():
    found = told(gold=gold(40).assign(human_label=1, gold_margin=1.0, best_margin=1.0, longer=0))
    assert found == [
        (
            "gold_never_disagrees",
            "Gold calls the source's label right in all 40 pairs, as it does where the same votes "
            "made both: how right labels are, and how precise flips, is not known from it.",
        )
    ]


def test_a_source_whose_labels_gold_never_calls_wrong_is_named():
    half = gold(1_000)
    half.loc[half["source"] == "a", "human_label"] = 1
    found = dict(told(gold=half))
    assert found["gold_never_disagrees"].startswith(
        "Gold calls the source's label right in all 500 pairs of a, as it does where"
    )
    few = gold(1_000)
    few["source"] = ["rare"] * 19 + ["b"] * 981
    few.loc[few["source"] == "rare", "human_label"] = 1
    assert "gold_never_disagrees" not in dict(told(gold=few))


def test_sources_of_whose_labels_gold_says_too_little_are_named_with_their_numbers():
    rows = [
        source("hh", 2_299, gold=0, by="nobody"), source("crowd", 900, gold=19),
        source("asked", 900, gold=20), source("llm", 900, gold=0, by="reward model"),
        source("tiny", 19, gold=0, by="nobody"),
    ]  # fmt: skip
    assert told(by_source=rows) == [
        (
            "few_gold_of_source",
            "Nothing can be said of how right the labels of these sources are, for which 20 gold "
            "pairs are the least: hh (2,299 clean pairs, 0 of them gold); crowd (900 clean pairs, "
            "19 of them gold).",
        )
    ]


def test_few_validation_pairs_are_told_with_the_number_that_would_do():
    assert told(num_validation=37) == [
        (
            "few_validation_pairs",
            "37 gold pairs validate every model, which tells an accuracy to within 15 points: 400 "
            "would tell it to within 5.",
        )
    ]
    assert told(num_validation=100) == []


def claim(**other):
    figures = {"value": 0.02, "low": -0.03, "high": 0.07, "n": 400, "threshold": 0.0, **other}
    return Claim(name="labels_improve", claim="labels improve", **figures)


def test_claims_without_an_outcome_say_how_many_pairs_would_give_one():
    assert told(claims=[claim()]) == [
        (
            "undecided_claims",
            "1 claim is not decided, too few pairs: 'labels improve' measured +0.020 (-0.030 to "
            "+0.070) on 400, about 2,500 would do.",
        )
    ]
    [(_, sentence)] = told(claims=[claim(), claim(value=0.0, high=0.03), claim(), claim(), claim()])
    assert sentence.startswith("5 claims are not decided")
    assert "more than 100,000 would do" in sentence
    assert sentence.endswith("; and 2 more.")


@pytest.mark.parametrize(
    "decided", [claim(low=0.01), claim(value=-0.1, high=-0.01), claim(value=nan)]
)
def test_claims_that_came_to_something_are_no_warning(decided):
    assert told(claims=[decided]) == []


def test_one_source_or_category_that_is_nearly_all_is_named():
    assert told(by_source=[source("hh", 2_299), source("oasst", 101)]) == [
        (
            "source_dominates",
            "One source dominates: hh has 2,299 of 2,400 clean pairs (96%).",
        )
    ]
    assert [code for code, _ in told(categories={"math": 70, "chat": 30})] == ["category_dominates"]
    assert told(by_source=[source("hh", 2_299)], categories={"math": 66, "chat": 34}) == []


def test_people_who_disagree_with_recorded_votes_are_told():
    [(code, sentence)] = told(gold=gold(1_000, vote=600))
    assert code == "people_against_votes"
    assert "they say the same of 600 of 1,000 gold pairs with both (60.0%" in sentence
    assert told(gold=gold(1_000, vote=900)) == []
    assert told(gold=gold(1_000, vote=600).assign(vote=0.0)) == []  # tied votes say nothing


def test_more_discarded_than_kept_is_told():
    assert told(decisions={"kept": 704, "flipped": 66, "discarded": 830}) == [
        (
            "more_discarded_than_kept",
            "More pairs were discarded than kept: 830 against 704.",
        )
    ]


def test_every_warning_says_what_to_do_and_stands_in_the_docs():
    text = DOCS.read_text(encoding="utf-8")
    headings = [line.removeprefix("### ") for line in text.splitlines() if line.startswith("### ")]
    assert headings == [f"`{code}`" for code in WARNINGS]
    assert all(advice.endswith(".") for advice in WARNINGS.values())
