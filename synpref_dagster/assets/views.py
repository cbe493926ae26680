"""Views that several boxes need: a pool's pairs with attributes and vectors, gold as exemplars."""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.assets.asking import judges_asked
from synpref_dagster.curation.judging.labelling import EmbeddedPairs
from synpref_dagster.curation.retrieval.vector_index import StoredVectors
from synpref_dagster.curation.verification.corrections import EDITS_COLUMN, corrected, read_edits
from synpref_dagster.pairs.attributes import ATTRIBUTE_COLUMNS
from synpref_dagster.pairs.columns import to_numbers
from synpref_dagster.pairs.record import ID_BYTES, PreferencePair, id_index
from synpref_dagster.resources.attributes import AttributeLabelling
from synpref_dagster.resources.campaign import POOL, Campaign
from synpref_dagster.resources.embedding import PairEmbedding
from synpref_dagster.resources.judges import attribute_account
from synpref_dagster.storage import (
    DatasetRef,
    find_rows,
    iter_tables,
    read_manifest,
    read_table,
)
from synpref_dagster.storage.maps.apart import ROUTED

PoolViews = dict[str, DatasetRef]
"""The three references behind an embedded view: `pool`, `attributes`, `vectors`."""


def stage_one_views(
    campaign: Campaign, attribute_labels: DatasetRef, pair_embeddings: DatasetRef
) -> PoolViews:
    """The references behind an embedded view of the unverified pool.

    The labels are those of all its pairs, and name it: whoever reads them needs no edge to it.
    """
    pool = campaign.named_in(attribute_labels, POOL)
    return {"pool": pool, "attributes": attribute_labels, "vectors": pair_embeddings}


def embedded_pairs(campaign: Campaign, views: PoolViews, ids: list[bytes]) -> EmbeddedPairs:
    """The pairs `ids` of the unverified pool with their attributes and vectors, by id."""
    pairs = campaign.pairs(views["pool"], ids)
    found = [pair.pair_id for pair in pairs]
    return EmbeddedPairs(
        pairs=pairs,
        attributes=attribute_rows(campaign.rows(views["attributes"], found), found),
        vectors=vectors_of(find_rows(views["vectors"], found), found),
    )


def embed_new(
    pairs: list[PreferencePair],
    labelling: AttributeLabelling,
    embedding: PairEmbedding,
    *,
    folder: str,
    asset: str,
) -> EmbeddedPairs:
    """Pairs from outside the unverified pool, labelled and embedded the same way as those in it.

    Args:
        pairs: pairs without attributes.
        labelling: the attribute labeller.
        embedding: the embedder.
        folder: where the embedder that made `pair_embeddings` is kept.
        asset: which asset needs them; LLM judges that label attributes are paid on its account.
    """
    attributes = labelling.label(pairs, account=attribute_account(asset))
    vectors = embedding.embed(folder, pairs, attributes)
    return EmbeddedPairs(pairs=pairs, attributes=attributes, vectors=vectors)


def verified_pairs(
    campaign: Campaign, views: PoolViews, gold: pd.DataFrame, *, embedding: PairEmbedding
) -> EmbeddedPairs:
    """Gold pairs in the order of their ids, under the attributes that people corrected.

    A pair whose task category was corrected gets the vector of its new category.
    """
    embedded = embedded_pairs(campaign, views, list(gold["pair_id"]))
    edits = dict(zip(gold["pair_id"], gold[EDITS_COLUMN], strict=True))
    said = [edits[pair.pair_id] for pair in embedded.pairs]
    attributes = corrected(embedded.attributes, said)
    moved = [row for row, text in enumerate(said) if "task_category" in read_edits(text)]
    vectors = embedded.vectors
    if moved:
        vectors = vectors.copy()
        with judges_asked():
            vectors[moved] = embedding.embed(
                campaign.facts(views["vectors"])["embedder"],
                [embedded.pairs[row] for row in moved],
                [attributes[row] for row in moved],
            )
    return EmbeddedPairs(pairs=embedded.pairs, attributes=attributes, vectors=vectors)


