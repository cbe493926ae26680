"""The curated rows of one shard: pair, label, and who gave the label.

The same set as `training_sets.final_training_set` with recycled pairs, and the gold pairs that
validate: people outrank judges, judges outrank the filter, where several speak about one content.
What people and judges said in stage 1 is one narrow table; what the filter decided stays in shards.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.curation.filtering.decision import FLIPPED, KEPT
from synpref_dagster.curation.release.training_sets import TIER_OF_DECISION, merge_labels
from synpref_dagster.curation.verification.gold_silver import validation_conversations
from synpref_dagster.pairs.columns import rows_where
from synpref_dagster.pairs.record import ID_BYTES, ID_TYPE, is_among, table_from_frame

TRAIN, VALIDATION = "train", "validation"
SPLITS = (TRAIN, VALIDATION)
DECIDED_SCHEMA = pa.schema([("pair_id", ID_TYPE), ("content_id", ID_TYPE)])
STAGE_ONE_SCHEMA = pa.schema(
    [
        ("pair_id", ID_TYPE),
        ("content_id", ID_TYPE),
        ("conversation_id", ID_TYPE),
        ("label", pa.int8()),
        ("tier", pa.string()),
        ("split", pa.string()),
    ]
)


def stage_one_rows(gold: pd.DataFrame, silver: pd.DataFrame) -> pa.Table:
    """What people and judges labelled in stage 1, each content once, with `STAGE_ONE_SCHEMA`.

    Args:
        gold: gold pairs with label and split.
        silver: silver pairs with label.
    """
    by_people = gold[gold["split"] == TRAIN]
    train = merge_labels([by_people, silver], held_out=validation_conversations(gold))
    is_gold = is_among(train["content_id"], by_people["content_id"])
    conversations = {
        row.pair_id: row.conversation_id for part in (gold, silver) for row in part.itertuples()
    }
    parts = [
        train.assign(
            conversation_id=[conversations[each] for each in train["pair_id"]],
            tier=np.where(is_gold, "gold", "silver"),
            split=TRAIN,
        ),
        gold[gold["split"] == VALIDATION].assign(tier="gold"),
    ]
    rows = pd.concat([part[STAGE_ONE_SCHEMA.names] for part in parts], ignore_index=True)
    return table_from_frame(rows).cast(STAGE_ONE_SCHEMA)


def decided_rows(decided: pa.Table, stage_one: pa.Table, *, decision: str) -> pa.Table:
    """The pairs of a shard that the filter kept (or flipped) and nobody labelled before.

    Args:
        decided: pair_id, content_id, conversation_id and decision.
        stage_one: `STAGE_ONE_SCHEMA`; its contents are left out, and the conversations of pairs
            that validate.
        decision: which of the decisions.

    Returns:
        `DECIDED_SCHEMA`, in order.
    """
    if not decided.num_rows:
        return DECIDED_SCHEMA.empty_table()
    held_out = stage_one.filter(pc.equal(stage_one.column("split"), VALIDATION))
    chosen = pc.equal(decided.column("decision"), decision)
    for column, known in (("content_id", stage_one), ("conversation_id", held_out)):
        is_known = pc.is_in(_stored(decided, column), value_set=_stored(known, column))
        chosen = pc.and_(chosen, pc.invert(is_known))
    return decided.select(DECIDED_SCHEMA.names).filter(chosen)


def rows_of_shard(
    clean: pa.Table, *, kept: pa.Table, flipped: pa.Table, stage_one: pa.Table
) -> pd.DataFrame:
    """The curated rows of one clean shard: those that train, then those that validate.

    Args:
        clean: pair_id of the shard.
        kept: `DECIDED_SCHEMA`, pairs that train under their source label.
        flipped: the same, pairs that train under the opposite one.
        stage_one: `STAGE_ONE_SCHEMA` of the whole campaign.

    Returns:
        place (in the shard), label, tier and split, ordered by split and place.
    """
    parts = [
        _placed(clean, kept).assign(label=1, tier=TIER_OF_DECISION[KEPT], split=TRAIN),
        _placed(clean, flipped).assign(label=-1, tier=TIER_OF_DECISION[FLIPPED], split=TRAIN),
    ]
    known = _placed(clean, stage_one)
    columns = stage_one.select(["label", "tier", "split"]).take(pa.array(known["row"]))
    parts.append(known.assign(**{name: columns[name].to_pylist() for name in columns.column_names}))
    rows = pd.concat(parts, ignore_index=True).drop(columns="row")
    rows["label"] = rows["label"].astype("int8")
    order = rows["split"].map(SPLITS.index).to_numpy(dtype=np.int64)
    return rows.iloc[np.lexsort((rows["place"], order))].reset_index(drop=True)


def _placed(clean: pa.Table, rows: pa.Table) -> pd.DataFrame:
    """Row (in `rows`) and place (in `clean`) of the rows whose pair the shard has."""
    if not clean.num_rows:
        return pd.DataFrame({"row": [], "place": []}, dtype="int64")
    places = pc.index_in(_stored(rows, "pair_id"), value_set=_stored(clean, "pair_id"))
    found = rows_where(pc.is_valid(places))
    place = places.take(found)
    return pd.DataFrame({"row": found.to_numpy(), "place": place.to_numpy()}).astype("int64")


def _stored(table: pa.Table, column: str) -> pa.Array:
    return table.column(column).combine_chunks().cast(pa.binary(ID_BYTES))
