import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from synpref_dagster.pairs.record import PreferencePair, Turn
from synpref_dagster.reward.folders import folder_fingerprint
from synpref_dagster.reward.linear.features import HAND_FEATURES, hand_features
from synpref_dagster.reward.linear.model import (
    LinearConfig,
    LinearRewardModel,
    train_linear_reward_model,
)
from synpref_dagster.reward.scoring import load_reward_model


def test_it_learns_which_words_are_good(tmp_path, pairs, gold):
    report = train_linear_reward_model(pairs, gold, config=LinearConfig(), output_dir=tmp_path)
    assert report.evaluation.accuracy > 0.8
    assert report.num_pairs == len(pairs)


def test_a_loaded_model_gives_the_same_rewards(tmp_path, pairs, gold):
    train_linear_reward_model(pairs, gold, config=LinearConfig(), output_dir=tmp_path)
    model = load_reward_model(tmp_path)
    assert isinstance(model, LinearRewardModel)
    conversations = [pair.conversation for pair in gold]
    chosen = model.rewards(conversations, [pair.chosen for pair in gold])
    alone = [model.rewards([pair.conversation], [pair.chosen])[0] for pair in gold]
    assert chosen.dtype == np.float32
    assert alone == pytest.approx(chosen, abs=1e-6)


def test_a_finished_folder_is_reused(tmp_path, pairs):
    config = LinearConfig(num_buckets=256)
    first = train_linear_reward_model(pairs, [], config=config, output_dir=tmp_path)
    print_before = folder_fingerprint(tmp_path)
    second = train_linear_reward_model(pairs, [], config=config, output_dir=tmp_path)
    assert second == replace(first, reused=True)
    assert folder_fingerprint(tmp_path) == print_before


def test_identical_sides_are_dropped_and_counted(tmp_path, pairs):
    same = replace(pairs[0], rejected=pairs[0].chosen)
    report = train_linear_reward_model(
        [*pairs, same], [], config=LinearConfig(num_buckets=0), output_dir=tmp_path
    )
    assert [(g.reason, g.count) for g in report.dropped] == [("identical_text", 1)]


def test_hand_features_count_what_they_say():
    row = dict(zip(HAND_FEATURES, hand_features(["So, Tom is 42? See www.x.org."])[0], strict=True))
    assert row["num_commas"] == 1
    assert row["num_digits"] == 2
    assert row["num_question_marks"] == 1
    assert row["num_sentences"] == 2
    assert row["num_urls"] == 1
    assert row["num_connectives"] == 1


def test_on_real_arguments_it_beats_longer_is_better(tmp_path, real_data: Path):
    with gzip.open(real_data / "ukp_convincing_arguments" / "pairs.jsonl.gz", "rt") as lines:
        rows = [row for row in map(json.loads, lines) if row["gold"] in ("a", "b")]
    debates = sorted({row["debate"] for row in rows})
    accuracy, longer = [], []
    for seed in range(2):
        held_out = set(np.random.default_rng(seed).permutation(debates)[:3])
        test = [_ukp_pair(row) for row in rows if row["debate"] in held_out]
        train = [_ukp_pair(row) for row in rows if row["debate"] not in held_out]
        report = train_linear_reward_model(
            train, test, config=LinearConfig(), output_dir=tmp_path / str(seed)
        )
        accuracy.append(report.evaluation.accuracy)
        longer.append(np.mean([len(pair.chosen) > len(pair.rejected) for pair in test]))
    assert np.mean(accuracy) > 0.72
    assert np.mean(accuracy) > np.mean(longer) + 0.01


def _ukp_pair(row):
    chosen, rejected = row["response_a"], row["response_b"]
    if row["gold"] == "b":
        chosen, rejected = rejected, chosen
    return PreferencePair(
        conversation=(Turn(role="user", content=row["prompt"]),),
        chosen=chosen,
        rejected=rejected,
        source="ukp",
        origin="human",
    )