def gold_exemplars(
    campaign: Campaign, views: PoolViews, gold: pd.DataFrame, *, embedding: PairEmbedding
) -> tuple[EmbeddedPairs, list[int]]:
    """The training part of gold as exemplars, with people's labels in the same order."""
    train = campaign.labels_in(views["pool"], gold[gold["split"] == "train"])
    embedded = verified_pairs(campaign, views, train, embedding=embedding)
    labels = dict(zip(train["pair_id"], train["label"].astype(int), strict=True))
    return embedded, [labels[pair.pair_id] for pair in embedded.pairs]


def beside_texts(
    campaign: Campaign, about: DatasetRef, attribute_labels: DatasetRef, ids: Iterable[bytes]
) -> pd.DataFrame:
    """What people see of the pairs `ids` besides their texts, in that order: attributes and risk.

    Args:
        campaign: where the tables are.
        about: a table with pair_id and risk.
        attribute_labels: the labeller's attributes.
        ids: the pairs in the order in which people see them.
    """
    wanted = list(ids)
    risk = campaign.frame(about, ["pair_id", "risk"])
    known = campaign.rows(attribute_labels, wanted).merge(risk, on="pair_id", validate="one_to_one")
    return known.set_index("pair_id").loc[id_index(wanted)].reset_index()


def corrected_labels(labels: pd.DataFrame, gold: pd.DataFrame) -> pd.DataFrame:
    """Attributes of the gold pairs by pair_id, with people's corrections in place."""
    rows = corrected(attribute_rows(labels, list(gold["pair_id"])), gold[EDITS_COLUMN])
    frame = pd.DataFrame(rows, columns=list(ATTRIBUTE_COLUMNS))
    return frame.assign(pair_id=gold["pair_id"].to_numpy())


def attribute_rows(labels: pd.DataFrame, ids: list[bytes]) -> list[dict[str, str]]:
    """Attributes of the pairs `ids`, in their order, as text fields."""
    fields = labels.set_index("pair_id")[list(ATTRIBUTE_COLUMNS)]
    return [
        {str(name): str(value) for name, value in row.items()}
        for row in fields.loc[id_index(ids)].to_dict("records")
    ]


def vectors_of(table: pa.Table, ids: Iterable[bytes]) -> np.ndarray:
    """float32 (n, dim): the vectors of the pairs `ids`, in their order.

    Raises:
        ValueError: a pair has no vector in the table.
    """
    known = table.column("pair_id").combine_chunks().cast(pa.binary(ID_BYTES))
    rows = pc.index_in(pa.array(list(ids), pa.binary(ID_BYTES)), value_set=known)
    _refuse_missing(rows)
    return np.asarray(_matrix(table)[rows.to_numpy()])


def stored_vectors(ref: DatasetRef, ids: pa.Table) -> StoredVectors:
    """The vectors of many pairs in the order of their ids, read shard by shard.

    Args:
        ref: `pair_embeddings`.
        ids: pair_id.

    Raises:
        ValueError: a pair has no vector.
    """
    dim = read_manifest(ref).schema.field("vector").type.list_size
    known = read_table(ref, ["pair_id"])["pair_id"].combine_chunks().storage
    found = pc.index_in(ids["pair_id"].combine_chunks().storage, value_set=known)
    _refuse_missing(found)
    rows = to_numbers(found, null=-1)
    by_row = np.argsort(rows, kind="stable")
    ranked = rows[by_row]

    def portions() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        start = 0
        for table in iter_tables(ref, ["vector"]):
            low, high = np.searchsorted(ranked, [start, start + table.num_rows])
            places = np.sort(by_row[low:high])
            if len(places):
                yield places, _matrix(table)[rows[places] - start]
            start += table.num_rows

    return StoredVectors(num=ids.num_rows, dim=dim, portions=portions)


def _refuse_missing(rows: pa.Array) -> None:
    if rows.null_count:
        raise ValueError(
            f"{rows.null_count} of {len(rows)} pairs have no vector: materialize pair_embeddings"
        )


def _matrix(table: pa.Table) -> np.ndarray:
    column = table.column("vector").combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat.reshape(-1, column.type.list_size))


def routed_in(campaign: Campaign, pool: DatasetRef) -> DatasetRef | None:
    """The routed pairs of the unverified pool, shard by shard; None where the pool names none."""
    fact = campaign.facts(pool).get(ROUTED)
    return DatasetRef(**fact) if fact else None
