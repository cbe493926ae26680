"""Training under torchrun, started by an asset through Dagster Pipes."""

import dagster as dg
import pytest

from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.resources.torchrun.launch import train_with_torchrun
from synpref_dagster.reward.backbones import backbone
from synpref_dagster.reward.stand_ins import make_stand_in
from synpref_dagster.reward.training.run import TrainingConfig, train_reward_model

WORDS = ("red", "green", "blue", "black", "white", "grey", "pink", "brown")


def _pairs(num_pairs):
    return [
        PreferencePair(
            conversation=({"role": "user", "content": f"name the colour {WORDS[i % 8]} {i}"},),
            chosen=f"it is {WORDS[i % 8]} of course",
            rejected=f"it is {WORDS[(i + 3) % 8]} of course",
            source="colours",
            origin="human",
        )
        for i in range(num_pairs)
    ]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_workers_started_by_an_asset_train_the_model_that_one_process_trains(tmp_path):
    pairs, held_out = _pairs(48), _pairs(64)[48:]
    texts = [text for p in pairs for text in (p.conversation[0]["content"], p.chosen, p.rejected)]
    path = make_stand_in(
        backbone("qwen3-0.6b"), output_dir=tmp_path / "backbone", seed=0, texts=texts
    )
    config = TrainingConfig(batch_pairs=8, max_steps=12, evaluate_every_steps=6, seed=3)
    found = {}

    @dg.asset
    def trained(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        found["report"] = train_with_torchrun(
            context,
            2,
            pairs,
            held_out,
            backbone_path=str(path),
            config=config,
            output_dir=tmp_path / "two",
        )
        return dg.MaterializeResult()

    assert dg.materialize([trained]).success
    alone = train_reward_model(
        pairs, held_out, backbone_path=str(path), config=config, output_dir=tmp_path / "one"
    )
    assert found["report"].num_steps == alone.num_steps == 12
    assert found["report"].evaluation.num_pairs == 16
    assert found["report"].losses == pytest.approx(alone.losses, abs=1e-4)


@pytest.mark.slow
def test_workers_that_leave_no_checkpoint_are_an_error_that_says_so(tmp_path):
    @dg.asset
    def trained(context: dg.AssetExecutionContext) -> None:
        train_with_torchrun(
            context,
            1,
            _pairs(2),
            [],
            backbone_path=str(tmp_path / "absent"),
            config=TrainingConfig(max_steps=1),
            output_dir=tmp_path / "out",
        )

    result = dg.materialize([trained], raise_on_error=False)
    assert not result.success
