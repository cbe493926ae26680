"""The seven benchmarks, one row each, and `evaluate`: items + score table -> result.

A row knows where the published files are, what a complete set contains and which score is the
headline. A subset that is absent raises; it never counts as zero, as the original helper does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from synpref_dagster.benchmarks.best_of_n import (
    PPE_CORRECTNESS_SETS,
    REWARD_BENCH_2_SUBSETS,
    measure_ppe_correctness,
    measure_reward_bench_2,
)
from synpref_dagster.benchmarks.items import BenchmarkItem, align_rewards, tie_rate
from synpref_dagster.benchmarks.pairwise import (
    JUDGE_BENCH_CATEGORIES,
    REWARD_BENCH_ROWS,
    RMB_PARTS,
    Measure,
    measure_judge_bench,
    measure_ppe_preference,
    measure_reward_bench,
    measure_rm_bench,
    measure_rmb,
)
from synpref_dagster.benchmarks.raw_layouts import (
    LeftOut,
    Parser,
    parse_judge_bench,
    parse_ppe_correctness,
    parse_ppe_preference,
    parse_reward_bench,
    parse_reward_bench_2,
    parse_rm_bench,
    parse_rmb,
)
from synpref_dagster.benchmarks.results import NUM_RESAMPLES, BenchmarkResult, bootstrap_interval


@dataclass(frozen=True, kw_only=True, slots=True)
class HubDataset:
    """A dataset, or one config of it, on the Hugging Face hub; `revision` None is the newest."""

    hub_id: str
    split: str
    revision: str | None = None
    config: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Benchmark:
    """One row of the suite.

    `name` is also the file stem below a benchmarks folder; `aliases` are the other stems in use.
    `expected_counts` are the items per subset of the published set, `expected_total` all of them.
    `left_out` are the rows of a suite of one's own that are no comparison, `unread_columns` are
    columns that were not read there -> rows that held something in them.
    """

    name: str
    title: str
    protocol: Literal["pairwise", "best_of_n"]
    subsets: tuple[str, ...]
    headline: str
    parse: Parser
    measure: Measure
    expected_total: int
    expected_counts: Mapping[str, int] = field(default_factory=dict)
    hub: tuple[HubDataset, ...] = ()
    aliases: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    unread_columns: Mapping[str, int] = field(default_factory=dict)


SUITE: tuple[Benchmark, ...] = (
    Benchmark(
        name="reward_bench",
        title="RewardBench",
        protocol="pairwise",
        subsets=tuple(REWARD_BENCH_ROWS),
        headline="average",
        parse=parse_reward_bench,
        measure=measure_reward_bench,
        expected_total=2985,
        expected_counts=REWARD_BENCH_ROWS,
        hub=(HubDataset(hub_id="allenai/reward-bench", split="filtered"),),
    ),
    Benchmark(
        name="reward_bench_2",
        title="RewardBench 2",
        protocol="best_of_n",
        subsets=REWARD_BENCH_2_SUBSETS,
        headline="average",
        parse=parse_reward_bench_2,
        measure=measure_reward_bench_2,
        expected_total=1865,
        expected_counts=dict(
            zip(REWARD_BENCH_2_SUBSETS, (475, 160, 183, 450, 495, 102), strict=True)
        ),
        hub=(HubDataset(hub_id="allenai/reward-bench-2", split="test"),),
    ),
    Benchmark(
        name="ppe_preference",
        title="PPE Preference",
        protocol="pairwise",
        subsets=("preference",),
        headline="accuracy",
        parse=parse_ppe_preference,
        measure=measure_ppe_preference,
        expected_total=16038,
        hub=(HubDataset(hub_id="lmarena-ai/PPE-Human-Preference-V1", split="test"),),
    ),
    Benchmark(
        name="ppe_correctness",
        title="PPE Correctness",
        protocol="best_of_n",
        subsets=PPE_CORRECTNESS_SETS,
        headline="accuracy",
        parse=parse_ppe_correctness,
        measure=measure_ppe_correctness,
        expected_total=2555,
        expected_counts=dict(zip(PPE_CORRECTNESS_SETS, (512, 512, 512, 512, 507), strict=True)),
        hub=(
            HubDataset(
                hub_id="lmarena-ai/PPE-MMLU-Pro-Best-of-K",
                split="train",
                revision="d3a309b95d5a3a34efdd2b01a9e3ee10565bf0c7",
            ),
            HubDataset(
                hub_id="lmarena-ai/PPE-MATH-Best-of-K",
                split="train",
                revision="c46ce3cda5417fe8d170e992d925f93856b5db40",
            ),
            HubDataset(
                hub_id="lmarena-ai/PPE-GPQA-Best-of-K",
                split="train",
                revision="2f85cea6481db81daa2c8033c51b7811b7bbf648",
            ),
            HubDataset(
                hub_id="lmarena-ai/PPE-IFEval-Best-of-K",
                split="train",
                revision="a4f7fae2443d96529dee6b65863a816a051b3a4d",
            ),
            HubDataset(
                hub_id="lmarena-ai/PPE-MBPP-Plus-Best-of-K",
                split="train",
                revision="afa814632c1df94e76b6af2c1d282511114cd2b7",
            ),
        ),
    ),
    Benchmark(
        name="rmb",
        title="RMB",
        protocol="pairwise",
        subsets=RMB_PARTS,
        headline="overall",
        parse=parse_rmb,
        measure=measure_rmb,
        # 3,786 best-of-N rows and 17,131 pairs. Published as a git repository only.
        expected_total=20917,
        expected_counts={"help_bon": 2109, "harm_bon": 1677},
        aliases=("RMB_dataset",),
    ),
    Benchmark(
        name="rm_bench",
        title="RM-Bench",
        protocol="pairwise",
        subsets=("chat", "code", "math", "safety-refuse", "safety-response"),
        headline="average",
        parse=parse_rm_bench,
        measure=measure_rm_bench,
        expected_total=1327,
        expected_counts={
            "chat": 129,
            "code": 228,
            "math": 529,
            "safety-refuse": 284,
            "safety-response": 157,
        },
        hub=(HubDataset(hub_id="THU-KEG/RM-Bench", split="train"),),
    ),
    Benchmark(
        name="judge_bench",
        title="JudgeBench",
        protocol="pairwise",
        subsets=JUDGE_BENCH_CATEGORIES,
        headline="macro",
        parse=parse_judge_bench,
        measure=measure_judge_bench,
        expected_total=350,
        expected_counts=dict(zip(JUDGE_BENCH_CATEGORIES, (154, 98, 56, 42), strict=True)),
        hub=(HubDataset(hub_id="ScalerLab/JudgeBench", split="gpt"),),
        aliases=("judgebench_gpt",),
    ),
)

BENCHMARK_NAMES = tuple(benchmark.name for benchmark in SUITE)


def benchmark_named(name: str) -> Benchmark:
    """The suite's row of that name; ValueError lists the names there are."""
    for benchmark in SUITE:
        if benchmark.name == name:
            return benchmark
    raise ValueError(f"unknown benchmark {name!r}; choose one of {', '.join(BENCHMARK_NAMES)}")


