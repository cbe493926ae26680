"""An answer of a person on one pair, as the ledger keeps it (paper Sec. 3.2).

The two responses of a pair are `first` and `second` in sorted order; `candidate_1` says which of
them was shown as Candidate 1. An answer can therefore be read without knowing the pair's label.
Stored names stay as they were first given: column, table and exported field say `verdict`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

Side = Literal["first", "second"]
AnswerChoice = Literal["candidate_1", "candidate_2", "tie", "cannot_decide", "withdrawn"]
Tool = Literal["search", "code", "calculator", "llm"]
CHOICES: tuple[str, ...] = get_args(AnswerChoice)
TOOLS: tuple[str, ...] = get_args(Tool)
CONFIDENCES = (1, 2, 3)
MAX_SECONDS = 86_400.0
Backend = Literal["page", "label_studio", "recorded", "import"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One row of the ledger; a correction is a later row of the same annotator and pair.

    Raises:
        ValueError: a value is outside its legal range, with the value.
    """

    form_token: str
    """Identity of the form that was sent; a token is recorded once, however often it arrives."""
    batch_id: str
    """The batch the pair was shown in."""
    pair_id: str
    """Hex of the pair's 16-byte id."""
    content_id: str
    """Hex of the id that survives a flip."""
    annotator: str
    """Name of the account."""
    candidate_1: Side
    """Which of the sorted responses was shown as Candidate 1."""
    verdict: AnswerChoice
    """What the person said; `withdrawn` takes back the person's earlier answer on the pair."""
    protocol_version: str
    """Version of the instructions that were shown."""
    created_at: float
    """Unix time in seconds."""
    edited_attributes: Mapping[str, str] = field(default_factory=dict)
    """Preference attributes that the person changed, with the new values."""
    confidence: int | None = None
    """1 unsure, 2 fairly sure, 3 certain; None when not given."""
    tools: tuple[str, ...] = ()
    """What was used besides reading: see `TOOLS`."""
    seconds: float = 0.0
    """Time from showing to sending."""
    backend: Backend = "page"
    """Where the answer was given."""

    def __post_init__(self) -> None:
        if self.verdict not in CHOICES:
            raise ValueError(f"verdict is {self.verdict!r}, must be one of {', '.join(CHOICES)}")
        if self.candidate_1 not in get_args(Side):
            raise ValueError(f"candidate_1 is {self.candidate_1!r}, must be first or second")
        if self.confidence is not None and self.confidence not in CONFIDENCES:
            raise ValueError(f"confidence is {self.confidence!r}, must be 1, 2, 3 or None")
        if unknown := set(self.tools) - set(TOOLS):
            raise ValueError(f"unknown tools {sorted(unknown)}; use {', '.join(TOOLS)}")
        if not 0 <= self.seconds <= MAX_SECONDS:
            raise ValueError(f"seconds is {self.seconds!r}, must be from 0 to {MAX_SECONDS:.0f}")

    @property
    def sorted_sign(self) -> int | None:
        """+1 the sorted-first response is better, -1 the second, 0 tie, None undecided."""
        if self.verdict == "tie":
            return 0
        if self.verdict not in ("candidate_1", "candidate_2"):
            return None
        sign = 1 if self.verdict == "candidate_1" else -1
        return sign if self.candidate_1 == "first" else -sign

    def as_row(self) -> dict[str, Any]:
        """Plain values for a database row or a JSON line."""
        row = asdict(self)
        row["edited_attributes"] = json.dumps(dict(self.edited_attributes), sort_keys=True)
        row["tools"] = ",".join(self.tools)
        return row

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Answer":
        """The answer in a row that `as_row` gave; other keys are ignored.

        Raises:
            ValueError: a field is missing or illegal.
        """
        names = {each.name for each in fields(cls)}
        values = {name: value for name, value in row.items() if name in names}
        try:
            values["edited_attributes"] = _attributes(values.get("edited_attributes"))
            values["tools"] = tuple(t for t in str(values.get("tools") or "").split(",") if t)
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"this is no answer: {error}") from error


ANSWER_COLUMNS = tuple(each.name for each in fields(Answer))


def live_answers(rows: Iterable[Answer]) -> dict[tuple[str, str, str], Answer]:
    """(batch, pair, annotator) -> the answer that counts: the latest one, unless withdrawn.

    Args:
        rows: answers in ledger order.
    """
    latest: dict[tuple[str, str, str], Answer] = {}
    for row in rows:
        key = (row.batch_id, row.pair_id, row.annotator)
        latest.pop(key, None)
        if row.verdict != "withdrawn":
            latest[key] = row
    return latest


def _attributes(text: object) -> dict[str, str]:
    values = json.loads(text) if isinstance(text, str) and text else (text or {})
    if not isinstance(values, Mapping):
        raise ValueError(f"edited_attributes is {text!r}, must be a mapping")
    return {str(name): str(value) for name, value in values.items()}
