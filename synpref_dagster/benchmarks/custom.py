"""A suite of your own: rows with chosen and rejected, or any number of labelled candidates.

It goes through the same score table, intervals and checks as the published ones, and stands on the
leaderboard beside them without entering their average. One row is one of

    {"prompt": "...", "chosen": "...", "rejected": "..."}
    {"prompt": [{"role": "user", "content": "..."}], "candidates": ["...", ...], "labels": [1, 0]}

where chosen and rejected may also be lists, and `id` and `subset` are optional. A row that is no
comparison is left out and counted with its reason: whoever reads the score reads of how many rows.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from synpref_dagster.benchmarks.items import BenchmarkItem, Rewards, labels_first
from synpref_dagster.benchmarks.loaders import read_rows, with_unique_ids
from synpref_dagster.benchmarks.raw_layouts import LeftOut, RawRow, RowError
from synpref_dagster.benchmarks.results import Measurement, share_stratum
from synpref_dagster.benchmarks.suite import Benchmark
from synpref_dagster.pairs.record import Turn
from synpref_dagster.pairs.structure import STRUCTURAL_REASONS, structural_reasons
from synpref_dagster.pairs.texts import Conversation
from synpref_dagster.settings.benchmarks import checked_own_benchmark

DEFAULT_SUBSET = "all"
DETAIL_CHARS = 200
RowFields = tuple[Mapping[str, Any], str, int, str, str, tuple[str, ...]]
"""The fields of `RawRow`, from readers that do not know it."""
MAX_TOLD = 5


def load_custom(
    name: str, path: str | Path, *, read: Callable[[Path], Iterable[RawRow | RowFields]] = read_rows
) -> tuple[Benchmark, list[BenchmarkItem]]:
    """A suite of your own and its items, from a file or a folder of files.

    Rows that are no comparison are in the benchmark's `left_out`.

    Args:
        name: lower-case letters, digits and _; not the name of a published benchmark.
        path: a file, or a folder of them.
        read: gives the rows, or their fields; the plain reader knows .jsonl, .json and .parquet,
            also .gz.

    Raises:
        ValueError: the name is taken or malformed, or nothing there is a comparison.
    """
    checked_own_benchmark(name)
    unread: Counter[str] = Counter()
    items, others = _sorted_out(name, _counted(read(Path(path)), unread))
    if not items:
        counts = Counter(each.reason for each in others)
        why = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
        first = f"; the first: {others[0].place}: {others[0].detail}" if others else ""
        raise ValueError(
            f"custom benchmark {name}: no rows in {path} are comparisons ({why or 'it is empty'})"
            f"{first}. Correct the file, or take it out of pool.custom_benchmarks"
        )
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
        left_out=tuple(others),
        unread_columns=dict(unread),
    )
    return benchmark, items


def left_out(suite: Iterable[tuple[Benchmark, object]]) -> dict[str, Any]:
    """As facts: rows that are no comparison, by benchmark and reason, and some; columns not read.

    Under `left_out` and `unread_benchmark_columns` (column -> rows that held something in it), each
    only where there is one.
    """
    suite = list(suite)
    told = {
        benchmark.name: {
            "rows_by_reason": dict(Counter(each.reason for each in benchmark.left_out)),
            "first": [each._asdict() for each in benchmark.left_out[:MAX_TOLD]],
        }
        for benchmark, _ in suite
        if benchmark.left_out
    }
    unread = {each.name: dict(each.unread_columns) for each, _ in suite if each.unread_columns}
    facts = {"left_out": told, "unread_benchmark_columns": unread}
    return {name: value for name, value in facts.items() if value}


def _counted(rows: Iterable[RawRow | RowFields], unread: Counter[str]) -> Iterator[RawRow]:
    """The rows; how many of them held something in each column that was not read is added up."""
    for found in rows:
        row = found if isinstance(found, RawRow) else RawRow(*found)
        unread.update(row.unread)
        yield row


def _sorted_out(name: str, rows: Iterable[RawRow]) -> tuple[list[BenchmarkItem], list[LeftOut]]:
    """The items, each id once, and the rows that are none."""
    items: list[BenchmarkItem] = []
    others: list[LeftOut] = []
    seen: set[tuple[str, str, str]] = set()
    for raw in rows:
        try:
            item = replace(parse_custom(raw), benchmark=name)
            # Ids often begin anew in every file and subset: only there is one a repetition.
            place = (raw.origin, item.group, item.item_id)
            if place in seen:
                raise raw.error(f"id {item.item_id!r} was there before", reason="repeated_id")
            seen.add(place)
            items.append(item)
        except RowError as error:
            others.append(LeftOut(raw.place, error.reason, str(error.problem)[:DETAIL_CHARS]))
    return with_unique_ids(items), others


def parse_custom(raw: RawRow) -> BenchmarkItem:
    """One row of a suite of your own; see the module for its layout.

    Raises:
        RowError: it is no comparison; `reason` is one of `STRUCTURAL_REASONS`, what the reader
            found wrong with it, `missing_key`, `wrong_type` or `bad_labels`.
    """
    if raw.problem:
        raise raw.error(raw.detail or raw.problem, reason=raw.problem)
    conversation, (candidates, labels) = _conversation(raw), _candidates(raw)
    _refuse_unsound(raw, conversation, candidates, labels=labels)
    identity, subset = raw.values.get("id"), raw.values.get("subset")
    return BenchmarkItem(
        benchmark="custom",
        item_id=f"{Path(raw.origin).name}/{raw.row}" if identity is None else str(identity),
        group=DEFAULT_SUBSET if subset is None else str(subset),
        conversation=conversation,
        candidates=candidates,
        labels=labels,
    )


def _candidates(raw: RawRow) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Candidates and their labels, 1 for a right one."""
    if "candidates" not in raw.values:
        chosen, rejected = _side(raw, "chosen"), _side(raw, "rejected")
        candidates = (*chosen, *rejected)
        return candidates, labels_first(len(chosen), len(candidates))
    candidates = raw.texts("candidates")
    labels = tuple(raw.get("labels", (list, tuple)))
    if any(label not in (0, 1) for label in labels) or len(set(labels)) < 2:
        problem = f"'labels' {list(labels)} must hold 0 and 1, each at least once"
        raise raw.error(problem, reason="bad_labels")
    if len(labels) != len(candidates):
        problem = f"{len(candidates)} candidates and {len(labels)} labels"
        raise raw.error(problem, reason="bad_labels")
    return candidates, tuple(int(label) for label in labels)


