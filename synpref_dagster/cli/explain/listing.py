"""Pairs by what became of them: what `synpref pairs` lists, before anything is worded.

Narrow columns are read shard by shard. Without an order, looking stops at the limit; with one, only
the best so far are held. Texts are read of the pairs that were found, and of no other.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.cli.explain.records import CampaignRecords, Row, plain
from synpref_dagster.curation.filtering.decision import DECISIONS, KEPT, REASONS
from synpref_dagster.pairs.attributes import TASK_CATEGORIES
from synpref_dagster.pairs.columns import from_strings
from synpref_dagster.pairs.record import ID_TYPE, PreferencePair, table_to_pairs
from synpref_dagster.storage import DatasetRef, SelectionRef, find_rows, iter_tables, read_table

DECIDED, CLEAN, COUNTS = "consistency_filtered_subset", "clean_pool", "counts"
DROPPED = "dropped"
"""What cleaning took out, before anything was decided."""
UNKNOWN = "unknown"
"""The category of pairs that nobody gave one."""
SORTS = {"margin": "best_margin", "gold_margin": "gold_margin"}
ROW_SCHEMA = pa.schema(
    [
        ("pair_id", ID_TYPE),
        ("content_id", ID_TYPE),
        ("source", pa.string()),
        ("decision", pa.string()),
        ("reason", pa.string()),
        ("best_margin", pa.float32()),
        ("gold_margin", pa.float32()),
        ("judge_label", pa.int8()),
    ]
)
DROPPED_COLUMNS = ["pair_id", "content_id", "source", "reason"]
BATCH = 1_000
"""Pairs whose texts are looked up together."""


class UnknownValueError(ValueError):
    """Something asked for is no decision, reason, source, category or order of the campaign."""


class NotDecidedError(ValueError):
    """The campaign has not come to its decisions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """Which pairs are meant; what is empty asks for nothing."""

    decision: tuple[str, ...] = ()
    reason: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    min_margin: float | None = None
    """Of the best RM, inclusive; a pair without a reward fits no bound."""
    max_margin: float | None = None
    sort: str = ""
    """One of `SORTS`, lowest first; empty for the order of the pool."""
    descending: bool = False
    limit: int = 20

    @property
    def is_bounded(self) -> bool:
        """Whether margins decide."""
        return self.min_margin is not None or self.max_margin is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A pair with what became of it; labels are +1 for its label, -1 against it."""

    row: Row
    """The columns of `ROW_SCHEMA`."""
    pair: PreferencePair | None
    """None where it left the pool since it was decided."""
    category: str | None
    human_label: int | None
    """None where people did not label it."""

    def as_json(self) -> dict[str, Any]:
        """Plain values for machines; texts are whole."""
        pair = self.pair
        return {
            **self.row,
            "category": self.category,
            "human_label": self.human_label,
            "conversation": None if pair is None else list(pair.conversation),
            "chosen": None if pair is None else pair.chosen,
            "rejected": None if pair is None else pair.rejected,
        }


def known_values(records: CampaignRecords) -> dict[str, list[str]]:
    """What each field of a query may say in this campaign, in order.

    Raises:
        NotDecidedError: nothing is decided yet.
    """
    counts = _counts(records)
    dropped = records.dropped(CLEAN)
    dropped_for = {
        reason
        for table in (iter_tables(dropped, ["reason"]) if dropped else [])
        for reason in pc.unique(table["reason"]).to_pylist()
    }
    named = {source.name for source in records.profile.pool.sources}
    return {
        "decision": [*DECISIONS, DROPPED],
        "reason": [*REASONS, *sorted(dropped_for - {*REASONS})],
        "source": sorted({*counts["source"].to_pylist(), *named}),
        "category": [*TASK_CATEGORIES, UNKNOWN],
        "sort": list(SORTS),
    }


def refuse_unknown(records: CampaignRecords, query: Query) -> None:
    """Pass a query whose values the campaign knows.

    Raises:
        NotDecidedError: nothing is decided yet.
        UnknownValueError: naming the value, and those that there are.
    """
    for field, known in known_values(records).items():
        asked = getattr(query, field)
        for value in [asked] if isinstance(asked, str) else asked:
            if value and value not in known:
                raise UnknownValueError(f"--{field} {value!r}: choose from {', '.join(known)}")


def count_pairs(records: CampaignRecords, query: Query) -> int | None:
    """How many pairs fit in all, from the counts of the decisions; None where those do not say."""
    sides = _sides(query)
    if query.is_bounded or DROPPED in sides:
        return None
    if not sides:
        return 0
    counts = _counts(records)
    fits = _is_in(counts["decision"], sides)
    for field in ("reason", "source"):
        fits = pc.and_(fits, _is_in(counts[field], getattr(query, field)))
    category = pc.fill_null(counts["task_category"], UNKNOWN)
    chosen = counts.filter(pc.and_(fits, _is_in(category, query.category)))
    return int(pc.sum(chosen["num_pairs"]).as_py() or 0)


def listed_pairs(records: CampaignRecords, query: Query) -> Iterator[Listed]:
    """The pairs that fit, at most `limit`, one after the other."""
    fitting = _fitting(records, query)
    found = _foremost(fitting, query) if query.sort else fitting
    for table in _first(found, query.limit):
        for start in range(0, table.num_rows, BATCH):
            yield from _with_texts(records, table.slice(start, BATCH))


def _counts(records: CampaignRecords) -> pa.Table:
    counts = records.part(DECIDED, COUNTS)
    if counts is None or records.ref(DECIDED) is None:
        records.raw_pool()  # without one, that is what to say
        raise NotDecidedError(
            f"{records.profile.campaign_name()} has not decided about its pairs yet: go on with "
            "the campaign; `synpref explain --find 'words of the pair'` lists those that were read"
        )
    return read_table(counts)


def _sides(query: Query) -> set[str]:
    """The decisions that can fit: those asked for, and those that the reasons belong to."""
    asked = set(query.decision) or {*DECISIONS, *([DROPPED] if query.reason else [])}
    return asked & {REASONS.get(r, DROPPED) for r in query.reason} if query.reason else asked


def _fitting(records: CampaignRecords, query: Query) -> Iterator[pa.Table]:
    """The rows of every shard that fit, with `ROW_SCHEMA`."""
    sides = _sides(query)
    subset: SelectionRef = records.ref(DECIDED)
    tables = chain(
        iter_tables(subset.kept, ROW_SCHEMA.names) if KEPT in sides else [],
        iter_tables(subset.dropped, ROW_SCHEMA.names) if sides & {*DECISIONS} - {KEPT} else [],
        _dropped(records) if DROPPED in sides else [],
    )
    has_category = _category_test(records, query.category)
    for table in tables:
        fits = pc.and_(_is_in(table["decision"], sides), has_category(table))
        for field in ("reason", "source"):
            fits = pc.and_(fits, _is_in(table[field], getattr(query, field)))
        fits = pc.and_(fits, _within(table["best_margin"], query))
        if pc.any(fits).as_py():
            yield table.filter(fits)


def _dropped(records: CampaignRecords) -> Iterator[pa.Table]:
    """What cleaning took out, in the columns of what was decided."""
    ref = records.dropped(CLEAN)
    for table in iter_tables(ref, DROPPED_COLUMNS) if ref else []:
        known = {name: table[name] for name in DROPPED_COLUMNS}
        known["decision"] = pa.repeat(DROPPED, len(table))
        nothing = {
            name: pa.nulls(len(table), ROW_SCHEMA.field(name).type) for name in ROW_SCHEMA.names
        }
        yield pa.table({**nothing, **known}, schema=ROW_SCHEMA)


def _category_test(
    records: CampaignRecords, categories: tuple[str, ...]
) -> Callable[[pa.Table], pa.ChunkedArray]:
    """Whether rows are of some categories: ids of those that are, looked up in memory."""
    ref: DatasetRef | None = records.ref("attribute_labels")
    if not categories:
        return lambda table: _is_in(table["pair_id"], ())
    of_them, of_any = [pa.array([], pa.binary())], [pa.array([], pa.binary())]
    for table in iter_tables(ref, ["pair_id", "task_category"]) if ref else []:
        ids = _bytes(table)
        of_them.append(ids.filter(_is_in(table["task_category"], categories).combine_chunks()))
        if UNKNOWN in categories:
            of_any.append(ids)
    wanted, known = pa.concat_arrays(of_them), pa.concat_arrays(of_any)

    def test(table: pa.Table) -> pa.ChunkedArray:
        ids = _bytes(table)
        fits = pc.is_in(ids, value_set=wanted)
        if UNKNOWN in categories:
            fits = pc.or_(fits, pc.invert(pc.is_in(ids, value_set=known)))
        return pa.chunked_array([fits])

    return test


def _bytes(table: pa.Table) -> pa.Array:
    """The ids of rows as plain bytes, which can be looked up and put in order."""
    return table["pair_id"].combine_chunks().storage.cast(pa.binary())


def _is_in(column: pa.ChunkedArray | pa.Array, wanted: Iterable[str]) -> pa.ChunkedArray:
    """Whether each value is asked for; all are where nothing is."""
    values = sorted(wanted)
    if not values:
        return pa.chunked_array([pa.repeat(True, len(column))])
    return pc.is_in(column, value_set=from_strings(values))


def _within(margins: pa.ChunkedArray, query: Query) -> pa.ChunkedArray:
    fits = _is_in(margins, ())
    if query.min_margin is not None:
        fits = pc.and_(fits, pc.greater_equal(margins, query.min_margin))
    if query.max_margin is not None:
        fits = pc.and_(fits, pc.less_equal(margins, query.max_margin))
    return pc.fill_null(fits, False)


def _foremost(tables: Iterable[pa.Table], query: Query) -> Iterator[pa.Table]:
    """The first rows in the order asked for; equal margins go by id, missing ones come last."""
    best = ROW_SCHEMA.empty_table()
    way = "descending" if query.descending else "ascending"
    keys = [(SORTS[query.sort], way), ("id", "ascending")]
    for table in tables:
        both = pa.concat_tables([best, table]).combine_chunks()
        ordered = pc.sort_indices(both.append_column("id", _bytes(both)), sort_keys=keys)
        best = both.take(ordered[: query.limit])
    yield best


def _first(tables: Iterable[pa.Table], limit: int) -> Iterator[pa.Table]:
    for table in tables:
        yield table.slice(0, limit)
        limit -= table.num_rows
        if limit <= 0:
            return


def _with_texts(records: CampaignRecords, rows: pa.Table) -> Iterator[Listed]:
    ids = _bytes(rows).to_pylist()
    texts: dict[bytes, PreferencePair] = {}
    for pair in table_to_pairs(find_rows(records.raw_pool(), ids)):
        texts.setdefault(pair.pair_id, pair)
    categories = {
        row["pair_id"]: row["task_category"]
        for row in records.rows(records.ref("attribute_labels"), [each.hex() for each in ids])
    }
    given = [{name: plain(value) for name, value in row.items()} for row in rows.to_pylist()]
    contents = [row["content_id"] for row in given]
    people = records.rows(records.kept("gold"), contents, "content_id")
    gold = {row["content_id"]: row for row in people}
    for pair_id, row in zip(ids, given, strict=True):
        yield Listed(
            row=row,
            pair=texts.get(pair_id),
            category=categories.get(row["pair_id"]),
            human_label=_label_for(row, gold.get(row["content_id"])),
        )


def _label_for(row: Row, gold: Row | None) -> int | None:
    """What people said about a pair; said of its twin it holds with the opposite sign."""
    if gold is None:
        return None
    return int(gold["label"]) if gold["pair_id"] == row["pair_id"] else -int(gold["label"])
