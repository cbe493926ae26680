"""The strict pass (App. D.1) in the shards of the pool: looking, asking judges, barring.

There are two looks. What is shared by pairs that people labelled is found by one benchmark's
prompts, the n-gram settings and the raw shard. Risky pairs turn up all over the pool each night:
theirs is a look of its own, found by the same and by their ids, so that one more of them costs
the risky ones of its shard, and where there are none no text is read. What judges say is found by
the overlaps of a shard and by who is asked about which prompts.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from synpref_dagster.curation.contamination.hits import HIT_SCHEMA
from synpref_dagster.curation.contamination.rules import DecontaminationConfig
from synpref_dagster.curation.contamination.shards import index_fingerprints, index_of
from synpref_dagster.curation.contamination.strict import (
    CANDIDATE_SCHEMAS,
    OVERLAP_SCHEMA,
    find_overlaps_of_people,
    find_risky_overlaps,
    overlaps_of,
    stage_one_candidates,
)
from synpref_dagster.storage import (
    DatasetRef,
    ShardExecutor,
    VariantsResult,
    build_dataset,
    map_shards,
    map_variants,
    read_frame,
    read_manifest,
    step_key,
)

VERSION = "2"


@dataclass(frozen=True, slots=True)
class StrictLook:
    """What the strict pass found before any judge was asked."""

    overlaps: DatasetRef
    """`strict_overlaps.OVERLAP_SCHEMA`, one shard per clean shard."""
    of_people: VariantsResult
    """What was found for each benchmark in pairs that people labelled."""
    risky: VariantsResult
    """What was found for each benchmark in risky pairs of other origin."""
    num_candidates: int
    """Clean pairs that could come into stage 1."""

    def counts(self) -> dict[str, int]:
        """Metrics that say what a run cost; shards are those of people's pairs."""
        return {
            "num_shards_computed": self.of_people.num_shards_computed,
            "num_shards_reused": self.of_people.num_shards_reused,
            "num_risky_parts_computed": self.risky.num_shards_computed,
        }


def look_strictly(
    clean: DatasetRef,
    texts: DatasetRef,
    prompts: DatasetRef,
    *,
    uri: str,
    config: DecontaminationConfig,
    executor: ShardExecutor,
) -> StrictLook:
    """What the candidates for stage 1 share with benchmarks, anywhere in them.

    Args:
        clean: columns pair_id, origin and risky, one shard per raw shard.
        texts: the raw pool.
        prompts: first-turn prompts of all benchmarks.
        uri: where all of it is kept.
        config: which shared stretch counts; its scope is all texts.
        executor: who works on the shards.
    """
    candidates = map_shards(
        stage_one_candidates,
        clean,
        uri=f"{uri}/candidates",
        version=VERSION,
        executor=executor,
        outputs=list(CANDIDATE_SCHEMAS),
    ).outputs
    indexes = index_fingerprints(prompts, config)
    look = partial(
        map_variants,
        version=VERSION,
        variants={name: {} for name in indexes},
        identified_by=indexes,
        executor=executor,
    )
    look_at_people = partial(look_at_pairs_of_people, prompts=prompts, config=config)
    of_people = look(look_at_people, texts, uri=f"{uri}/people_s")
    of_risky = partial(look_at_risky_pairs, prompts=prompts, config=config)
    risky = look(
        of_risky, candidates["risky"], beside=[texts], uri=f"{uri}/risky", empty_alone=True
    )
    overlaps = map_shards(
        overlaps_of,
        clean,
        beside=[*of_people.refs.values(), *risky.refs.values()],
        uri=f"{uri}/found",
        version=VERSION,
        executor=executor,
    ).ref
    counts = read_frame(candidates["counts"])
    return StrictLook(overlaps, of_people, risky, int(counts.to_numpy().sum()))


def look_at_pairs_of_people(
    raw: pa.Table, *, variants: Collection[str], prompts: DatasetRef, config: DecontaminationConfig
) -> dict[str, pa.Table]:
    """`strict.find_overlaps_of_people` of one raw shard, per benchmark asked for.

    Args:
        raw: `PAIR_SCHEMA`.
        variants: benchmarks by name.
        prompts: where the prompts of all benchmarks lie.
        config: which shared stretch counts.
    """
    found = find_overlaps_of_people(raw, [*map(index_of(prompts, config), variants)])
    return dict(zip(variants, found, strict=True))


def look_at_risky_pairs(
    risky: pa.Table,
    raw: pa.Table,
    *,
    variants: Collection[str],
    prompts: DatasetRef,
    config: DecontaminationConfig,
) -> dict[str, pa.Table]:
    """`strict.find_risky_overlaps` of one raw shard, per benchmark asked for.

    Args:
        risky: pair_id of the risky pairs that no person labelled.
        raw: `PAIR_SCHEMA`; may be without rows where `risky` is.
        variants: benchmarks by name.
        prompts: where the prompts of all benchmarks lie.
        config: which shared stretch counts.
    """
    if not risky.num_rows:
        return dict.fromkeys(variants, HIT_SCHEMA.empty_table())
    found = find_risky_overlaps(raw, risky, [*map(index_of(prompts, config), variants)])
    return dict(zip(variants, found, strict=True))


def no_overlaps(clean: DatasetRef, *, uri: str) -> DatasetRef:
    """Empty overlaps, one shard per clean shard, for when the strict pass is off."""
    num_shards = len(read_manifest(clean).shards)
    return build_dataset(
        uri,
        step=step_key(version=VERSION, inputs=[], params={"num_shards": num_shards}),
        compute=lambda: [OVERLAP_SCHEMA.empty_table()] * num_shards,
    )
