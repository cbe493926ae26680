"""Benchmarks beside the paper's seven: shown on the leaderboard, never part of its average.

M-RewardBench (RewardBench in 23 languages, the eighth benchmark of the paper's Figure 2) is the
first. A new one is one row here: name, raw layout, protocol, headline and where its files are.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from synpref_dagster.benchmarks.items import BenchmarkItem, Rewards
from synpref_dagster.benchmarks.pairwise import REWARD_BENCH_SECTIONS, REWARD_BENCH_WEIGHTS
from synpref_dagster.benchmarks.raw_layouts import RawRow, parse_reward_bench
from synpref_dagster.benchmarks.results import Measurement, Stratum, share_stratum
from synpref_dagster.benchmarks.suite import SUITE, Benchmark, HubDataset, benchmark_named
from synpref_dagster.settings.benchmarks import BENCHMARK_SUBSETS

M_REWARD_BENCH_HUB_ID = "C4AI-Community/multilingual-reward-bench"
M_REWARD_BENCH_LANGUAGES = BENCHMARK_SUBSETS["m_reward_bench"]
# Rows of one language; the translation lost some of RewardBench's, so the weights differ too.
M_REWARD_BENCH_WEIGHTS: dict[str, int] = {
    **REWARD_BENCH_WEIGHTS,
    "alpacaeval-easy": 79,
    "alpacaeval-length": 79,
    "alpacaeval-hard": 76,
    "mt-bench-easy": 24,
    "mt-bench-med": 38,
    "mt-bench-hard": 35,
    "llmbar-natural": 76,
    "llmbar-adver-neighbor": 124,
    "llmbar-adver-GPTInst": 87,
    "llmbar-adver-GPTOut": 42,
    "llmbar-adver-manual": 43,
    "xstest-should-refuse": 154,
    "xstest-should-respond": 247,
    "donotanswer": 135,
    "hep-python": 163,
    "math-prm": 983,
}
_SECTION_OF = {name: sec for sec, names in REWARD_BENCH_SECTIONS.items() for name in names}


def parse_m_reward_bench(raw: RawRow) -> BenchmarkItem:
    """M-RewardBench: {id, prompt, chosen, rejected, source}, one config or folder per language.

    The language is the part of the path that names one; RewardBench's subset is in `source`.
    """
    language = next(
        (
            name
            for part in reversed(raw.origin.split("/"))
            if (name := part.split(".")[0]) in M_REWARD_BENCH_LANGUAGES
        ),
        "",
    )
    if not language:
        raise raw.error(f"no part of the path names a language: {M_REWARD_BENCH_LANGUAGES}")
    subset = raw.text("source")
    if subset not in _SECTION_OF:
        raise raw.error(f"unknown source {subset!r}")
    item = parse_reward_bench(replace(raw, values={**raw.values, "subset": subset}))
    return replace(
        item,
        benchmark="m_reward_bench",
        item_id=f"{language}/{item.item_id}",
        group=language,
        meta={"subset": subset},
    )


def measure_m_reward_bench(
    items: Sequence[BenchmarkItem], rewards: Sequence[Rewards]
) -> Measurement:
    """M-RewardBench: the mean of RewardBench's four sections per language, then over languages.

    Raises:
        ValueError: a language lacks a whole section; it is named, never counted as zero.
    """
    wins: dict[str, dict[str, list[float]]] = {}
    for item, reward in zip(items, rewards, strict=True):
        subsets = wins.setdefault(item.group, {})
        subsets.setdefault(item.meta["subset"], []).append(float(reward[0] > reward[1]))
    scores: dict[str, float] = {}
    strata: list[Stratum] = []
    for language, subsets in sorted(wins.items()):
        sections = _sections(language, subsets)
        for section, present in sections.items():
            total = sum(M_REWARD_BENCH_WEIGHTS[name] for name in present)
            parts = [
                share_stratum(
                    f"m_reward_bench/{language}/{name}",
                    M_REWARD_BENCH_WEIGHTS[name] / total / len(sections) / len(wins),
                    subsets[name],
                )
                for name in present
            ]
            strata += parts
            weights = [part.weight for part in parts]
            values = [part.value for part in parts]
            scores[f"{language}/{section}"] = float(np.average(values, weights=weights))
        scores[language] = float(np.mean([scores[f"{language}/{name}"] for name in sections]))
    scores["average"] = float(np.mean([scores[language] for language in wins]))
    return Measurement(scores=scores, strata=tuple(strata))


def _sections(language: str, subsets: dict[str, list[float]]) -> dict[str, list[str]]:
    sections = {
        section: [name for name in names if name in subsets]
        for section, names in REWARD_BENCH_SECTIONS.items()
    }
    missing = [section for section, present in sections.items() if not present]
    if missing:
        raise ValueError(f"m_reward_bench/{language} lacks the sections {missing}; load them")
    return sections


PLUGINS: tuple[Benchmark, ...] = (
    Benchmark(
        name="m_reward_bench",
        title="M-RewardBench",
        protocol="pairwise",
        subsets=M_REWARD_BENCH_LANGUAGES,
        headline="average",
        parse=parse_m_reward_bench,
        measure=measure_m_reward_bench,
        # Rows differ by language and are not printed anywhere: counted, not asserted.
        expected_total=0,
        hub=tuple(
            HubDataset(hub_id=M_REWARD_BENCH_HUB_ID, split="test", config=language)
            for language in M_REWARD_BENCH_LANGUAGES
        ),
    ),
)


def known_benchmark(name: str) -> Benchmark:
    """A row of the suite or a plug-in by name; ValueError lists the names there are."""
    for benchmark in PLUGINS:
        if benchmark.name == name:
            return benchmark
    if name not in {benchmark.name for benchmark in SUITE}:
        names = ", ".join(benchmark.name for benchmark in (*SUITE, *PLUGINS))
        raise ValueError(f"unknown benchmark {name!r}; choose one of {names}")
    return benchmark_named(name)
