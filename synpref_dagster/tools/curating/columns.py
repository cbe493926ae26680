"""Columns of numbers in files: rewards and labels of pairs, as the filter takes them.

Parquet is read in batches, column by column; anything else row by row, by the readers of sources.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from synpref_dagster.curation.filtering.score_columns import SCORE_SCHEMA
from synpref_dagster.pairs.columns import from_numbers, from_strings, to_numbers
from synpref_dagster.pairs.texts import first_line, printable
from synpref_dagster.tools.outputs import ROW

BATCH_ROWS = 500_000
ROWS_AT_A_TIME = 10_000
"""Rows of a file that is no Parquet which are Python objects at a time."""
PARQUET_MAGIC = b"PAR1"
PAIR_ID, JUDGES, PEOPLE = "pair_id", "judge_label", "human_label"
FILE, SHOWN = "file", 300
FILE_TYPE = pa.dictionary(pa.int32(), pa.string())
LABELS = (-1, 0, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Named:
    """What the columns of a file are called."""

    best: str = "best_margin"
    """Margin under the best RM; or `chosen,rejected`, the columns of the two rewards."""
    gold: str = "gold_margin"
    """The same under the gold RM."""
    judges: str | None = None
    """Label of the judges: 1 agrees with the source, -1 does not, 0 and null say nothing. None:
    `judge_label`, where there is one."""
    people: str | None = None
    """Label of people, null where nobody looked, 0 where they could not decide. None:
    `human_label`, where there is one."""

    def all(self) -> list[str]:
        """Every column that may be read."""
        margins = {part for name in (self.best, self.gold) for part in (name, *_parts(name))}
        labels = self.judges or JUDGES, self.people or PEOPLE
        return sorted({PAIR_ID, FILE, ROW, *margins, *labels})

    def check(self, columns: Sequence[str], where: str) -> None:
        """Refuse a file without a column that is needed.

        Raises:
            ValueError: it is not there; one line names those that are.
        """
        for name in (self.best, self.gold, self.judges, self.people):
            parts = _parts(name) if name and name not in columns else []
            if name and name not in columns and not (parts and {*parts} <= {*columns}):
                shown = printable(", ".join(map(str, columns)))[:SHOWN]
                raise ValueError(f"{where} has no column {name!r}; it has {shown or 'none'}")


@dataclass(frozen=True, slots=True)
class Rows:
    """A stretch of rows of one file."""

    files: pa.Array | pa.ChunkedArray
    """Dictionary of texts: which file each is of; of what `synpref score` wrote, the scored one."""
    numbers: pa.Array | pa.ChunkedArray
    """int64: rows of these files, from 0."""
    pair_ids: pa.Array
    """As they stand there; null where there are none."""
    scores: pa.Table
    """`SCORE_SCHEMA`; only the margins and labels are filled."""


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that could not be read."""

    file: str
    number: int
    reason: str
    detail: str
    raw: str


def score_rows(path: str, named: Named) -> Iterator[Rows | BrokenRow]:
    """Margins and labels of a file or of all files of a folder, in order.

    Raises:
        ValueError: there is no such file, a column is not there, or a cell is no number or label;
            one line names it.
    """
    files = [path] if Path(path).is_file() else _files(path)
    root = path.rstrip("/") + "/"
    for file in files:
        name = file.removeprefix(root) if file.startswith(root) else Path(file).name
        for found in _tables(file, named):
            if isinstance(found, BrokenRow):
                yield BrokenRow(name, found.number, found.reason, found.detail, found.raw)
                continue
            numbers, table = found
            yield _rows(name, numbers, table, named=named, where=file)


def _files(path: str) -> list[str]:
    """The files of a folder or another place; readers of sources cost as much as a million rows."""
    from synpref_dagster.sources.files.folders import source_files

    files = [str(each) for each in source_files(path).data]
    if not files:
        raise ValueError(f"no file below {path}")
    return files


def _tables(file: str, named: Named) -> Iterator[tuple[np.ndarray, pa.Table] | BrokenRow]:
    place = Path(file)
    if place.is_file():
        with place.open("rb") as opened:
            is_parquet = opened.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC
        if is_parquet:
            yield from _parquet(place, named)
            return
    yield from _row_by_row(file)


def _parquet(file: Path, named: Named) -> Iterator[tuple[np.ndarray, pa.Table]]:
    start = 0
    try:
        with pq.ParquetFile(file) as opened:
            there = opened.schema_arrow
            wanted = [name for name in named.all() if name in there.names]
            named.check(there.names, str(file))
            for batch in opened.iter_batches(BATCH_ROWS, columns=wanted):
                numbers = np.arange(start, start + batch.num_rows)
                start += batch.num_rows
                yield numbers, pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{file} cannot be read: {first_line(error)}") from error


def _row_by_row(file: str) -> Iterator[tuple[np.ndarray, pa.Table] | BrokenRow]:
    """Tables whose cells are numbers, texts or null; texts that are numbers are read as such."""
    from synpref_dagster.sources.files.rows import read_rows
    from synpref_dagster.sources.records import SourceSpec

    spec = SourceSpec(name="rewards", path=file, origin="human", licence="")
    rows: list[tuple[int, Mapping[str, Any]]] = []
    names: dict[str, None] = {}
    try:
        for row in read_rows(spec):
            if row.value is None:
                yield BrokenRow(file, row.number, row.problem, row.detail, row.excerpt())
                continue
            rows.append((row.number, row.value))
            names.update(dict.fromkeys(row.value))
            if len(rows) == ROWS_AT_A_TIME:
                yield _as_table(rows, names)
                rows = []
        if rows:
            yield _as_table(rows, names)
    except ValueError as error:
        raise ValueError(str(error).replace("source 'rewards': ", "")) from error