def evaluate(
    benchmark: Benchmark,
    items: Sequence[BenchmarkItem],
    table: pd.DataFrame,
    *,
    subsets: Sequence[str] | None = None,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> BenchmarkResult:
    """Headline, sub-scores and interval of one checkpoint on one benchmark.

    Args:
        benchmark: the suite's row.
        items: the benchmark's items.
        table: score table with a reward for every candidate of the items.
        subsets: the subsets the caller has, when not all; the result names the missing ones.
        seed: seed of the bootstrap over items.
        num_resamples: bootstrap replicates.

    Raises:
        ValueError: a subset is missing or unknown, or a candidate has no finite reward.
    """
    measured = benchmark.subsets if subsets is None else tuple(subsets)
    check_subsets(benchmark, items, measured)
    rewards = align_rewards(items, table)
    measurement = benchmark.measure(items, rewards)
    low, high = bootstrap_interval(measurement.strata, seed=seed, num_resamples=num_resamples)
    known = table["item_id"].isin([item.item_id for item in items])
    ours = table[known & (table["benchmark"] == benchmark.name)]
    return BenchmarkResult(
        benchmark=benchmark.name,
        headline=measurement.scores[benchmark.headline],
        low=low,
        high=high,
        scores=measurement.scores,
        tie_rate=tie_rate(items, rewards),
        num_items=len(items),
        num_truncated=int(ours["truncated"].sum()),
        missing_subsets=tuple(name for name in benchmark.subsets if name not in measured),
    )


def check_subsets(
    benchmark: Benchmark, items: Sequence[BenchmarkItem], measured: Sequence[str]
) -> None:
    """Refuse items that are not those of the subsets to measure, before anything is scored.

    Raises:
        ValueError: a subset is missing or unknown, or items are of another one or benchmark.
    """
    strangers = {item.benchmark for item in items} - {benchmark.name}
    if strangers:
        raise ValueError(f"items of {sorted(strangers)} given to {benchmark.name}")
    present = {item.group for item in items}
    unknown = sorted((present | set(measured)) - set(benchmark.subsets))
    if unknown:
        raise ValueError(
            f"{benchmark.name} has no subset {unknown}; its subsets are {list(benchmark.subsets)}"
        )
    missing = [name for name in measured if name not in present]
    if missing:
        raise ValueError(
            f"{benchmark.name} lacks the subsets {missing}: load them, or pass `subsets=` with "
            "those you have (the result then says that it is partial)"
        )
    unasked = sorted(present - set(measured))
    if unasked:
        raise ValueError(f"{benchmark.name}: items of {unasked} are not in `subsets=`; drop them")
