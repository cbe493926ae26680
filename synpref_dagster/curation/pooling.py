"""From raw pairs to the clean pool: the four steps of App. D.1, in order, each with its reasons.

Structural check, global exact deduplication, decontamination, contradictions. The first three drop
pairs; contradictory pairs and those on a preference cycle stay and are marked risky, because people
should see them first.

What one shard alone can tell (`screen`) is kept apart from what needs them all (`select_clean`):
on a second night only new shards are screened.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.curation.cleaning import (
    STRUCTURAL_REASONS,
    check_structure,
    contradicted_rows,
    deduplicate,
)
from synpref_dagster.curation.cycles import (
    EDGE_COLUMNS,
    KEY_COLUMNS,
    cycle_sizes,
    with_response_keys,
)
from synpref_dagster.curation.decontamination import (
    BenchmarkPrompt,
    ContaminationIndex,
    DecontaminationConfig,
    build_index,
    decontaminate,
)
from synpref_dagster.curation.pairs import PAIR_SCHEMA

POOL_COLUMNS = ["pair_id", "content_id", "conversation_id", "source", "risky"]
CLEAN_COLUMNS = ["pair_id", "content_id", "conversation_id", "source", "origin", "risky", "risk"]
CONTRADICTION, CYCLE = "contradictory_label", "preference_cycle"
LARGE_CYCLE = "large_preference_cycle"
MAX_CYCLE_RESPONSES = 8
"""Responses on a cycle up to which its pairs are risky. A larger one says that a source is noisy:
with many labels per conversation nearly every pair lies on one, so that it singles out none."""
PERSONAL_DATA = "pii"
NO_LIMIT = 2**63 - 1  # bytes of a text: each source's own limit was applied when it was read
EVIDENCE_COLUMNS = ["benchmark", "item_id", "gram", "rule"]
IDENTITY_COLUMNS = ["pair_id", "content_id", "conversation_id", "source", "origin"]
SCREENED_SCHEMA = pa.schema(
    [
        *(PAIR_SCHEMA.field(name) for name in IDENTITY_COLUMNS),
        ("screen_reason", pa.string()),
        ("screen_detail", pa.string()),
        *((name, pa.string()) for name in EVIDENCE_COLUMNS),
        *((name, pa.uint64()) for name in KEY_COLUMNS),
    ]
)
_WITHOUT_PREFIX = {"screen_reason": "reason", "screen_detail": "detail"}
DROPPED_COLUMNS = ["pair_id", "content_id", "source", "reason", "detail", *EVIDENCE_COLUMNS]


def clean(
    raw: pa.Table, prompts: Sequence[BenchmarkPrompt], *, ngram_words: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Clean a raw pool.

    Args:
        raw: `PAIR_SCHEMA`, all sources in order; the first occurrence of a pair wins.
        prompts: first-turn prompts of all benchmarks.
        ngram_words: words of an n-gram that counts as contamination.

    Returns:
        kept with `CLEAN_COLUMNS` and dropped with `DROPPED_COLUMNS`; together they are `raw`.
    """
    index = contamination_index(prompts, ngram_words=ngram_words)
    return select_clean(screen(raw, index))


def screen(raw: pa.Table, index: ContaminationIndex) -> pa.Table:
    """Structure and contamination of every pair, whatever the other pairs are.

    Args:
        raw: `PAIR_SCHEMA`, a shard or a whole pool.
        index: see `contamination_index`.

    Returns:
        `SCREENED_SCHEMA`, one row per pair in order; `screen_reason` is null for a pair with
        nothing against it.
    """
    return screen_contamination(raw, screen_structure(raw), index)


def screen_structure(raw: pa.Table) -> pa.Table:
    """The part of `screen` that no benchmark decides: it stands when the benchmarks change."""
    sound = check_structure(_placed(raw), max_text_bytes=NO_LIMIT)
    parts = [_screened(part) for part in (sound.dropped, with_response_keys(sound.kept))]
    return pa.concat_tables(parts).sort_by("place").select(SCREENED_SCHEMA.names)


def screen_contamination(
    raw: pa.Table, structured: pa.Table, index: ContaminationIndex
) -> pa.Table:
    """The other part of `screen`: what the benchmarks contaminate of the structurally sound pairs.

    Args:
        raw: `PAIR_SCHEMA`.
        structured: what `screen_structure` says about the same pairs.
        index: see `contamination_index`.
    """
    sound = pc.is_null(structured["screen_reason"])
    placed = _placed(structured)
    keyed = placed.select([*KEY_COLUMNS, "place"]).filter(sound)
    texts = raw.filter(sound)
    for name in keyed.column_names:
        texts = texts.append_column(name, keyed.column(name))
    hits = _screened(decontaminate(texts, index).dropped)
    hit = np.zeros(raw.num_rows, dtype=bool)
    hit[hits.column("place").to_numpy()] = True
    others = placed.filter(pa.array(~hit)).select(hits.column_names)
    return pa.concat_tables([hits, others]).sort_by("place").select(SCREENED_SCHEMA.names)


