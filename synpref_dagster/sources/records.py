"""What a source is and what reading it yields: pairs, recorded verdicts and quarantined rows.

The invariant every reader keeps: each row of the source ends as a pair, as a quarantined row with
a reason, or outside the part that the options select; nothing else happens to a row. A row with
several responses (ranks, ratings, trees) unfolds into candidates first; the same holds for each.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import pyarrow as pa

from synpref_dagster.pairs.record import ID_TYPE, Origin, PreferencePair, id_array, pairs_to_table

RAW_CHARS = 2_000
"""How much of an offending row is kept for the person who looks at the quarantine."""

QUARANTINE_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("row", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("raw", pa.string()),
    ]
)
VERDICT_SCHEMA = pa.schema(
    [("content_id", ID_TYPE), ("annotator", pa.string()), ("verdict", pa.int8())]
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceSpec:
    """One preference source: where it is, how it is laid out and who set its labels.

    Raises ValueError for a name that cannot be a folder name, for anything but exactly one of
    `path` and `hub_id`, and for a hub data set without a pinned revision.
    """

    name: str
    """Name of the source in every table; letters, digits, dot, underscore and dash."""
    path: str | None = None
    """Local path or s3:// address of a file; what it holds is seen by its first bytes."""
    hub_id: str | None = None
    """Data set id on the Hugging Face hub, or a local folder that `datasets` can load."""
    revision: str | None = None
    """Commit or tag of the hub data set: without it a re-run could read other rows."""
    format: str = "auto"
    """Name of a row format (see `sources.registry`), or "auto" to detect it."""
    origin: Origin
    """Who set the source labels: `human` goes to stage 1, `synthetic` to stage 2."""
    licence: str
    """Licence under which the rows may be used; travels with the data."""
    citation: str = ""
    """How its authors ask to be cited; travels with the data."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the format, plus `columns`, `ignore_columns`, `max_text_bytes`, `split` where
    there are several, and `config_name` and `data_dir` of hub data sets."""

    def __post_init__(self) -> None:
        """Refuses a specification that cannot be read, before anything is opened."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"source name {self.name!r}: use letters, digits, '.', '_' and '-' only"
            )
        if (self.path is None) == (self.hub_id is None):
            raise ValueError(f"source {self.name!r}: give exactly one of path and hub_id")
        if self.hub_id is not None and self.revision is None:
            raise ValueError(f"source {self.name!r}: pin hub data set {self.hub_id!r} by revision")
        if self.origin not in get_args(Origin):
            raise ValueError(
                f"source {self.name!r}: origin {self.origin!r} is not one of {get_args(Origin)}"
            )


@dataclass(frozen=True, slots=True)
class RecordedVerdict:
    """A person's verdict that ships with the data, against the sorted order of the responses."""

    content_id: bytes
    annotator: str
    """Who cast it, the same in all files of the source; `AnnotatorNumbers` names people by it."""
    verdict: int
    """+1 the response that sorts first is better, -1 the other one, 0 a tie."""


@dataclass(frozen=True, slots=True)
class QuarantinedRow:
    """A row that became no pair, with the reason and its first `RAW_CHARS` characters."""

    source: str
    row: int
    reason: str
    detail: str
    raw: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceBatch:
    """A stretch of consecutive rows: `num_rows + num_unfolded` is the sum of the three outcomes."""

    pairs: tuple[PreferencePair, ...]
    """Structurally sound pairs, in source order."""
    recorded_verdicts: tuple[RecordedVerdict, ...]
    """Verdicts about these pairs; empty for sources without any."""
    quarantined: tuple[QuarantinedRow, ...]
    """Rows that became no pair."""
    num_outside: int
    """Rows outside the part that the options select, for example other debates."""
    num_rows: int
    """Rows read, counted where they are read."""
    num_unfolded: int = 0
    """Candidates beyond one per row; below 0 where a candidate is spread over several rows."""
    unread_columns: Mapping[str, int] = field(default_factory=dict)
    """Columns that nobody read, and in how many rows each held something."""

    def pairs_table(self) -> pa.Table:
        """The pairs with `PAIR_SCHEMA`."""
        return pairs_to_table(self.pairs)

    def quarantine_table(self) -> pa.Table:
        """The quarantined rows with `QUARANTINE_SCHEMA`."""
        return quarantine_to_table(self.quarantined)

    def verdict_table(self) -> pa.Table:
        """The recorded verdicts with `VERDICT_SCHEMA`."""
        return verdicts_to_table(self.recorded_verdicts)


class RowRejected(Exception):
    """A row cannot become a pair; carries all reasons found, the deciding one first."""

    def __init__(self, *reasons: str, detail: str = "") -> None:
        super().__init__(*reasons)
        self.reasons = reasons
        self.detail = detail


@dataclass(frozen=True, slots=True)
class ParsedRow:
    """What a row format makes of a sound row."""

    pair: PreferencePair
    verdicts: tuple[RecordedVerdict, ...] = ()


@dataclass(frozen=True, slots=True)
class Unfolded:
    """What a row with several responses unfolds into: one outcome per candidate pair."""

    outcomes: tuple[ParsedRow | RowRejected, ...]
    """Each candidate as a pair, or the reason why it is none; never empty."""


def quarantine_to_table(rows: Iterable[QuarantinedRow]) -> pa.Table:
    """Arrow table with `QUARANTINE_SCHEMA`, one row per quarantined row, in order."""
    listed = list(rows)
    columns = [
        pa.array([getattr(row, name) for row in listed], QUARANTINE_SCHEMA.field(name).type)
        for name in QUARANTINE_SCHEMA.names
    ]
    return pa.Table.from_arrays(columns, schema=QUARANTINE_SCHEMA)


def verdicts_to_table(verdicts: Iterable[RecordedVerdict]) -> pa.Table:
    """Arrow table with `VERDICT_SCHEMA`, one row per verdict, in order."""
    listed = list(verdicts)
    return pa.Table.from_arrays(
        [
            id_array([verdict.content_id for verdict in listed]),
            pa.array([verdict.annotator for verdict in listed], pa.string()),
            pa.array([verdict.verdict for verdict in listed], pa.int8()),
        ],
        schema=VERDICT_SCHEMA,
    )
