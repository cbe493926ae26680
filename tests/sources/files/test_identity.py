"""What counts as a new version of a source file."""

import fsspec
import pytest

from synpref_dagster.sources.files.identity import content_identity, listing_identity


@pytest.fixture
def store():
    """A store that is not on this disk."""
    files = fsspec.filesystem("memory")
    files.pipe("/identity/a.jsonl", b"one")
    yield files
    files.rm("/identity", recursive=True)


def test_local_content_counts_and_neither_place_nor_time(tmp_path):
    for folder, text in (("a", "one"), ("b", "one"), ("c", "two")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.jsonl").write_text(text)
    a, b, c = (content_identity(str(tmp_path / name / "x.jsonl")) for name in "abc")
    assert a == b
    assert a != c
    assert content_identity(str(tmp_path / "a")) == content_identity(str(tmp_path / "b"))


def test_a_listing_changes_with_a_new_file_and_not_by_looking(tmp_path):
    (tmp_path / "monday.jsonl").write_text("x")
    first = listing_identity(str(tmp_path))
    assert listing_identity(str(tmp_path)) == first
    (tmp_path / "tuesday.jsonl").write_text("x")
    assert listing_identity(str(tmp_path)) != first


def test_what_lies_behind_a_link_is_seen(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "link").symlink_to(tmp_path / "real")
    before = listing_identity(str(tmp_path / "source"))
    (tmp_path / "real" / "new.jsonl").write_text("{}")
    assert listing_identity(str(tmp_path / "source")) != before


@pytest.mark.parametrize("identity", [content_identity, listing_identity])
def test_a_file_of_an_object_store_that_was_replaced_is_another_file(store, identity):
    before = identity("memory://identity/a.jsonl")
    assert identity("memory://identity/a.jsonl") == before
    store.rm("/identity/a.jsonl")
    store.pipe("/identity/a.jsonl", b"two")
    assert identity("memory://identity/a.jsonl") != before


@pytest.mark.parametrize("identity", [content_identity, listing_identity])
def test_what_does_not_exist_is_named_by_its_path(identity, tmp_path):
    assert identity(str(tmp_path / "nothing")) == str(tmp_path / "nothing")
