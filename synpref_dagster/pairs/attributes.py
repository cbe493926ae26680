"""Preference attributes: the 5-tuple `a` of a pair (paper Sec. 3.2).

Task category, objectivity, controversiality, desired attributes, annotation guideline. They steer
what people see first, which pairs are similar, and how a judge is instructed.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Literal, get_args

from synpref_dagster.pairs.record import PreferencePair

TASK_CATEGORIES = (  # the twelve categories of Sec. 3.2 and Tab. 8
    "information_seeking",
    "coding_and_debugging",
    "advice_seeking",
    "math",
    "creative_writing",
    "reasoning",
    "planning",
    "data_analysis",
    "editing",
    "role_playing",
    "brainstorming",
    "other",
)
Objectivity = Literal["objective", "subjective"]
Controversiality = Literal["low", "medium", "high"]
ATTRIBUTE_COLUMNS = (
    "task_category",
    "objectivity",
    "controversiality",
    "desired_attributes",
    "annotation_guideline",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PreferenceAttributes:
    """The five attributes of one pair.

    Raises:
        ValueError: an enumerated attribute is none of its legal values.
    """

    task_category: str
    """One of `TASK_CATEGORIES`."""
    objectivity: Objectivity
    """Whether one response can be shown to be better."""
    controversiality: Controversiality
    """How much informed people would disagree."""
    desired_attributes: str
    """What a good response to this conversation has, in words."""
    annotation_guideline: str
    """How to decide between the two responses, in words."""

    def __post_init__(self) -> None:
        legal = {
            "task_category": TASK_CATEGORIES,
            "objectivity": get_args(Objectivity),
            "controversiality": get_args(Controversiality),
        }
        for name, values in legal.items():
            value = getattr(self, name)
            if value not in values:
                raise ValueError(f"{name} is {value!r}, must be one of {', '.join(values)}")

    def as_text_fields(self) -> dict[str, str]:
        """The attributes as a plain dictionary, the form judges and tables take."""
        return asdict(self)


def attributes_from_row(row: Mapping[str, str]) -> PreferenceAttributes:
    """The attributes in a table row with `ATTRIBUTE_COLUMNS`."""
    values = {field.name: row[field.name] for field in fields(PreferenceAttributes)}
    return PreferenceAttributes(**values)  # type: ignore[arg-type]


def embedding_text(pair: PreferencePair, attributes: Mapping[str, str] | None) -> str:
    """Text of (x, a) that retrieval embeds: the conversation and, if known, what it asks for.

    Responses stay out, so that similarity is about the task and not about the label.
    """
    turns = "\n".join(turn["content"] for turn in pair.conversation)
    if attributes is None:
        return turns
    return f"{turns}\n{attributes['task_category']}"


def task_text(pair: PreferencePair, attributes: Mapping[str, str]) -> str:
    """`embedding_text` for models that read no more than a text's beginning: the task first."""
    return f"{attributes['task_category']}\n{embedding_text(pair, None)}"


def answered_texts(pair: PreferencePair) -> tuple[str, str]:
    """The conversation with either response, whichever of them is better."""
    turns = embedding_text(pair, None)
    return f"{turns}\n{pair.chosen}", f"{turns}\n{pair.rejected}"
