"""What a profile asks for, held against what was found: what must change, and what to look at."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synpref_dagster.pairs.texts import counted
from synpref_dagster.preview.survey import Survey
from synpref_dagster.settings.profile import Profile

MUCH_LOST = 0.2  # of a source's rows, from which on it is said
MOST_LOST = 0.5  # a source that loses more of its rows is probably read in the wrong layout
LEAST_VALIDATION = 100  # pairs; an accuracy measured on fewer is uncertain by ten points
LEAST_PROMPTS = 50  # that hold half of the pairs
LEANING = 0.65  # of a label, towards the longer response
LEAST_LEANING = 100  # pairs that a share is said of


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """How many pairs of stage 1 are asked about, and how many there are."""

    num_there: int
    """Different pairs of people without a benchmark in them."""
    num_answerable: int
    """Those that somebody can answer for: with a recorded vote, or all where people are asked."""
    num_gold: int
    num_silver: int
    num_iterations: int
    max_retrieved: int
    num_human: int

    @property
    def num_labelled(self) -> int:
        """Pairs that people and judges label in all."""
        return self.num_gold + self.num_silver + self.num_iterations * self.max_retrieved


def sizes(profile: Profile, found: Survey) -> Sizes:
    """What the profile asks of stage 1."""
    seed, iterations = profile.seed_set, profile.iterations
    is_recorded = profile.people.backend == "recorded"
    return Sizes(
        num_there=found.num_for_people,
        num_answerable=found.num_voted if is_recorded else found.num_for_people,
        num_gold=seed.num_gold,
        num_silver=seed.num_silver,
        num_iterations=iterations.num_iterations,
        max_retrieved=iterations.max_retrieved,
        num_human=iterations.num_human,
    )


def must_change(profile: Profile, found: Survey) -> list[str]:
    """A line for each thing with which a campaign would fail, or not be what was asked for."""
    lines = [_without_formats(line) for line in found.unreadable.values()]
    if not profile.pool.sources and profile.pool.kind == "sources":
        lines.append("the profile names no source: add [[pool.sources]]")
    if not found.num_pairs and (found.unreadable or not found.sources):
        return lines
    if not found.num_pairs:
        return [
            *lines,
            f"{counted(_rows(found), 'row')} read, no pair among them: see the quarantine",
        ]
    return lines + _sizes_unmet(profile, sizes(profile, found))


def look_at(profile: Profile, found: Survey) -> list[str]:
    """A line for each thing that a campaign survives, and its result may not."""
    lines = [line for row in found.sources if (line := _lost(row, found))]
    for row in found.sources:
        longer = row["longer_before"]
        if longer["n"] >= LEAST_LEANING and longer["value"] >= LEANING:
            lines.append(
                f"source {row['source']!r} prefers the longer response in {longer['value']:.0%} of "
                "its clean pairs: a model may learn length"
            )
    whole = found.prompts[""]
    if whole.num_pairs and whole.num_for_half < LEAST_PROMPTS:
        lines.append(
            f"{holding(whole.num_for_half)} half of the pairs: gold is divided by prompt, so few "
            "of them say how good a model is"
        )
    return lines + _sizes_lean(profile, sizes(profile, found))


def _lost(row: Mapping[str, Any], found: Survey) -> str:
    """What to say of a source that loses many rows to quarantine, with the reason of most."""
    read = row["num_rows"] + row["num_unfolded"]
    lost, name = row["num_quarantined"], row["source"]
    if not read or lost < MUCH_LOST * read:
        return ""
    largest = next(each for each in found.quarantined if each.source == name)
    ask = ": is it read in the right layout?" if lost > MOST_LOST * read else ""
    return (
        f"source {name!r} lost {lost:,} of {counted(read, 'row')} "
        f"({lost / read:.0%}) to quarantine, most often as {largest.reason} "
        f"({largest.num_rows:,}){ask}"
    )


def _sizes_unmet(profile: Profile, asked: Sizes) -> list[str]:
    if not asked.num_there:
        return [
            "no clean pair is of human origin, and stage 1 works on these: set origin = 'human' "
            "for a source whose labels people set"
        ]
    if not asked.num_answerable:
        return [
            "people.backend is 'recorded', and no pair for people has a recorded vote: set "
            "people.backend = 'page', or give a source with votes (docs/sources.md)"
        ]
    lines = []
    if asked.num_gold > asked.num_answerable:
        what = "with a recorded vote" if profile.people.backend == "recorded" else "for people"
        lines.append(
            f"seed_set.num_gold is {asked.num_gold:,} of "
            f"{counted(asked.num_answerable, 'pair')} {what}: "
            f"lower it"
        )
    left = max(0, asked.num_there - min(asked.num_gold, asked.num_answerable))
    if asked.num_silver > left:
        lines.append(
            f"seed_set.num_silver is {asked.num_silver:,} of {counted(left, 'pair')} that gold "
            "leaves to judges: lower it"
        )
    return lines


def _sizes_lean(profile: Profile, asked: Sizes) -> list[str]:
    lines = []
    if asked.num_gold + asked.num_silver <= asked.num_there < asked.num_labelled:
        left = asked.num_there - asked.num_gold - asked.num_silver
        lines.append(
            f"{counted(asked.num_iterations, 'iteration')} of iterations.max_retrieved = "
            f"{asked.max_retrieved:,} would label {asked.num_labelled:,} pairs of "
            f"{asked.num_there:,} in all: {_are_left(left)}"
        )
    in_iterations = asked.num_iterations * asked.num_human
    left = max(0, asked.num_answerable - asked.num_gold)
    if profile.people.backend == "recorded" and asked.num_answerable and in_iterations > left:
        lines.append(
            f"iterations.num_human wants {counted(in_iterations, 'answer')} in all, and of pairs "
            f"with a recorded vote {_are_left(left)}"
        )
    gold = min(asked.num_gold, asked.num_answerable)
    validating = round(profile.seed_set.validation_share * gold)
    if 0 < validating < LEAST_VALIDATION:
        lines.append(
            f"{counted(validating, 'gold pair')} {'validates' if validating == 1 else 'validate'} "
            f"(seed_set.validation_share of {gold:,}): accuracies are known to "
            f"{100 / max(validating, 1) ** 0.5:.0f} points, either way"
        )
    return lines


def holding(num_prompts: int) -> str:
    """So many prompts, as what holds something.

    >>> holding(1), holding(1200)
    ('1 prompt holds', '1,200 prompts hold')
    """
    return f"{counted(num_prompts, 'prompt')} {'holds' if num_prompts == 1 else 'hold'}"


def _are_left(number: int) -> str:
    return f"{number:,} {'is' if number == 1 else 'are'} left to them"


def _without_formats(line: str) -> str:
    """An error about an unknown layout without all layouts that are known."""
    before, known, _ = line.partition(" Known formats: ")
    if not known:
        return line
    return (
        f"{before} Layouts are in docs/sources.md; rename columns with the option columns = "
        "{known name = 'name in the data'}, set the format, or take the source out"
    )


def _rows(found: Survey) -> int:
    return sum(row["num_rows"] for row in found.sources)
