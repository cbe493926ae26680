"""Our side: the functions that the campaign's assets map over shards, on texts in memory."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from timed_steps import read_lines, run_step

from synpref_dagster.curation.contamination.rules import (
    BenchmarkPrompt,
    build_index,
    find_by_index,
)
from synpref_dagster.curation.pool.cleaning import first_copies
from synpref_dagster.curation.pool.near_duplicates import (
    BAND_COLUMNS,
    candidate_links,
    cluster_table,
    confirm_links,
    sign_shard,
)
from synpref_dagster.pairs.record import PreferencePair, pairs_to_table, table_to_pairs

MIN_SIMILARITY = 0.8  # default of NearDuplicateSettings
SHARD_PAIRS = 10_000


def decontamination(folder: Path) -> Callable[[], Any]:
    """Texts that share 13 words with a prompt, every hit confirmed on its words."""
    prompts = read_lines(folder / "prompts.jsonl")
    index = build_index([BenchmarkPrompt("b", str(n), text) for n, text in enumerate(prompts)])
    texts = read_lines(folder / "texts.jsonl")

    def search() -> list[int]:
        [found] = find_by_index([index], texts)
        return sorted(n for n, hit in found.items() if hit.rule == "word_gram")

    return search


def exact_duplicates(folder: Path) -> Callable[[], Any]:
    """Rows dropped as repetitions; the 128-bit ids are computed here, three fields each."""
    pairs = made_pairs(folder / "pairs.jsonl")

    def deduplicated() -> list[int]:
        parts = [
            pairs_to_table(pairs[start : start + SHARD_PAIRS]).select(["pair_id"])
            for start in range(0, len(pairs), SHARD_PAIRS)
        ]
        ids = pa.concat_tables(parts)
        first = first_copies(ids)
        return np.flatnonzero(first != np.arange(len(first))).tolist()

    return deduplicated


def near_duplicates(folder: Path) -> Callable[[], Any]:
    """Clusters of rows, from MinHash candidates that their texts confirm."""
    table = pairs_to_table(made_pairs(folder / "near.jsonl"))
    ids = table.column("pair_id").combine_chunks().storage.to_pylist()
    row_of = {pair_id: row for row, pair_id in enumerate(ids)}

    def fetch(wanted: Sequence[bytes]) -> list[PreferencePair]:
        return list(table_to_pairs(table.take([row_of[pair_id] for pair_id in wanted])))

    def clustered() -> list[list[int]]:
        signed = sign_shard(table)
        bands = (np.asarray(signed.column(name)) for name in BAND_COLUMNS)
        candidates = [(ids[first], ids[second]) for first, second in candidate_links(bands)]
        links = confirm_links(candidates, fetch, min_similarity=MIN_SIMILARITY)
        found = cluster_table(links)
        named = found.column("pair_id").combine_chunks().storage.to_pylist()
        members: dict[int, list[int]] = {}
        for pair_id, cluster in zip(named, found.column("cluster").to_pylist(), strict=True):
            members.setdefault(cluster, []).append(row_of[pair_id])
        return sorted(sorted(rows) for rows in members.values())

    return clustered


def made_pairs(path: Path) -> list[PreferencePair]:
    """Rows of prompt, chosen, rejected."""
    return [
        PreferencePair(
            conversation=({"role": "user", "content": prompt},),
            chosen=chosen,
            rejected=rejected,
            source="made",
            origin="synthetic",
        )
        for prompt, chosen, rejected in read_lines(path)
    ]


if __name__ == "__main__":
    run_step({step.__name__: step for step in (decontamination, exact_duplicates, near_duplicates)})
