"""Pairs that mean nearly the same, on a handful of vectors a person can see."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from synpref_dagster.curation.retrieval.alike import (
    alike_rows,
    counted_by_sources,
    meaning_links,
    most_alike,
)
from synpref_dagster.pairs.record import id_array

IDS = [bytes([number]) * 16 for number in range(6)]


def test_each_link_is_named_once_and_what_has_no_meaning_is_like_nobody():
    vectors = np.array(
        [[1, 0], [0, 1], [0.8, 0.6], [1, 0], [0, 0], [0, 0]],
        dtype=np.float32,
    )
    links, cosines = alike_rows(vectors, min_cosine=0.7)
    assert links.tolist() == [[0, 2], [0, 3], [2, 3]]
    assert cosines == pytest.approx([0.8, 1.0, 0.8])
    links, cosines = alike_rows(vectors, min_cosine=0.9)
    assert (links.tolist(), cosines.tolist()) == ([[0, 3]], [1.0])


@pytest.mark.parametrize("vectors", [np.zeros((0, 3)), np.eye(3)])
def test_without_neighbours_there_is_no_link(vectors):
    links, cosines = alike_rows(vectors.astype(np.float32), min_cosine=0.5)
    assert links.shape == (0, 2)
    assert len(cosines) == 0


def confirmed():
    return pa.table(
        {
            "first_pair_id": id_array(IDS[:3]),
            "second_pair_id": id_array(IDS[3:]),
            "first_source": ["web", "web", "books"],
            "second_source": ["books", "web", "web"],
            "estimate": [0.1, 0.9, 0.2],
            "similarity": [0.1, 0.85, 0.2],
            "relation": ["similar_text"] * 3,
        }
    )


def test_what_words_find_is_left_out_and_the_most_alike_come_first():
    links = meaning_links(confirmed(), np.array([0.96, 0.99, 0.98]), lexical_from=0.8).to_pandas()
    assert links["cosine"].tolist() == [0.98, 0.96]
    assert links["similarity"].tolist() == [0.2, 0.1]
    counts = counted_by_sources(links)
    assert counts.to_numpy().tolist() == [["books", "web", 2]]


def test_people_read_ids_and_what_is_said():
    links = meaning_links(confirmed(), np.array([0.96, 0.99, 0.98]), lexical_from=0.8)
    frame = pd.DataFrame(
        {**links.to_pandas(), "first_pair_id": [IDS[2], IDS[0]], "second_pair_id": [IDS[5], IDS[3]]}
    )
    shown = most_alike(frame, [("Yes", "Sure"), ("No", "Never")])
    assert shown["first_pair_id"].tolist() == [IDS[2].hex(), IDS[0].hex()]
    assert shown["second_says"].tolist() == ["Sure", "Never"]
    assert len(most_alike(frame.head(0), [])) == 0
