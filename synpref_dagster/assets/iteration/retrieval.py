"""Box 4, the retrieval of an iteration: unverified pairs around the errors of the last model."""

from collections.abc import Iterable, Sequence

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa

from synpref_dagster.assets.iteration.keys import IDS
from synpref_dagster.assets.step import campaign_step
from synpref_dagster.assets.views import stored_vectors, verified_pairs
from synpref_dagster.curation.judging.labelling import EmbeddedPairs
from synpref_dagster.curation.retrieval.nearest import retrieve_around_errors
from synpref_dagster.curation.retrieval.vector_index import StoredVectors, nearest_stored
from synpref_dagster.curation.verification.gold_silver import retrievable
from synpref_dagster.curation.verification.people import mark_risk
from synpref_dagster.pairs.columns import from_numbers
from synpref_dagster.resources.campaign import ATTRIBUTES, POOL, Campaign
from synpref_dagster.resources.embedding import PairEmbedding
from synpref_dagster.resources.models import RewardModels
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.storage import DatasetRef, ModelRef, SelectionRef, to_frame


def retrieved_pairs(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    models: RewardModels,
    embedding: PairEmbedding,
    tracking: MlflowTracking,
    unverified_pool: DatasetRef,
    pair_embeddings: DatasetRef,
    gold: SelectionRef,
    silver: SelectionRef,
    reward_model: ModelRef,
    gold_confidence: DatasetRef,
) -> dg.MaterializeResult:
    """Unverified pairs near the gold pairs the model gets wrong, and which pulled which.

    `risk` marks those that the pool contradicts, and those whose label the model can hardly tell.
    """
    settings = campaign.profile.iterations
    with campaign_step(context, campaign, tracking, {"confidence": gold_confidence}) as step:
        labels = campaign.named_in(pair_embeddings, ATTRIBUTES)
        views = {"pool": unverified_pool, "attributes": labels, "vectors": pair_embeddings}

        def compute() -> pd.DataFrame:
            verified = campaign.frame(gold.kept)
            pool = retrievable(
                campaign.table(unverified_pool, [*IDS, "risky"]),
                gold=verified,
                silver=campaign.frame(silver.kept),
                discarded=campaign.frame(gold.dropped),
            )
            pulled = pulled_around_errors(
                campaign.frame(gold_confidence),
                verified_pairs(campaign, views, verified, embedding=embedding),
                pool=pool,
                vectors=stored_vectors(pair_embeddings, pool),
                max_pairs=settings.max_retrieved,
            )
            margins = margins_of(
                campaign, models, reward_model, pool=unverified_pool, ids=list(pulled["pair_id"])
            )
            return mark_risk(pulled, margins, low_margin=settings.low_margin)

        pulled = step.dataset(
            compute,
            inputs=[*views.values(), gold, silver, reward_model, gold_confidence],
            params={"max_pairs": settings.max_retrieved, "low_margin": settings.low_margin},
            meta={POOL: campaign.as_fact(unverified_pool)},
        )
        frame = campaign.frame(pulled, ["gold_pair_id", "similarity", "risky"])
        return step.result(
            pulled,
            metrics={
                "num_retrieved": pulled.num_rows,
                "num_risky": int(frame["risky"].sum()),
                "num_pulling_gold_pairs": int(frame["gold_pair_id"].nunique()),
                "mean_similarity": float(frame["similarity"].mean()) if len(frame) else 0.0,
            },
        )


def pulled_around_errors(
    around: pd.DataFrame,
    verified: EmbeddedPairs,
    *,
    pool: pa.Table,
    vectors: StoredVectors,
    max_pairs: int,
) -> pd.DataFrame:
    """What `retrieve_around_errors` gives, with the ids of the pairs and whether they are risky.

    Args:
        around: pair_id and confidence of every gold pair.
        verified: the gold pairs as people corrected them.
        pool: the pairs that may be pulled: ids, risky.
        vectors: theirs, in the same order.
        max_pairs: budget of the iteration.
    """
    pulled = retrieve_around_errors(
        around,
        vectors_of_verified(verified, around["pair_id"]),
        # Numbers in place of ids, of which a pool may have millions; what is pulled gets its own.
        pool=pd.DataFrame({"pair_id": np.arange(pool.num_rows)}),
        pool_vectors=vectors,
        max_pairs=max_pairs,
        find_nearest=nearest_stored,
    )
    rows = from_numbers(pulled["pair_id"].to_numpy())
    named = to_frame(pool.take(rows).select([*IDS, "risky"]))
    return pulled.assign(**{str(name): column for name, column in named.items()})


def vectors_of_verified(embedded: EmbeddedPairs, ids: Iterable[bytes]) -> np.ndarray:
    """float32 (n, dim): the vectors of the pairs `ids`, in their order."""
    position = {pair.pair_id: row for row, pair in enumerate(embedded.pairs)}
    return embedded.vectors[[position[pair_id] for pair_id in ids]]


def margins_of(
    campaign: Campaign,
    models: RewardModels,
    model: ModelRef,
    *,
    pool: DatasetRef,
    ids: Sequence[bytes],
) -> np.ndarray:
    """float32 (n,): a model's margins of the pairs `ids` of a pool, in their order."""
    pairs = campaign.pairs(pool, ids)
    margins = models.margins(model, pairs)
    by_id = {pair.pair_id: margin for pair, margin in zip(pairs, margins, strict=True)}
    return np.array([by_id[pair_id] for pair_id in ids], dtype=np.float32)
