"""Box 6, judges as candidates: the panel and each judge on the suite, beside the releases.

As in the paper's Tab. 2 and 21: the same benchmarks, asked as comparisons in both orders. Not part
of a campaign's ordinary run, for with real judges it costs money: start the job `score_judges`.
"""

import functools
from collections.abc import Mapping
from typing import Any

import dagster as dg
import pandas as pd

from synpref_dagster.assets.asking import ask_judges
from synpref_dagster.assets.release.benchmarks import results_frame, results_from_frame
from synpref_dagster.assets.release.score_checks import Suite
from synpref_dagster.assets.step import Step, box, campaign_step
from synpref_dagster.assets.views import embed_new, gold_exemplars, stage_one_views
from synpref_dagster.benchmarks.judged import Comparison, comparisons, evaluate_votes
from synpref_dagster.benchmarks.leaderboard import (
    leaderboard as build_leaderboard,
    published_since,
)
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.publishing.plots import leaderboard_plot
from synpref_dagster.resources.attributes import AttributeLabelling
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.embedding import PairEmbedding
from synpref_dagster.resources.io_managers import GATHERS
from synpref_dagster.resources.judges import JudgePanel
from synpref_dagster.resources.sources import PoolSources
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.storage import DatasetRef, SelectionRef

GROUP = "6_release"
PANEL_ROW = "judge panel"
NO_BENCHMARK = "no benchmark is named in [pool.benchmarks]: there is nothing to ask judges about"


@dg.asset(**box(GROUP, kinds={"python", "parquet"}, pool="judge_api"))
def judge_scores(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    sources: PoolSources,
    judges: JudgePanel,
    labelling: AttributeLabelling,
    embedding: PairEmbedding,
    tracking: MlflowTracking,
    attribute_labels: DatasetRef,
    pair_embeddings: DatasetRef,
    gold: SelectionRef,
) -> dg.MaterializeResult:
    """The panel and each of its judges on every benchmark, by pairwise votes over both orders.

    Without benchmarks nobody is asked, and the results are an empty table.
    """
    views = stage_one_views(campaign, attribute_labels, pair_embeddings)
    with campaign_step(context, campaign, tracking, {"gold": gold}) as step:
        suite = sources.benchmarks()
        asked = _asked(suite)
        if not asked:
            context.log.warning(NO_BENCHMARK)
            return _nothing_asked(step)
        folder = campaign.facts(pair_embeddings)["embedder"]
        answers = ask_judges(
            step,
            judges,
            pool=views["pool"],
            targets=lambda: embed_new(
                list({pair.pair_id: pair for pair in asked.values()}.values()),
                labelling,
                embedding,
                folder=folder,
                asset=step.name,
            ),
            gold=lambda: gold_exemplars(
                campaign, views, campaign.frame(gold.kept), embedding=embedding
            ),
            inputs=[gold, pair_embeddings, sources.benchmark_fingerprint()],
            folder="answers",
        )
        results = step.dataset(
            lambda: _measured(campaign, suite, asked, answers),
            inputs=[answers, sources.benchmark_fingerprint()],
            part="results",
        )
        frame = campaign.frame(results)
        return step.result(
            {"results": results, "votes": answers["votes"]},
            metrics={"num_comparisons": len(asked)}
            | {
                f"{row.judge.replace(' ', '_')}/{row.benchmark}": float(row.headline)
                for row in frame.itertuples()
            },
        )


@dg.asset(
    **box(GROUP, kinds={"python", "parquet"}),
    ins={"benchmark_scores": dg.AssetIn(metadata={GATHERS: True})},
)
def judge_leaderboard(
    context: dg.AssetExecutionContext,
    campaign: Campaign,
    tracking: MlflowTracking,
    benchmark_scores: dict[str, Any],
    judge_scores: dict[str, DatasetRef],
) -> dg.MaterializeResult:
    """Releases and judges in one table; a judge's row is never complete, for Ties need ratings."""
    with campaign_step(context, campaign, tracking) as step:
        releases = {size: parts["results"] for size, parts in sorted(benchmark_scores.items())}
        judged = judge_scores["results"]

        def compute() -> pd.DataFrame:
            rows = {size: results_from_frame(campaign.frame(ref)) for size, ref in releases.items()}
            by_judge = campaign.frame(judged).groupby("judge", sort=False)
            rows |= {
                str(name): results_from_frame(part.drop(columns="judge")) for name, part in by_judge
            }
            board = build_leaderboard(rows, complete=False)
            return board.assign(
                kind=["release" if n in releases else "judge" for n in board["model_size"]]
            )

        board = step.dataset(
            compute,
            inputs=[judged, *(f"{size}:{ref.fingerprint}" for size, ref in releases.items())],
            params=published_since(),
        )
        frame = campaign.frame(board)
        return step.result(
            board,
            metrics={"num_candidates": len(frame)},
            plot=leaderboard_plot(
                dict(zip(frame["model_size"], frame["average"], strict=True)),
                title="Releases and judges",
            ),
            facts={} if frame["average"].notna().any() else {"no_average": NO_BENCHMARK},
        )


def _nothing_asked(step: Step) -> dg.MaterializeResult:
    results = step.dataset(
        lambda: results_frame([]).assign(judge=pd.Series(dtype=str)), inputs=[], part="results"
    )
    return step.result(
        {"results": results}, metrics={"num_comparisons": 0}, facts={"no_score": NO_BENCHMARK}
    )


Asked = Mapping[tuple[str, Comparison], PreferencePair]


def _asked(suite: Suite) -> Asked:
    """Every comparison of the suite as a pair whose chosen response is the right candidate.

    Candidates of the same text cannot be told apart: nobody is asked, and the vote is 0.
    """
    return {
        (benchmark.name, each): PreferencePair(
            conversation=item.conversation,
            chosen=item.candidates[each.right],
            rejected=item.candidates[each.wrong],
            source=benchmark.name,
            origin="synthetic",
        )
        for benchmark, items in suite
        for item in items
        for each in comparisons([item])
        if item.candidates[each.right] != item.candidates[each.wrong]
    }


def _measured(
    campaign: Campaign, suite: Suite, asked: Asked, answers: Mapping[str, DatasetRef]
) -> pd.DataFrame:
    labels = campaign.frame(answers["labels"]).assign(judge=PANEL_ROW)
    votes = campaign.frame(answers["votes"]).rename(columns={"vote": "label"})
    columns = ["judge", "pair_id", "label"]
    said = pd.concat([labels[columns], votes[columns]], ignore_index=True)
    frames = []
    for judge, part in said.groupby("judge", sort=False):
        by_pair = dict(zip(part["pair_id"], part["label"].astype(int), strict=True))
        vote = functools.partial(_vote, asked, by_pair)
        found = [
            evaluate_votes(
                benchmark,
                items,
                {each: vote(benchmark.name, each) for each in comparisons(items)},
                seed=campaign.seed,
            )
            for benchmark, items in suite
        ]
        frames.append(results_frame(found).assign(judge=judge))
    return pd.concat(frames, ignore_index=True)


def _vote(asked: Asked, by_pair: Mapping[bytes, int], benchmark: str, each: Comparison) -> int:
    pair = asked.get((benchmark, each))
    return by_pair[pair.pair_id] if pair is not None else 0
