"""What an annotation from Label Studio says: an answer, or why it is left out.

Exports differ between versions and label configurations, and people skip tasks, draw relations and
leave. Whatever cannot be used is named with project, task and annotation; the rest goes on.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from synpref_dagster.pairs.texts import printable, storable
from synpref_dagster.people.ledger.answers import (
    CHOICES,
    CONFIDENCES,
    MAX_SECONDS,
    TOOLS,
    Answer,
)
from synpref_dagster.people.ledger.batches import Batch, ReviewItem, side_for
from synpref_dagster.people.page.rendering import visible

VERDICTS = CHOICES[:4]  # what a person can say; nobody withdraws in Label Studio


MAX_DIGITS = 18  # of an id


class UnusableError(Exception):
    """An annotation is no answer; the message says why."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something of an export that is not used, and why."""

    place: str
    """Project, task and annotation."""
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@dataclass
class Pulled:
    """What an export holds."""

    answers: list[Answer] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def shown_texts(item: ReviewItem) -> dict[str, Any]:
    """What a task shows of a pair: conversation, and candidates in the batch's order."""
    candidate_1, candidate_2 = item.candidates(side_for(item.pair_id, item.batch_id))
    return {
        "candidate_1": visible(candidate_1) or "(empty)",
        "candidate_2": visible(candidate_2) or "(empty)",
        "conversation": [
            {"role": visible(turn["role"]), "content": visible(turn["content"])}
            for turn in item.conversation
        ],
    }


def as_id(value: Any) -> int | None:
    """The number of a user or project, which some versions write as text; None for anything else.

    >>> as_id("7"), as_id(7), as_id(True), as_id(None)
    (7, 7, None, None)
    """
    if isinstance(value, str) and value.isdecimal() and len(value) <= MAX_DIGITS:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def read_export(
    tasks: Any,
    *,
    project: int,
    batch: Batch,
    items: Mapping[str, ReviewItem],
    names: Mapping[int, str],
) -> Pulled:
    """The annotations of a project's export (JSON) as answers; each is one, or is left out.

    Args:
        tasks: as exported.
        project: its id.
        batch: what people were asked.
        items: pair_id -> what they were shown.
        names: user id -> name of the annotator.
    """
    pulled = Pulled()
    if not isinstance(tasks, list):
        pulled.left_out.append(LeftOut(f"project {project}", "its export is no list of tasks"))
        return pulled
    for task in tasks:
        place = f"project {project}, task {_id(task)}"
        annotations = task.get("annotations") if isinstance(task, Mapping) else None
        if not isinstance(annotations, list):
            pulled.left_out.append(LeftOut(place, "it has no list of annotations"))
            continue
        for annotation in annotations:
            here = f"{place}, annotation {_id(annotation)}"
            try:
                if not isinstance(annotation, Mapping) or annotation.get("id") is None:
                    raise UnusableError("it is no annotation with an id")
                answer, ignored = _answer(
                    batch,
                    _item(task, items),
                    annotation,
                    names=names,
                    guideline_shown=task["data"].get("guideline"),
                )
            except UnusableError as error:
                pulled.left_out.append(LeftOut(here, str(error)))
                continue
            pulled.answers.append(answer)
            pulled.left_out += [LeftOut(here, f"{each}; its verdict counts") for each in ignored]
    return pulled


def _answer(
    batch: Batch,
    item: ReviewItem,
    annotation: Mapping[str, Any],
    *,
    names: Mapping[int, str],
    guideline_shown: object,
) -> tuple[Answer, list[str]]:
    """The answer, and what of the annotation is left out of it."""
    if annotation.get("was_cancelled"):
        raise UnusableError("the task was skipped")
    values = _values(annotation.get("result"))
    changed_at = str(annotation.get("updated_at"))
    ignored: list[str] = []
    guideline = _guideline(values.get("annotation_guideline"), ignored)
    return Answer(
        form_token=storable(f"label-studio-{annotation['id']}-{changed_at}"),
        batch_id=batch.batch_id,
        pair_id=item.pair_id,
        content_id=item.content_id,
        annotator=_annotator(annotation.get("completed_by"), names),
        candidate_1=side_for(item.pair_id, item.batch_id),
        verdict=_verdict(values.get("verdict")),
        protocol_version=batch.protocol_version,
        created_at=_time(changed_at),
        edited_attributes=(
            {"annotation_guideline": guideline}
            if guideline and guideline != guideline_shown
            else {}
        ),
        confidence=_confidence(values.get("confidence"), ignored),
        tools=_tools(values.get("tools"), ignored),
        seconds=_seconds(annotation.get("lead_time"), ignored),
        backend="label_studio",
    ), ignored


