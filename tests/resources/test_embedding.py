"""Vectors as the profile says: what they depend on, and that words stay what they were."""

import numpy as np
import pytest

from synpref_dagster.curation.retrieval.embedder import TfidfSvdEmbedder
from synpref_dagster.pairs.attributes import embedding_text
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.embedding import PairEmbedding
from synpref_dagster.resources.judges import JudgePanel
from synpref_dagster.resources.models import RewardModels
from synpref_dagster.settings.profile import Profile, load_profile

ENDPOINT = {"kind": "endpoint", "base_url": "http://127.0.0.1:9/v1", "model": "m"}


def embedding(settings, store="unused"):
    profile = Profile.model_validate({**load_profile("smoke").model_dump(), "embedding": settings})
    campaign = Campaign(profile_json=profile.model_dump_json(), store_root=str(store))
    return PairEmbedding(
        models=RewardModels(campaign=campaign), judges=JudgePanel(campaign=campaign)
    )


def pair(number):
    return PreferencePair(
        conversation=({"role": "user", "content": f"question {number} about boats"},),
        chosen="a",
        rejected="b",
        source="s",
        origin="human",
    )


def test_words_are_embedded_as_ever_under_the_name_that_stores_know(tmp_path):
    made = embedding({"kind": "tfidf"})
    assert made.params() == {"embedder": "tfidf-svd"}
    assert made.learns
    pairs, rows = [pair(n) for n in range(5)], [{"task_category": "math"}] * 5
    made.fit(pairs, rows, folder=tmp_path, seed=3)
    assert made.is_fitted(tmp_path)
    texts = list(map(embedding_text, pairs, rows))
    wanted = TfidfSvdEmbedder.fit(texts, 3).embed(texts)
    np.testing.assert_array_equal(made.embed(str(tmp_path), pairs, rows), wanted)
    np.testing.assert_array_equal(made.for_shards(str(tmp_path))(pairs, rows), wanted)


def test_an_endpoint_learns_nothing_and_is_known_by_what_decides_a_vector(tmp_path):
    made = embedding(ENDPOINT)
    assert not made.learns
    made.fit([], [], folder=tmp_path, seed=0)
    assert made.is_fitted(tmp_path)
    same = {"batch_size": 3, "max_usd": 1.0, "timeout_seconds": 5.0, "min_cosine": 0.5}
    assert embedding({**ENDPOINT, **same}).params() == made.params()
    for change in ({"model": "n"}, {"dimensions": 9}, {"base_url": "http://127.0.0.1:8/v1"}):
        assert embedding({**ENDPOINT, **change}).params() != made.params()
    assert embedding({**ENDPOINT, "max_characters": 9}).params() != made.params()


def test_a_folder_without_an_encoder_is_refused_before_anything_is_made(tmp_path):
    made = embedding({"kind": "sentence_transformers", "path": str(tmp_path)})
    with pytest.raises(ValueError, match=r"no config\.json.*correct embedding\.path"):
        made.params()
