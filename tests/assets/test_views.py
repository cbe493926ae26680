"""The views that several boxes share."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from synpref_dagster.assets import views
from synpref_dagster.curation.judging.labelling import EmbeddedPairs
from synpref_dagster.curation.retrieval.shards import vector_table
from synpref_dagster.pairs.attributes import ATTRIBUTE_COLUMNS
from synpref_dagster.pairs.record import PreferencePair, id_array, id_index, pairs_to_table
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.settings.profile import load_profile


def six_pairs():
    return [
        PreferencePair(
            conversation=({"role": "user", "content": str(n)},),
            chosen="a",
            rejected="b",
            source="s",
            origin="human",
        )
        for n in range(6)
    ]


def test_the_validation_part_of_gold_is_never_shown_to_a_judge(monkeypatch):
    pairs = six_pairs()
    ids = [pair.pair_id for pair in pairs]
    labels = [1, -1, -1, 1, 1, -1]

    def embedded_pairs(campaign, references, wanted):
        found = [pair for pair in reversed(pairs) if pair.pair_id in wanted]
        attributes = [{"objectivity": "objective"}] * len(found)
        return EmbeddedPairs(pairs=found, attributes=attributes, vectors=[[0.0]] * len(found))

    monkeypatch.setattr(views, "embedded_pairs", embedded_pairs)
    gold = pd.DataFrame(
        {
            "pair_id": id_index(ids),
            "label": labels,
            "split": ["train", "validation"] * 3,
            "edited_attributes": "{}",
        }
    )
    campaign = SimpleNamespace(labels_in=lambda pool, labels: labels)
    shown, told = views.gold_exemplars(campaign, {"pool": None}, gold, embedding=None)
    assert [pair.pair_id for pair in shown.pairs] == [ids[4], ids[2], ids[0]]
    assert told == [1, -1, 1]


def test_what_people_corrected_is_what_retrieval_and_judges_see(monkeypatch):
    pairs = [
        PreferencePair(
            conversation=({"role": "user", "content": str(n)},),
            chosen="a",
            rejected="b",
            source="s",
            origin="human",
        )
        for n in range(3)
    ]
    said = {"task_category": "other", "objectivity": "objective", "annotation_guideline": "g"}

    def embedded_pairs(campaign, references, wanted):
        vectors = np.zeros((3, 2), dtype=np.float32)
        return EmbeddedPairs(pairs=pairs, attributes=[said] * 3, vectors=vectors)

    class Embedding:
        def embed(self, folder, moved, attributes):
            assert folder == "where the embedder is"
            assert [each["task_category"] for each in attributes] == ["math"]
            assert moved == [pairs[2]]
            return np.ones((1, 2), dtype=np.float32)

    class Campaign:
        def facts(self, ref):
            return {"embedder": "where the embedder is"}

    monkeypatch.setattr(views, "embedded_pairs", embedded_pairs)
    edits = ["{}", {"objectivity": "subjective"}, {"task_category": "math"}]
    gold = pd.DataFrame(
        {
            "pair_id": id_index(pair.pair_id for pair in pairs),
            "edited_attributes": [e if isinstance(e, str) else json.dumps(e) for e in edits],
        }
    )
    seen = views.verified_pairs(Campaign(), {"vectors": None}, gold, embedding=Embedding())
    assert list(seen.attributes) == [
        said,
        {**said, "objectivity": "subjective"},
        {**said, "task_category": "math"},
    ]
    assert seen.vectors.tolist() == [[0, 0], [0, 0], [1, 1]]
    labels = pd.DataFrame(
        [{"pair_id": p.pair_id, **said, "controversiality": "low"} for p in pairs]
    )
    labels["desired_attributes"] = "d"
    shown = views.corrected_labels(labels, gold).set_index("pair_id")
    assert shown["task_category"].tolist() == ["other", "other", "math"]
    assert shown["objectivity"].tolist() == ["objective", "subjective", "objective"]


def test_vectors_come_in_the_order_asked_for():
    ids = [bytes([number]) * 15 + b"\x00" for number in range(4)]
    table = vector_table(ids, np.arange(8, dtype=np.float32).reshape(4, 2))
    assert views.vectors_of(table, [ids[3], ids[1]]).tolist() == [[6.0, 7.0], [2.0, 3.0]]
    assert views.vectors_of(table.slice(2), [ids[2]]).tolist() == [[4.0, 5.0]]
    assert views.vectors_of(table.slice(0, 0), []).shape == (0, 2)
    with pytest.raises(ValueError, match="1 of 2 pairs have no vector"):
        views.vectors_of(table, [ids[0], b"x" * 16])


def test_stored_vectors_come_in_the_order_of_the_pairs_whatever_shards_they_lie_in(campaign):
    ids = [bytes([number]) * 15 + b"\x00" for number in range(5)]
    shards = [vector_table(ids[:3], np.arange(6, dtype=np.float32).reshape(3, 2)),
              vector_table([], np.zeros((0, 2), np.float32)),
              vector_table(ids[3:], np.arange(6, 10, dtype=np.float32).reshape(2, 2))]  # fmt: skip
    ref = campaign.dataset("vectors", lambda: shards, version="1", inputs=[])
    wanted = pa.table({"pair_id": id_array([ids[4], ids[0], ids[3], ids[2]])})
    found = views.stored_vectors(ref, wanted)
    assert found.matrix().tolist() == [[8, 9], [0, 1], [6, 7], [4, 5]]
    assert [places.tolist() for places, _ in found.portions()] == [[1, 3], [0, 2]]
    assert len(views.stored_vectors(ref, wanted.slice(0, 0)).matrix()) == 0
    with pytest.raises(ValueError, match="1 of 1 pairs have no vector"):
        views.stored_vectors(ref, pa.table({"pair_id": id_array([b"x" * 16])}))


@pytest.fixture
def campaign(tmp_path):
    profile = load_profile("smoke")
    return Campaign(profile_json=profile.model_dump_json(), store_root=str(tmp_path))


def test_an_embedded_view_is_that_of_the_wanted_pairs_by_id(campaign):
    pairs = six_pairs()
    ids = [pair.pair_id for pair in pairs]
    first, second = sorted((0, 4), key=lambda row: pairs[row].content_id)
    told = [
        {name: f"{name} {n}" for name in ATTRIBUTE_COLUMNS} | {"pair_id": id_}
        for n, id_ in enumerate(ids)
    ]
    tables = {
        "pool": [pairs_to_table(pairs[:3]), pairs_to_table(pairs[3:])],
        # Others need not be in the order of the pool.
        "attributes": [pd.DataFrame(told[::-1])],
        "vectors": [vector_table(ids, np.eye(6, dtype=np.float32))],
    }
    references = {
        name: campaign.dataset(name, lambda parts=parts: parts, version="1", inputs=[])
        for name, parts in tables.items()
    }
    found = views.embedded_pairs(campaign, references, [ids[4], b"x" * 16, ids[0]])
    assert [pair.pair_id for pair in found.pairs] == [ids[first], ids[second]]
    told_of = [row["objectivity"] for row in found.attributes]
    assert told_of == [f"objectivity {first}", f"objectivity {second}"]
    assert found.vectors.tolist() == np.eye(6)[[first, second]].tolist()


def test_people_see_attributes_and_risk_in_their_order(campaign):
    ids = [bytes([number]) * 16 for number in range(3)]
    risk = pd.DataFrame({"pair_id": id_index(ids), "risk": ["low", "contradictory", "cycle"]})
    about = campaign.dataset("about", lambda: risk, version="1", inputs=[])
    labels = pd.DataFrame({"pair_id": id_index(ids), "objectivity": ["x", "y", "z"]})
    attributes = campaign.dataset("attributes", lambda: labels, version="1", inputs=[])
    seen = views.beside_texts(campaign, about, attributes, iter([ids[2], ids[0]]))
    assert seen[["objectivity", "risk"]].to_numpy().tolist() == [["z", "cycle"], ["x", "low"]]
