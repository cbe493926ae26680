import io

import numpy as np
import pytest

from synpref_dagster.benchmarks import leaderboard as module
from synpref_dagster.benchmarks.leaderboard import (
    leaderboard,
    published_since,
    reference_scores,
    reference_sub_scores,
    released,
)
from synpref_dagster.benchmarks.results import BenchmarkResult
from synpref_dagster.benchmarks.suite import BENCHMARK_NAMES, SUITE

RELEASES = {
    "qwen3-0.6b",
    "qwen3-1.7b",
    "qwen3-4b",
    "qwen3-8b",
    "llama-3.2-1b",
    "llama-3.2-3b",
    "llama-3.1-8b",
    "llama-3.1-8b-40m",
}


def result(benchmark, headline, missing=()):
    return BenchmarkResult(
        benchmark=benchmark,
        headline=headline,
        low=headline,
        high=headline,
        scores={},
        tie_rate=0,
        num_items=1,
        num_truncated=0,
        missing_subsets=missing,
    )


@pytest.mark.parametrize("version", ["v1", "v3"])
def test_published_averages_are_the_mean_of_their_row(version):
    frame = reference_scores(version).dropna()
    mean = frame[list(BENCHMARK_NAMES)].mean(axis=1)
    assert (mean - frame["average"]).abs().max() < 0.0011
    assert set(frame.loc[frame["kind"] == "release", "model"]) == RELEASES
    assert frame["model"].is_unique


def test_the_third_version_corrects_the_first():
    frames = {v: reference_scores(v).set_index("model") for v in ("v1", "v3")}
    assert frames["v1"].loc["qwen3-4b", "judge_bench"] == pytest.approx(0.693)
    assert frames["v3"].loc["qwen3-4b", "judge_bench"] == pytest.approx(0.695)
    assert frames["v3"].loc["qwen3-0.6b", "paper_version"] == "v1"
    assert len(frames["v1"]) == len(frames["v3"])
    with pytest.raises(ValueError, match="neither"):
        reference_scores("v2")


def test_published_sub_scores_explain_the_published_headlines():
    headlines = reference_scores().set_index("model")
    frame = reference_sub_scores()
    assert len(frame) == 8 * (3 + 6 + 2 + 4)
    for name in ("rm_bench", "reward_bench_2", "judge_bench"):
        means = frame[frame["benchmark"] == name].groupby("model")["value"].mean()
        assert (means - headlines.loc[means.index, name]).abs().max() < 0.0021


def test_the_leaderboard_ranks_by_average_beside_the_published_row():
    board = leaderboard(
        {
            "qwen3-0.6b": [result(name, 0.5) for name in BENCHMARK_NAMES],
            "my-model": [
                result(n, 0.6, missing=("math",) if n == "rm_bench" else ())
                for n in BENCHMARK_NAMES
            ],
        }
    )
    assert board["model_size"].tolist() == ["my-model", "qwen3-0.6b"]
    assert board["average"].tolist() == pytest.approx([0.6, 0.5])
    assert board["complete"].tolist() == [False, True]
    assert np.isnan(board.loc[0, "published_average"])
    assert board.loc[1, "published_reward_bench_2"] == pytest.approx(0.613)


def test_a_checkpoint_without_all_seven_is_an_error():
    with pytest.raises(ValueError, match="one result per benchmark"):
        leaderboard({"m": [result(name, 0.5) for name in BENCHMARK_NAMES[1:]]})


def test_an_incomplete_row_averages_what_it_has_and_says_so():
    results = [result("rmb", 0.4), result("rm_bench", 0.6)]
    board = leaderboard({"m": results}, complete=False)
    assert board.loc[0, "average"] == pytest.approx(0.5)
    assert not board.loc[0, "complete"]
    assert np.isnan(board.loc[0, "judge_bench"])
    with pytest.raises(ValueError, match="one result per benchmark"):
        leaderboard({"m": [*results, results[0]]}, complete=False)


def test_a_checkpoint_without_any_benchmark_has_a_row_and_no_average():
    board = leaderboard({"m": []}, complete=False)
    assert board["model_size"].tolist() == ["m"]
    assert np.isnan(board.loc[0, "average"])
    assert not board.loc[0, "complete"]
    with pytest.raises(ValueError, match="one result per benchmark"):
        leaderboard({"m": []})


def test_every_headline_key_is_known_to_the_suite():
    assert [row.name for row in SUITE] == list(BENCHMARK_NAMES)
    assert len({row.title for row in SUITE}) == 7


def test_corrected_published_numbers_are_another_board_and_the_first_ones_the_stored(monkeypatch):
    assert published_since() == {}
    corrected = [io.BytesIO(b"model,kind\na,release\n"), io.BytesIO(b"model,kind\nb,release\n")]
    monkeypatch.setattr(module, "_open", lambda name: corrected.pop())
    first, second = published_since(), published_since()
    assert [*first] == [*second] == ["published"]
    assert first != second


def test_released_models_have_every_figure_with_its_interval_in_the_order_of_the_board():
    def found(benchmark, headline, half, num_items):
        return BenchmarkResult(
            benchmark=benchmark, headline=headline, low=headline - half, high=headline + half,
            scores={}, tie_rate=0, num_items=num_items, num_truncated=0, missing_subsets=(),
        )  # fmt: skip

    results = {
        "worse": [found("rmb", 0.5, 0.03, 10), found("rm_bench", 0.6, 0.04, 20)],
        "better": [found("rmb", 0.8, 0.1, 10), found("my_suite", 0.1, 0.1, 5)],
        "unscored": [],
    }
    board = leaderboard(results, complete=False)
    rows = released(board, results)
    assert [row["model_size"] for row in rows] == ["better", "worse", "unscored"]
    better, worse, unscored = rows
    # One's own suite stands beside the average, never in it.
    assert better["average"] == pytest.approx({"value": 0.8, "low": 0.7, "high": 0.9, "n": 10})
    assert better["benchmarks"]["my_suite"]["n"] == 5
    # Independent errors of .03 and .04 are .05 together, and half of that in the mean of two.
    assert worse["average"] == pytest.approx({"value": 0.55, "low": 0.525, "high": 0.575, "n": 30})
    assert unscored["average"]["value"] is None
    averages = board.set_index("model_size")["average"]
    assert [row["average"]["value"] for row in rows[:2]] == pytest.approx(list(averages[:2]))
