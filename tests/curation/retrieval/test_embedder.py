import numpy as np
import pytest

from synpref_dagster.curation.retrieval.embedder import (
    NUM_DIMENSIONS,
    TextEmbedder,
    TfidfSvdEmbedder,
    WordEmbedder,
)
from synpref_dagster.pairs.record import PreferencePair

TEXTS = [
    "what is the capital of peru",
    "tell me the capital of peru please",
    "write a function for the total of xs",
    "show code for the total of xs",
    "any advice on sleeping better",
    "give me a tip on sleeping better",
]


@pytest.fixture(scope="module")
def embedder():
    return TfidfSvdEmbedder.fit(TEXTS, 0)


def test_vectors_are_float32_of_length_one(embedder):
    vectors = embedder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), NUM_DIMENSIONS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_paraphrases_are_each_others_nearest_neighbours(embedder):
    vectors = embedder.embed(TEXTS)
    similarity = vectors @ vectors.T - 2 * np.eye(len(TEXTS), dtype=np.float32)
    assert similarity.argmax(axis=1).tolist() == [1, 0, 3, 2, 5, 4]


def test_the_same_texts_and_seed_give_the_same_vectors_sign_included(embedder):
    again = TfidfSvdEmbedder.fit(TEXTS, 0)
    np.testing.assert_array_equal(again.components, embedder.components)
    largest = np.abs(embedder.components).argmax(axis=0)[: len(TEXTS)]
    assert (embedder.components[largest, np.arange(len(TEXTS))] > 0).all()


def test_a_text_is_embedded_the_same_alone_and_in_a_batch(embedder):
    together = embedder.embed(TEXTS)
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, together, atol=1e-6)


def test_unknown_texts_are_zero_and_no_text_is_no_row(embedder):
    assert not embedder.embed(["zzz qqq"]).any()
    assert embedder.embed([]).shape == (0, NUM_DIMENSIONS)


def test_a_saved_embedder_loads_identically(embedder, tmp_path):
    embedder.save(tmp_path)
    loaded = TfidfSvdEmbedder.load(tmp_path)
    np.testing.assert_array_equal(loaded.embed(TEXTS), embedder.embed(TEXTS))


def test_another_kind_of_embedder_is_refused(embedder, tmp_path):
    embedder.save(tmp_path)
    (tmp_path / "embedder.json").write_text('{"kind": "other"}')
    with pytest.raises(ValueError, match="other"):
        TfidfSvdEmbedder.load(tmp_path)


def test_fitting_on_nothing_is_refused():
    with pytest.raises(ValueError, match="empty"):
        TfidfSvdEmbedder.fit([], 0)


def test_an_embedder_of_texts_sees_the_task_first_and_for_their_meaning_both_answers():
    seen = []

    def embed_texts(texts):
        seen.append(list(texts))
        return np.eye(len(texts), 4, dtype=np.float32)

    pair = PreferencePair(
        conversation=({"role": "user", "content": "1 + 1?"},),
        chosen="2",
        rejected="3",
        source="s",
        origin="human",
    )
    embedder = TextEmbedder(embed_texts)
    assert embedder.embed([pair], [{"task_category": "math"}]).tolist() == [[1, 0, 0, 0]]
    mean = embedder.meaning([pair])
    assert mean[0] == pytest.approx([0.5**0.5, 0.5**0.5, 0, 0])
    assert seen == [["math\n1 + 1?"], ["1 + 1?\n2", "1 + 1?\n3"]]
    assert WordEmbedder(embed_texts).embed([pair], [{"task_category": "math"}]).shape == (1, 4)
    assert seen[-1] == ["1 + 1?\nmath"]
