"""`read_source`: streams a source as batches of pairs, recorded verdicts and quarantined rows."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.pairs.structure import seen
from synpref_dagster.pairs.texts import printable, storable
from synpref_dagster.sources.files.raw_rows import RawRow
from synpref_dagster.sources.files.rows import read_rows
from synpref_dagster.sources.foreign.columns import ColumnReader, with_prompt
from synpref_dagster.sources.foreign.messages import unwrapped
from synpref_dagster.sources.formats.fields import RowFormat, max_text_bytes
from synpref_dagster.sources.records import (
    ParsedRow,
    QuarantinedRow,
    RecordedVerdict,
    RowRejected,
    SourceBatch,
    SourceSpec,
    Unfolded,
)
from synpref_dagster.sources.registry import FORMATS, detect_format
from synpref_dagster.sources.renaming import chosen_columns, renamed_columns

BATCH_ROWS = 10_000
BATCH_CHARS = 32 * 2**20
"""Text after which a batch of long rows ends before its number of rows is reached."""
DETECTION_ROWS = 100
"""A format is recognised by the first of this many rows that fits one: the first may be broken."""
HEADER, MAX_NAME = "repeated_header", 200  # why a row is none; characters of a column's name
HUB_OPTIONS = frozenset({"split", "config_name", "data_dir"})
COMMON_OPTIONS = HUB_OPTIONS | {"columns", "ignore_columns", "max_text_bytes"}


def read_source(
    spec: SourceSpec,
    *,
    seed: int,
    batch_rows: int = BATCH_ROWS,
    storage_options: Mapping[str, Any] | None = None,
) -> Iterator[SourceBatch]:
    """Reads a source in batches of `batch_rows` rows, fewer where rows are long.

    Args:
        spec: which source, in which format, with which options.
        seed: for formats that draw a label; the same seed draws the same labels.
        batch_rows: rows per batch, at most.
        storage_options: passed to the file system, for example an S3 endpoint.

    Yields:
        Batches whose pairs, quarantined rows and rows outside add up to the candidates read:
        one per row, more where a row holds several responses.

    Raises:
        ValueError: no such file, unknown format or option, no row of a known format, or a prompt
            that would be guessed although a column may hold it.
    """
    rows = _opened(spec, storage_options)
    head = _detection_rows(rows)
    row_format = _row_format(spec, head)
    read = row_format.reader(spec, seed=seed) if row_format else None
    columns = _column_reader(row_format)
    stream = _with_context(chain(head, rows), columns)
    if row_format and row_format.group:
        stream = row_format.group(stream)
    batch = _Batch(spec, columns.unread)
    for row in stream:
        batch.num_rows += row.num_rows
        try:
            if row.value is None or read is None:
                raise RowRejected(row.problem, detail=row.detail)
            outcome = read(row.value, row.number)
        except RowRejected as rejection:
            outcome = Unfolded((rejection,))
        batch.add(row, outcome)
        if batch.num_rows >= batch_rows or batch.num_chars >= BATCH_CHARS:
            yield batch.finished()
            batch = _Batch(spec, columns.unread)
    if batch.num_rows:
        yield batch.finished()


def format_of(spec: SourceSpec) -> str | None:
    """Name of the format in which `read_source` reads a source; None without a readable row.

    Raises:
        ValueError: as `read_source`, for what its first rows show.
    """
    row_format = _row_format(spec, _detection_rows(_opened(spec, None)))
    return row_format.name if row_format else None


def _opened(spec: SourceSpec, storage_options: Mapping[str, Any] | None) -> Iterator[RawRow]:
    """The rows of a source under the names that are known."""
    renamed = renamed_columns(spec)
    _check_hub_options(spec)
    found = read_rows(spec, storage_options=storage_options)
    if spec.path is None:
        found = _of_python(found)
    return chosen_columns(_without_headers(found), spec, renamed)


class _Batch:
    """The rows read so far of one batch."""

    def __init__(self, spec: SourceSpec, unread: Counter[str]) -> None:
        self.spec = spec
        self.unread = unread
        self.pairs: list[PreferencePair] = []
        self.verdicts: list[RecordedVerdict] = []
        self.quarantined: list[QuarantinedRow] = []
        self.num_outside = 0
        self.num_rows = 0
        self.num_unfolded = 0
        self.num_chars = 0

    def add(self, row: RawRow, outcome: ParsedRow | Unfolded | None) -> None:
        if outcome is None:
            self.num_outside += row.num_rows
            return
        candidates = outcome.outcomes if isinstance(outcome, Unfolded) else (outcome,)
        self.num_unfolded += len(candidates) - row.num_rows
        raw = row.excerpt
        for candidate in candidates:
            if isinstance(candidate, RowRejected):
                self.quarantined.append(_quarantine(row, self.spec, candidate, raw=raw()))
                # One excerpt per row is enough, however many of its candidates are refused.
                raw = str
            else:
                self.pairs.append(candidate.pair)
                self.num_chars += _num_chars(candidate.pair)
                self.verdicts.extend(candidate.verdicts)

    def finished(self) -> SourceBatch:
        unread = {printable(str(name)): count for name, count in self.unread.items()}
        self.unread.clear()
        return SourceBatch(
            pairs=tuple(self.pairs),
            recorded_verdicts=tuple(self.verdicts),
            quarantined=tuple(self.quarantined),
            num_outside=self.num_outside,
            num_rows=self.num_rows,
            num_unfolded=self.num_unfolded,
            unread_columns=unread,
        )


def _num_chars(pair: PreferencePair) -> int:
    turns = sum(len(turn["content"]) for turn in pair.conversation)
    return turns + len(pair.chosen) + len(pair.rejected)


def _quarantine(
    row: RawRow, spec: SourceSpec, rejection: RowRejected, *, raw: str
) -> QuarantinedRow:
    reason, *others = rejection.reasons
    also = f"also {', '.join(others)}" if others else ""
    return QuarantinedRow(
        source=spec.name,
        row=row.number,
        reason=reason,
        detail=storable("; ".join(filter(None, (rejection.detail, also)))),
        raw=raw,
    )


def _detection_rows(rows: Iterator[RawRow]) -> list[RawRow]:
    head: list[RawRow] = []
    readable = 0
    while readable < DETECTION_ROWS and (row := next(rows, None)) is not None:
        head.append(row)
        readable += row.value is not None
    return head


def _row_format(spec: SourceSpec, head: list[RawRow]) -> RowFormat | None:
    """The source's format; None for a source without a single readable row."""
    if spec.format != "auto":
        name = spec.format
    elif detected := _detect(spec, head):
        name = detected
    else:
        return None
    if name not in FORMATS:
        raise ValueError(
            f"source {spec.name!r}: unknown format {name!r}; use auto or one of "
            f"{', '.join(FORMATS)}"
        )
    unknown = set(spec.options) - COMMON_OPTIONS - FORMATS[name].options
    if unknown:
        known = ", ".join(sorted(COMMON_OPTIONS | FORMATS[name].options))
        raise ValueError(
            f"source {spec.name!r}: format {name} has no option {', '.join(sorted(unknown))}; "
            f"it has {known}"
        )
    limit = max_text_bytes(spec)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ValueError(f"source {spec.name!r}: max_text_bytes {limit!r} must be 1 or more")
    return FORMATS[name]


