"""What is counted of each source in one shard: lengths, decisions, witnesses, votes, cells.

A count is a row of source, measure, value and number, so that the counts of many shards add up to
those of the pool. Texts are looked at once per pair, for `response_signs`.
"""

from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.curation.filtering.content_labels import LABELLED_SCHEMA, ContentLabels
from synpref_dagster.curation.filtering.decision import DISCARDED, FLIPPED
from synpref_dagster.pairs.columns import from_numbers, from_strings
from synpref_dagster.pairs.record import ID_BYTES, ID_TYPE

SIGN_SCHEMA = pa.schema([("pair_id", ID_TYPE), ("longer", pa.int8())])
"""`longer`: +1 the chosen response has more characters, -1 the rejected one, 0 equally many."""
COUNT_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("measure", pa.string()),
        ("value", pa.string()),
        ("num_pairs", pa.int64()),
    ]
)
LENGTH, LENGTH_AFTER = "length", "length_after"  # of clean pairs, of curated ones under new labels
DECISION, JUDGES, BEST_RM, VOTES, CELL = "decision", "judges", "best_rm", "votes", "cell"
FOR, NEITHER, AGAINST = "for", "neither", "against"  # the label, or the longer response
UNSEEN = "unseen"  # cell of pairs that people were never asked about
CELL_COLUMNS = ("objectivity", "controversiality")
_BY_SIGN = (AGAINST, NEITHER, FOR)


def response_signs(raw: pa.Table) -> pa.Table:
    """`SIGN_SCHEMA` of a shard of the raw pool, in its order; made for `map_shards`.

    Args:
        raw: `PAIR_SCHEMA`.
    """
    chosen, rejected = (raw.column(side).combine_chunks() for side in ("chosen", "rejected"))
    gap = pc.subtract(*(pc.cast(pc.utf8_length(each), pa.int64()) for each in (chosen, rejected)))
    columns = [raw.column("pair_id"), pc.cast(pc.sign(gap), pa.int8())]
    return pa.Table.from_arrays(columns, schema=SIGN_SCHEMA)


def count_lengths(clean: pa.Table, signs: pa.Table) -> pa.Table:
    """How often the label of a clean pair is the longer response, by source; for `map_shards`.

    Args:
        clean: pair_id and source of the pairs of a shard.
        signs: `SIGN_SCHEMA` of (at least) these pairs.
    """
    longer = _beside(clean, signs, "longer")
    return pa.concat_tables([COUNT_SCHEMA.empty_table(), _counted(clean, LENGTH, _named(longer))])


def count_decided(
    decided: pa.Table, *, attributes: pa.Table, signs: pa.Table, votes: ContentLabels
) -> pa.Table:
    """What was decided about each source's pairs, and what witnesses and votes say of its labels.

    Args:
        decided: pairs of a shard, kept and dropped, as `decide_clean_shard` gives them.
        attributes: pair_id and `CELL_COLUMNS` of those that came into stage 1.
        signs: `SIGN_SCHEMA` of (at least) these pairs.
        votes: from `vote_majorities`.

    Returns:
        `COUNT_SCHEMA`; `value` of a witness is `for` or `against` the source's label.
    """
    longer = _beside(decided, signs, "longer")
    decision = decided.column("decision").combine_chunks()
    flipped = pc.equal(decision, FLIPPED)
    after = pc.if_else(flipped, pc.negate(longer), longer)
    curated = pc.if_else(pc.equal(decision, DISCARDED), None, _named(after))
    by_measure: Mapping[str, pa.Array] = {
        DECISION: decision,
        LENGTH: _named(longer),
        LENGTH_AFTER: curated,
        JUDGES: _said(decided.column("judge_label")),
        BEST_RM: _said(pc.sign(decided.column("best_margin"))),
        VOTES: _votes(decided, votes),
        CELL: cells(decided, attributes),
    }
    parts = [_counted(decided, measure, values) for measure, values in by_measure.items()]
    return pa.concat_tables([COUNT_SCHEMA.empty_table(), *parts])


