"""What a review form may say, read from an url-encoded body with limits.

Unknown fields are ignored, so that a forged `annotator` or `pair_id` has no effect whatsoever.
"""

from collections.abc import Mapping, Sequence
from typing import Any, get_args
from urllib.parse import parse_qs

from synpref_dagster.pairs.attributes import (
    ATTRIBUTE_COLUMNS,
    TASK_CATEGORIES,
    Controversiality,
    Objectivity,
)
from synpref_dagster.people.ledger.answers import CONFIDENCES, TOOLS

MAX_FIELDS = 40
MAX_TEXT = 10_000
LEGAL_ATTRIBUTES: Mapping[str, Sequence[str]] = {
    "task_category": TASK_CATEGORIES,
    "objectivity": get_args(Objectivity),
    "controversiality": get_args(Controversiality),
}


def read_form(body: bytes) -> dict[str, list[str]]:
    """Fields of an url-encoded body.

    Raises:
        ValueError: more than `MAX_FIELDS` fields, or not UTF-8.
    """
    return parse_qs(
        body.decode("utf-8"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict"
    )


def field(form: Mapping[str, Sequence[str]], name: str) -> str:
    """First value of a field, or an empty text."""
    return next(iter(form.get(name, [])), "")


def read_answer(form: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Answer, confidence, tools, seconds and attributes of a review form.

    Raises:
        ValueError: a field has an illegal value.
    """
    confidence = field(form, "confidence")
    if confidence and confidence not in map(str, CONFIDENCES):
        raise ValueError(f"confidence is {confidence[:20]!r}, must be 1, 2 or 3")
    return {
        "verdict": field(form, "verdict")[:40],
        "confidence": int(confidence) if confidence else None,
        "tools": tuple(tool for tool in TOOLS if tool in form.get("tools", [])),
        "seconds": _seconds(field(form, "seconds")),
        "edited_attributes": _attributes(form),
    }


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


def _attributes(form: Mapping[str, Sequence[str]]) -> dict[str, str]:
    edited = {}
    for name in ATTRIBUTE_COLUMNS:
        value = field(form, f"attribute_{name}").replace("\r\n", "\n")
        if not value:
            continue
        legal = LEGAL_ATTRIBUTES.get(name)
        if legal is not None and value not in legal:
            raise ValueError(f"{name} is {value[:40]!r}, must be one of {', '.join(legal)}")
        edited[name] = value[:MAX_TEXT]
    return edited
