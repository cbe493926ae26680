"""Miniatures of the paper's seven benchmarks (Sec. 4), on the questions of the synthetic world.

The files have exactly the raw layouts of the originals, so the same loaders read both. What they
measure is the synthetic world: their scores never compare with published ones.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from synpref_dagster.synthetic.miniatures.lists import (
    ppe_correctness_rows,
    reward_bench_2_rows,
    rmb_files,
)
from synpref_dagster.synthetic.miniatures.pairwise import (
    judge_bench_rows,
    ppe_preference_rows,
    reward_bench_rows,
    rm_bench_rows,
)
from synpref_dagster.synthetic.miniatures.quiz import Quiz
from synpref_dagster.synthetic.phrasing import AskedPrompt


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkSizes:
    """How many items each mini benchmark has; the defaults make about 3,000 distinct responses.

    Raises:
        ValueError: a size is below 1; every subset must be present.
    """

    reward_bench_per_subset: int = 8
    """Rows in each of RewardBench's 23 subsets."""
    reward_bench_2_per_subset: int = 12
    """Rows in each subset of RewardBench 2; Ties has this many of either kind."""
    ppe_preference: int = 120
    """Rows of PPE Preference, ties included."""
    ppe_correctness_per_set: int = 8
    """Prompts, of 32 responses each, in each of the five PPE Correctness sets."""
    rmb_per_scenario: int = 2
    """Pairwise rows in each of RMB's 49 scenarios, beside one best-of-N row."""
    rm_bench_per_domain: int = 10
    """Rows in each of RM-Bench's five domains."""
    judge_bench_per_source: int = 3
    """Rows per subject of JudgeBench; the three others have four times as many."""

    def __post_init__(self) -> None:
        """Check that every subset gets a row."""
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")


SMOKE_SIZES = BenchmarkSizes(
    reward_bench_per_subset=2,
    reward_bench_2_per_subset=3,
    ppe_preference=24,
    ppe_correctness_per_set=1,
    rmb_per_scenario=1,
    rm_bench_per_domain=2,
    judge_bench_per_source=1,
)


def write_mini_benchmarks(folder: Path, *, sizes: BenchmarkSizes, seed: int) -> list[AskedPrompt]:
    """Write all seven benchmarks below `folder`; returns every prompt asked, in order."""
    quiz = Quiz(Random(f"benchmarks-{seed}"))
    lines: dict[str, Sequence[dict[str, Any]]] = {
        "reward_bench.jsonl": reward_bench_rows(quiz, per_subset=sizes.reward_bench_per_subset),
        "reward_bench_2.jsonl": reward_bench_2_rows(
            quiz, per_subset=sizes.reward_bench_2_per_subset
        ),
        "ppe_preference.jsonl": ppe_preference_rows(quiz, num_rows=sizes.ppe_preference),
    }
    for name, rows in ppe_correctness_rows(quiz, per_set=sizes.ppe_correctness_per_set).items():
        lines[f"ppe_correctness/{name}.jsonl"] = rows
    arrays: dict[str, Sequence[dict[str, Any]]] = {
        f"rmb/RMB_dataset/{path}": rows
        for path, rows in rmb_files(quiz, per_scenario=sizes.rmb_per_scenario).items()
    }
    arrays["rm_bench.json"] = rm_bench_rows(quiz, per_domain=sizes.rm_bench_per_domain)
    lines["judgebench_gpt.jsonl"] = judge_bench_rows(quiz, per_source=sizes.judge_bench_per_source)
    for name, contents in lines.items():
        _write(folder / name, "".join(json.dumps(row) + "\n" for row in contents))
    for name, contents in arrays.items():
        _write(folder / name, json.dumps(contents, indent=1) + "\n")
    return quiz.asked


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
