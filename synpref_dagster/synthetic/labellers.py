"""The sources of labels and their faults, and the people who verify.

A source labels by the truth, diluted by its pull towards length or style and by popular myths; a
person who verifies errs at random. Nobody here shares errors with anybody else except through these
pulls, which is exactly what makes some sources systematically wrong.
"""

from dataclasses import dataclass
from math import exp
from random import Random
from typing import Literal

from synpref_dagster.pairs.record import Origin
from synpref_dagster.synthetic.draws import Example

Layout = Literal["explicit", "implicit", "plain", "transcript"]
PersonChoice = Literal["first", "second", "tie", "undecidable"]

OBJECTIVE_ERROR = 0.03
SUBJECTIVE_ERROR = 0.10
UNDECIDABLE_SHARE = 0.01
ANNOTATORS = ("annotator_1", "annotator_2", "annotator_3")
MAX_LENGTH_GAP_WORDS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelSource:
    """A source of preference pairs: who labelled, in which file layout, with which faults."""

    name: str
    file_name: str
    layout: Layout
    origin: Origin
    """`human` labels go to stage 1, `synthetic` ones to stage 2."""
    share: float
    """Share of its origin's pairs."""
    skill: float
    """Log-odds of a right label when nothing pulls."""
    length_pull: float = 0.0
    """Added log-odds for the longer response."""
    style_pull: float = 0.0
    """Added log-odds for the more formatted and more polite response."""
    myth_pull: float = 0.0
    """Taken log-odds where a popular misbelief is the wrong answer."""
    contradicts: bool = False
    """Every pair comes twice, once under each label."""


SOURCES: tuple[LabelSource, ...] = (
    LabelSource(
        name="expert",
        file_name="expert.jsonl",
        layout="explicit",
        origin="human",
        share=0.12,
        skill=3.1,
    ),
    LabelSource(
        name="crowd",
        file_name="crowd.jsonl.gz",
        layout="implicit",
        origin="human",
        share=0.46,
        skill=1.5,
        length_pull=0.4,
        myth_pull=2.4,
    ),
    LabelSource(
        name="length_biased_crowd",
        file_name="length_biased_crowd.jsonl",
        layout="transcript",
        origin="human",
        share=0.42,
        skill=0.7,
        length_pull=3.0,
        myth_pull=1.8,
    ),
    LabelSource(
        name="style_biased_llm",
        file_name="style_biased_llm.parquet",
        layout="explicit",
        origin="synthetic",
        share=0.38,
        skill=1.25,
        style_pull=1.8,
        myth_pull=2.2,
    ),
    LabelSource(
        name="length_biased_llm",
        file_name="length_biased_llm.jsonl",
        layout="plain",
        origin="synthetic",
        share=0.38,
        skill=1.3,
        length_pull=2.4,
        myth_pull=2.2,
    ),
    LabelSource(
        name="noisy_llm",
        file_name="noisy_llm.jsonl.gz",
        layout="implicit",
        origin="synthetic",
        share=0.16,
        skill=0.35,
        myth_pull=0.6,
    ),
    LabelSource(
        name="contradictory_llm",
        file_name="contradictory_llm.jsonl",
        layout="explicit",
        origin="synthetic",
        share=0.08,
        skill=0.0,
        contradicts=True,
    ),
)


def labels_right(source: LabelSource, example: Example, *, rng: Random) -> bool:
    """Whether the source prefers the right response of this pair."""
    log_odds = (
        source.skill
        + source.length_pull * _length_gap(example.right, example.wrong)
        + source.style_pull * (_style_points(example.right) - _style_points(example.wrong))
        - source.myth_pull * example.task.misbelief
    )
    return rng.random() < 1 / (1 + exp(-log_odds))


def person_verdict(example: Example, *, rng: Random) -> PersonChoice:
    """What a person who verifies says, against the sorted order of the two responses.

    Errs in 3% of objective and 10% of subjective pairs, and cannot decide 1%.
    """
    draw = rng.random()
    if draw < UNDECIDABLE_SHARE:
        return "undecidable"
    objective = example.task.objectivity == "objective"
    errs = draw - UNDECIDABLE_SHARE < (OBJECTIVE_ERROR if objective else SUBJECTIVE_ERROR)
    right_sorts_first = example.right <= example.wrong
    return "first" if right_sorts_first != errs else "second"


def recorded_verdicts(example: Example, *, seed: int) -> list[dict[str, str]]:
    """Recorded verdicts of all annotators on one pair; each errs on their own."""
    content_id = example.content_id.hex()
    return [
        {
            "content_id": content_id,
            "annotator": annotator,
            "verdict": person_verdict(example, rng=Random(f"{annotator}-{seed}-{content_id}")),
        }
        for annotator in ANNOTATORS
    ]


def _length_gap(first: str, second: str) -> float:
    """Gap in words between -1 and 1."""
    gap = len(first.split()) - len(second.split())
    return max(-1.0, min(1.0, gap / MAX_LENGTH_GAP_WORDS))


def _style_points(response: str) -> float:
    """Formatting and manners a style lover counts: 1 for markdown, half for politeness words."""
    formatted = response.startswith(("- ", "# ", "**")) or "\n" in response
    polite = any(word in response for word in ("thank", "great", "happy", "welcome", "nice day"))
    return float(formatted) + 0.5 * float(polite)
