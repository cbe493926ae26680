"""Pairs as vectors of a frozen backbone, on a backbone of three layers that was never trained."""

import numpy as np
import pytest

from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.reward.frozen.embedder import BackboneEmbedder
from synpref_dagster.reward.frozen.places import BACKBONES, middle_layer

MATH, EDITING = {"task_category": "math"}, {"task_category": "editing"}


def pair(number):
    return PreferencePair(
        conversation=({"role": "user", "content": f"word{number} word{number % 3}"},),
        chosen=f"word{number + 1} word{number + 2}",
        rejected=f"word{number + 3}",
        source="s",
        origin="human",
    )


PAIRS = [pair(number) for number in range(8)]


@pytest.fixture
def embedder(reader_of):
    return BackboneEmbedder.fit(PAIRS, reader=reader_of(), layer=2)


def test_vectors_have_length_one_and_every_pair_is_nearest_to_itself(embedder):
    vectors = embedder.embed(PAIRS, [MATH] * 8)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(8), abs=1e-6)
    assert (vectors @ vectors.T).argmax(axis=1).tolist() == list(range(8))


def test_a_turned_pair_has_the_vector_it_had(embedder):
    turned = [each.flipped() for each in PAIRS]
    np.testing.assert_array_equal(
        embedder.embed(turned, [MATH] * 8), embedder.embed(PAIRS, [MATH] * 8)
    )


def test_a_corrected_category_takes_a_tenth_of_the_likeness_and_no_more(embedder):
    before, after = embedder.embed(PAIRS[:2], [MATH] * 2), embedder.embed(PAIRS[:2], [EDITING] * 2)
    assert (before * after).sum(axis=1) == pytest.approx([0.9, 0.9], abs=1e-6)
    assert (after[0] @ after[1]) == pytest.approx(before[0] @ before[1], abs=1e-6)
    said = embedder.meaning(PAIRS[:2])
    assert before[0] @ before[1] == pytest.approx(0.9 * (said[0] @ said[1]) + 0.1, abs=1e-6)


def test_a_pair_is_embedded_the_same_alone_and_among_others(embedder):
    alone = np.concatenate([embedder.embed([each], [MATH]) for each in PAIRS])
    np.testing.assert_allclose(alone, embedder.embed(PAIRS, [MATH] * 8), atol=1e-7)
    assert embedder.embed([], []).shape[0] == embedder.meaning([]).shape[0] == 0


def test_features_that_are_known_are_not_read_again(reader_of):
    first, second = reader_of(), reader_of()
    fitted = BackboneEmbedder.fit(PAIRS, reader=first, layer=2)
    BackboneEmbedder.fit(PAIRS, reader=second, layer=2).embed(PAIRS, [MATH] * 8)
    assert (first.num_read, second.num_read) == (16, 0)
    assert fitted.reader.num_read == 16


def test_a_saved_embedder_gives_the_same_vectors_and_finds_its_backbone_above(embedder, home):
    folder = home / "models" / "pair_embedder" / "a"
    embedder.save(folder)
    loaded = BackboneEmbedder.load(folder)
    np.testing.assert_array_equal(
        loaded.embed(PAIRS, [MATH] * 8), embedder.embed(PAIRS, [MATH] * 8)
    )
    (home / BACKBONES).rename(home / "elsewhere")
    with pytest.raises(ValueError, match="is a head on the frozen backbone"):
        BackboneEmbedder.load(folder)


def test_the_middle_layer_is_the_one_read_closest_to_two_thirds_of_the_way_up(reader_of):
    folder = reader_of(layers=(1, 2, 3)).folder
    assert [middle_layer(folder, layers) for layers in ((1, 2, 3), (1, 3), (3,))] == [2, 1, 3]


def test_an_embedder_needs_a_pair(reader_of):
    with pytest.raises(ValueError, match="no pair to fit on"):
        BackboneEmbedder.fit([], reader=reader_of(), layer=2)
