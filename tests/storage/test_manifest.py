"""The manifest decides whether a data set exists, and older states stay readable."""

import json
import shutil

import pyarrow as pa
import pytest

from synpref_dagster.storage import (
    DatasetRef,
    build_dataset,
    find_manifest,
    hash_json,
    manifest,
    read_manifest,
    read_table,
    step_key,
)
from synpref_dagster.storage.manifest import reuse
from synpref_dagster.storage.uris import write_bytes

ONE = pa.table({"a": [1, 2]})
TWO = pa.table({"a": [3]})


def build(uri, table, step):
    return build_dataset(str(uri), step=step, compute=lambda: table)


def never():
    raise AssertionError("computed again")


def test_a_folder_without_a_manifest_does_not_exist(tmp_path):
    build(tmp_path, ONE, "s1")
    (tmp_path / "manifest.json").unlink()
    shutil.rmtree(tmp_path / "manifests")
    assert find_manifest(str(tmp_path)) is None
    with pytest.raises(ValueError, match="no data set at"):
        read_manifest(str(tmp_path))


def test_of_a_lost_manifest_the_newest_copy_counts(tmp_path):
    ref = build(tmp_path, ONE, "s1")
    (tmp_path / "manifest.json").unlink()
    assert find_manifest(str(tmp_path)).fingerprint == ref.fingerprint


def test_manifests_of_two_steps_that_changed_places_are_no_results(tmp_path):
    refs = [build(tmp_path, table, step) for table, step in ((ONE, "s1"), (TWO, "s2"))]
    steps = [tmp_path / "steps" / f"{step}.json" for step in ("s1", "s2")]
    texts = [path.read_bytes() for path in steps]
    for path, text in zip(steps, reversed(texts), strict=True):
        path.write_bytes(text)
    assert reuse(str(tmp_path), step="s1") is None
    assert [build(tmp_path, ONE, "s1"), build(tmp_path, TWO, "s2")] == refs


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_of_a_torn_manifest_the_copy_under_its_fingerprint_counts(tmp_path, share):
    ref = build(tmp_path, ONE, "s1")
    path = tmp_path / "manifest.json"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert find_manifest(str(tmp_path)).fingerprint == ref.fingerprint


def test_a_torn_manifest_without_a_copy_counts_as_absent(tmp_path):
    build(tmp_path, ONE, "s1")
    for path in [tmp_path / "manifest.json", *(tmp_path / "manifests").iterdir()]:
        path.write_bytes(path.read_bytes()[:100])
    assert find_manifest(str(tmp_path)) is None


def test_a_manifest_edited_by_hand_does_not_count(tmp_path):
    build(tmp_path, ONE, "s1")
    path = tmp_path / "manifest.json"
    document = json.loads(path.read_text())
    document["shards"] = document["shards"] * 2
    path.write_text(json.dumps(document))
    assert find_manifest(str(tmp_path)).num_rows == 2


def test_an_older_reference_resolves_after_the_folder_is_published_again(tmp_path):
    old = build(tmp_path, ONE, "s1")
    new = build(tmp_path, TWO, "s2")
    assert read_table(old)["a"].to_pylist() == [1, 2]
    assert read_table(new)["a"].to_pylist() == [3]
    assert read_manifest(str(tmp_path)).fingerprint == new.fingerprint


def test_an_earlier_step_becomes_current_again_without_computing(tmp_path):
    old = build(tmp_path, ONE, "s1")
    build(tmp_path, TWO, "s2")
    assert build_dataset(str(tmp_path), step="s1", compute=never) == old
    assert read_manifest(str(tmp_path)).fingerprint == old.fingerprint


def test_a_lost_current_manifest_is_restored_from_the_step(tmp_path):
    ref = build(tmp_path, ONE, "s1")
    (tmp_path / "manifest.json").unlink()
    assert build_dataset(str(tmp_path), step="s1", compute=never) == ref
    assert read_manifest(str(tmp_path)).fingerprint == ref.fingerprint


def test_two_steps_with_equal_content_have_one_fingerprint(tmp_path):
    assert build(tmp_path, ONE, "s1") == build(tmp_path, ONE, "s2")
    assert build_dataset(str(tmp_path), step="s1", compute=never).num_rows == 2


def test_a_reference_to_an_unknown_state_says_what_to_do(tmp_path):
    build(tmp_path, ONE, "s1")
    with pytest.raises(ValueError, match=r"no published state 00ff.*materialize"):
        read_manifest(DatasetRef(str(tmp_path), 2, "00ff"))


def test_facts_follow_the_step_asked_for_also_after_a_kill_between_two_writes(
    tmp_path, monkeypatch
):
    def asked_for(step):
        ref = build_dataset(str(tmp_path), step=step, compute=lambda: ONE, meta={"pool": step})
        return read_manifest(ref).meta["pool"]

    def killed(path, data):
        if "steps" in str(path):
            raise KeyboardInterrupt
        return write_bytes(path, data)

    assert asked_for("a") == "a"
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            asked_for("b")
    assert asked_for("a") == "a"


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "", "."])
def test_names_from_outside_never_leave_the_folder(tmp_path, name):
    with pytest.raises(ValueError, match="no step key or fingerprint"):
        read_manifest(DatasetRef(str(tmp_path), 2, name))
    with pytest.raises(ValueError, match="no step key or fingerprint"):
        build(tmp_path, ONE, name)


def test_meta_is_kept_but_does_not_change_the_fingerprint(tmp_path):
    plain = build(tmp_path / "a", ONE, "s1")
    noted = build_dataset(
        str(tmp_path / "b"), step="s1", compute=lambda: ONE, meta={"seed": 7, "who": "é"}
    )
    assert noted.fingerprint == plain.fingerprint
    assert read_manifest(noted).meta == {"seed": 7, "who": "é"}


def test_new_meta_for_a_finished_step_is_kept_without_computing(tmp_path):
    ref = build(tmp_path, ONE, "s1")
    assert build_dataset(str(tmp_path), step="s1", compute=never, meta={"note": "new"}) == ref
    assert read_manifest(ref).meta == read_manifest(str(tmp_path)).meta == {"note": "new"}


def test_step_key_changes_with_version_inputs_and_parameters():
    base = {"version": "1", "inputs": ["f0"], "params": {"k": 8}}
    keys = {
        step_key(**base),
        step_key(**{**base, "version": "2"}),
        step_key(**{**base, "inputs": ["f1"]}),
        step_key(**{**base, "params": {"k": 9}}),
    }
    assert len(keys) == 4


def test_what_has_a_fingerprint_is_hashed_by_it_wherever_it_lives():
    here, there = DatasetRef("/a", 1, "f0"), DatasetRef("s3://b", 1, "f0")
    assert hash_json(here) == hash_json(there)
    assert hash_json(here) != hash_json(DatasetRef("/a", 1, "f1"))


def test_a_parameter_without_identity_is_refused():
    with pytest.raises(ValueError, match="cannot identify a parameter of type object"):
        hash_json({"x": object()})
