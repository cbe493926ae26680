"""A selection as files: the kept pairs as one, all other rows with their reasons as another."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from synpref_dagster.curation.contamination.recheck import CONTAMINATED
from synpref_dagster.curation.pool.selection import DUPLICATE
from synpref_dagster.curation.release.shards import EXPORT_SCHEMA, export_table
from synpref_dagster.pairs.ids import id_keys
from synpref_dagster.sources.records import RAW_CHARS
from synpref_dagster.storage import SelectionRef, iter_tables
from synpref_dagster.storage.atomic import beside, put_in_place
from synpref_dagster.tools.curating.reading import RawFiles
from synpref_dagster.tools.outputs import PARQUET, ROWS_AT_A_TIME, writer

KEPT_SCHEMA = pa.schema(
    [
        *(EXPORT_SCHEMA.field(name) for name in ("prompt", "chosen", "rejected", "pair_id")),
        ("file", pa.string()),
        ("row", pa.int64()),
        ("risk", pa.string()),
    ]
)
"""`risk`: what speaks against a pair that is kept, a contradictory label or a preference cycle."""
EVIDENCE = ["benchmark", "item_id", "gram", "rule"]


@dataclass(slots=True)
class Written:
    """What went into the two files."""

    num_kept: int = 0
    num_left_out: int = 0
    """Rows that were no pairs, and pairs that were dropped."""
    dropped: Counter[str] = field(default_factory=Counter)
    marked: Counter[str] = field(default_factory=Counter)
    contaminated: Counter[str] = field(default_factory=Counter)


def write_pool(target: Path, raw: RawFiles, pool: SelectionRef, *, quarantine: Path) -> Written:
    """Write a selection shard by shard: what is held of other shards is 12 bytes a pair.

    Args:
        target: for the kept pairs, in the order of the input; it appears whole.
        raw: what was read.
        pool: kept and dropped pairs, one shard per shard of `raw`.
        quarantine: for the rows that are not kept: those that were no pairs come first.
    """
    written, places = Written(), _Places(raw)
    part = beside(target)
    with (
        quarantine.open("w", encoding="utf-8") as aside,
        writer(part, as_parquet=target.suffix == PARQUET, schema=KEPT_SCHEMA) as write,
    ):
        for row in _no_pairs(raw):
            written.num_left_out += 1
            _tell(aside, row)
        shards = (iter_tables(each) for each in (raw.pairs, pool.kept, pool.dropped))
        for texts, kept, dropped in zip(*shards, strict=True):
            places.add(texts)
            rows = _rows_of(texts, kept, dropped)
            own = rows[: kept.num_rows]
            write(_kept(texts.take(pa.array(own)), kept, places.of_shard(own)))
            left = rows[kept.num_rows :]
            for row in _left_out(texts.take(pa.array(left)), dropped, places=places, rows=left):
                _tell(aside, row)
            _count(written, kept, dropped)
    put_in_place(part, target)
    return written


class _Places:
    """In which file and row each pair stands, for the pairs of all shards so far."""

    def __init__(self, raw: RawFiles) -> None:
        self._raw = raw
        self._files: list[np.ndarray] = []
        self._rows: list[np.ndarray] = []
        self._starts = [0]

    def add(self, texts: pa.Table) -> None:
        """The next shard, which holds pairs of one file."""
        sources, metas = texts["source"].to_pylist(), texts["meta"].to_pylist()
        self._files.append(np.array([self._raw.number_of(s) for s in sources], dtype=np.int32))
        self._rows.append(np.array([json.loads(m)["row"] for m in metas], dtype=np.int64))
        self._starts.append(self._starts[-1] + texts.num_rows)

    def of_shard(self, rows: np.ndarray) -> list[tuple[str, int]]:
        """(file, row) of rows of the last shard."""
        names = self._raw.files.names
        files, own = self._files[-1][rows].tolist(), self._rows[-1][rows].tolist()
        return [(names[file], row) for file, row in zip(files, own, strict=True)]

    def of_pool(self, place: int) -> tuple[str, int]:
        """(file, row) of a row of the pool."""
        shard = int(np.searchsorted(self._starts, place, side="right")) - 1
        own = place - self._starts[shard]
        return self._raw.files.names[self._files[shard][own]], int(self._rows[shard][own])


def _rows_of(texts: pa.Table, kept: pa.Table, dropped: pa.Table) -> np.ndarray:
    """(n,) rows of a shard in which the kept pairs stand, and then the dropped ones.

    The same pair may stand there several times: of those the kept ones come first, since only a
    later copy is a repetition, and all others share what was found in them.
    """
    keys = id_keys(texts["pair_id"])
    wanted = np.concatenate([id_keys(part["pair_id"]) for part in (kept, dropped)])
    rows = np.empty(len(keys), dtype=np.int64)
    rows[np.lexsort(wanted.T)] = np.lexsort(keys.T)
    assert (keys[rows] == wanted).all(), "a selection holds the pairs that it was made of"
    return rows


def _kept(texts: pa.Table, kept: pa.Table, places: list[tuple[str, int]]) -> pa.Table:
    num = len(places)
    as_read = pd.DataFrame({"label": np.ones(num, dtype=np.int8), "tier": "", "split": ""})
    said = export_table(texts, as_read).select(KEPT_SCHEMA.names[:4])
    for name, values in (
        ("file", pa.array([file for file, _ in places], pa.string())),
        ("row", pa.array([row for _, row in places], pa.int64())),
        ("risk", kept["risk"].combine_chunks()),
    ):
        said = said.append_column(name, values)
    return said.cast(KEPT_SCHEMA)


def _left_out(
    texts: pa.Table, dropped: pa.Table, *, places: _Places, rows: np.ndarray
) -> Iterator[dict[str, Any]]:
    """What is said of each dropped pair, in the order of the shard."""
    where = places.of_shard(rows)
    for start in range(0, dropped.num_rows, ROWS_AT_A_TIME):
        about = dropped.slice(start, ROWS_AT_A_TIME).to_pylist()
        said = texts.slice(start, ROWS_AT_A_TIME).to_pylist()
        for (file, row), why, pair in zip(where[start:], about, said, strict=False):
            detail = why["detail"]
            if why["reason"] == DUPLICATE:
                first, first_row = places.of_pool(int(detail.rpartition(" ")[2]))
                detail = f"repeats row {first_row} of {first}"
            yield {
                "file": file,
                "row": row,
                "reason": why["reason"],
                "detail": detail,
                "raw": _beginning(pair),
                "pair_id": pair["pair_id"].hex,
                **{name: why[name] for name in EVIDENCE if why[name]},
            }


def _beginning(pair: dict[str, Any]) -> str:
    said = {name: pair[name] for name in ("conversation", "chosen", "rejected")}
    return json.dumps(said, ensure_ascii=False)[:RAW_CHARS]


def _no_pairs(raw: RawFiles) -> Iterator[dict[str, Any]]:
    for table in iter_tables(raw.quarantined):
        for row in table.to_pylist():
            yield {"file": raw.files.names[raw.number_of(row.pop("source"))], **row}


def _tell(aside: IO[str], row: dict[str, Any]) -> None:
    aside.write(json.dumps(row, ensure_ascii=False) + "\n")


def _count(written: Written, kept: pa.Table, dropped: pa.Table) -> None:
    written.num_kept += kept.num_rows
    written.num_left_out += dropped.num_rows
    written.marked.update(risk for risk in kept["risk"].to_pylist() if risk)
    reasons = dropped["reason"].to_pylist()
    written.dropped.update(reasons)
    written.contaminated.update(
        name
        for name, reason in zip(dropped["benchmark"].to_pylist(), reasons, strict=True)
        if reason == CONTAMINATED
    )
