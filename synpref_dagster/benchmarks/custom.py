"""A suite of your own: JSON lines with chosen and rejected, or any number of labelled candidates.

It goes through the same score table, intervals and checks as the published ones, and stands on the
leaderboard beside them without entering their average. One line is one of

    {"prompt": "...", "chosen": "...", "rejected": "..."}
    {"prompt": [{"role": "user", "content": "..."}], "candidates": ["...", ...], "labels": [1, 0]}

where chosen and rejected may also be lists, and `id` and `subset` are optional.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from synpref_dagster.benchmarks.items import BenchmarkItem, Rewards, labels_first
from synpref_dagster.benchmarks.loaders import read_rows, with_unique_ids
from synpref_dagster.benchmarks.plugins import PLUGINS
from synpref_dagster.benchmarks.raw_layouts import RawRow
from synpref_dagster.benchmarks.results import Measurement, share_stratum
from synpref_dagster.benchmarks.suite import SUITE, Benchmark
from synpref_dagster.pairs.record import Turn
from synpref_dagster.pairs.texts import Conversation

DEFAULT_SUBSET = "all"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_RESERVED = {benchmark.name for benchmark in (*SUITE, *PLUGINS)}


def load_custom(name: str, path: str | Path) -> tuple[Benchmark, list[BenchmarkItem]]:
    """A suite of your own and its items, from a file or a folder of files.

    Args:
        name: lower-case letters, digits and _; not the name of a published benchmark.
        path: .jsonl, .json or .parquet, also .gz, or a folder of them.

    Raises:
        ValueError: the name is taken or malformed, nothing is there, or a row is no comparison.
    """
    if name in _RESERVED or not _NAME.fullmatch(name):
        raise ValueError(
            f"custom benchmark {name!r}: use lower-case letters, digits and _, and none of "
            f"{', '.join(sorted(_RESERVED))}"
        )
    items = with_unique_ids(
        replace(parse_custom(raw), benchmark=name) for raw in read_rows(Path(path))
    )
    if not items:
        raise ValueError(f"custom benchmark {name}: no rows in {path}")
    subsets = tuple(dict.fromkeys(item.group for item in items))
    benchmark = Benchmark(
        name=name,
        title=name.replace("_", " "),
        protocol="best_of_n" if any(len(item.labels) > 2 for item in items) else "pairwise",
        subsets=subsets,
        headline="accuracy",
        parse=parse_custom,
        measure=measure_custom,
        expected_total=len(items),
        expected_counts={name: sum(item.group == name for item in items) for name in subsets},
    )
    return benchmark, items


def parse_custom(raw: RawRow) -> BenchmarkItem:
    """One line of a suite of your own; see the module for its layout."""
    if "candidates" in raw.values:
        candidates = raw.texts("candidates")
        labels = tuple(raw.get("labels", (list, tuple)))
        if any(label not in (0, 1) for label in labels) or len(set(labels)) < 2:
            raise raw.error(f"'labels' {list(labels)} must hold 0 and 1, each at least once")
        labels = tuple(int(label) for label in labels)
    else:
        chosen, rejected = _side(raw, "chosen"), _side(raw, "rejected")
        candidates = (*chosen, *rejected)
        labels = labels_first(len(chosen), len(candidates))
    subset = raw.values.get("subset")
    try:
        return BenchmarkItem(
            benchmark="custom",
            item_id=str(raw.values.get("id", f"{Path(raw.origin).name}/{raw.row}")),
            group=DEFAULT_SUBSET if subset is None else str(subset),
            conversation=_conversation(raw),
            candidates=candidates,
            labels=labels,
        )
    except ValueError as error:
        raise raw.error(str(error)) from error


def measure_custom(items: Sequence[BenchmarkItem], rewards: Sequence[Rewards]) -> Measurement:
    """Share of items whose best right candidate beats every wrong one; a tie is wrong.

    `accuracy` is the mean over items; each subset has a score of its own.
    """
    rights = [np.array(item.labels, dtype=bool) for item in items]
    wins = [
        float(reward[right].max() > reward[~right].max())
        for reward, right in zip(rewards, rights, strict=True)
    ]
    scores = {"accuracy": float(np.mean(wins))}
    for subset in dict.fromkeys(item.group for item in items):
        part = [won for won, item in zip(wins, items, strict=True) if item.group == subset]
        scores[f"subset/{subset}"] = float(np.mean(part))
    return Measurement(scores=scores, strata=(share_stratum(items[0].benchmark, 1.0, wins),))


def _side(raw: RawRow, key: str) -> tuple[str, ...]:
    value = raw.get(key, (str, list, tuple))
    texts = (value,) if isinstance(value, str) else raw.texts(key)
    if not texts or not all(texts):
        raise raw.error(f"{key!r} holds an empty response")
    return texts


def _conversation(raw: RawRow) -> Conversation:
    prompt: str | Sequence[Mapping[str, Any]] = raw.get("prompt", (str, list, tuple))
    if isinstance(prompt, str):
        return (Turn(role="user", content=prompt),)
    if not all(
        isinstance(turn, Mapping)
        and isinstance(turn.get("role"), str)
        and isinstance(turn.get("content"), str)
        for turn in prompt
    ):
        raise raw.error("every message of 'prompt' needs a text role and content")
    return tuple(Turn(role=turn["role"], content=turn["content"]) for turn in prompt)
