"""The views that several boxes share."""

import json

import numpy as np
import pandas as pd

from synpref_dagster.assets import views
from synpref_dagster.curation.labelling import EmbeddedPairs
from synpref_dagster.curation.pairs import PreferencePair, id_index


def test_the_validation_part_of_gold_is_never_shown_to_a_judge(monkeypatch):
    pairs = [
        PreferencePair(
            conversation=({"role": "user", "content": str(n)},),
            chosen="a",
            rejected="b",
            source="s",
            origin="human",
        )
        for n in range(6)
    ]
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
    shown, told = views.gold_exemplars(None, {}, gold, embedding=None)
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
