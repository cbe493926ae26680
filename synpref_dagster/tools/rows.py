"""A file of pairs or responses as candidates to score, each with the row that it comes from.

Whatever a source of a campaign may be is read by the same readers; rows that become nothing go to
a file of their own with their reason, and everything is counted.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

import pyarrow as pa

from synpref_dagster import __version__
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.pairs.texts import Conversation, printable
from synpref_dagster.reward.folders import write_json
from synpref_dagster.sources.files.folders import source_files
from synpref_dagster.sources.files.identity import content_identity
from synpref_dagster.sources.files.rows import read_rows
from synpref_dagster.sources.foreign.columns import with_prompt
from synpref_dagster.sources.reading import DETECTION_ROWS, read_source
from synpref_dagster.sources.records import QuarantinedRow, SourceBatch, SourceSpec
from synpref_dagster.sources.registry import FORMATS
from synpref_dagster.sources.renaming import chosen_columns, renamed_columns
from synpref_dagster.sources.responses import LAYOUT, Answer, holds_responses, read_answers
from synpref_dagster.storage import DatasetRef, build_dataset, join_uri, step_key
from synpref_dagster.tools.outputs import QUARANTINE
from synpref_dagster.tools.running import CHUNK

Kind = Literal["pairs", "responses"]
AUTO, RESPONSES = "auto", "responses"
SOURCE = "input"  # what the readers call the file; nobody reads it
COUNTS = "reading.json"
KEY_DIGITS = 16
CANDIDATE_SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("row", pa.int64()),
        ("pair_id", pa.string()),
        ("place", pa.int32()),
        ("conversation", pa.string()),
        ("response", pa.string()),
    ]
)
"""`place`: of a pair 0 chosen and 1 rejected, else the number of the response in its row."""


@dataclass(kw_only=True, slots=True)
class Reading:
    """What reading came to: rows read are those of pairs or responses, quarantined and outside."""

    kind: Kind
    num_rows: int = 0
    num_items: int = 0
    """Pairs, or single responses."""
    num_unfolded: int = 0
    """Candidates beyond one per row, of formats whose rows hold several pairs."""
    num_outside: int = 0
    """Rows outside the part that a format selects."""
    quarantined: dict[str, int] = field(default_factory=dict)
    """Reason -> rows (of several responses in a row: responses)."""
    unread: dict[str, int] = field(default_factory=dict)
    """Columns that were not read -> rows in which they held something."""
    skipped: list[str] = field(default_factory=list)
    """Files of a folder that are no data by their names."""

    def add(self, batch: SourceBatch) -> None:
        """Count what a stretch of rows came to."""
        self.num_rows += batch.num_rows
        self.num_outside += batch.num_outside
        self.num_items += len(batch.pairs)
        self.num_unfolded += batch.num_unfolded
        _add(self.quarantined, Counter(row.reason for row in batch.quarantined))
        _add(self.unread, batch.unread_columns)


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """A file or folder to read, and how."""

    path: str
    layout: str = AUTO
    """`auto`, `responses`, or the name of a format of pairs."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Known name -> name in the data."""
    seed: int = 0
    """Of formats that draw which response is the chosen one."""

    def spec(self, path: str) -> SourceSpec:
        """One of its files, for the readers."""
        options = {"columns": dict(self.columns)} if self.columns else {}
        layout = AUTO if self.layout == RESPONSES else self.layout
        return SourceSpec(
            name=SOURCE, path=path, format=layout, origin="human", licence="", options=options
        )


def read_candidates(given: Input, *, work: Path) -> tuple[DatasetRef, Reading, Path]:
    """The responses of a file as a data set of `CANDIDATE_SCHEMA`; read once, whoever is killed.

    The two of a pair stand beside each other, chosen first.

    Args:
        given: what to read.
        work: folder of all scorings that have this output.

    Returns:
        The candidates, what reading came to, and the folder of this very input below `work`: the
        quarantined rows are its file `QUARANTINE`.

    Raises:
        ValueError: no such file, or no layout that is known; one line.
    """
    try:
        files = source_files(given.path)
        paths = [str(path) for path in files.data]
        if not paths:
            raise ValueError(f"no file below {given.path}")
        kind = _kind(given, paths)
        params = {"kind": kind, "layout": given.layout, "columns": dict(given.columns)}
        step = step_key(
            version=__version__,
            inputs=[content_identity(path) for path in paths],
            params={**params, "seed": given.seed, "chunk": CHUNK, "names": _names(given, paths)},
        )
        counted = Reading(kind=kind, skipped=[Path(each).name for each in files.skipped])
        place = work / step[:KEY_DIGITS]
        place.mkdir(parents=True, exist_ok=True)
        compute = partial(_tables, given, paths, counted=counted, work=place)
        ref = build_dataset(join_uri(str(place), "candidates"), step=step, compute=compute)
    except ValueError as error:
        raise ValueError(str(error).replace(f"source {SOURCE!r}: ", "")) from error
    return ref, Reading(**json.loads((place / COUNTS).read_text(encoding="utf-8"))), place


