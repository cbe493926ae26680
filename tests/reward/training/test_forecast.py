import pytest

from synpref_dagster.reward.folders import folder_fingerprint
from synpref_dagster.reward.training.config import TrainingConfig
from synpref_dagster.reward.training.forecast import num_trained_on, seconds_per_pair

CONFIG = TrainingConfig(batch_pairs=4, max_length_tokens=64, gradient_checkpointing=True)


def test_a_few_pairs_are_timed_and_the_backbone_stays_as_it_is(qwen_stand_in, pairs):
    before = folder_fingerprint(qwen_stand_in)
    assert 0 < seconds_per_pair(pairs, backbone_path=str(qwen_stand_in), config=CONFIG) < 60
    assert folder_fingerprint(qwen_stand_in) == before


def test_nothing_to_time_is_refused(qwen_stand_in):
    with pytest.raises(ValueError, match="none of the first 64 pairs can be trained on"):
        seconds_per_pair([], backbone_path=str(qwen_stand_in), config=CONFIG)


def test_steps_repeat_pairs_where_there_are_few():
    assert num_trained_on(3, TrainingConfig(batch_pairs=4, max_steps=5)) == 15
    assert num_trained_on(9, TrainingConfig(batch_pairs=4, num_epochs=2)) == 18
