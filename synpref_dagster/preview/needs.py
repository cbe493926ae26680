"""What a profile asks for, held against what was found: what must change, and what to look at."""

from dataclasses import dataclass

from synpref_dagster.preview.survey import Survey
from synpref_dagster.settings.profile import Profile

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
        return [*lines, f"{_rows(found):,} rows read, no pair among them: see the quarantine"]
    return lines + _sizes_unmet(profile, sizes(profile, found))


def look_at(profile: Profile, found: Survey) -> list[str]:
    """A line for each thing that a campaign survives, and its result may not."""
    lines = [
        f"source {row['source']!r} lost {row['num_quarantined']:,} of "
        f"{row['num_rows'] + row['num_unfolded']:,} rows: is it read in the right layout?"
        for row in found.sources
        if row["num_quarantined"] > MOST_LOST * (row["num_rows"] + row["num_unfolded"])
    ]
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
            f"{whole.num_for_half:,} prompts hold half of the pairs: gold is divided by prompt, so "
            "few of them say how good a model is"
        )
    return lines + _sizes_lean(profile, sizes(profile, found))


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
            f"seed_set.num_gold is {asked.num_gold:,} of {asked.num_answerable:,} pairs {what}: "
            f"lower it"
        )
    left = max(0, asked.num_there - min(asked.num_gold, asked.num_answerable))
    if asked.num_silver > left:
        lines.append(
            f"seed_set.num_silver is {asked.num_silver:,} of {left:,} pairs that gold leaves to "
            "judges: lower it"
        )
    return lines


def _sizes_lean(profile: Profile, asked: Sizes) -> list[str]:
    lines = []
    if asked.num_gold + asked.num_silver <= asked.num_there < asked.num_labelled:
        left = asked.num_there - asked.num_gold - asked.num_silver
        lines.append(
            f"{asked.num_iterations} iterations of iterations.max_retrieved = "
            f"{asked.max_retrieved:,} want {asked.num_labelled:,} pairs of {asked.num_there:,} in "
            f"all: {left:,} are left to them"
        )
    in_iterations = asked.num_iterations * asked.num_human
    left = max(0, asked.num_answerable - asked.num_gold)
    if profile.people.backend == "recorded" and asked.num_answerable and in_iterations > left:
        lines.append(
            f"iterations.num_human wants {in_iterations:,} answers in all, and {left:,} pairs with "
            "a recorded vote are left to it"
        )
    gold = min(asked.num_gold, asked.num_answerable)
    validating = round(profile.seed_set.validation_share * gold)
    if 0 < validating < LEAST_VALIDATION:
        lines.append(
            f"{validating} gold pairs validate (seed_set.validation_share of {gold:,}): accuracies "
            f"are known to {100 / max(validating, 1) ** 0.5:.0f} points, either way"
        )
    return lines


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