def _refuse_unsound(
    raw: RawRow, conversation: Conversation, candidates: Sequence[str], *, labels: Sequence[int]
) -> None:
    """Refuse what would be refused of a pair: every right candidate is one with every wrong one."""
    right = [text for text, label in zip(candidates, labels, strict=True) if label]
    wrong = [text for text, label in zip(candidates, labels, strict=True) if not label]
    sides = [*zip(right, repeat(wrong[0])), *zip(repeat(right[0]), wrong)]
    found = {reason for side in sides for reason in structural_reasons(conversation, *side)}
    if {text.strip() for text in right} & {text.strip() for text in wrong}:
        found.add("identical_responses")
    found |= {"not_encodable" for key in ("id", "subset") if not _fits(raw.values.get(key))}
    for reason in STRUCTURAL_REASONS:
        if reason in found:
            raise raw.error(reason.replace("_", " "), reason=reason)


def _fits(value: object) -> bool:
    return not re.search("[\x00\ud800-\udfff]", str(value))


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
    if not texts:
        raise raw.error(f"{key!r} holds no response", reason="empty_response")
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
        problem = "every message of 'prompt' needs a text role and content"
        raise raw.error(problem, reason="malformed_conversation")
    return tuple(Turn(role=turn["role"], content=turn["content"]) for turn in prompt)
