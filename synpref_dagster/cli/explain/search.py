"""Pairs and quarantined rows of a campaign that hold some words: how people find an id."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.cli.explain.records import CampaignRecords
from synpref_dagster.pairs.record import PreferencePair, table_to_pairs
from synpref_dagster.storage import iter_tables, select_rows

MAX_FOUND = 20
TEXTS = ("chosen", "rejected")


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundInQuarantine:
    """A row of a source that became no pair, and so has no id."""

    source: str
    row: int
    reason: str
    raw: str


def pairs_with_text(
    records: CampaignRecords, words: str, *, limit: int = MAX_FOUND
) -> list[PreferencePair]:
    """The first pairs of the raw pool with `words` in a turn or a response, each once.

    Upper and lower case are the same. Shard by shard, until enough are found.
    """
    return list(islice(_each_once(_matching(records, words)), limit))


def quarantined_with_text(
    records: CampaignRecords, words: str, *, limit: int = MAX_FOUND
) -> list[FoundInQuarantine]:
    """The first quarantined rows with `words` in what is kept of them."""
    quarantine = records.dropped("raw_pool")
    found = (
        FoundInQuarantine(**row)
        for table in (iter_tables(quarantine) if quarantine else [])
        for row in table.filter(_holds(table["raw"], words))
        .select(["source", "row", "reason", "raw"])
        .to_pylist()
    )
    return list(islice(found, limit))


def pairs_by_id(records: CampaignRecords, ids: Iterable[str]) -> list[PreferencePair]:
    """Pairs of the raw pool, in its order."""
    return list(
        table_to_pairs(select_rows(records.raw_pool(), [bytes.fromhex(each) for each in ids]))
    )


def _matching(records: CampaignRecords, words: str) -> Iterator[PreferencePair]:
    for table in iter_tables(records.raw_pool()):
        holds = _in_a_turn(table["conversation"], words)
        for name in TEXTS:
            holds = pc.or_(holds, _holds(table[name], words))
        yield from table_to_pairs(table.filter(holds))


def _each_once(pairs: Iterable[PreferencePair]) -> Iterator[PreferencePair]:
    seen: set[bytes] = set()
    for pair in pairs:
        if pair.pair_id not in seen:
            seen.add(pair.pair_id)
            yield pair


def _in_a_turn(conversations: pa.ChunkedArray, words: str) -> pa.Array:
    turns = conversations.combine_chunks()
    holds = _holds(pc.struct_field(pc.list_flatten(turns), "content"), words)
    rows = pc.list_parent_indices(turns).filter(holds)
    return pc.is_in(pa.array(range(len(turns)), pa.int64()), value_set=pc.unique(rows))


def _holds(texts: pa.Array | pa.ChunkedArray, words: str) -> pa.Array:
    return pc.fill_null(pc.match_substring(texts, words, ignore_case=True), False)
