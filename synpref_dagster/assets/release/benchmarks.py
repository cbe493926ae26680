"""Box 6, the benchmarks: every release on the seven suites, and the leaderboard."""

import json
from dataclasses import replace
from typing import Any

import dagster as dg
import pandas as pd

from synpref_dagster.assets.release.lineage import made_at
from synpref_dagster.assets.release.score_checks import Suite, score_check_specs, score_checks
from synpref_dagster.assets.release.trained_on import SUBSET, subset_of
from synpref_dagster.assets.step import Result, Step, box, campaign_step
from synpref_dagster.benchmarks.baselines import chance, longer_is_better
from synpref_dagster.benchmarks.best_of_n import best_of_k_curves
from synpref_dagster.benchmarks.candidates import build_candidates, full_score_table
from synpref_dagster.benchmarks.custom import left_out
from synpref_dagster.benchmarks.items import align_rewards
from synpref_dagster.benchmarks.leaderboard import (
    leaderboard as build_leaderboard,
    published_since,
)
from synpref_dagster.benchmarks.results import BenchmarkResult
from synpref_dagster.benchmarks.suite import evaluate
from synpref_dagster.pairs.progress import ChunkPace
from synpref_dagster.publishing.plots import bar_plot, leaderboard_plot, line_plot
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.executors import Executors
from synpref_dagster.resources.io_managers import GATHERS
from synpref_dagster.resources.sources import PoolSources
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.reward.shards import score_candidates
from synpref_dagster.storage import DatasetRef, ModelRef, ShardExecutor

GROUP = "6_release"
CURVES = "ppe_correctness"
TRAINED_ON = "trained_on"
SCORED = "model"
"""Part of the scores: fingerprint of the model, and of the decisions that it was trained on."""
RESULT_COLUMNS = [  # named here, so that a table of no results has them too
    "benchmark",
    "headline",
    "low",
    "high",
    "tie_rate",
    "num_items",
    "num_truncated",
    "scores",
    "missing_subsets",
    "longer",
    "chance",
]


def build_scores(sizes: dg.PartitionsDefinition) -> dg.AssetsDefinition:
    """The benchmark scores, one partition per size."""
    return dg.asset(
        **box(GROUP, kinds={"pytorch", "parquet"}, pool="gpu", code_version="3"),
        partitions_def=sizes,
        check_specs=score_check_specs("benchmark_scores"),
    )(benchmark_scores)


def benchmark_scores(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    sources: PoolSources,
    executors: Executors,
    tracking: MlflowTracking,
    skywork_reward_v2: ModelRef,
) -> dg.MaterializeResult:
    """Seven headline numbers and all sub-scores of one release, from one table of rewards.

    Parts: `scores` (one fp32 reward per candidate, with its tokens and whether it was cut),
    `results` (one row per benchmark), `model` (what was scored) and, with PPE Correctness, `curves`
    (best of K).
    Where the profile names no benchmark, `scores` and `results` are empty tables.
    """
    with campaign_step(context, campaign, tracking) as step:
        size, suite = context.partition_key, sources.benchmarks()
        inputs: list[Result | str] = [skywork_reward_v2, sources.benchmark_fingerprint()]
        candidates = _candidates(step, suite, str(inputs[-1]))
        executor = executors.get(holds_model=True)
        scored = _score(step, candidates, skywork_reward_v2, executor=executor)
        items = [item for _, each in suite for item in each]
        parts = {
            "scores": step.dataset(
                lambda: full_score_table(items, scored), inputs=inputs, part=f"{size}/scores"
            )
        }
        table = campaign.frame(parts["scores"])
        night = subset_of(campaign, skywork_reward_v2)
        about = {"model": skywork_reward_v2.fingerprint, TRAINED_ON: night}
        parts[SCORED] = step.dataset(
            lambda: pd.DataFrame([about]), inputs=list(about.values()), part=f"{size}/{SCORED}"
        )
        parts["results"] = step.dataset(
            lambda: results_frame(measured(campaign, suite, table)),
            inputs=[*inputs, parts["scores"]],
            part=f"{size}/results",
        )
        results = results_from_frame(campaign.frame(parts["results"]))
        curves = _curves(suite, table)
        if curves is not None:
            shown = curves
            parts["curves"] = step.dataset(
                lambda: shown, inputs=[*inputs, parts["scores"]], part=f"{size}/curves"
            )
        return step.result(
            parts,
            metrics=score_metrics(table, results),
            facts=left_out(suite),
            plot=_plot(size, results, curves),
            checks=score_checks(sources, suite, table, results),
        )