def cells(pairs: pa.Table, attributes: pa.Table) -> pa.Array:
    """What decides whether people were asked about each of n pairs, as one text.

    Pairs of a cell were drawn at random for the seed, those of two cells with different chances.

    Args:
        pairs: pair_id and risky.
        attributes: pair_id and `CELL_COLUMNS` of those that came into stage 1.
    """
    rows = _places(pairs, attributes)
    names = [pc.cast(attributes.column(name), pa.string()).take(rows) for name in CELL_COLUMNS]
    risk = pc.if_else(pairs.column("risky").combine_chunks(), "risky", "plain")
    joined = pc.binary_join_element_wise(risk, *(_whole(each) for each in names), " ")
    return pc.fill_null(joined, UNSEEN)


def vote_majorities(votes: Iterable[pa.Table]) -> pa.Table:
    """What the recorded votes of people say about each content, for `ContentLabels.from_table`.

    Args:
        votes: content_id and verdict, against the sorted order of the responses.

    Returns:
        `LABELLED_SCHEMA`: 0 where as many are for as against. The id of a content is that of its
        pair whose chosen response sorts first, which is what votes are recorded against.
    """
    parts = [
        pa.table({"content": _contents(table), "verdict": table["verdict"].cast(pa.int64())})
        for table in votes
    ]
    empty = pa.table(
        {"content": pa.array([], pa.binary(ID_BYTES)), "verdict": pa.array([], pa.int64())}
    )
    summed = pa.concat_tables([empty, *parts]).group_by("content").aggregate([("verdict", "sum")])
    found = summed.column("content").combine_chunks()
    ids = pa.ExtensionArray.from_storage(ID_TYPE, found)
    label = pc.sign(pc.fill_null(summed.column("verdict_sum"), 0))
    return pa.Table.from_arrays([ids, ids, pc.cast(label, pa.int8())], schema=LABELLED_SCHEMA)


def _contents(table: pa.Table) -> pa.Array:
    return table.column("content_id").combine_chunks().cast(pa.binary(ID_BYTES))


def _votes(pairs: pa.Table, votes: ContentLabels) -> pa.Array:
    said, seen = votes.of(pairs)
    return pc.if_else(pa.array(seen), _named(from_numbers(said)), None)


def _said(signs: pa.ChunkedArray) -> pa.Array:
    """`for` or `against` by sign; null where a witness says nothing."""
    found = pc.cast(pc.fill_null(_whole(signs), 0), pa.int8())
    return pc.if_else(pc.equal(found, 0), None, _named(found))


def _named(signs: pa.Array) -> pa.Array:
    return from_strings(_BY_SIGN).take(pc.add(pc.cast(signs, pa.int64()), 1))


def _beside(pairs: pa.Table, known: pa.Table, column: str) -> pa.Array:
    """A column of another table for the pairs of this one, in their order.

    Raises:
        ValueError: the other table lacks a pair.
    """
    rows = _places(pairs, known)
    if rows.null_count:
        raise ValueError(f"{rows.null_count} pairs have no {column}: materialize the pool again")
    return _whole(known.column(column)).take(rows)


def _places(pairs: pa.Table, known: pa.Table) -> pa.Array:
    ids, others = (each.column("pair_id").combine_chunks().storage for each in (pairs, known))
    return pc.index_in(ids, value_set=others)


def _whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _counted(pairs: pa.Table, measure: str, values: pa.Array) -> pa.Table:
    table = pa.table({"source": pairs.column("source").cast(pa.string()), "value": values})
    known = table.filter(pc.is_valid(table.column("value")))
    counts = known.group_by(["source", "value"], use_threads=False).aggregate([([], "count_all")])
    name = pa.repeat(pa.scalar(measure), counts.num_rows)
    columns = [counts["source"], name, counts["value"].cast(pa.string()), counts["count_all"]]
    return pa.Table.from_arrays(columns, schema=COUNT_SCHEMA)
