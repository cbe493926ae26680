"""The curated pairs as a folder that `datasets.load_dataset` and TRL read as it is.

Columns are TRL's conversational format with an explicit prompt, and where each label comes from.
The folder is written beside its place and moved there whole.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from synpref_dagster.curation.release.curated_rows import SPLITS
from synpref_dagster.curation.release.shards import EXPORT_SCHEMA
from synpref_dagster.publishing.release.folder import MANIFEST, changed_files, write_manifest
from synpref_dagster.storage.atomic import beside, put_in_place, remove

ROWS_PER_FILE = 100_000
WRITTEN_SCHEMA = pa.schema([field for field in EXPORT_SCHEMA if field.name != "split"])


def write_export(
    tables: Iterable[pa.Table],
    target: Path,
    *,
    num_rows: Mapping[str, int],
    texts: Mapping[str, str],
    manifest: Mapping[str, Any],
) -> Path:
    """Write the data folder; one of the same content is left as it is.

    Args:
        tables: rows of `EXPORT_SCHEMA`, one table in memory at a time.
        target: the folder, named by its content.
        num_rows: how many rows each split has, which the names of its files say.
        texts: card, licence, attribution and usage by file name.
        manifest: what the data was made from.

    Raises:
        ValueError: the tables hold other numbers of rows.
    """
    part = beside(target)
    (part / "data").mkdir(parents=True)
    files = {split: _SplitFiles(part / "data", split, num_rows.get(split, 0)) for split in SPLITS}
    for table in tables:
        for split, each in files.items():
            each.write(table.filter(pc.equal(table["split"], split)).drop_columns(["split"]))
    for each in files.values():
        each.finish()
    for name, text in texts.items():
        (part / name).write_text(text, encoding="utf-8")
    write_manifest(part, manifest)
    if (target / MANIFEST).is_file() and _same(part, target):
        remove(part)
    else:
        put_in_place(part, target)
    return target


class _SplitFiles:
    """The files of one split, `ROWS_PER_FILE` rows each, written as the rows come."""

    def __init__(self, folder: Path, split: str, num_rows: int) -> None:
        self._folder, self._split, self._num_rows = folder, split, num_rows
        self._num_files = max(1, -(-num_rows // ROWS_PER_FILE))
        self._num_written = 0
        self._open: pq.ParquetWriter | None = None

    def write(self, rows: pa.Table) -> None:
        """Append rows; a file that is full is closed, and the next one begun."""
        while rows.num_rows:
            room = ROWS_PER_FILE - self._num_written % ROWS_PER_FILE
            if self._open is None:
                self._open = self._begin(self._num_written // ROWS_PER_FILE)
            self._open.write_table(rows.slice(0, room))
            self._num_written += min(room, rows.num_rows)
            if self._num_written % ROWS_PER_FILE == 0:
                self._close()
            rows = rows.slice(room)

    def finish(self) -> None:
        """Close the last file; a split without rows is one empty file."""
        if self._num_written != self._num_rows:
            raise ValueError(
                f"{self._num_written:,} rows of split {self._split!r} came, {self._num_rows:,} "
                "were announced: materialize the curated data set again"
            )
        if not self._num_rows:
            self._open = self._begin(0)
        self._close()

    def _begin(self, number: int) -> pq.ParquetWriter:
        name = f"{self._split}-{number:05d}-of-{self._num_files:05d}.parquet"
        return pq.ParquetWriter(self._folder / name, WRITTEN_SCHEMA, compression="zstd")

    def _close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


def _same(first: Path, second: Path) -> bool:
    same = (first / MANIFEST).read_bytes() == (second / MANIFEST).read_bytes()
    return same and not changed_files(second)
