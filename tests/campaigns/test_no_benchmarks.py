"""A campaign without benchmarks and truth finishes, and says what it did not measure."""

from types import SimpleNamespace

import dagster as dg
import numpy as np
import pandas as pd

from synpref_dagster.assets.evidence.report import _headline
from synpref_dagster.assets.release.benchmarks import (
    results_frame,
    results_from_frame,
    score_metrics,
)
from synpref_dagster.assets.release.folder import scorecard
from synpref_dagster.assets.release.score_checks import score_checks
from synpref_dagster.benchmarks.gates import promotion_gates
from synpref_dagster.benchmarks.items import spread_scores
from synpref_dagster.benchmarks.leaderboard import leaderboard
from synpref_dagster.publishing.plots import leaderboard_plot
from synpref_dagster.resources.sources import PoolSources

SOURCES = SimpleNamespace(benchmark_fingerprint=lambda: "none")
TRAINING = {"report": {"evaluation": {"accuracy": 0.9, "low": 0.8, "high": 0.95}}}


def test_label_accuracy_that_nobody_measured_is_not_logged():
    found = {"before": {"value": None}, "after": {"value": None}}
    assert _headline({"label_accuracy": found}) == {}
    found["after"] = {"value": 0.9}
    assert _headline({"label_accuracy": found}) == {"report/after_label_accuracy": 0.9}


def test_results_of_no_benchmark_come_back_as_none(tmp_path):
    results_frame([]).to_parquet(tmp_path / "results.parquet")
    assert results_from_frame(pd.read_parquet(tmp_path / "results.parquet")) == []


def test_a_score_table_of_nothing_has_counts_but_no_longest_response():
    columns = {"reward": np.float32, "num_tokens": np.int32, "truncated": bool}
    nothing = pd.DataFrame({name: pd.Series([], dtype=kind) for name, kind in columns.items()})
    scores = spread_scores([], nothing)
    assert score_metrics(scores, []) == {"num_scored": 0, "num_truncated": 0}
    passed = {each.check_name: each.passed for each in score_checks(SOURCES, [], scores, [])}
    assert passed["no_missing_score"]


def test_without_benchmarks_a_release_is_judged_on_gold_alone():
    card = scorecard(TRAINING, results_frame([]), SOURCES)
    assert dict(card.benchmarks) == {}
    first = promotion_gates(card, None)
    second = promotion_gates(card, card)
    assert [(gate.name, gate.passed) for gate in first] == [("gold_accuracy", True)]
    assert [gate.name for gate in second] == ["gold_accuracy", "no_regression/gold"]


def test_releases_without_an_average_make_an_empty_plot():
    board = leaderboard({"qwen3-0.6b": []}, complete=False)
    averages = dict(zip(board["model_size"], board["average"], strict=True))
    assert leaderboard_plot(averages, title="T") == leaderboard_plot({}, title="T")


def test_judges_are_asked_nothing_without_benchmarks_and_the_job_says_so(
    finished_campaign, monkeypatch
):
    monkeypatch.setattr(PoolSources, "benchmarks", lambda _: [])
    job = finished_campaign.defs.resolve_job_def("score_judges")
    result = job.execute_in_process(instance=dg.DagsterInstance.ephemeral())
    scores, board = (
        result.asset_materializations_for_node(name)[0].metadata
        for name in ("judge_scores", "judge_leaderboard")
    )
    assert scores["num_comparisons"].value == 0
    assert "no benchmark is named" in scores["no_score"].value
    assert board["num_candidates"].value == 1  # the release, scored before
