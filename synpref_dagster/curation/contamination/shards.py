"""Looking for benchmarks in the shards of the pool, each benchmark for itself.

What is known about a benchmark in a shard is found by the benchmark's prompts, the n-gram settings
and the raw shard: another benchmark that comes, changes or goes makes nothing of it void. Prompts
travel by reference; the fingerprint of an index says which ones are meant.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, lru_cache, partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.curation.contamination.hits import find_hits
from synpref_dagster.curation.contamination.rules import (
    BenchmarkPrompt,
    ContaminationIndex,
    DecontaminationConfig,
    build_index,
    by_benchmark,
    index_fingerprint,
    prompts_from_rows,
)
from synpref_dagster.storage import (
    DatasetRef,
    ShardExecutor,
    VariantsResult,
    iter_tables,
    map_variants,
    read_frame,
)

LOOK_VERSION = "1"


def look_for_benchmarks(
    texts: DatasetRef,
    prompts: DatasetRef,
    *,
    uri: str,
    config: DecontaminationConfig,
    executor: ShardExecutor,
) -> VariantsResult:
    """What each benchmark shares with the first user turns of a pool, shard by shard.

    Only benchmarks that were not looked for in a shard are looked for, all of them in one pass.

    Args:
        texts: `PAIR_SCHEMA`, the raw pool.
        prompts: first-turn prompts of all benchmarks.
        uri: where the evidence is kept, each benchmark's below it.
        config: which shared stretch counts.
        executor: who looks.

    Returns:
        Per benchmark, by name, `hits.HIT_SCHEMA`, as many shards as the pool has.
    """
    indexes = index_fingerprints(prompts, config)
    return map_variants(
        partial(look_shard, prompts=prompts, config=config),
        texts,
        uri=uri,
        version=LOOK_VERSION,
        variants={name: {} for name in indexes},
        identified_by=indexes,
        executor=executor,
    )


def index_fingerprints(
    prompts: DatasetRef, config: DecontaminationConfig
) -> Mapping[str, Mapping[str, str]]:
    """Benchmark -> what identifies looking for it; benchmarks by name."""
    return {
        benchmark: {"index": index_fingerprint(listed, config)}
        for benchmark, listed in prompts_by_benchmark(prompts).items()
    }


def look_shard(
    table: pa.Table,
    *,
    variants: Collection[str],
    prompts: DatasetRef,
    config: DecontaminationConfig,
) -> dict[str, pa.Table]:
    """What the texts of one raw shard share with the benchmarks asked for.

    Args:
        table: `PAIR_SCHEMA`.
        variants: benchmarks by name.
        prompts: where the prompts of all benchmarks lie.
        config: which shared stretch counts, and where it is looked for.
    """
    found = find_hits(table, [*map(index_of(prompts, config), variants)])
    return dict(zip(variants, found, strict=True))


def contaminated_pairs(
    clean: DatasetRef, texts: DatasetRef, hits: Sequence[DatasetRef]
) -> list[bytes]:
    """The pairs of a clean pool in which a benchmark was found; narrow columns only are read.

    Args:
        clean: pair_id, one shard per raw shard.
        texts: the raw pool that was looked at.
        hits: what was found for each benchmark.

    Raises:
        ValueError: a clean pair is not in the raw shard beside its own: nobody looked at it.
    """
    found: list[bytes] = []
    columns = [iter_tables(ref, ["pair_id"]) for ref in (clean, texts, *hits)]
    for tables in zip(*columns, strict=True):
        pairs, looked_at, *hit = (table["pair_id"].combine_chunks().storage for table in tables)
        if num_missing := pc.sum(pc.invert(pc.is_in(pairs, looked_at))).as_py():
            raise ValueError(
                f"{num_missing} of {len(pairs)} clean pairs are not in the raw shard beside "
                "theirs: materialize the pool again"
            )
        for ids in hit:
            found += pairs.filter(pc.is_in(pairs, ids)).to_pylist()
    return sorted(set(found))


def counts_by_benchmark(looked: VariantsResult) -> dict[str, Any]:
    """Facts for people: in how many shards each benchmark was looked for now, and found known."""
    return {
        "shards_looked_at_by_benchmark": {
            name: each.num_shards_computed for name, each in looked.variants.items()
        },
        "shards_known_by_benchmark": {
            name: each.num_shards_reused for name, each in looked.variants.items()
        },
    }


@lru_cache(maxsize=1)
def index_of(
    prompts: DatasetRef, config: DecontaminationConfig
) -> Callable[[str], ContaminationIndex]:
    """Gives the index of one benchmark's prompts, built once per pass and process."""
    return cache(lambda benchmark: build_index(prompts_by_benchmark(prompts)[benchmark], config))


@lru_cache(maxsize=1)
def prompts_by_benchmark(ref: DatasetRef) -> Mapping[str, list[BenchmarkPrompt]]:
    """The prompts of each benchmark, benchmarks by name."""
    return by_benchmark(prompts_from_rows(read_frame(ref)))
