"""Screening one shard: structure first, then contamination, one reason per pair (App. D.1).

What one shard alone can tell (screening, here) is kept apart from what needs them all
(`marks`), and that from the selection (`selection`): on a second night only new shards
are screened.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.curation.contamination.hits import first_hits
from synpref_dagster.curation.contamination.recheck import CONTAMINATED
from synpref_dagster.curation.contamination.rules import DecontaminationConfig
from synpref_dagster.curation.pool.cleaning import check_structure
from synpref_dagster.curation.pool.cycles import KEY_COLUMNS, with_response_keys
from synpref_dagster.curation.pool.selection import EVIDENCE_COLUMNS
from synpref_dagster.pairs.record import PAIR_SCHEMA

NO_LIMIT = 2**63 - 1  # bytes of a text: each source's own limit was applied when it was read
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


def screen_structure(raw: pa.Table) -> pa.Table:
    """The part of screening that no benchmark decides: it stands when the benchmarks change.

    Takes `PAIR_SCHEMA`; gives `SCREENED_SCHEMA`, one row per pair in order, with `screen_reason`
    null for a structurally sound one.
    """
    sound = check_structure(_placed(raw), max_text_bytes=NO_LIMIT)
    parts = [_screened(part) for part in (sound.dropped, with_response_keys(sound.kept))]
    return pa.concat_tables(parts).sort_by("place").select(SCREENED_SCHEMA.names)


def screen_contamination(structured: pa.Table, *hits: pa.Table) -> pa.Table:
    """The other part: what the benchmarks contaminate of the structurally sound pairs.

    It depends on what each benchmark finds, and on nothing else: not on the order in which they
    were looked for, nor on those that are gone. Of several the first by name is the evidence.

    Args:
        structured: what `screen_structure` says about the pairs.
        hits: per benchmark what `hits.find_hits` finds in their first user turns.
    """
    is_sound = np.asarray(pc.is_null(structured["screen_reason"].combine_chunks()))
    found = first_hits(hits)
    found = found.filter(pa.array(is_sound[found["row"].to_numpy()]))
    contaminated = np.zeros(structured.num_rows, dtype=bool)
    contaminated[found["row"].to_numpy()] = True
    detail = pc.binary_join_element_wise(
        found["rule"], "of", found["benchmark"], found["item_id"], " "
    )
    evidence = {
        "screen_reason": pa.array([CONTAMINATED] * found.num_rows, pa.string()),
        "screen_detail": detail.combine_chunks(),
        **{name: found[name].combine_chunks() for name in EVIDENCE_COLUMNS},
    }
    for name, values in evidence.items():
        place = structured.schema.get_field_index(name)
        column = structured[name].combine_chunks()
        replaced = pc.replace_with_mask(column, pa.array(contaminated), values)
        structured = structured.set_column(place, structured.schema.field(place), replaced)
    return structured


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


def contamination_config(ngram_words: int) -> DecontaminationConfig:
    """The paper's rule for the pool: one shared n-gram of `ngram_words` in the first user turn."""
    return DecontaminationConfig(min_words=ngram_words, max_words=ngram_words)


def count_reasons(dropped: pd.DataFrame) -> dict[str, int]:
    """Number of dropped rows per reason, most frequent first."""
    counts = dropped["reason"].value_counts()
    return {str(reason): int(count) for reason, count in counts.items()}