def _detect(spec: SourceSpec, head: list[RawRow]) -> str | None:
    values = [with_prompt(row.value) for row in head if row.value is not None]
    if not values:
        return None
    fitting = (value for value in values if any(known.matches(value) for known in FORMATS.values()))
    first = next(fitting, values[0])
    try:
        name = detect_format(first.keys(), first)
        if FORMATS[name].guesses_prompt:
            _refuse_guessing([row.value for row in head if row.value is not None])
    except ValueError as error:
        raise ValueError(f"source {spec.name!r}: {error}") from error
    return name


def _column_reader(row_format: RowFormat | None) -> ColumnReader:
    if row_format is None:
        return ColumnReader(frozenset(), None, guesses=False)
    return ColumnReader(row_format.columns, row_format.asks, guesses=row_format.guesses_prompt)


def _with_context(rows: Iterator[RawRow], columns: ColumnReader) -> Iterator[RawRow]:
    """The rows with their context in the conversation; without a place for it one is a problem."""
    for row in rows:
        try:
            value = row.value and columns.read(row.value)
        except RowRejected as rejection:
            (reason, *_), detail = rejection.reasons, rejection.detail
            row = replace(row, value=None, raw=row.excerpt(), problem=reason, detail=detail)
        else:
            if value is not row.value:
                row = replace(row, value=value)
        yield row


def _without_headers(rows: Iterator[RawRow]) -> Iterator[RawRow]:
    """The rows; one that says the names of its columns is a header among rows, and a problem."""
    for row in rows:
        if row.value and all(_is_name(cell, name) for name, cell in row.value.items()):
            detail = "each cell is the name of its column: files were put behind each other"
            row = replace(row, value=None, raw=row.excerpt(), problem=HEADER, detail=detail)
        yield row


def _is_name(cell: object, name: str) -> bool:
    return type(cell) is str and len(cell) < MAX_NAME and seen(cell) == seen(name)


def _check_hub_options(spec: SourceSpec) -> None:
    for option in sorted(HUB_OPTIONS & spec.options.keys()):
        if not isinstance(spec.options[option], str):
            raise ValueError(
                f"source {spec.name!r}: {option} {spec.options[option]!r} must be one name"
            )


def _of_python(rows: Iterator[RawRow]) -> Iterator[RawRow]:
    """The rows without types of NumPy and pandas, which data sets of the hub may hold."""
    for row in rows:
        value = row.value and {name: unwrapped(cell) for name, cell in row.value.items()}
        yield replace(row, value=value)


def _refuse_guessing(values: list[Mapping[str, Any]]) -> None:
    """Refuses to infer a prompt while a column of the first rows may hold it."""
    columns = _column_reader(FORMATS["implicit_plain"])
    for value in values:
        try:
            columns.read(value)
        except RowRejected as rejection:
            raise ValueError(
                f"no known preference format has the columns {', '.join(value)} without guessing "
                f"the prompt: {rejection.detail}"
            ) from rejection
