import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from synpref_dagster.reward.folders import folder_fingerprint
from synpref_dagster.reward.scoring import RewardModel
from synpref_dagster.reward.training.run import TrainingConfig, TrainingReport, train_reward_model
from synpref_dagster.reward.training.workers import Workers

CONFIG = TrainingConfig(max_steps=30, evaluate_every_steps=10, batch_pairs=16)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, stand_in, pairs, gold):
    folder = tmp_path_factory.mktemp("checkpoint")
    seen = []
    report = train_reward_model(
        pairs,
        gold,
        backbone_path=str(stand_in),
        config=CONFIG,
        output_dir=folder,
        on_step=lambda step, metrics: seen.append((step, metrics)),
    )
    return folder, report, seen


def test_training_learns_the_rule(trained):
    _, report, seen = trained
    assert report.losses[0] > report.losses[-1]
    assert report.evaluation.accuracy > 0.7
    assert [step for step, _ in seen] == list(range(1, 31))
    assert seen[-1][1]["loss"] == report.losses[-1]


def test_the_best_checkpoint_is_the_latest_of_the_most_accurate(trained):
    _, report, _ = trained
    best = max(report.history, key=lambda row: (row.accuracy, row.step))
    assert report.best_step == best.step
    assert report.evaluation == best


def test_the_saved_checkpoint_has_the_reported_accuracy(trained, gold):
    folder, report, _ = trained
    model = RewardModel.load(folder)
    conversations = [pair.conversation for pair in gold]
    chosen = model.rewards(conversations, [pair.chosen for pair in gold])
    rejected = model.rewards(conversations, [pair.rejected for pair in gold])
    assert (chosen > rejected).mean() == pytest.approx(report.evaluation.accuracy)


def test_the_checkpoint_scores_the_same_in_plain_transformers(trained, gold):
    folder, _, _ = trained
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    messages = [[*p.conversation, {"role": "assistant", "content": p.chosen}] for p in gold[:5]]
    inputs = tokenizer.apply_chat_template(
        messages, return_tensors="pt", padding=True, return_dict=True
    )
    with torch.no_grad():
        plain = model(**inputs).logits[:, 0].numpy()
    ours = RewardModel.load(folder).rewards(
        [p.conversation for p in gold[:5]], [p.chosen for p in gold[:5]]
    )
    assert ours == pytest.approx(plain, abs=1e-5)


def test_a_finished_folder_is_reused_and_another_setting_replaces_it(
    tmp_path, qwen_stand_in, pairs
):
    def train(config):
        return train_reward_model(
            pairs, [], backbone_path=str(qwen_stand_in), config=config, output_dir=tmp_path
        )

    config = replace(CONFIG, max_steps=2)
    first, second = train(config), train(config)
    assert (first.reused, second.reused) == (False, True)
    assert replace(second, reused=False) == first
    assert first.best_step == 2
    assert first.evaluation is None
    third = train(replace(config, seed=1))
    assert (third.reused, third.fingerprint != first.fingerprint) == (False, True)


def test_the_same_seed_gives_the_same_files(tmp_path, qwen_stand_in, pairs, gold):
    prints = []
    for name in ("one", "two"):
        train_reward_model(
            pairs,
            gold,
            backbone_path=str(qwen_stand_in),
            config=replace(CONFIG, max_steps=3),
            output_dir=tmp_path / name,
        )
        prints.append(folder_fingerprint(tmp_path / name))
    assert prints[0] == prints[1]


def test_the_report_survives_its_json(trained):
    folder, report, _ = trained
    stored = json.loads((folder / "training.json").read_text())["report"]
    assert TrainingReport.from_json(stored) == report


def test_a_loss_that_is_not_a_number_stops_with_step_and_pairs(tmp_path, qwen_stand_in, pairs):
    bad = [replace(pair, meta={"margin": float("nan")}) for pair in pairs[:2]]
    with pytest.raises(FloatingPointError, match=f"step 1: .*{bad[0].pair_id.hex()}"):
        train_reward_model(
            bad,
            [],
            backbone_path=str(qwen_stand_in),
            config=replace(CONFIG, margin_key="margin"),
            output_dir=tmp_path,
        )
    assert not (tmp_path / "training.json").exists()


def test_a_gradient_that_is_not_a_number_stops_before_the_step(
    tmp_path, qwen_stand_in, pairs, monkeypatch
):
    monkeypatch.setattr(Workers, "clip", lambda self, norm: float("inf"))
    with pytest.raises(FloatingPointError, match="step 1: the gradient is not finite"):
        train_reward_model(
            pairs, [], backbone_path=str(qwen_stand_in), config=CONFIG, output_dir=tmp_path
        )


def test_bfloat16_training_keeps_float32_weights_and_learns_the_same(
    tmp_path, stand_in, pairs, trained
):
    config = replace(CONFIG, dtype="bfloat16")
    report = train_reward_model(
        pairs, [], backbone_path=str(stand_in), config=config, output_dir=tmp_path
    )
    assert report.losses[:5] == pytest.approx(trained[1].losses[:5], abs=0.05)
    weights = load_file(tmp_path / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}


def test_gradient_checkpointing_trains_the_same(tmp_path, qwen_stand_in, pairs):
    losses = [
        train_reward_model(
            pairs,
            [],
            backbone_path=str(qwen_stand_in),
            config=replace(CONFIG, max_steps=3, gradient_checkpointing=checkpointing),
            output_dir=tmp_path / str(checkpointing),
        ).losses
        for checkpointing in (False, True)
    ]
    assert losses[0] == losses[1]


def test_pairs_of_one_conversation_train_like_pairs_apart(tmp_path, qwen_stand_in, pair_maker):
    many = pair_maker(16, responses_per_conversation=5)
    losses = [
        train_reward_model(
            many,
            [],
            backbone_path=str(qwen_stand_in),
            config=replace(CONFIG, max_steps=3, tokens_per_pack=budget),
            output_dir=tmp_path / str(budget),
        ).losses
        for budget in (20, 5_000)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_no_pairs_is_refused(tmp_path, qwen_stand_in):
    with pytest.raises(ValueError, match="none of 0 pairs"):
        train_reward_model(
            [], [], backbone_path=str(qwen_stand_in), config=CONFIG, output_dir=tmp_path
        )


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="batch_pairs is 0"):
        TrainingConfig(batch_pairs=0)
    with pytest.raises(ValueError, match="dtype is 'int8'"):
        TrainingConfig(dtype="int8")