@dg.asset(
    **box(GROUP, kinds={"python", "parquet"}, code_version="2"),
    ins={"benchmark_scores": dg.AssetIn(metadata={GATHERS: True})},
)
def leaderboard(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    tracking: MlflowTracking,
    benchmark_scores: dict[str, Any],
) -> dg.MaterializeResult:
    """Every release scored so far beside the published row of the same name.

    `trained_on` is the data version of the decisions that a size was trained on; what night that
    was is among the facts.
    Published numbers are the paper's, of real backbones; the difference to them is given only
    where real backbones were trained, for stand-ins are not comparable with them.
    """
    with campaign_step(context, campaign, tracking) as step:
        results = {size: parts["results"] for size, parts in sorted(benchmark_scores.items())}
        subset = campaign.key(SUBSET)
        subsets = {size: _subset(campaign, parts) for size, parts in benchmark_scores.items()}
        real = campaign.profile.release.backend != "stand_in"
        board = step.dataset(
            lambda: build_leaderboard(
                {size: results_from_frame(campaign.frame(ref)) for size, ref in results.items()},
                complete=campaign.profile.pool.kind == "synthetic_world",
                with_differences=real,
                trained_on=subsets,
            ),
            inputs=[f"{size}:{ref.fingerprint}:{subsets[size]}" for size, ref in results.items()],
            params={**({"with_differences": True} if real else {}), **published_since()},
        )
        frame = campaign.frame(board)
        published = frame.set_index("model_size")["published_average"].dropna().to_dict()
        averages = frame.set_index("model_size")["average"].dropna()
        step.tracked.log_campaign_metrics({"leaderboard/num_models": len(frame)}, step=0)
        return step.result(
            board,
            metrics={f"average/{name}": float(value) for name, value in averages.items()},
            facts={
                "trained_on_night": {
                    size: made_at(context.instance, subset, version=version)
                    for size, version in sorted(subsets.items())
                },
                **({} if len(averages) else {"no_average": "no benchmark was named"}),
            },
            plot=leaderboard_plot(
                {str(name): float(value) for name, value in averages.items()},
                title="Average of the benchmarks",
                published={str(k): float(v) for k, v in published.items()} if real else None,
            ),
        )


def _subset(campaign: Campaign, parts: dict[str, DatasetRef]) -> str:
    """Data version of the decisions on which a scored model was trained; empty if not kept."""
    return str(campaign.frame(parts[SCORED])[TRAINED_ON].iloc[0]) if SCORED in parts else ""


def measured(campaign: Campaign, suite: Suite, table: pd.DataFrame) -> list[BenchmarkResult]:
    """Every benchmark of the suite from one score table, with what it gives for nothing."""
    results = [
        evaluate(
            benchmark,
            items,
            table[table["benchmark"] == benchmark.name],
            subsets=campaign.profile.pool.benchmark_subsets.get(benchmark.name),
            seed=campaign.seed,
        )
        for benchmark, items in suite
    ]
    return [
        replace(
            result,
            longer=longer_is_better(benchmark, items),
            chance=chance(benchmark, items, seed=campaign.seed),
        )
        for result, (benchmark, items) in zip(results, suite, strict=True)
    ]


def score_metrics(table: pd.DataFrame, results: list[BenchmarkResult]) -> dict[str, float]:
    """Headlines and counts of one release; no longest response where nothing was scored."""
    return {
        **{each.benchmark: each.headline for each in results},
        **{f"longer_is_better/{each.benchmark}": each.longer for each in results if each.longer},
        **{f"chance/{each.benchmark}": each.chance for each in results if each.chance},
        "num_scored": len(table),
        "num_truncated": sum(each.num_truncated for each in results),
        **({"max_tokens": int(table["num_tokens"].max())} if len(table) else {}),
    }


def _candidates(step: Step, suite: Suite, suite_fingerprint: str) -> DatasetRef:
    # A copy per size, though the texts are the same: a backfill then touches its own size only.
    return build_candidates(
        [item for _, each in suite for item in each],
        uri=step.campaign.uri("data", step.name, step.context.partition_key, "candidates"),
        suite=suite_fingerprint,
    )


def _score(
    step: Step, candidates: DatasetRef, model: ModelRef, *, executor: ShardExecutor
) -> DatasetRef:
    return score_candidates(
        candidates,
        model,
        uri=step.campaign.uri("data", step.name, step.context.partition_key, "candidate_rewards"),
        executor=executor,
        on_chunk=ChunkPace("benchmark candidates"),
    ).ref


def _curves(suite: Suite, table: pd.DataFrame) -> pd.DataFrame | None:
    for benchmark, items in suite:
        if benchmark.name == CURVES:
            return best_of_k_curves(items, align_rewards(items, table))
    return None


def _plot(size: str, results: list[BenchmarkResult], curves: pd.DataFrame | None) -> bytes:
    if curves is None:
        return bar_plot(
            {each.benchmark: each.headline for each in results},
            title=f"{size}: benchmarks",
            value_label="headline",
            intervals={each.benchmark: (each.low, each.high) for each in results},
        )
    by_k = curves.groupby("k")[["achieved", "ceiling"]].mean()
    return line_plot(
        {"best by reward": by_k["achieved"].tolist(), "best there is": by_k["ceiling"].tolist()},
        title=f"{size}: best of K on PPE Correctness",
        x_label="K",
        y_label="right responses",
        x=[float(k) for k in by_k.index],
    )


def results_frame(results: list[BenchmarkResult]) -> pd.DataFrame:
    """Benchmark results as rows; sub-scores as JSON, for their names differ by benchmark."""
    return pd.DataFrame(
        [
            {
                "benchmark": result.benchmark,
                "headline": result.headline,
                "low": result.low,
                "high": result.high,
                "tie_rate": result.tie_rate,
                "num_items": result.num_items,
                "num_truncated": result.num_truncated,
                "scores": json.dumps(result.scores, sort_keys=True),
                "missing_subsets": json.dumps(list(result.missing_subsets)),
                "longer": result.longer,
                "chance": result.chance,
            }
            for result in results
        ],
        columns=RESULT_COLUMNS,
    )


def results_from_frame(frame: pd.DataFrame) -> list[BenchmarkResult]:
    """The results that `results_frame` wrote."""
    return [
        BenchmarkResult(
            **{
                **{str(name): value for name, value in row.items()},
                "scores": json.loads(row["scores"]),
                "missing_subsets": tuple(json.loads(row["missing_subsets"])),
            }
        )
        for row in frame.to_dict("records")
    ]