def _as_table(
    rows: Sequence[tuple[int, Mapping[str, Any]]], names: Mapping[str, None]
) -> tuple[np.ndarray, pa.Table]:
    columns = {name: as_column([value.get(name) for _, value in rows]) for name in names}
    return np.array([number for number, _ in rows], dtype=np.int64), pa.table(columns)


def as_column(cells: list[Any]) -> pa.Array:
    """Numbers where every cell is one or nothing, else texts; what is nested is no column."""
    numbers = [_number(cell) for cell in cells]
    if all(isinstance(number, float) or number is None for number in numbers):
        return pa.array(numbers, pa.float64())
    return pa.array([None if cell is None else str(cell) for cell in cells], pa.string())


def _number(cell: object) -> float | bool | None:
    """A number, None for nothing, False for what is neither."""
    if cell is None or cell == "":
        return None
    if isinstance(cell, bool):
        return False
    try:
        return float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return False


def _parts(name: str) -> list[str]:
    """The columns of two rewards; none of a name without a comma."""
    parts = [part.strip() for part in name.split(",")]
    return parts if len(parts) == 2 else []


def _rows(file: str, numbers: np.ndarray, table: pa.Table, *, named: Named, where: str) -> Rows:
    named.check(table.column_names, where)
    columns = {
        "best_margin": _margin(table, named.best, where=where),
        "gold_margin": _margin(table, named.gold, where=where),
        JUDGES: _label(table, named.judges or JUDGES, where=where),
        PEOPLE: _label(table, named.people or PEOPLE, where=where),
    }
    arrays = [columns.get(each.name, _nothing(table, each.type)) for each in SCORE_SCHEMA]
    ids = table[PAIR_ID] if PAIR_ID in table.column_names else _nothing(table, pa.string())
    files, rows = _places(table, file, numbers)
    return Rows(files, rows, ids, pa.Table.from_arrays(arrays, schema=SCORE_SCHEMA))


def _places(
    table: pa.Table, file: str, numbers: np.ndarray
) -> tuple[pa.Array | pa.ChunkedArray, pa.Array | pa.ChunkedArray]:
    """File and row of each, those that a scoring wrote down before those of this file."""
    if {FILE, ROW} <= {*table.column_names} and _is_text(table[FILE]):
        files, rows = table[FILE], table[ROW]
        is_number = pa.types.is_integer(rows.type) or pa.types.is_floating(rows.type)
        if is_number and not files.null_count + rows.null_count:
            try:
                return files.cast(pa.string()).dictionary_encode(), rows.cast(pa.int64())
            except pa.ArrowInvalid:
                pass  # no row numbers: columns of these names that mean something else
    here = pa.DictionaryArray.from_arrays(
        from_numbers(np.zeros(len(numbers), dtype=np.int32)), from_strings([file])
    )
    return here, from_numbers(numbers.astype(np.int64))


def _is_text(column: pa.ChunkedArray) -> bool:
    kind = column.type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _nothing(table: pa.Table, kind: pa.DataType) -> pa.Array:
    if isinstance(kind, pa.BaseExtensionType):
        storage = pa.nulls(table.num_rows, kind.storage_type)
        return pa.ExtensionArray.from_storage(kind, storage)
    return pa.nulls(table.num_rows, kind)


def _margin(table: pa.Table, name: str, *, where: str) -> pa.ChunkedArray:
    if name in table.column_names:
        return _floats(table, name, where=where).cast(pa.float32(), safe=False)
    chosen, rejected = (_floats(table, part, where=where) for part in _parts(name))
    return pc.subtract(chosen, rejected).cast(pa.float32(), safe=False)


def _floats(table: pa.Table, name: str, *, where: str) -> pa.ChunkedArray:
    column = table[name]
    if pa.types.is_null(column.type):
        return column.cast(pa.float32())
    if pa.types.is_float32(column.type) or pa.types.is_float64(column.type):
        return column
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return column.cast(pa.float64(), safe=False)
    raise ValueError(f"{where}: column {name!r} holds {_shown(column)}, which is no reward")


def _label(table: pa.Table, name: str, *, where: str) -> pa.ChunkedArray | pa.Array:
    if name not in table.column_names or pa.types.is_null(table[name].type):
        return _nothing(table, pa.int8())
    column = table[name]
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise ValueError(_no_label(where, name, _shown(column)))
    if not pa.types.is_int8(column.type):
        floats = column.cast(pa.float64(), safe=False)
        column = pc.if_else(pc.is_nan(floats), pa.scalar(None, pa.float64()), floats)
    values = to_numbers(column, null=0)
    if (wrong := np.flatnonzero(~np.isin(values, LABELS))).size:
        raise ValueError(_no_label(where, name, values[wrong[0]]))
    return column.cast(pa.int8())


def _no_label(where: str, name: str, value: object) -> str:
    return (
        f"{where}: column {name!r} holds {value}, which is no label: 1 agrees with the source, "
        "-1 disagrees, 0 is undecided, null says nothing"
    )


def _shown(column: pa.ChunkedArray) -> str:
    known = column.drop_null()
    return printable(repr(known[0].as_py()))[:40] if len(known) else str(column.type)
