"""References travel as JSON and come back equal."""

import pytest

from synpref_dagster.storage import DatasetRef, ModelRef, SelectionRef, from_json, to_json
from synpref_dagster.storage.sealed import unsealed

KEPT = DatasetRef("s3://bucket/pool/kept", 7, "aa")
DROPPED = DatasetRef("/data/pool/dropped", 3, "bb")


@pytest.mark.parametrize(
    "value",
    [
        KEPT,
        SelectionRef(KEPT, DROPPED),
        ModelRef("/models/qwen3-0.6b", "cc"),
        {"gold": KEPT, "silver": DROPPED, "nested": {"model": ModelRef("m", "f")}, "k": 3},
        {"num_pairs": 3, "accuracy": 0.75, "reasons": ["tie", "split"], "note": None},
        {},
    ],
)
def test_every_reference_comes_back_equal(value):
    assert from_json(to_json(value)) == value


def test_a_mapping_that_looks_like_a_reference_stays_a_mapping():
    value = {"kind": "dataset", "uri": "x", "num_rows": 1, "fingerprint": "y"}
    assert from_json(to_json(value)) == value


def test_the_json_names_the_kind():
    assert unsealed(to_json(KEPT)) == {
        "kind": "dataset",
        "uri": "s3://bucket/pool/kept",
        "num_rows": 7,
        "fingerprint": "aa",
    }


@pytest.mark.parametrize("value", [{"rows": {1, 2}}, {1: "a"}, {"score": float("nan")}])
def test_what_is_no_json_is_refused(value):
    with pytest.raises(ValueError, match=r"cannot store|JSON compliant"):
        to_json(value)


@pytest.mark.parametrize("text", ['{"uri": "x"}', "[]", '{"kind": "pickle"}'])
def test_foreign_json_is_refused(text):
    with pytest.raises(ValueError, match="materialize its asset again"):
        from_json(text)
