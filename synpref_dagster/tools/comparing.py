"""`compare`: two reward models on the same pairs or benchmarks, and where they disagree.

A difference is taken pair by pair, and its interval comes from drawing whole prompts again, the
same ones for both models. Rewards are those of `benchmark`, kept in the same place.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from synpref_dagster.benchmarks.items import (
    BenchmarkItem,
    align_rewards,
    distinct_candidates,
    spread_scores,
)
from synpref_dagster.benchmarks.results import difference_interval
from synpref_dagster.curation.evidence.variants import Pooled
from synpref_dagster.pairs.record import digest, first_user_turn
from synpref_dagster.pairs.texts import printable
from synpref_dagster.settings.shards import ShardSettings
from synpref_dagster.storage import ModelRef
from synpref_dagster.tools.benchmarking import ModelListener, checked_cache, model_names
from synpref_dagster.tools.cached import cached_scores
from synpref_dagster.tools.curating.given import Data, as_files, read_pairs
from synpref_dagster.tools.curating.reading import Given, cells_of, listed
from synpref_dagster.tools.models import named_model
from synpref_dagster.tools.rows import AUTO, Reading
from synpref_dagster.tools.running import Listener
from synpref_dagster.tools.suites import Suite, Suites, find_suites

HEADLINE_COLUMNS = ["benchmark", "n", "first", "second", "difference", "low", "high"]
SIDES = ("first", "second")
CATEGORIES = ("task_category", "category", "subset", "domain", "source")
"""Columns of pairs by which they are told apart where they are there."""
MAX_VALUES, MAX_EXAMPLES, SHOWN, SHOWN_VALUE = 40, 5, 300, 60
LENGTHS = ("longer preferred", "shorter preferred", "equally long")


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A pair that one model orders rightly and the other does not."""

    right: str
    """The model that is right."""
    where: str
    """File and row, or benchmark and item."""
    first_margin: float
    second_margin: float
    prompt: str
    """The beginning of the first user turn, as those of the responses."""
    chosen: str
    rejected: str

    def as_dict(self) -> dict[str, str | float]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareReport:
    """Two models on the same pairs or items."""

    models: tuple[str, str]
    rows: pd.DataFrame
    """One row per slice: by ("" for all), value, n, `first` and `second`, the shares of pairs that
    each orders rightly, difference (first less second) with low and high, only_first and
    only_second, the pairs that one alone orders rightly."""
    headlines: pd.DataFrame
    """One row per benchmark: benchmark, n, first, second, difference, low, high; empty on pairs."""
    examples: tuple[Example, ...]
    """Where they disagree most, of either side."""
    reading: Reading | None
    """What reading the pairs came to; None on benchmarks."""
    num_scored: tuple[int, int]
    """Responses that this call scored."""
    notes: tuple[str, ...] = ()


def compare(  # noqa: PLR0913 - which models, on what, and where their rewards are kept
    first: str | Path,
    second: str | Path,
    on: "Data | None" = None,
    *,
    data: str | Path | None = None,
    suites: Mapping[str, str] | None = None,
    only: Sequence[str] = (),
    hub: bool | None = None,
    by: Sequence[str] = (),
    num_examples: int = MAX_EXAMPLES,
    layout: str = AUTO,
    columns: Mapping[str, str] | None = None,
    cache: str | Path | None = None,
    seed: int = 0,
    shards: ShardSettings | None = None,
    listener: ModelListener | None = None,
) -> CompareReport:
    """Compare two reward models on pairs, or on benchmarks where no pairs are given.

    A pair is ordered rightly where the margin is above 0; an item of a benchmark, where the best
    rewarded of its responses is right. All pairs are in memory.

    Args:
        first: folder or hub id of a reward model.
        second: of another.
        on: pairs: what `read_pairs` takes; None compares on benchmarks.
        data: see `benchmark`, as `suites`, `only` and `hub`.
        suites: name -> file or folder.
        only: benchmarks to measure.
        hub: take from the hub what is missing.
        by: columns of the pairs to tell them apart by; category, source and their like by default.
        num_examples: pairs that are shown of each side.
        layout: of the pairs; seen by itself by default.
        columns: known name -> name in the data.
        cache: folder in which rewards are kept; None is that of `benchmark`.
        seed: of the intervals, and of formats that draw the chosen one.
        shards: who scores, as `[shards]` of a profile; this process by default.
        listener: given the name of a model, what is called with how many responses are scored.

    Raises:
        ValueError: a model, the pairs or a benchmark cannot be used; one line says why.
    """
    names = model_names([str(first), str(second)])
    refs = [named_model(first), named_model(second)]
    folder = checked_cache(cache)
    suite = _Suite(data, suites, only, hub)
    suite.check(on, by)
    if on is None:
        what = _benchmarks(suite.found())
    else:
        what = _pairs(on, by=by, layout=layout, columns=columns or {}, seed=seed)
    how = shards or ShardSettings()
    listeners = [listener(name) if listener else None for name in names]
    found = [
        _scored(what.items, ref, cache=folder, shards=how, listener=told)
        for ref, told in zip(refs, listeners, strict=True)
    ]
    return _report(what, names, found, seed=seed, num_examples=num_examples)


