"""Assets that filter a file of pairs: their graph, their checks, and what they refuse."""

import json

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synpref_dagster.definitions.builders import build_filter_assets
from synpref_dagster.tools import scoring
from synpref_dagster.tools.on_pairs.given import given_pairs
from synpref_dagster.tools.rows import Reading
from synpref_dagster.tools.scoring import ScoreReport

MODELS = {"first": "models/one", "second": "models/two"}
MARGINS = {"models/one": [1.0, -1.0, -1.0], "models/two": [1.0, -1.0, -1.0]}


@pytest.fixture
def pairs(tmp_path):
    rows = [{"prompt": f"q {n}", "chosen": "yes", "rejected": "no"} for n in range(3)]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def scored(monkeypatch):
    """Margins as they stand above, in place of models."""

    def score(model, file, output, *, force):
        ids = [pair.pair_id.hex() for pair in given_pairs(file).pairs]
        pq.write_table(pa.table({"pair_id": ids, "margin": MARGINS[model]}), output)
        reading = Reading(kind="pairs", num_rows=3, num_items=3)
        return ScoreReport(
            output=output, quarantine=None, reading=reading, num_scored=6, num_over_long=0,
            accuracy=0.5,
        )  # fmt: skip

    monkeypatch.setattr(scoring, "score", score)


def test_a_file_is_decided_and_what_is_left_is_written(pairs, scored, tmp_path):
    gold = tmp_path / "gold.jsonl"
    gold.write_text(json.dumps({"prompt": "q 1", "chosen": "no", "rejected": "yes"}) + "\n")
    assets = build_filter_assets(
        pairs, models=MODELS, gold=gold, folder=tmp_path / "out", key_prefix=["mine", "here"]
    )
    made = dg.materialize(assets)
    checks = {each.check_name: each.passed for each in made.get_asset_check_evaluations()}
    assert checks == {"every_pair_is_decided": True, "flips_are_precise": True}
    [decided] = made.asset_materializations_for_node("mine_here_filtered_pairs")[:1]
    assert decided.asset_key == dg.AssetKey(["mine", "here", "filtered_pairs"])
    told = {name: decided.metadata[name].value for name in ("num_kept", "num_flipped", "reasons")}
    reasons = {"gold_and_best_agree": 1, "human_disagrees": 1, "judges_undecided": 1}
    assert told == {"num_kept": 1, "num_flipped": 1, "reasons": reasons}
    curated = given_pairs(tmp_path / "out" / "curated_pairs").pairs
    assert [(pair.chosen, pair.conversation[0]["content"]) for pair in curated] == [
        ("yes", "q 0"), ("no", "q 1"),
    ]  # fmt: skip


def test_judges_are_one_more_witness(pairs, tmp_path):
    assets = build_filter_assets(pairs, models=MODELS, judges="j.toml", folder=tmp_path)
    keys = {key.to_user_string() for each in assets for key in each.keys}
    assert keys == {
        "first_rewards", "second_rewards", "panel_labels", "filtered_pairs", "curated_pairs",
    }  # fmt: skip
    behind = {
        spec.key.to_user_string(): {dep.asset_key.to_user_string() for dep in spec.deps}
        for spec in assets[-1].specs
    }
    assert behind == {
        "filtered_pairs": {"first_rewards", "second_rewards", "panel_labels"},
        "curated_pairs": {"filtered_pairs"},
    }


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"models": {"one": "a"}}, "1 are named, give 2"),
        ({"models": {"a-b": "a", "c": "d"}}, "'a-b' names an asset"),
        ({"models": MODELS, "layout": "alpaca"}, "unknown layout 'alpaca'"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_built(tmp_path, how, words):
    with pytest.raises(ValueError, match=words):
        build_filter_assets("pairs.jsonl", folder=tmp_path, **how)