def select_clean(
    screened: pa.Table, personal_data: Mapping[bytes, str] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The clean pool from what `screen` found: deduplication and contradictions need all pairs.

    Args:
        screened: `SCREENED_SCHEMA`, all sources in order; the first occurrence of a pair wins.
        personal_data: pair_id -> what was found, for pairs to drop on that account.

    Returns:
        kept with `CLEAN_COLUMNS`, in order, and dropped with `DROPPED_COLUMNS`; the index of
        both is the row in `screened`.
    """
    placed = _placed(screened)
    structural = pc.is_in(placed["screen_reason"], pa.array(STRUCTURAL_REASONS))
    sound = placed.filter(pc.invert(structural))
    distinct = deduplicate(sound)
    clean_rows = pc.is_null(distinct.kept["screen_reason"])
    pure, personal = _without(distinct.kept.filter(clean_rows), personal_data or {})
    kept = _frame(pure.select([*IDENTITY_COLUMNS, "place"]))
    kept["risk"] = _risks(pure)
    kept["risky"] = kept["risk"].isin([CONTRADICTION, CYCLE])
    repeated = _frame(distinct.dropped.select([*IDENTITY_COLUMNS, "reason", "detail", "place"]))
    # "row 7" counts the sound rows; people look for it among all rows of the raw pool.
    places = sound.column("place").to_numpy()
    repeated["detail"] = [
        f"row {places[int(row.removeprefix('row '))]}" for row in repeated["detail"]
    ]
    against = [placed.filter(structural), distinct.kept.filter(pc.invert(clean_rows))]
    found = [_frame(part).rename(columns=_WITHOUT_PREFIX) for part in against]
    rows = pd.concat([found[0], repeated, found[1], personal])
    rows = rows.reindex(columns=DROPPED_COLUMNS)
    return kept[CLEAN_COLUMNS], rows.fillna(dict.fromkeys(EVIDENCE_COLUMNS, ""))


def _without(pairs: pa.Table, personal_data: Mapping[bytes, str]) -> tuple[pa.Table, pd.DataFrame]:
    """The pairs that stay, and those with personal data as dropped rows."""
    ids = pairs.column("pair_id").combine_chunks().storage.to_pylist()
    details = [personal_data.get(pair_id) for pair_id in ids] if personal_data else []
    keep = np.array([detail is None for detail in details] or [True] * len(ids), dtype=bool)
    dropped = _frame(pairs.filter(pa.array(~keep)).select([*IDENTITY_COLUMNS, "place"]))
    found = [detail for detail in details if detail is not None]
    return pairs.filter(pa.array(keep)), dropped.assign(
        reason=PERSONAL_DATA, detail=np.array(found, dtype=object)
    )


def _risks(pairs: pa.Table) -> np.ndarray:
    """(n,) object: one of the three risks or nothing; a contradicted content is on no cycle."""
    edges = pairs.select([*EDGE_COLUMNS, *KEY_COLUMNS])
    sizes = cycle_sizes(edges)
    risks = np.full(pairs.num_rows, "", dtype=object)
    risks[sizes > 0] = CYCLE
    risks[sizes > MAX_CYCLE_RESPONSES] = LARGE_CYCLE
    risks[contradicted_rows(edges)] = CONTRADICTION
    return risks


def _placed(table: pa.Table) -> pa.Table:
    return table.append_column("place", pa.array(range(table.num_rows), pa.int64()))


def _screened(part: pa.Table) -> pa.Table:
    columns = {name: part.column(name) for name in (*IDENTITY_COLUMNS, "place")}
    for field in SCREENED_SCHEMA:
        if field.name in columns:
            continue
        name = _WITHOUT_PREFIX.get(field.name, field.name)
        if name in part.column_names:
            columns[field.name] = part.column(name).cast(field.type)
        else:
            columns[field.name] = pa.nulls(part.num_rows, field.type)
    return pa.table(columns)


def _frame(table: pa.Table) -> pd.DataFrame:
    return table.to_pandas().set_index("place")


def contamination_index(
    prompts: Sequence[BenchmarkPrompt], *, ngram_words: int
) -> ContaminationIndex:
    """Index of benchmark prompts under the paper's rule: one shared n-gram of `ngram_words`."""
    config = DecontaminationConfig(min_words=ngram_words, max_words=ngram_words)
    return build_index(prompts, config)


def prompts_from_rows(rows: pd.DataFrame) -> list[BenchmarkPrompt]:
    """Benchmark prompts from a frame with columns benchmark, item_id, prompt."""
    return [
        BenchmarkPrompt(benchmark=row.benchmark, item_id=row.item_id, prompt=row.prompt)
        for row in rows.itertuples()
    ]


def count_reasons(dropped: pd.DataFrame) -> dict[str, int]:
    """Number of dropped rows per reason, most frequent first."""
    counts = dropped["reason"].value_counts()
    return {str(reason): int(count) for reason, count in counts.items()}
