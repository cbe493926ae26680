"""The leaderboard: seven headlines per checkpoint, their plain mean, and the published row.

Published numbers (`published.csv`, from the paper's Tables 1 and 5) are orientation for real
backbones; they are never ours and carry the paper version that printed them. Everything here is a
share in [0, 1].
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from importlib import resources
from typing import IO, Any, Literal

import numpy as np
import pandas as pd

from synpref_dagster.benchmarks.results import BenchmarkResult
from synpref_dagster.benchmarks.suite import BENCHMARK_NAMES

PaperVersion = Literal["v1", "v3"]
POINTS = 100  # the paper prints percentages
FIRST_PUBLISHED = "f50703b9b8267bde"
"""Of the numbers that were published when boards were first stored."""
FIXED_COLUMNS = ["model_size", *BENCHMARK_NAMES, "average", "complete"]


def reference_scores(paper_version: PaperVersion = "v3") -> pd.DataFrame:
    """Published headlines of the eight releases and of reward models and judges before them.

    Args:
        paper_version: "v1" as first printed; "v3" with the corrections of the third version
            (rows it did not change keep `paper_version` "v1").

    Returns:
        Columns model, kind (release, reward model, judge), paper_version, the seven benchmarks and
        average, as shares; NaN where the paper prints none. One row per model.
    """
    frame = _read_csv("published.csv")
    if paper_version == "v1":
        frame = frame[frame["paper_version"] == "v1"]
    elif paper_version == "v3":
        frame = frame.drop_duplicates("model", keep="last")
    else:
        raise ValueError(f"paper_version {paper_version!r} is neither 'v1' nor 'v3'")
    frame = frame.reset_index(drop=True)
    numbers = [*BENCHMARK_NAMES, "average"]
    frame[numbers] = frame[numbers] / POINTS
    return frame


def published_since() -> dict[str, str]:
    """What a stored board's key says of the published numbers: nothing while they are the first.

    Whoever corrects a number or adds a row changes it, so that no board shows the old ones; boards
    that are stored are found again.
    """
    with _open("published.csv") as handle:
        digest = blake2b(handle.read(), digest_size=8).hexdigest()
    return {} if digest == FIRST_PUBLISHED else {"published": digest}


def reference_sub_scores() -> pd.DataFrame:
    """Published sub-scores of the eight releases: columns model, benchmark, score, value (share).

    `score` is the key of the same figure in `BenchmarkResult.scores`.
    """
    frame = _read_csv("published_sub_scores.csv")
    frame["value"] = frame["value"] / POINTS
    return frame


def leaderboard(
    results_by_model: Mapping[str, Sequence[BenchmarkResult]],
    *,
    complete: bool = True,
    paper_version: PaperVersion = "v3",
    with_differences: bool = False,
    trained_on: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """One row per checkpoint, best average first, with the published row of the same name beside.

    Args:
        results_by_model: results of each checkpoint, each benchmark at most once.
        complete: all seven are needed; False leaves a benchmark that was not run NaN and averages
            the others, which is no published figure. Without any the average is NaN too.
        paper_version: see `reference_scores`.
        with_differences: also give ours minus published. Only for real backbones: a stand-in
            differs from the paper by what it is, and the difference would mean nothing.

        trained_on: what each checkpoint was trained on; given, it is a column of that name.

    Returns:
        Columns model_size, the seven headlines, average, complete (all seven, each with all
        its subsets), one per benchmark beside the seven (no part of the average), then
        published_<benchmark> and published_average (NaN for names the paper does not have), then
        difference_<benchmark> and difference_average where asked for.

    Raises:
        ValueError: a checkpoint has a benchmark twice, or lacks one that is needed.
    """
    rows = [_row(model, results, complete=complete) for model, results in results_by_model.items()]
    extras = list(dict.fromkeys(name for row in rows for name in row if name not in FIXED_COLUMNS))
    ours = pd.DataFrame(rows, columns=[*FIXED_COLUMNS, *extras])
    published = reference_scores(paper_version).drop(columns=["kind", "paper_version"])
    published = published.rename(
        columns={name: f"published_{name}" for name in (*BENCHMARK_NAMES, "average")}
    )
    board = ours.merge(published, how="left", left_on="model_size", right_on="model")
    if with_differences:
        for name in (*BENCHMARK_NAMES, "average"):
            board[f"difference_{name}"] = board[name] - board[f"published_{name}"]
    if trained_on is not None:
        board["trained_on"] = board["model_size"].map(dict(trained_on)).astype(object)
    board = board.drop(columns="model").sort_values("average", ascending=False, kind="stable")
    return board.reset_index(drop=True)


def released(
    board: pd.DataFrame, results_by_model: Mapping[str, Sequence[BenchmarkResult]]
) -> list[dict[str, Any]]:
    """The rows of a leaderboard as plain data, every figure with its interval and its items.

    Args:
        board: from `leaderboard`, in its order.
        results_by_model: what it was made of.

    Returns:
        model_size, `average` and `benchmarks` (name -> value, low, high, n). The interval of the
        average takes the benchmarks to be independent, as their items are.
    """
    return [
        {
            "model_size": str(model),
            "average": _averaged(results_by_model.get(str(model), [])),
            "benchmarks": {
                result.benchmark: {
                    "value": result.headline,
                    "low": result.low,
                    "high": result.high,
                    "n": result.num_items,
                }
                for result in results_by_model.get(str(model), [])
            },
        }
        for model in board["model_size"]
    ]


def _averaged(results: Sequence[BenchmarkResult]) -> dict[str, float | int | None]:
    counted = _counted(results)
    if not counted:
        return {"value": None, "low": None, "high": None, "n": 0}
    value = float(np.mean([each.headline for each in counted]))
    below, above = (
        float(np.sqrt(sum(end**2 for end in ends))) / len(counted)
        for ends in (
            [each.headline - each.low for each in counted],
            [each.high - each.headline for each in counted],
        )
    )
    number = sum(each.num_items for each in counted)
    return {"value": value, "low": value - below, "high": value + above, "n": number}


def _counted(results: Sequence[BenchmarkResult]) -> list[BenchmarkResult]:
    """The results that the average is made of: the seven as far as they are there, else all."""
    by_name = {result.benchmark: result for result in results}
    return [by_name[name] for name in BENCHMARK_NAMES if name in by_name] or list(results)


def _row(model: str, results: Sequence[BenchmarkResult], *, complete: bool) -> dict[str, object]:
    headlines = {result.benchmark: result.headline for result in results}
    missing = [name for name in BENCHMARK_NAMES if name not in headlines]
    if len(results) != len(headlines) or (complete and missing):
        names = sorted(result.benchmark for result in results)
        raise ValueError(f"{model} needs one result per benchmark; it has {names}")
    averaged = [result.headline for result in _counted(results)]
    return {
        "model_size": model,
        **{name: headlines.get(name, float("nan")) for name in BENCHMARK_NAMES},
        "average": float(np.mean(averaged)) if averaged else float("nan"),
        "complete": not missing
        and all(r.complete for r in results if r.benchmark in BENCHMARK_NAMES),
        **{name: value for name, value in headlines.items() if name not in BENCHMARK_NAMES},
    }


def _read_csv(name: str) -> pd.DataFrame:
    with _open(name) as handle:
        return pd.read_csv(handle)


def _open(name: str) -> IO[bytes]:
    return resources.files("synpref_dagster.benchmarks").joinpath(name).open("rb")
