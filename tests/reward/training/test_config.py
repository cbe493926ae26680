"""The key of a training run, to the letter: a store keeps its checkpoints over versions."""

import json

from synpref_dagster.reward.training.config import LoraUpdates, TrainingConfig

FIRST_VERSION = (
    '{"batch_pairs": 32, "beta1": 0.9, "beta2": 0.98, "clip_norm": 1.0, "device": "cpu", '
    '"dtype": "float32", "epsilon": 1e-08, "evaluate_every_steps": null, '
    '"gradient_checkpointing": false, "learning_rate": 0.0015, "lora_rank": null, '
    '"lora_scale": 2.0, "loss": {"centre_coefficient": 0.0, "focal_gamma": 2.0, '
    '"name": "bradley_terry", "target_margin": 1.0, "temperature": 2.0, "tempering": 0.5}, '
    '"margin_key": null, "max_length_tokens": 16384, "max_steps": null, "num_epochs": 1, '
    '"pad_token": null, "schedule": "linear", "seed": 0, "sharded": false, '
    '"tokens_per_pack": null, "warmup_share": 0.08, "weight_decay": 0.05}'
)


def test_a_run_without_new_settings_has_the_key_of_the_first_version():
    # A new field of TrainingConfig goes into ADDED_LATER: then this stays as it is.
    assert json.dumps(TrainingConfig().key_material(), sort_keys=True) == FIRST_VERSION


def test_settings_that_decide_the_weights_change_the_key_and_others_do_not():
    plain = TrainingConfig().key_material()
    assert TrainingConfig(save_every_steps=3).key_material() == plain
    updated = TrainingConfig(lora=LoraUpdates(rank=4)).key_material()
    assert updated == {**plain, "lora": {"rank": 4, "alpha": 8, "target_modules": None}}


def test_a_configuration_survives_its_job_file():
    config = TrainingConfig(lora=LoraUpdates(rank=2, target_modules=("q_proj",)))
    assert TrainingConfig(**json.loads(json.dumps(config.to_json()))) == config
