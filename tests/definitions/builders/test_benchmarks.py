"""Assets that measure models: figures with floors, and nothing is scored twice."""

import json

import dagster as dg
import pytest

from synpref_dagster.definitions.builders import build_benchmark_assets
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.reward.linear.model import LinearConfig, train_linear_reward_model


@pytest.fixture
def models(tmp_path):
    """One that prefers longer answers, one that prefers shorter ones."""
    found = {}
    for name in ("longer", "shorter"):
        pairs = [
            PreferencePair(
                conversation=({"role": "user", "content": f"question {n}"},),
                chosen="many words " * (n % 3 + 2),
                rejected="few",
                source="any",
                origin="human",
            )
            for n in range(12)
        ]
        pairs = pairs if name == "longer" else [pair.flipped() for pair in pairs]
        config = LinearConfig(num_buckets=0)
        train_linear_reward_model(pairs, [], config=config, output_dir=tmp_path / name)
        found[name] = str(tmp_path / name)
    return found


def test_models_are_measured_and_held_against_floors(models, tmp_path):
    rows = [{"prompt": f"q {n}", "chosen": "many words here", "rejected": "few"} for n in range(4)]
    suite = tmp_path / "suite.jsonl"
    suite.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assets = build_benchmark_assets(
        models, suites={"mine": str(suite)}, floors={"mine": 0.9}, folder=tmp_path / "out"
    )
    made = dg.materialize(assets)
    checks = made.get_asset_check_evaluations()
    assert {each.asset_key.to_user_string(): each.passed for each in checks} == {
        "longer_benchmarks": True, "shorter_benchmarks": False,
    }  # fmt: skip
    board = (tmp_path / "out" / "leaderboard.csv").read_text().splitlines()
    assert board == ["model,mine", "longer,1.0", "shorter,0.0"]
    again = dg.materialize(assets)
    scored = {
        one.asset_key.to_user_string(): one.metadata["responses_scored"].value
        for name in ("longer_benchmarks", "shorter_benchmarks")
        for one in again.asset_materializations_for_node(name)
    }
    assert scored == {"longer_benchmarks": 0, "shorter_benchmarks": 0}


@pytest.mark.parametrize("models", [{}, {"a b": "x"}])
def test_models_that_cannot_name_assets_are_refused(models, tmp_path):
    with pytest.raises(ValueError, match="models: "):
        build_benchmark_assets(models, folder=tmp_path)
