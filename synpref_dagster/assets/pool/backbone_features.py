"""Box 1, for heads on a frozen backbone: it reads the pool once, for all models of the campaign."""

from dataclasses import asdict
from functools import partial

import dagster as dg

from synpref_dagster.assets.step import box, campaign_step, shard_counts
from synpref_dagster.pairs.progress import ChunkPace
from synpref_dagster.resources.campaign import POOL, Campaign
from synpref_dagster.resources.executors import Executors
from synpref_dagster.resources.models import RewardModels
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.settings.profile import Profile
from synpref_dagster.storage import InProcessExecutor, SelectionRef, map_shards

GROUP = "1_pool"


def build_features(profile: Profile) -> list[dg.AssetsDefinition]:
    """The features where models, vectors or judges read a frozen backbone; else nothing.

    All of them find features by content wherever they are; the first ones rest on this asset so
    that they do not each read the pool for themselves.
    """
    if profile.frozen_settings() is None:
        return []
    about = box(GROUP, kinds={"pytorch", "huggingface"}, pool="gpu")
    return [dg.asset(**about)(backbone_features)]


def backbone_features(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    models: RewardModels,
    executors: Executors,
    tracking: MlflowTracking,
    clean_pool: SelectionRef,
) -> dg.MaterializeResult:
    """What the frozen backbone says of every response of the clean pool, each read once.

    The features are kept by content in the store's `features/`: a night reads new responses only,
    and every model of this campaign, and of others beside it, is a head on them.
    """
    with campaign_step(context, campaign, tracking, {"clean_pool": clean_pool}) as step:
        reader = models.stages_reader()
        executor = executors.get(holds_model=True)
        is_here = isinstance(executor, InProcessExecutor)
        from synpref_dagster.reward.frozen.shards import read_shard

        before = reader.num_read
        read = map_shards(
            partial(read_shard, reading=reader.reading, home=campaign.shared_folder()),
            step.ids(clean_pool.kept),
            beside=[campaign.texts(clean_pool.kept)],
            uri=campaign.uri("data", step.name),
            version=step.version,
            identified_by={"reading": asdict(reader.reading)},
            meta={POOL: campaign.as_fact(clean_pool.kept)},
            executor=executor,
            on_progress=ChunkPace("backbone features"),
        )
        step.note(shard_counts(read, "shards"))
        if is_here:
            step.note({"num_responses_read": reader.num_read - before, **reader.counts()})
        return step.result(
            read.ref,
            metrics={"num_pairs": read.ref.num_rows},
            facts={"reading": asdict(reader.reading)},
        )
