"""Where a tool writes: one file that appears whole, its quarantine and its work beside it."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from synpref_dagster.storage.arrow_types import dictionary_columns
from synpref_dagster.storage.atomic import beside, put_in_place

PARQUET, JSON_LINES = ".parquet", ".jsonl"
QUARANTINE = "quarantine.jsonl"
ROWS_AT_A_TIME = 2_000
"""Rows that are Python objects at a time where lines are written."""
ROW = "row"
UNIQUE = (ROW, "pair_id")
"""Columns of which no two rows have the same value: a dictionary would only be in the way."""
Write = Callable[[pa.Table], None]


def checked_output(
    output: Path, files: Sequence[str | Path], *, force: bool, what: str = "rows"
) -> Path:
    """The output, unless something speaks against it before anything is read.

    Args:
        output: where rows will go.
        files: files or folders that are read, which must not be lost.
        force: replace an output that is there.
        what: is written, in the plural.

    Raises:
        ValueError: another suffix, a folder that is not there, an input that would be lost, or
            an output that is there already.
    """
    if output.suffix not in (PARQUET, JSON_LINES):
        raise ValueError(f"{output}: {what} are written as {PARQUET} or {JSON_LINES}; name one")
    if not output.parent.is_dir():
        raise ValueError(f"{output}: there is no folder {output.parent}; make it first")
    inputs = [Path(file) for file in files]
    for file in inputs:
        if file.is_dir() and output.resolve().is_relative_to(file.resolve()):
            raise ValueError(
                f"{output} lies in the folder that is read; name a place outside {file}"
            )
    aside = quarantine_of(output)
    for place in (output, aside):
        if place.is_dir():
            raise ValueError(f"{place} is a folder; name a file")
        if place.exists() and any(each.exists() and place.samefile(each) for each in inputs):
            raise ValueError(f"{place} is the input, which would be lost; name another output")
        is_going_on = place == aside and work_of(output).is_dir()
        if place.exists() and not (force or is_going_on):
            raise ValueError(f"{place} is there already: name another output, or give --force")
    return output


def work_of(output: Path) -> Path:
    """The hidden folder in which finished parts lie until the output is there."""
    return output.with_name(f".{output.name}.work")


def quarantine_of(output: Path) -> Path:
    """Where the rows go that are not in the output."""
    return output.with_suffix(f".{QUARANTINE}")


def set_aside(quarantine: Path, target: Path, *, is_needed: bool) -> Path | None:
    """The quarantine beside the output; none is left there of an earlier call."""
    if is_needed:
        part = beside(target)  # a copy: whoever is killed now finds it again
        shutil.copyfile(quarantine, part)
        put_in_place(part, target)
        return target
    target.unlink(missing_ok=True)
    return None


@contextmanager
def writer(part: Path, *, as_parquet: bool, schema: pa.Schema) -> Iterator[Write]:
    """Writes tables of one schema behind each other, as Parquet or as JSON lines."""
    if as_parquet:
        names = [name for name in dictionary_columns(schema) if name not in UNIQUE]
        encoding = {name: "DELTA_BINARY_PACKED" for name in schema.names if name == ROW}
        with pq.ParquetWriter(
            part, schema, compression="zstd", use_dictionary=names, column_encoding=encoding
        ) as opened:
            yield opened.write_table
        return
    with part.open("w", encoding="utf-8") as lines:
        yield lambda rows: lines.writelines(
            json.dumps(row, ensure_ascii=False) + "\n"
            for batch in rows.to_batches(max_chunksize=ROWS_AT_A_TIME)
            for row in batch.to_pylist()
        )
