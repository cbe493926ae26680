"""What is done to one shard of the pool: read a source file, screen its pairs, check them.

Each function depends on the shard and on what its fingerprints name, so that `map_shards` repeats
it for new shards only. Addresses travel beside them: where something lies does not change it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.curation.decontamination import ContaminationIndex, decontaminate
from synpref_dagster.curation.pairs import (
    PAIR_SCHEMA,
    PreferencePair,
    table_to_pairs,
)
from synpref_dagster.curation.pooling import (
    contamination_index,
    prompts_from_rows,
    screen_contamination,
)
from synpref_dagster.sources.reading import read_source
from synpref_dagster.sources.records import QUARANTINE_SCHEMA, SourceBatch, SourceSpec
from synpref_dagster.storage import DatasetRef, map_shards, read_frame

COUNT_COLUMNS = ["num_rows", "num_unfolded", "num_pairs", "num_quarantined", "num_outside"]
COUNT_SCHEMA = pa.schema([("source", pa.string()), *((name, pa.int64()) for name in COUNT_COLUMNS)])
READ_SCHEMAS = {"kept": PAIR_SCHEMA, "dropped": QUARANTINE_SCHEMA, "counts": COUNT_SCHEMA}
# A file without rows is counted too.
EMPTY_BATCH = SourceBatch(pairs=(), recorded_verdicts=(), quarantined=(), num_outside=0, num_rows=0)
SHARD_BYTES = 64 * 2**20
"""Pairs of a source file that make a shard: what a worker holds while it reads."""


def read_file(
    table: pa.Table, *, seed: int, paths: Mapping[str, str | None], folders: frozenset[str]
) -> Iterator[dict[str, pa.Table]]:
    """Reads one source file, some `SHARD_BYTES` of pairs at a time.

    Args:
        table: one row with `key` and `spec`, the specification as JSON without its path.
        seed: for formats that draw a label.
        paths: key -> where the file lies, None for a hub data set.
        folders: names of sources of several files: their quarantined rows name the file.

    Yields:
        "kept" with `PAIR_SCHEMA`, "dropped" with `QUARANTINE_SCHEMA`, "counts" with `COUNT_SCHEMA`;
        the counts of all parts add up to those of the file.
    """
    [row] = table.to_pylist()
    path = paths[row["key"]]
    spec = SourceSpec(**json.loads(row["spec"]), path=path, licence="")
    file_name = path.rstrip("/").rpartition("/")[2] if path and spec.name in folders else None
    batches, num_bytes = [_batch_tables(EMPTY_BATCH, spec.name, None)], 0
    for batch in read_source(spec, seed=seed):
        batches.append(_batch_tables(batch, spec.name, file_name))
        num_bytes += batches[-1]["kept"].nbytes
        if num_bytes >= SHARD_BYTES:
            yield _concatenated(batches)
            batches, num_bytes = [], 0
    yield _concatenated(batches)


def _batch_tables(batch: SourceBatch, source: str, file_name: str | None) -> dict[str, pa.Table]:
    dropped = batch.quarantine_table()
    counts = {
        "source": source,
        "num_rows": batch.num_rows,
        "num_unfolded": batch.num_unfolded,
        "num_pairs": len(batch.pairs),
        "num_quarantined": len(batch.quarantined),
        "num_outside": batch.num_outside,
    }
    return {
        "kept": batch.pairs_table(),
        "dropped": _naming_the_file(dropped, file_name) if file_name else dropped,
        "counts": pa.Table.from_pylist([counts], schema=COUNT_SCHEMA),
    }


def _concatenated(parts: Sequence[dict[str, pa.Table]]) -> dict[str, pa.Table]:
    return {
        name: pa.concat_tables([schema.empty_table(), *(part[name] for part in parts)])
        for name, schema in READ_SCHEMAS.items()
    }


def screen_shard(
    table: pa.Table,
    structured: pa.Table,
    *,
    prompts: str,
    ngram_words: int,
    prompts_ref: DatasetRef,
) -> pa.Table:
    """`pooling.screen_contamination` of one raw shard.

    Args:
        table: `PAIR_SCHEMA`.
        structured: what `pooling.screen_structure` says about it.
        prompts: fingerprint of the benchmark prompts, part of what identifies the work.
        ngram_words: words of an n-gram that counts as contamination.
        prompts_ref: where the prompts lie.

    Raises:
        ValueError: the reference names other prompts than the fingerprint.
    """
    return screen_contamination(
        table, structured, _checked_index(prompts, prompts_ref, ngram_words)
    )


def only_ids(table: pa.Table) -> pa.Table:
    """The column pair_id: what costly work on a shard is identified by.

    A pair that becomes risky or changes stages changes its row in a pool, but not its text: with
    the ids in between, it is not scored, embedded or labelled again.
    """
    return table.select(["pair_id"])


def ids_of(pool: DatasetRef, *, uri: str) -> DatasetRef:
    """`only_ids` of every shard of a pool, kept at `uri`."""
    return map_shards(only_ids, pool, uri=uri, version="1", params={}).ref


def shard_texts(ids: pa.Table, texts: pa.Table) -> pa.Table:
    """The texts of the pairs of one shard, in the order of their ids.

    Args:
        ids: pair_id.
        texts: `PAIR_SCHEMA`, the raw shard that the pairs come from.

    Raises:
        ValueError: a pair is not in that shard.
    """
    wanted, known = (each["pair_id"].combine_chunks().storage for each in (ids, texts))
    rows = pc.index_in(wanted, value_set=known)
    if rows.null_count:
        raise ValueError(
            f"{rows.null_count} of {len(ids)} pairs are not in the raw shard beside theirs: "
            "materialize the pool again"
        )
    return texts.take(rows)


def shard_pairs(ids: pa.Table, texts: pa.Table) -> list[PreferencePair]:
    """The pairs of one shard, see `shard_texts`."""
    return list(table_to_pairs(shard_texts(ids, texts)))


def contaminated_shard(
    table: pa.Table, texts: pa.Table, *, prompts: str, ngram_words: int, prompts_ref: DatasetRef
) -> pa.Table:
    """pair_id of the clean pairs of one shard that the benchmark prompts contaminate: none, please.

    Args:
        table: pair_id of the clean pairs.
        texts: the raw shard that they come from.
        prompts: see `screen_shard`, like the others.
        ngram_words: words of an n-gram that counts as contamination.
        prompts_ref: where the prompts lie.
    """
    index = _checked_index(prompts, prompts_ref, ngram_words)
    return only_ids(decontaminate(shard_texts(table, texts), index).dropped)


def _checked_index(prompts: str, ref: DatasetRef, ngram_words: int) -> ContaminationIndex:
    if ref.fingerprint != prompts:
        raise ValueError(f"prompts {ref.fingerprint} given, but {prompts} asked for")
    return _index(ref, ngram_words)


@lru_cache(maxsize=1)
def _index(prompts: DatasetRef, ngram_words: int) -> ContaminationIndex:
    return contamination_index(prompts_from_rows(read_frame(prompts)), ngram_words=ngram_words)


def _naming_the_file(dropped: pa.Table, name: str) -> pa.Table:
    details = [f"{name}: {detail}" if detail else name for detail in dropped["detail"].to_pylist()]
    place = dropped.schema.get_field_index("detail")
    return dropped.set_column(place, dropped.schema.field(place), pa.array(details, pa.string()))
