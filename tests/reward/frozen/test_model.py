import json
import shutil

import numpy as np
import pytest

from synpref_dagster.reward.frozen.config import FrozenConfig
from synpref_dagster.reward.frozen.model import FrozenRewardModel, train_frozen_reward_model
from synpref_dagster.reward.scoring import load_reward_model

CONFIG = FrozenConfig(layers=(2, 3), max_length_tokens=256)


@pytest.fixture
def trained(reader_of, home, pairs, gold):
    folder = home / "models" / "any" / "name"
    reader = reader_of()
    return folder, reader, train_frozen_reward_model(
        pairs, gold, reader=reader, config=CONFIG, output_dir=folder
    )  # fmt: skip


def again(reader, home, pairs, gold, config=CONFIG):
    folder = home / "models" / "any" / "name"
    return train_frozen_reward_model(pairs, gold, reader=reader, config=config, output_dir=folder)


def test_a_head_learns_on_a_backbone_that_was_never_trained(trained):
    _, _, report = trained
    assert report.evaluation.low > 0.5
    assert report.num_pairs == 120
    assert report.evaluation.num_pairs == 40


def test_a_finished_folder_is_reused_and_another_set_is_not(trained, reader_of, home, pairs, gold):
    assert again(reader_of(), home, pairs, gold).reused
    fewer = again(reader_of(), home, pairs[1:], gold)
    assert not fewer.reused
    assert fewer.num_pairs == 119


def test_the_weights_are_those_of_the_data_to_the_last_bit(trained, reader_of, home, pairs, gold):
    folder, _, _ = trained
    head = (folder / "head.npy").read_bytes()
    shutil.rmtree(folder)
    again(reader_of(), home, pairs, gold)
    assert (folder / "head.npy").read_bytes() == head


def test_a_loaded_model_gives_the_margins_that_it_was_chosen_by(trained, gold):
    folder, _, report = trained
    model = load_reward_model(folder)
    assert isinstance(model, FrozenRewardModel)
    conversations = [pair.conversation for pair in gold]
    chosen = model.rewards(conversations, [pair.chosen for pair in gold])
    rejected = model.rewards(conversations, [pair.rejected for pair in gold])
    assert chosen.dtype == np.float32
    assert float((chosen > rejected).mean()) == report.evaluation.accuracy
    assert model.rewards([], []).shape == (0,)


def test_lists_of_other_lengths_are_refused(trained):
    with pytest.raises(ValueError, match="1 conversations, 2 responses"):
        load_reward_model(trained[0]).rewards([[]], ["a", "b"])


def test_training_again_reads_nothing_again(trained, reader_of, home, pairs, gold):
    reader = reader_of()
    again(reader, home, pairs[:60], gold)
    assert reader.num_read == 0


def test_pairs_of_one_text_train_nothing_and_are_counted(reader_of, home, pairs, gold):
    same = pairs[0].__class__(**{**vars_of(pairs[0]), "rejected": pairs[0].chosen})
    report = again(reader_of(), home, [*pairs[:50], same], gold)
    assert report.num_pairs == 50
    assert [(g.reason, g.count) for g in report.dropped] == [("identical_text", 1)]
    with pytest.raises(ValueError, match="none of 1 pairs can be trained on"):
        again(reader_of(), home, [same], gold)


def vars_of(pair):
    names = ("conversation", "chosen", "rejected", "source", "origin")
    return {name: getattr(pair, name) for name in names}


@pytest.mark.parametrize("num_pairs", [1, 2, 120])
def test_without_gold_the_training_conversations_choose(reader_of, home, pairs, num_pairs):
    report = again(reader_of(), home, pairs[:num_pairs], [])
    assert report.evaluation is None
    assert report.history == ()
    assert report.num_pairs == num_pairs


def test_what_was_tried_stands_beside_what_was_chosen(trained):
    told = json.loads((trained[0] / "training.json").read_text())
    assert len(told["tried"]) == len(CONFIG.choices())
    best = min(told["tried"], key=lambda each: each["loss"])
    assert {name: told["config"][name] for name in ("layer", "pooling", "penalty")} == {
        name: best[name] for name in ("layer", "pooling", "penalty")
    }


def test_a_campaigns_folder_can_be_moved_and_a_head_alone_cannot(trained, home, gold, tmp_path):
    folder, _, _ = trained
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("models", "backbones"):
        shutil.copytree(home / name, moved / name)
    there = load_reward_model(moved / "models" / "any" / "name")
    here = load_reward_model(folder)
    texts = [gold[0].conversation], [gold[0].chosen]
    assert there.rewards(*texts) == pytest.approx(here.rewards(*texts), abs=1e-5)
    shutil.rmtree(moved / "backbones")
    shutil.rmtree(home / "backbones")
    with pytest.raises(ValueError, match="lies neither in it nor in backbones/"):
        load_reward_model(moved / "models" / "any" / "name")
