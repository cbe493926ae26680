"""Jobs: which assets are made together.

Three ways of use: materialise in the UI, `nightly_filtering`, and a backfill of one model size.
Jobs are split by partitions: a job that mixed the unpartitioned campaign with the sizes would run
the campaign once per size. The leaderboard alone goes with the sizes: each ends with its row.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import dagster as dg

from synpref_dagster.resources.campaign import key_of
from synpref_dagster.settings.profile import PREFIX_TAG

CHECK_POOL = "check_pool"
CURATE_POOL, FILTER_POOL = "curate_pool", "filter_pool"
RELEASE_MODELS, SCORE_JUDGES = "release_models", "score_judges"
SIZED = ["skywork_reward_v2", "benchmark_scores", "model_release"]
CLOSING = ["leaderboard", "campaign_report"]
JUDGED = ["judge_scores", "judge_leaderboard"]
LEFT_OUT = dg.AssetSelection.tag("synpref/campaign", "left_out")  # made by hand only
RUNNING = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
KEPT_AT_NIGHT = ["vocabulary"]
ENDING_A_NIGHT = ["curated_dataset", *CLOSING]
"""What follows the decisions; none of it is a reason to start a night."""


def campaign_jobs(
    prefix: str = "",
    *,
    keys: Iterable[dg.AssetKey] | None = None,
    executor: dg.ExecutorDefinition | None = None,
) -> list[Any]:
    """The jobs of a campaign.

    Args:
        prefix: the profile's `key_prefix`; runs carry it, since jobs of other campaigns in the
            instance have the same names.
        keys: the campaign's assets, where its code location has others, too.
        executor: of these jobs; the code location's by default.
    """
    tags = {PREFIX_TAG: prefix} if prefix else None
    own = dg.AssetSelection.all() if keys is None else dg.AssetSelection.assets(*keys)

    def named(*names: str) -> dg.AssetSelection:
        return dg.AssetSelection.assets(*(key_of(name, prefix) for name in names))

    selections = {
        CHECK_POOL: (
            named("pool_check"),
            "What a campaign will meet, need and cost, as `synpref check` says it; writes nothing.",
        ),
        CURATE_POOL: (
            own - named(*SIZED, *CLOSING, *JUDGED) - LEFT_OUT,
            "Everything from the raw pool to the evidence, without the releases.",
        ),
        FILTER_POOL: (
            _night(own, named),
            "New pairs in, and stage 2 again: rewards, relabelling, decisions, recycled pairs; "
            "then the export and the report.",
        ),
        RELEASE_MODELS: (
            named(*SIZED, "leaderboard"),
            "Train, score and release; one partition per model size, and its row.",
        ),
        "refresh_leaderboard": (named(*CLOSING), "Leaderboard and report from what is there."),
        SCORE_JUDGES: (
            named(*JUDGED),
            "The judges on the benchmarks, beside the releases. Real judges cost money.",
        ),
    }
    return [
        dg.define_asset_job(
            name,
            selection=selection,
            description=description,
            tags=tags,
            executor_def=executor,
        )
        for name, (selection, description) in selections.items()
    ]


def _night(own: dg.AssetSelection, named: Callable[..., dg.AssetSelection]) -> dg.AssetSelection:
    """What a night makes.

    It brings pairs, no new models: what was fitted or trained on the pool stays as it is, so that
    old pairs keep their rewards and decisions and only new ones cost anything. Gold and silver are
    handed on as they are now: what people corrected since is heeded, and it costs nothing. Export
    and report are those of the night: nobody reads yesterday's beside tonight's decisions.
    """
    boxes = own & dg.AssetSelection.groups("1_pool", "4_labelled", "5_filtering")
    always = named("attribute_labels", "pair_embeddings", *ENDING_A_NIGHT)
    return boxes - named(*KEPT_AT_NIGHT) - LEFT_OUT | always


def active_run(
    instance: dg.DagsterInstance, jobs: Sequence[str], prefix: str
) -> dg.DagsterRun | None:
    """A run of one of these jobs that is not over, of the campaign with this prefix."""
    for job in jobs:
        for run in instance.get_runs(dg.RunsFilter(job_name=job, statuses=RUNNING)):
            if run.tags.get(PREFIX_TAG, "") == prefix:
                return run
    return None
