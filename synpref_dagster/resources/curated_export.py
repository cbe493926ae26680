"""The curated pairs as a folder that `datasets.load_dataset` and TRL read as it is.

Columns are TRL's conversational format with an explicit prompt, and where each label comes from.
The folder is written beside its place and moved there whole.
"""

import shutil
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from synpref_dagster.curation.curated_rows import SPLITS, decided_rows, rows_of_shard
from synpref_dagster.curation.pairs import CONVERSATION_TYPE, PreferencePair
from synpref_dagster.resources.pool_shards import shard_pairs
from synpref_dagster.resources.release_folder import MANIFEST, write_manifest
from synpref_dagster.storage import DatasetRef, read_table

ROWS_PER_FILE = 100_000
EXPORT_SCHEMA = pa.schema(
    [
        ("prompt", CONVERSATION_TYPE),
        ("chosen", CONVERSATION_TYPE),
        ("rejected", CONVERSATION_TYPE),
        ("pair_id", pa.string()),
        ("source", pa.string()),
        ("tier", pa.string()),
        ("flipped", pa.bool_()),
        ("split", pa.string()),
    ]
)

WRITTEN_SCHEMA = pa.schema([field for field in EXPORT_SCHEMA if field.name != "split"])


def export_table(pairs: Iterable[PreferencePair], origin: pd.DataFrame, *, split: str) -> pa.Table:
    """Pairs under their curated label, one row each.

    Args:
        pairs: the pairs, oriented.
        origin: content_id, tier and label (-1: the reverse of the source's) of each.
        split: `train` or `validation`.
    """
    known = {row.content_id: (row.tier, row.label < 0) for row in origin.itertuples()}
    rows = []
    for pair in pairs:
        tier, flipped = known[pair.content_id]
        rows.append(
            {
                "prompt": list(pair.conversation),
                "chosen": [{"role": "assistant", "content": pair.chosen}],
                "rejected": [{"role": "assistant", "content": pair.rejected}],
                "pair_id": pair.pair_id.hex(),
                "source": pair.source,
                "tier": tier,
                "flipped": flipped,
                "split": split,
            }
        )
    return pa.Table.from_pylist(rows, schema=EXPORT_SCHEMA)


def decided_shard(
    decided: pa.Table, *, decision: str, stage_one: str, stage_one_at: DatasetRef
) -> pa.Table:
    """`curated_rows.decided_rows` of one shard of the decisions.

    Args:
        decided: kept or dropped pairs of a clean shard.
        decision: which of them.
        stage_one: fingerprint of what stage 1 labelled, part of what identifies the work.
        stage_one_at: where that lies.
    """
    return decided_rows(decided, _stage_one(stage_one, stage_one_at), decision=decision)


def export_shard(  # noqa: PLR0917 - shards that go side by side
    clean: pa.Table,
    kept: pa.Table,
    flipped: pa.Table,
    texts: pa.Table,
    *,
    stage_one: str,
    stage_one_at: DatasetRef,
) -> pa.Table:
    """The curated pairs of one clean shard with `EXPORT_SCHEMA`: those that train come first.

    Args:
        clean: a shard of the clean pool.
        kept: its pairs that train under their source label.
        flipped: its pairs that train under the opposite one.
        texts: the raw shard that it comes from.
        stage_one: see `decided_shard`, like the next.
        stage_one_at: where it lies.
    """
    known = _stage_one(stage_one, stage_one_at)
    rows = rows_of_shard(clean, kept=kept, flipped=flipped, stage_one=known)
    pairs = shard_pairs(clean.take(pa.array(rows["place"])), texts)
    labels = rows["label"].to_numpy()
    turned = [
        each if label > 0 else each.flipped() for each, label in zip(pairs, labels, strict=True)
    ]
    origin = rows.assign(content_id=pd.Series([each.content_id for each in pairs], dtype=object))
    parts = [EXPORT_SCHEMA.empty_table()]
    for split in SPLITS:
        of_split = origin["split"] == split
        chosen = [each for each, wanted in zip(turned, of_split, strict=True) if wanted]
        parts.append(export_table(chosen, origin[of_split], split=split))
    return pa.concat_tables(parts)


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
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
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
        shutil.rmtree(part)
        return target
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)
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


@lru_cache(maxsize=1)
def _stage_one(fingerprint: str, ref: DatasetRef) -> pa.Table:
    if ref.fingerprint != fingerprint:
        raise ValueError(f"labels {ref.fingerprint} given, but {fingerprint} asked for")
    return read_table(ref)


def _same(first: Path, second: Path) -> bool:
    return (first / MANIFEST).read_bytes() == (second / MANIFEST).read_bytes()