def _item(task: Mapping[str, Any], items: Mapping[str, ReviewItem]) -> ReviewItem:
    """What the task showed; refused when its data are not those that were sent."""
    data = task.get("data")
    pair = data.get("pair_id") if isinstance(data, Mapping) else None
    item = items.get(pair) if isinstance(pair, str) else None
    if item is None or not isinstance(data, Mapping):
        raise UnusableError("its task shows no pair of this batch")
    expected = {
        "content_id": item.content_id,
        "candidate_1_is": side_for(item.pair_id, item.batch_id),
    }
    changed = [name for name, value in expected.items() if data.get(name) != value]
    changed += [name for name, text in shown_texts(item).items() if data.get(name, text) != text]
    if changed:
        raise UnusableError(
            f"{' and '.join(changed)} of its task were changed after the batch was sent"
        )
    return item


def _values(results: Any) -> dict[str, list[Mapping[str, Any]]]:
    """Field of the label configuration -> values; relations and regions of others have none."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for result in results if isinstance(results, list) else []:
        if not isinstance(result, Mapping):
            continue
        name, value = result.get("from_name"), result.get("value")
        if isinstance(name, str) and isinstance(value, Mapping):
            found.setdefault(name, []).append(value)
    return found


def _verdict(values: list[Mapping[str, Any]] | None) -> Any:
    choices = [choice for value in values or [] for choice in _texts(value.get("choices"))]
    if not choices:
        raise UnusableError("it holds no verdict")
    if len(set(choices)) > 1:
        raise UnusableError(f"it holds several verdicts: {printable(', '.join(choices)[:100])}")
    if choices[0] not in VERDICTS:
        raise UnusableError(f"its verdict {choices[0][:50]!r} is none of {', '.join(VERDICTS)}")
    return choices[0]


def _annotator(completed_by: Any, names: Mapping[int, str]) -> str:
    """The user's name; two users are never one, so nobody is guessed."""
    user = as_id(completed_by.get("id") if isinstance(completed_by, Mapping) else completed_by)
    if user is None:
        raise UnusableError("nobody is named as its annotator")
    if user not in names:
        raise UnusableError(f"user {user} is unknown here: deleted, or of another organization")
    return names[user]


def _time(text: str) -> float:
    """Seconds since 1970; a time without a zone is UTC, as the server keeps it."""
    try:
        time = datetime.fromisoformat(text.strip())
        seconds = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UnusableError(f"updated_at is {text[:50]!r}, no date and time") from None
    if seconds < 0:
        raise UnusableError(f"updated_at is {text[:50]!r}, before 1970")
    return seconds


def _guideline(values: list[Mapping[str, Any]] | None, ignored: list[str]) -> str:
    lines: list[str] = []
    for value in values or []:
        texts = _texts(value.get("text"))
        if not texts and value.get("text"):
            ignored.append("its guideline is no text")
        lines += texts
    return storable("\n".join(lines))


def _confidence(values: list[Mapping[str, Any]] | None, ignored: list[str]) -> int | None:
    rating = values[-1].get("rating") if values else None
    if rating is None:
        return None
    if isinstance(rating, bool) or rating not in CONFIDENCES:
        ignored.append(f"its confidence {str(rating)[:20]!r} is none of 1, 2 and 3")
        return None
    return int(rating)


def _tools(values: list[Mapping[str, Any]] | None, ignored: list[str]) -> tuple[str, ...]:
    named = [tool for value in values or [] for tool in _texts(value.get("choices"))]
    unknown = sorted(set(named) - set(TOOLS))
    if unknown:
        ignored.append(f"its tools {', '.join(unknown)[:50]!r} are none of {', '.join(TOOLS)}")
    return tuple(dict.fromkeys(tool for tool in named if tool in TOOLS))


def _seconds(lead_time: Any, ignored: list[str]) -> float:
    if lead_time is None:
        return 0.0
    is_number = isinstance(lead_time, int | float) and not isinstance(lead_time, bool)
    if not is_number or not 0 <= lead_time <= sys.float_info.max:
        ignored.append(f"its lead_time {str(lead_time)[:20]!r} is no number of seconds")
        return 0.0
    return round(min(float(lead_time), MAX_SECONDS), 1)


def _texts(value: Any) -> list[str]:
    """A text, or the texts in a list: both are how versions write them."""
    listed = value if isinstance(value, list) else [value]
    return [each for each in listed if isinstance(each, str)]


def _id(thing: Any) -> str:
    return printable(str(thing.get("id", "?"))[:40]) if isinstance(thing, Mapping) else "?"
