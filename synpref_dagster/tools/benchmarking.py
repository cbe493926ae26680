"""`benchmark`: reward models on the benchmarks that are at hand, from one table of rewards each.

Every figure comes from the functions that the campaign's releases are measured with.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from synpref_dagster.benchmarks.baselines import chance, longer_is_better
from synpref_dagster.benchmarks.best_of_n import best_of_k_curves
from synpref_dagster.benchmarks.items import (
    BenchmarkItem,
    align_rewards,
    distinct_candidates,
    spread_scores,
)
from synpref_dagster.benchmarks.leaderboard import reference_scores
from synpref_dagster.benchmarks.results import BenchmarkResult
from synpref_dagster.benchmarks.suite import BENCHMARK_NAMES, Benchmark, evaluate
from synpref_dagster.settings.shards import ShardSettings
from synpref_dagster.storage import ModelRef
from synpref_dagster.tools.cached import cached_scores, default_cache
from synpref_dagster.tools.models import named_model, short_name
from synpref_dagster.tools.running import Listener
from synpref_dagster.tools.suites import Suites, find_suites

CURVES = "ppe_correctness"
OURS = "skywork-reward-v2-"
"""What the published releases are called before the name of their row."""
ModelListener = Callable[[str], Listener]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelScores:
    """One reward model on every benchmark at hand."""

    name: str
    place: str
    """Folder or hub id, as it was given."""
    fingerprint: str
    results: tuple[BenchmarkResult, ...]
    curves: pd.DataFrame | None
    """Best of K on PPE Correctness: group, k, achieved, ceiling; None without that benchmark."""
    num_scored: int
    """Responses scored by this call; all others were scored by an earlier one."""
    num_kept: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkReport:
    """What `benchmark` found."""

    models: tuple[ModelScores, ...]
    titles: Mapping[str, str]
    """Benchmark -> its title, in the order of the results."""
    headlines: Mapping[str, str]
    """Benchmark -> which of its scores is the headline."""
    published: pd.DataFrame
    """Published headlines of those benchmarks: model, kind, one column each; shares."""
    notes: tuple[str, ...] = ()
    """What has to be known beside the figures: partial sets, files and rows left out."""

    def frame(self) -> pd.DataFrame:
        """One row per model and benchmark: headline, its 95% interval, and what it is held to."""
        return pd.DataFrame(
            [
                {
                    "model": model.name,
                    "benchmark": result.benchmark,
                    "headline": result.headline,
                    "low": result.low,
                    "high": result.high,
                    "longer": result.longer,
                    "chance": result.chance,
                    "num_items": result.num_items,
                    "num_truncated": result.num_truncated,
                    "tie_rate": result.tie_rate,
                    "missing_subsets": list(result.missing_subsets),
                }
                for model in self.models
                for result in model.results
            ]
        )


@dataclass(slots=True)
class _Measured:
    """What does not depend on the model, worked out once."""

    suites: Suites
    seed: int
    for_nothing: dict[str, tuple[float, float]] = field(default_factory=dict)

    def result(
        self, benchmark: Benchmark, items: list[BenchmarkItem], table: pd.DataFrame
    ) -> BenchmarkResult:
        name = benchmark.name
        if name not in self.for_nothing:
            random = chance(benchmark, items, seed=self.seed)
            self.for_nothing[name] = longer_is_better(benchmark, items), random
        rows = table[table["benchmark"] == name]
        subsets = self.suites.subsets(name)
        result = evaluate(benchmark, items, rows, subsets=subsets, seed=self.seed)
        longer, random = self.for_nothing[name]
        return replace(result, longer=longer, chance=random)


def benchmark(  # noqa: PLR0913 - what is measured on what, and where its rewards are kept
    models: str | Path | Sequence[str | Path],
    *,
    data: str | Path | None = None,
    suites: Mapping[str, str] | None = None,
    only: Sequence[str] = (),
    hub: bool | None = None,
    cache: str | Path | None = None,
    seed: int = 0,
    shards: ShardSettings | None = None,
    listener: ModelListener | None = None,
) -> BenchmarkReport:
    """Measure reward models on the seven benchmarks, M-RewardBench and suites of one's own.

    Args:
        models: folders or hub ids, one or several.
        data: folder that is searched for benchmarks in their published layouts.
        suites: name -> file or folder, for a suite of one's own or a published one by name.
        only: benchmarks to measure; empty takes all that are at hand.
        hub: take what is missing from the hub; None: where neither data nor suites are given.
        cache: folder in which rewards are kept; None is beside the campaigns of the store.
        seed: of the intervals and of chance.
        shards: who scores, as `[shards]` of a profile; this process by default.
        listener: given the name of a model, what is called with how many responses are scored.

    Raises:
        ValueError: a model, a benchmark or the cache cannot be used; one line says why.
    """
    listed = [models] if isinstance(models, str | Path) else list(models)
    if not listed:
        raise ValueError("name at least one reward model")
    names = model_names([str(place) for place in listed])
    refs = [named_model(place) for place in listed]
    from_hub = hub if hub is not None else data is None and not suites
    found = find_suites(
        data=None if data is None else Path(data), named=suites, only=only, hub=from_hub
    )
    measured = _Measured(found, seed)
    keep = checked_cache(cache)
    scores = [
        _model_scores(
            name,
            ref,
            measured=measured,
            cache=keep,
            how=(shards or ShardSettings(), listener(name) if listener else None),
        )
        for name, ref in zip(names, refs, strict=True)
    ]
    given = {name: str(place) for name, place in zip(names, listed, strict=True)}
    return BenchmarkReport(
        models=tuple(replace(each, place=given[each.name]) for each in scores),
        titles={each.name: each.title for each, _ in found.found},
        headlines={each.name: each.headline for each, _ in found.found},
        published=_published([each.name for each, _ in found.found]),
        notes=tuple(found.notes),
    )


def published_name(name: str) -> str:
    """What the published row of a model is called, if it has one.

    >>> published_name("Skywork-Reward-V2-Qwen3-0.6B")
    'qwen3-0.6b'
    """
    return name.lower().removeprefix(OURS)


def model_names(places: Sequence[str]) -> list[str]:
    """What models are called: short where that tells them apart.

    Raises:
        ValueError: one is named twice.
    """
    short = [short_name(place) for place in places]
    if repeated := {place for place in places if places.count(place) > 1}:
        raise ValueError(f"{sorted(repeated)[0]} is named twice; take one out")
    return [
        name if short.count(name) == 1 else place for name, place in zip(short, places, strict=True)
    ]


def checked_cache(cache: str | Path | None) -> Path:
    """The folder in which rewards are kept.

    Raises:
        ValueError: it is no local folder.
    """
    folder = default_cache() if cache is None else Path(cache)
    if "://" in str(cache):
        raise ValueError(f"{cache}: rewards are kept in a local folder; name one with --cache")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; rewards are kept in a folder, name one with --cache")
    return folder


def _model_scores(
    name: str,
    ref: ModelRef,
    *,
    measured: _Measured,
    cache: Path,
    how: tuple[ShardSettings, Listener | None],
) -> ModelScores:
    suite = measured.suites.found
    items = [item for _, each in suite for item in each]
    candidates = distinct_candidates(items)
    shards, listener = how
    rewards, num_scored = cached_scores(
        candidates, ref, cache=cache, shards=shards, listener=listener
    )
    table = spread_scores(items, rewards)
    return ModelScores(
        name=name,
        place=ref.uri,
        fingerprint=ref.fingerprint,
        results=tuple(measured.result(benchmark, own, table) for benchmark, own in suite),
        curves=_curves(suite, table),
        num_scored=num_scored,
        num_kept=len(candidates) - num_scored,
    )


def _curves(
    suite: Sequence[tuple[Benchmark, list[BenchmarkItem]]], table: pd.DataFrame
) -> pd.DataFrame | None:
    for benchmark, items in suite:
        if benchmark.name == CURVES:
            return best_of_k_curves(items, align_rewards(items, table))
    return None


def _published(names: Sequence[str]) -> pd.DataFrame:
    """Published rows that say something of these benchmarks."""
    measured = [name for name in BENCHMARK_NAMES if name in names]
    rows = reference_scores()[["model", "kind", *measured]]
    return rows.dropna(subset=measured, how="all").reset_index(drop=True) if measured else rows[:0]
