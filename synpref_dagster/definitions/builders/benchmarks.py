"""`build_benchmark_assets`: an asset per reward model with its figures, and one that compares."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from synpref_dagster.definitions.builders.naming import (
    Deps,
    KeyPrefix,
    as_markdown,
    checked_names,
    prefixed,
)

if TYPE_CHECKING:
    from synpref_dagster.tools.benchmarking import BenchmarkReport

SHOWN = ["benchmark", "headline", "low", "high", "longer", "chance", "num_items"]


def build_benchmark_assets(
    models: Mapping[str, str],
    *,
    folder: str | Path,
    data: str | Path | None = None,
    suites: Mapping[str, str] | None = None,
    only: Sequence[str] = (),
    floors: Mapping[str, float] | None = None,
    deps: Deps = (),
    key_prefix: KeyPrefix = None,
    group_name: str = "reward_models",
    seed: int = 0,
) -> list[dg.AssetsDefinition]:
    """Assets that measure reward models on benchmarks; a model that did not change costs nothing.

    Each model has `NAME_benchmarks` with its headlines as metadata and a check per floor; behind
    them `leaderboard` has all models in one table. Rewards are kept below `folder`.

    Args:
        models: name -> folder or hub id; names become keys.
        folder: local folder of rewards and of `NAME.json`, one file per model.
        data: folder that is searched for benchmarks in their published layouts.
        suites: name -> file or folder, for suites of one's own or published ones by name.
        only: benchmarks to measure; empty takes all that are at hand.
        floors: benchmark -> headline that a model must reach; below it the check fails.
        deps: what makes models or suites, if assets do.
        key_prefix: of the keys.
        group_name: in Dagster.
        seed: of the intervals and of chance.

    Raises:
        ValueError: no model, or a name that is no key.
    """
    checked_names(models, least=1)
    measured = [
        _measuring(
            name,
            place,
            key=prefixed(key_prefix, f"{name}_benchmarks"),
            how={"data": data, "suites": suites, "only": only, "seed": seed},
            folder=Path(folder),
            floors=floors or {},
            about={"deps": deps, "group_name": group_name},
        )
        for name, place in models.items()
    ]
    return [*measured, _leaderboard(models, measured, Path(folder), key_prefix, group_name)]


def _measuring(
    name: str,
    place: str,
    *,
    key: dg.AssetKey,
    how: Mapping[str, Any],
    folder: Path,
    floors: Mapping[str, float],
    about: Mapping[str, Any],
) -> dg.AssetsDefinition:
    checks = [
        dg.AssetCheckSpec(
            f"{benchmark}_reaches_floor",
            asset=key,
            description=f"The headline of {benchmark} is at least {floor:.3f}.",
        )
        for benchmark, floor in floors.items()
    ]

    @dg.asset(
        key=key,
        kinds={"python"},
        check_specs=checks,
        description=f"What the reward model {name} reaches on every benchmark at hand.",
        **about,
    )
    def measured() -> dg.MaterializeResult:
        from synpref_dagster.tools.benchmarking import benchmark

        folder.mkdir(parents=True, exist_ok=True)
        report = benchmark([place], cache=folder / "rewards", **how)
        return _told(name, report, folder=folder, key=key, floors=floors)

    return measured


def _told(
    name: str,
    report: "BenchmarkReport",
    *,
    folder: Path,
    key: dg.AssetKey,
    floors: Mapping[str, float],
) -> dg.MaterializeResult:
    from synpref_dagster.reward.folders import write_json
    from synpref_dagster.tools.table import as_json

    [model] = report.models
    file = folder / f"{name}.json"
    write_json(file, as_json(report))
    found = {result.benchmark: result for result in model.results}
    frame = report.frame()
    metadata: dict[str, Any] = {
        **{f"headline/{each}": float(result.headline) for each, result in found.items()},
        "benchmarks": as_markdown(frame[SHOWN]),
        "model": model.fingerprint,
        "responses_scored": model.num_scored,
        "file": dg.MetadataValue.path(str(file)),
        **({"notes": list(report.notes)} if report.notes else {}),
    }
    checks = [
        dg.AssetCheckResult(
            check_name=f"{benchmark}_reaches_floor",
            asset_key=key,
            passed=benchmark in found and found[benchmark].headline >= floor,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"floor": floor},
            description="" if benchmark in found else f"{benchmark} was not measured",
        )
        for benchmark, floor in floors.items()
    ]
    return dg.MaterializeResult(
        asset_key=key,
        metadata=metadata,
        check_results=checks,
        data_version=dg.DataVersion(f"{model.fingerprint}-{_digest(frame.to_json())}"),
    )


def _digest(text: str) -> str:
    from synpref_dagster.storage import hash_json

    return hash_json([text])[:16]


def _leaderboard(
    models: Mapping[str, str],
    measured: Sequence[dg.AssetsDefinition],
    folder: Path,
    key_prefix: KeyPrefix,
    group_name: str,
) -> dg.AssetsDefinition:
    @dg.asset(
        key=prefixed(key_prefix, "leaderboard"),
        deps=[each.key for each in measured],
        group_name=group_name,
        kinds={"python"},
        description="Headlines of all reward models, side by side.",
    )
    def leaderboard() -> dg.MaterializeResult:
        import pandas as pd

        rows = {}
        for name in models:
            told = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            [model] = told["models"]
            rows[name] = {result["benchmark"]: result["headline"] for result in model["results"]}
        frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("model").reset_index()
        frame.to_csv(folder / "leaderboard.csv", index=False)
        place = dg.MetadataValue.path(str(folder / "leaderboard.csv"))
        return dg.MaterializeResult(metadata={"leaderboard": as_markdown(frame), "file": place})

    return leaderboard
