"""The project in examples/ loads as it is, and does what its README says."""

import importlib.util
import json
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "reward_lab" / "definitions.py"
ASSETS = {
    "raw_pairs", "reward_models", "lab/steady_rewards", "lab/second_rewards", "lab/filtered_pairs",
    "lab/curated_pairs", "lab/steady_benchmarks", "lab/second_benchmarks", "lab/leaderboard",
}  # fmt: skip


@pytest.fixture
def example(tmp_path, monkeypatch):
    monkeypatch.setenv("REWARD_LAB_FOLDER", str(tmp_path / "lab"))
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path / "store"))
    spec = importlib.util.spec_from_file_location("reward_lab", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_foreign_project_loads_with_the_built_assets(example):
    dg.Definitions.validate_loadable(example.defs)
    keys = {spec.key.to_user_string() for spec in example.defs.resolve_all_asset_specs()}
    assert keys == ASSETS
    told = EXAMPLE.with_name("README.md").read_text()
    assert [key for key in ASSETS if f"`{key}`" not in told] == []


@pytest.mark.slow
def test_a_foreign_project_materialises_and_passes_its_checks(example):
    graph = example.defs.resolve_asset_graph()
    made = dg.materialize(list(graph.assets_defs), raise_on_error=True)
    checks = {each.check_name: each.passed for each in made.get_asset_check_evaluations()}
    assert checks == {
        "every_pair_is_decided": True, "flips_are_precise": True, "sums_reaches_floor": True,
    }  # fmt: skip
    folder = example.FOLDER
    decided = pq.read_table(folder / "filtered" / "decisions.parquet").to_pandas()
    assert len(decided) == example.NUM_PAIRS
    # Gold knows the first 40 pairs, of which every sixth has the wrong label.
    by_people = decided[decided["reason"].str.startswith("human")]
    assert by_people["decision"].value_counts().to_dict() == {"kept": 33, "flipped": 7}
    curated = (folder / "filtered" / "curated_pairs" / "train.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in curated]
    assert all("because" in row["chosen"][0]["content"] for row in rows)
    # Of the 80 that gold does not know, 13 have the wrong label: nobody keeps them.
    assert len(rows) == int((decided["decision"] != "discarded").sum()) == 40 + 67
    board = (folder / "benchmarks" / "leaderboard.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in board] == ["model", "steady", "second"]
