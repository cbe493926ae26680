"""What a campaign's figures warn of, as sentences with numbers and what to do.

Each warning is about one thing that would make the rest of the report worth little. `WARNINGS`
of `advice` lists them all; docs/warnings.md says more about each.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isnan
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from synpref_dagster.curation.evidence.advice import WARNINGS, WAY_OUT
from synpref_dagster.curation.evidence.claims import Claim
from synpref_dagster.curation.evidence.source_accuracy import MODEL
from synpref_dagster.curation.evidence.sources import together
from synpref_dagster.pairs.accuracy import Accuracy, accuracy_of
from synpref_dagster.pairs.differences import apart, difference, everywhere

CHANCE = 0.5
UNTRAINED = "gold pairs that it did not train on"
WRITTEN_BY_LENGTH, FOLLOWS_LENGTH = 0.9, 0.7  # share of gold whose interval lies above
FEWEST_VALIDATION, ENOUGH_VALIDATION = 100, 400  # pairs: the interval is +-10, +-5 points wide
MOST_OF_A_SOURCE, MOST_OF_A_CATEGORY = 0.8, 2 / 3
ENOUGH_TO_DISAGREE = 20  # gold pairs: the interval of a share is up to 20 points wide either side
LEAST_SHIFT = 0.02  # of the share that prefers the longer response
ONE_SIDED = 0.025
LEAST_AGREEMENT = 0.8  # of people with recorded votes
MANY = 100_000
NUM_NAMED = 3
ALL_SOURCES = "all sources"


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
    released: Mapping[str, Accuracy]
    """Accuracy of each released model on gold validation, by its size."""
    judges: Mapping[str, Accuracy]
    """How often each judge, and the panel, says what people say."""
    by_source: Sequence[Mapping[str, Any]]
    """Rows of `sources.as_report`."""
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
        *_released(facts.released, gold[gold["split"] == "validation"]),
        *_judges_at_chance(facts.judges),
        *_models_against_length(gold),
        *_curation_by_length(facts.by_source, gold),
        *_gold_by_length(gold),
        *_gold_never_disagrees(gold),
        *_few_gold(facts.by_source),
        *_validation(facts.num_validation),
        *_undecided(facts.claims),
        *_dominating("source", _clean(facts.by_source), MOST_OF_A_SOURCE),
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


def _released(released: Mapping[str, Accuracy], validation: pd.DataFrame) -> Iterator[Warned]:
    """Releases that a coin, or the longer response, would replace.

    What a release says of each pair is not kept: it is held against the rule as if on other pairs.

    Args:
        released: size -> accuracy on gold validation.
        validation: gold pairs that validate.
    """
    told = {size: _of(each, "gold pairs that validate") for size, each in released.items()}
    weak = [size for size, each in released.items() if not each.low > CHANCE]
    rule = accuracy_of(_longer_is_right(validation))
    longer = [
        size
        for size, each in released.items()
        if size not in weak and rule.n and not apart(each, rule).low > 0
    ]
    if weak:
        yield Warned(
            code="released_rm_at_chance",
            sentence="A released model is no better than chance: "
            + "; ".join(f"{size} is right about {told[size]}" for size in weak)
            + ".",
        )
    if longer:
        yield Warned(
            code="released_rm_no_better_than_length",
            sentence="A released model is not shown to be better than 'the longer one wins', which "
            f"is right about {_of(rule, 'gold pairs that validate')}: "
            + "; ".join(f"{size} is right about {told[size]}" for size in longer)
            + ".",
        )


def _judges_at_chance(judges: Mapping[str, Accuracy]) -> Iterator[Warned]:
    weak = {name: each for name, each in judges.items() if each.n and not each.low > CHANCE}
    if weak:
        told = "; ".join(f"{n} says what people say of {_of(a, 'pairs')}" for n, a in weak.items())
        yield Warned(
            code="judges_at_chance",
            sentence=f"Judges are no better than chance against people: {told}.",
        )


def _curation_by_length(rows: Sequence[Mapping[str, Any]], gold: pd.DataFrame) -> Iterator[Warned]:
    """Whether curated labels follow length more than those that came, and people do not."""
    known = [row for row in rows if "longer_after" in row]
    parts = [(ALL_SOURCES, together(known, "longer_before"), together(known, "longer_after"))]
    if len(known) > 1:
        parts += [
            (row["source"], Accuracy(**row["longer_before"]), Accuracy(**row["longer_after"]))
            for row in known
        ]
    z = NormalDist().inv_cdf(1 - ONE_SIDED / len(parts))  # one of many sources varies by itself
    worse = [
        (name, before, after)
        for name, before, after in parts
        if _is_worse(before, after, _told_by_length(gold, name), z=z)
    ]
    if worse:
        shown = [parts[0], *(each for each in worse if each[0] != ALL_SOURCES)]
        told = [
            f"{name} {before.value:.1%} of {before.n:,} → {after.value:.1%} of {after.n:,}"
            for name, before, after in shown
        ]
        yield Warned(
            code="curation_follows_length",
            sentence="Curation made labels follow length more. How often the longer response is "
            f"preferred, as labels came → curated: {'; '.join(told)}.",
        )


def _is_worse(before: Accuracy, after: Accuracy, people: Accuracy, *, z: float) -> bool:
    """A shift for sure away from half, beyond half, and not to where people are."""
    moved = apart(after, before, z=z)
    if not abs(moved.value) >= LEAST_SHIFT or moved.low <= 0 <= moved.high:
        return False
    if abs(after.value - CHANCE) <= abs(before.value - CHANCE):
        return False
    if moved.value > 0:
        by_people = people.low > before.value and people.high >= after.value
        return after.low > CHANCE and not by_people
    by_people = people.high < before.value and people.low <= after.value
    return after.high < CHANCE and not by_people


def _told_by_length(gold: pd.DataFrame, source: str) -> Accuracy:
    """How often people prefer the longer response, of all gold or that of a source."""
    own = gold if source == ALL_SOURCES else gold[gold["source"] == source]
    return accuracy_of(_longer_is_right(own[own["longer"] != 0]))


def _models_against_length(gold: pd.DataFrame) -> Iterator[Warned]:
    longer = _longer_is_right(gold)
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
    whole = [("all", gold)]
    found = _never_disagreeing(whole) or _never_disagreeing(gold.groupby("source", sort=False))
    if not found:
        return
    where = "; ".join(
        f"all {num:,} pairs{'' if name == 'all' else f' of {name}'}" for name, num in found.items()
    )
    yield Warned(
        code="gold_never_disagrees",
        sentence=f"Gold calls the source's label right in {where}, as it does where the same votes "
        "made both: how right labels are, and how precise flips, is not known from it.",
    )


def _never_disagreeing(parts: Iterable[tuple[Any, pd.DataFrame]]) -> dict[str, int]:
    """Name -> gold pairs, of the parts in which people call every label right."""
    return {
        str(name): len(part)
        for name, part in parts
        if len(part) >= ENOUGH_TO_DISAGREE and (part["human_label"] > 0).all()
    }


def _few_gold(rows: Sequence[Mapping[str, Any]]) -> Iterator[Warned]:
    """Sources of whose labels gold says nothing, nor a model that was measured on gold."""
    asked = [
        (row, int(row["label_accuracy"]["n"]))
        for row in rows
        if "label_accuracy" in row and row["label_accuracy"]["by"] != MODEL
    ]
    told = [
        f"{row['source']} ({row['num_clean']:,} clean pairs, {num:,} of them gold)"
        for row, num in asked
        if num < ENOUGH_TO_DISAGREE <= row["num_clean"]
    ]
    if told:
        yield Warned(
            code="few_gold_of_source",
            sentence="Nothing can be said of how right the labels of these sources are, for which "
            f"{ENOUGH_TO_DISAGREE} gold pairs are the least: {'; '.join(told)}.",
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


def _clean(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {str(row["source"]): int(row["num_clean"]) for row in rows}


def _longer_is_right(gold: pd.DataFrame) -> np.ndarray:
    """Bool (n,): where people prefer the longer response."""
    return np.asarray((gold["longer"] * gold["human_label"] > 0).to_numpy())


def _right(gold: pd.DataFrame, name: str) -> np.ndarray:
    """Bool (n,): where a model prefers what people prefer; a tie or no reward is wrong."""
    return np.asarray((gold[f"{name}_margin"] * gold["human_label"] > 0).to_numpy())


def _of(share: Accuracy, what: str) -> str:
    """`530 of 1,000 gold pairs (53.0%, 95% interval 49.9% to 56.1%)`."""
    if not share.n:
        return f"none of 0 {what}"
    interval = f"{share.value:.1%}, 95% interval {share.low:.1%} to {share.high:.1%}"
    return f"{round(share.value * share.n):,} of {share.n:,} {what} ({interval})"
