"""A code location of somebody's own: its pairs and models, and what synpref_dagster does with them.

    dagster dev -f examples/reward_lab/definitions.py

`raw_pairs` and the models stand for what such a project has already; in place of `reward_models`
name folders or hub ids. Everything is written below `REWARD_LAB_FOLDER` (default `reward_lab`).
"""

import json
import os
from pathlib import Path

import dagster as dg

import synpref_dagster as sp
from synpref_dagster.definitions.builders import build_benchmark_assets, build_filter_assets

FOLDER = Path(os.environ.get("REWARD_LAB_FOLDER", "reward_lab"))
PAIRS, GOLD, SUITE = (FOLDER / name for name in ("pairs.jsonl", "gold.jsonl", "suite.jsonl"))
MODELS = {name: str(FOLDER / name) for name in ("steady", "second")}
NUM_PAIRS, NUM_GOLD = 120, 40


def helpful(number: int) -> dict[str, str]:
    """A question with a helpful answer before a curt one."""
    return {
        "prompt": f"What is {number} plus {number}?",
        "chosen": f"It is {2 * number}, because {number} and {number} make {2 * number}.",
        "rejected": f"{2 * number}" if number % 2 else "No idea.",
    }


def mislabelled(row: dict[str, str]) -> dict[str, str]:
    """The same row under the wrong label."""
    return {**row, "chosen": row["rejected"], "rejected": row["chosen"]}


def write_lines(file: Path, rows: list[dict[str, str]]) -> None:
    """Write rows as JSON lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@dg.asset(group_name="given")
def raw_pairs() -> None:
    """Pairs of which every sixth has the wrong label, gold that people checked, and a suite."""
    rows = [helpful(number) for number in range(NUM_PAIRS)]
    write_lines(PAIRS, [mislabelled(row) if n % 6 == 0 else row for n, row in enumerate(rows)])
    write_lines(GOLD, rows[:NUM_GOLD])
    write_lines(SUITE, [helpful(number) for number in range(1000, 1030)])


@dg.asset(group_name="given", deps=[raw_pairs])
def reward_models() -> dg.MaterializeResult:
    """Two small models, each trained on one half of the pairs that nobody checked."""
    rows = [json.loads(line) for line in PAIRS.read_text(encoding="utf-8").splitlines()]
    middle = (NUM_GOLD + NUM_PAIRS) // 2
    halves = rows[NUM_GOLD:middle], rows[middle:]
    found = {}
    for (name, model), part in zip(MODELS.items(), halves, strict=True):
        half = FOLDER / f"{name}_pairs.jsonl"
        write_lines(half, part)
        report = sp.train(half, model, backend="linear", held_out=0.2, force=True)
        found[f"{name}_accuracy"] = report.evaluation.accuracy
    return dg.MaterializeResult(metadata=found)


defs = dg.Definitions(
    assets=[
        raw_pairs,
        reward_models,
        *build_filter_assets(
            PAIRS,
            models=MODELS,
            gold=GOLD,
            folder=FOLDER / "filtered",
            deps=[reward_models],
            key_prefix="lab",
        ),
        *build_benchmark_assets(
            MODELS,
            suites={"sums": str(SUITE)},
            floors={"sums": 0.6},
            folder=FOLDER / "benchmarks",
            deps=[reward_models],
            key_prefix="lab",
        ),
    ]
)