def _kind(given: Input, paths: list[str]) -> Kind:
    """Whether the first file that says so holds pairs or responses."""
    if given.layout == RESPONSES:
        return "responses"
    if given.layout != AUTO:
        if given.layout not in FORMATS:
            raise ValueError(
                f"unknown format {given.layout!r}: use {AUTO}, {RESPONSES}, {', '.join(FORMATS)}"
            )
        return "pairs"
    shown: dict[str, None] = {}
    for path in paths:
        spec = given.spec(path)
        rows = chosen_columns(read_rows(spec), spec, renamed_columns(spec))
        for row in islice((row.value for row in rows if row.value), DETECTION_ROWS):
            if any(known.matches(with_prompt(row)) for known in FORMATS.values()):
                return "pairs"
            if holds_responses(row):
                return "responses"
            shown.update(dict.fromkeys(row))
    if not shown:
        return "pairs"  # nothing to see: every row is quarantined, or there is none
    raise ValueError(
        f"{given.path} holds neither pairs nor responses: its columns are "
        f"{printable(', '.join(map(str, shown)))[:300]}. Responses are {LAYOUT}; layouts of pairs "
        "are listed in docs/sources.md. Rename columns with --column KNOWN=YOURS"
    )


def _names(given: Input, paths: list[str]) -> list[str]:
    """What files are called in the output: below a folder by their path there."""
    root = given.path.rstrip("/") + "/"
    return [path.removeprefix(root) if path.startswith(root) else Path(path).name for path in paths]


def _tables(given: Input, paths: list[str], *, counted: Reading, work: Path) -> Iterator[pa.Table]:
    """The candidates in tables of `CHUNK` rows; what was counted is written at the end."""
    with (work / QUARANTINE).open("w", encoding="utf-8") as aside:
        rows: list[tuple[Any, ...]] = []
        for name, path in zip(_names(given, paths), paths, strict=True):
            read = _pairs if counted.kind == "pairs" else _answers
            for row in read(given, path, name=name, counted=counted, aside=aside):
                rows.append(row)
                # Pairs come as two rows, and a chunk is even: none is torn.
                if len(rows) == CHUNK:
                    yield _table(rows)
                    rows = []
        if rows or not counted.num_items:
            yield _table(rows)
    write_json(work / COUNTS, asdict(counted))


def _pairs(
    given: Input, path: str, *, name: str, counted: Reading, aside: IO[str]
) -> Iterator[tuple[Any, ...]]:
    for batch in read_source(given.spec(path), seed=given.seed):
        counted.add(batch)
        _set_aside(batch.quarantined, name=name, aside=aside)
        for pair in batch.pairs:
            yield from _sides(name, pair)


def _sides(name: str, pair: PreferencePair) -> Iterator[tuple[Any, ...]]:
    asked = _as_json(pair.conversation)
    for place, response in enumerate((pair.chosen, pair.rejected)):
        yield name, pair.meta["row"], pair.pair_id.hex(), place, asked, response


def _answers(
    given: Input, path: str, *, name: str, counted: Reading, aside: IO[str]
) -> Iterator[tuple[Any, ...]]:
    unread: Counter[str] = Counter()
    last = -1
    for found in read_answers(given.spec(path), unread):
        counted.num_rows += found.row != last
        last = found.row
        if isinstance(found, Answer):
            counted.num_items += 1
            asked = _as_json(found.conversation)
            yield name, found.row, None, found.place, asked, found.response
        else:
            _add(counted.quarantined, {found.reason: 1})
            _set_aside([found], name=name, aside=aside)
    _add(counted.unread, {printable(str(column)): number for column, number in unread.items()})


def _set_aside(rows: Iterable[QuarantinedRow], *, name: str, aside: IO[str]) -> None:
    for row in rows:
        told = {"file": name, "row": row.row, "reason": row.reason, "detail": row.detail}
        aside.write(json.dumps({**told, "raw": row.raw}, ensure_ascii=False) + "\n")


def _add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for name, number in more.items():
        counts[name] = counts.get(name, 0) + number


def _as_json(conversation: Conversation) -> str:
    return json.dumps(list(conversation), ensure_ascii=False)


def _table(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [[] for _ in CANDIDATE_SCHEMA]
    arrays = [
        pa.array(list(column), kind)
        for column, kind in zip(columns, CANDIDATE_SCHEMA.types, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=CANDIDATE_SCHEMA)