@dataclass(frozen=True, slots=True)
class _Suite:
    """Which benchmarks are asked for."""

    data: str | Path | None
    suites: Mapping[str, str] | None
    only: Sequence[str]
    hub: bool | None

    def check(self, on: "Data | None", by: Sequence[str]) -> None:
        if on is not None and (self.data is not None or self.suites or self.only or self.hub):
            raise ValueError("pairs and benchmarks are given: compare on one of them at a time")
        if on is None and by:
            raise ValueError("by names columns of pairs; benchmarks have subsets of their own")

    def found(self) -> Suites:
        from_hub = self.hub if self.hub is not None else self.data is None and not self.suites
        place = None if self.data is None else Path(self.data)
        return find_suites(data=place, named=self.suites, only=self.only, hub=from_hub)


def _report(
    what: "_What",
    names: Sequence[str],
    found: Sequence[tuple[pd.DataFrame, int]],
    *,
    seed: int,
    num_examples: int,
) -> CompareReport:
    tables = [table for table, _ in found]
    margins = [_margins(what.items, table) for table in tables]
    return CompareReport(
        models=(names[0], names[1]),
        rows=_rows(what, margins, seed=seed),
        headlines=_headlines(what.suite, tables, seed=seed),
        examples=tuple(_examples(what, margins, names, num=num_examples)),
        reading=what.reading,
        num_scored=(found[0][1], found[1][1]),
        notes=tuple(what.notes),
    )


@dataclass(slots=True)
class _What:
    """What two models are compared on."""

    items: list[BenchmarkItem]
    about: dict[str, list[str | None]]
    """Slice -> its value for each item; None belongs to none."""
    places: list[str]
    suite: list[Suite] = field(default_factory=list)
    reading: Reading | None = None
    notes: list[str] = field(default_factory=list)


def _benchmarks(suites: Suites) -> _What:
    items = [item for _, each in suites.found for item in each]
    about: dict[str, list[str | None]] = {
        "benchmark": [item.benchmark for item in items],
        "subset": [f"{item.benchmark}/{item.group}" for item in items],
    }
    places = [f"{item.benchmark} {item.item_id}" for item in items]
    return _What(items, about, places, suite=suites.found, notes=[*suites.notes])


def _pairs(
    on: Data, *, by: Sequence[str], layout: str, columns: Mapping[str, str], seed: int
) -> _What:
    with TemporaryDirectory(prefix="synpref-") as folder:
        paths = as_files(on, Path(folder))
        pairs = read_pairs(paths, layout=layout, columns=columns, seed=seed)
        cells = cells_of(listed(Given(paths)), by or CATEGORIES)
    if not len(pairs):
        raise ValueError("there is no pair to compare on; `synpref clean` says what the rows are")
    if missing := [name for name in by if name not in cells]:
        raise ValueError(f"no row has a column {missing[0]!r}, by which pairs are to be told apart")
    items = [
        BenchmarkItem(
            benchmark="pairs",
            item_id=str(number),
            group="pairs",
            conversation=pair.conversation,
            candidates=(pair.chosen, pair.rejected),
            labels=(1, 0),
        )
        for number, pair in enumerate(pairs)
    ]
    places = [(pair.source, int(pair.meta["row"])) for pair in pairs]
    what = _What(items, {}, [f"{file} row {row}" for file, row in places], reading=pairs.reading)
    if len({file for file, _ in places}) > 1:
        what.about["file"] = [file for file, _ in places]
    for name in by or [each for each in CATEGORIES if each in cells]:
        values = [_value(cells[name].get(place)) for place in places]
        if len({*values}) > MAX_VALUES:
            what.notes.append(f"{name} has more than {MAX_VALUES} values: not told apart by it")
        else:
            what.about[name] = values
    return what


def _value(cell: object) -> str | None:
    """A cell by which pairs are told apart; what is nested is no category."""
    if cell is None or isinstance(cell, list | Mapping):
        return None
    return printable(str(cell))[:SHOWN_VALUE]


