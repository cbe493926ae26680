"""The numbers that come from the paper, recited: nobody changes one of them by accident."""

import numpy as np
import pytest

from synpref_dagster.benchmarks.leaderboard import reference_scores
from synpref_dagster.benchmarks.suite import BENCHMARK_NAMES
from synpref_dagster.curation.contamination.rules import (
    NUM_WORDS,
    STRICT_MIN_WORDS,
    DecontaminationConfig,
)
from synpref_dagster.curation.filtering.witnesses import CONFIDENT
from synpref_dagster.curation.retrieval.nearest import K_MAX, MAX_EXEMPLARS, adaptive_k
from synpref_dagster.pairs.accuracy import confidence
from synpref_dagster.pairs.attributes import ATTRIBUTE_COLUMNS, TASK_CATEGORIES
from synpref_dagster.reward.backbones import BACKBONES, MODEL_SIZES
from synpref_dagster.settings.profile import load_profile


def test_contamination_is_one_shared_13_gram_with_a_first_turn_prompt():
    assert NUM_WORDS == 13
    assert STRICT_MIN_WORDS == 5
    config = DecontaminationConfig()
    assert (config.min_words, config.max_words, config.scope) == (13, 13, "first_turn")


def test_the_attributes_are_five_and_the_categories_twelve():
    assert len(ATTRIBUTE_COLUMNS) == 5
    assert len(set(TASK_CATEGORIES)) == 12
    assert TASK_CATEGORIES[0] == "information_seeking"
    assert TASK_CATEGORIES[-1] == "other"


def test_a_gold_pair_pulls_eight_neighbours_when_the_model_is_wrong_and_fewer_when_it_is_sure():
    assert K_MAX == 8
    ks = [adaptive_k(p) for p in (0.0, 0.2, 0.5, 0.51, 0.75, 0.9, 1.0)]
    assert ks == [8, 8, 8, 4, 2, 1, 0]


def test_a_judge_sees_at_most_eight_exemplars():
    assert MAX_EXEMPLARS == 8


def test_confidence_is_the_sigmoid_of_the_margin_and_above_one_half_confident():
    assert CONFIDENT == 0.5
    assert confidence(np.array([0.0, np.log(3.0)])) == pytest.approx([0.5, 0.75])


def test_there_are_eight_sizes_and_only_one_sees_recycled_pairs():
    assert MODEL_SIZES == (
        "qwen3-0.6b",
        "qwen3-1.7b",
        "qwen3-4b",
        "qwen3-8b",
        "llama-3.2-1b",
        "llama-3.2-3b",
        "llama-3.1-8b",
        "llama-3.1-8b-40m",
    )
    assert [row.model_size for row in BACKBONES if row.sees_recycled] == ["llama-3.1-8b-40m"]


@pytest.mark.parametrize("row", BACKBONES, ids=lambda row: row.model_size)
def test_every_size_trains_with_the_published_settings(row):
    assert row.learning_rate_development == (1e-6 if "-8b" in row.model_size else 4e-6)
    assert row.learning_rate_final == 3e-6
    assert (row.batch_pairs_development, row.batch_pairs_final) == (256, 10_240)
    assert row.max_length_tokens == 16_384


def test_the_evaluation_has_seven_benchmarks_and_the_published_average():
    assert len(BENCHMARK_NAMES) == 7
    published = reference_scores("v3").set_index("model")["average"]
    assert published["qwen3-0.6b"] == pytest.approx(0.709)
    assert published["llama-3.1-8b-40m"] == pytest.approx(0.886)


def test_the_paper_profile_has_eight_iterations_and_asks_people_objective_pairs_first():
    profile = load_profile("paper")
    assert profile.iterations.num_iterations == 8
    assert profile.iterations.human_policy == "objective_first"
    assert profile.pool.ngram_words == 13
    strict = profile.pool.strict_pass  # App. D.1: 5- to 13-grams, judges clear false alarms
    assert strict.enabled
    assert strict.max_words == NUM_WORDS
    # The paper's five words need judges that clear phrases; the profile's own panel has none.
    assert strict.min_words > STRICT_MIN_WORDS
    assert not strict.judges_clear
    assert profile.judges.num_exemplars == 8
    assert profile.filtering.recycle == "strict"
    assert profile.seed_set.num_gold + profile.seed_set.num_silver == 80_000
    assert profile.iterations.num_human * profile.iterations.num_iterations < 500_000
