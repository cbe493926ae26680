"""Jobs: which assets are made together.

Three ways of use: materialise in the UI, `nightly_filtering`, and a backfill of one model size.
Jobs are split by partitions: a job that mixed the unpartitioned campaign with the sizes would run
the campaign once per size. The leaderboard alone goes with the sizes: each ends with its row.
"""

import dagster as dg

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
curate_pool = dg.define_asset_job(
    "curate_pool",
    selection=(
        dg.AssetSelection.all() - dg.AssetSelection.assets(*SIZED, *CLOSING, *JUDGED) - LEFT_OUT
    ),
    description="Everything from the raw pool to the evidence, without the releases.",
)
# A night brings pairs, no new models: what was fitted or trained on the pool stays as it is, so
# that old pairs keep their rewards and decisions and only new ones cost anything. Gold and silver
# are handed on as they are now: what people corrected since is heeded, and it costs nothing. Export
# and report are those of the night: nobody reads yesterday's beside tonight's decisions.
nightly_filtering_job = dg.define_asset_job(
    "filter_pool",
    selection=dg.AssetSelection.groups("1_pool", "4_labelled", "5_filtering")
    - dg.AssetSelection.assets(*KEPT_AT_NIGHT)
    - LEFT_OUT
    | dg.AssetSelection.assets("attribute_labels", "pair_embeddings", *ENDING_A_NIGHT),
    description="New pairs in, and stage 2 again: rewards, relabelling, decisions, recycled pairs; "
    "then the export and the report.",
)
release_models = dg.define_asset_job(
    "release_models",
    selection=dg.AssetSelection.assets(*SIZED, "leaderboard"),
    description="Train, score and release; one partition per model size, and its row.",
)
refresh_leaderboard = dg.define_asset_job(
    "refresh_leaderboard",
    selection=dg.AssetSelection.assets(*CLOSING),
    description="Leaderboard and report from what is there.",
)
score_judges = dg.define_asset_job(
    "score_judges",
    selection=dg.AssetSelection.assets(*JUDGED),
    description="The judges on the benchmarks, beside the releases. Real judges cost money.",
)