def _scored(
    items: Sequence[BenchmarkItem],
    ref: ModelRef,
    *,
    cache: Path,
    shards: ShardSettings,
    listener: Listener | None,
) -> tuple[pd.DataFrame, int]:
    """The score table of all items, and how many responses were scored for it now."""
    scores, num_new = cached_scores(
        distinct_candidates(items), ref, cache=cache, shards=shards, listener=listener
    )
    return spread_scores(items, scores), num_new


def _margins(items: Sequence[BenchmarkItem], table: pd.DataFrame) -> np.ndarray:
    """(n,) best reward of a right response less the best of a wrong one; NaN where none is."""
    margins = np.full(len(items), np.nan)
    for place, (item, rewards) in enumerate(zip(items, align_rewards(items, table), strict=True)):
        right = np.array(item.labels, dtype=bool)
        if right.any() and not right.all():
            margins[place] = rewards[right].max() - rewards[~right].max()
    return margins


def _rows(what: _What, margins: Sequence[np.ndarray], *, seed: int) -> pd.DataFrame:
    """`CompareReport.rows`; items without a right or a wrong response are in none."""
    prompts = [digest(first_user_turn(item.conversation)).hex() for item in what.items]
    frame = pd.DataFrame({"prompt_id": prompts, **dict(zip(SIDES, margins, strict=True))})
    counted = np.isfinite(margins[0])
    pooled = Pooled.of([frame], seed=seed)
    first, second = margins[0] > 0, margins[1] > 0
    told = []
    for by, value, mask in _slices(what, counted):
        shares = [pooled.accuracy(side, mask) for side in SIDES]
        gain = pooled.gain(*SIDES, mask)
        told.append(
            {
                "by": by,
                "value": value,
                "n": gain.n,
                "first": shares[0].value,
                "second": shares[1].value,
                "difference": gain.value,
                "low": gain.low,
                "high": gain.high,
                "only_first": int((first & ~second)[mask].sum()),
                "only_second": int((second & ~first)[mask].sum()),
            }
        )
    return pd.DataFrame(told)


def _slices(what: _What, counted: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    yield "", "all", counted
    lengths: list[str | None] = [_length(item) for item in what.items]
    for by, values in {**what.about, "length": lengths}.items():
        if len({*values}) == 1:
            continue  # it is all of them again
        each = np.array([value if value is not None else "" for value in values], dtype=object)
        for value in sorted({value for value in values if value is not None}):
            mask = counted & (each == value)
            if mask.any():
                yield by, value, mask


def _length(item: BenchmarkItem) -> str:
    """Whether right responses are longer than wrong ones, in characters on average."""
    right = np.array(item.labels, dtype=bool)
    lengths = np.array([len(each) for each in item.candidates], dtype=float)
    if right.all() or not right.any():
        return LENGTHS[2]
    gain = lengths[right].mean() - lengths[~right].mean()
    return LENGTHS[0] if gain > 0 else LENGTHS[1] if gain < 0 else LENGTHS[2]


def _headlines(
    suite: Sequence[Suite], tables: Sequence[pd.DataFrame], *, seed: int
) -> pd.DataFrame:
    told = []
    for benchmark, items in suite:
        one, other = (benchmark.measure(items, align_rewards(items, table)) for table in tables)
        low, high = difference_interval(one.strata, other.strata, seed=seed)
        first, second = (each.scores[benchmark.headline] for each in (one, other))
        about = {"benchmark": benchmark.name, "n": len(items), "first": first, "second": second}
        told.append({**about, "difference": first - second, "low": low, "high": high})
    return pd.DataFrame(told, columns=HEADLINE_COLUMNS)


def _examples(
    what: _What, margins: Sequence[np.ndarray], names: Sequence[str], *, num: int
) -> Iterator[Example]:
    """The items on which one model alone is right, those first on which they differ most."""
    for right, wrong, name in ((0, 1, names[0]), (1, 0, names[1])):
        alone = np.flatnonzero((margins[right] > 0) & (margins[wrong] <= 0))
        gaps = (margins[right] - margins[wrong])[alone]
        for place in alone[np.argsort(-gaps, kind="stable")][:num].tolist():
            item = what.items[place]
            chosen, rejected = (
                next(text for text, label in zip(item.candidates, item.labels, strict=True)
                     if label == wanted)
                for wanted in (1, 0)
            )  # fmt: skip
            said = (first_user_turn(item.conversation), chosen, rejected)
            yield Example(
                right=name,
                where=what.places[place],
                first_margin=float(margins[0][place]),
                second_margin=float(margins[1][place]),
                **{
                    part: printable(text[:SHOWN])
                    for part, text in zip(("prompt", "chosen", "rejected"), said, strict=True)
                },
            )
