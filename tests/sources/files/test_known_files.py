"""In which order files are read on the second night, and which of them are missed."""

import pytest

from synpref_dagster.sources.files.known_files import PoolFile, check_none_gone, reading_order


def file(name, content, *, key="", source="s"):
    return PoolFile(source=source, name=name, content=content, key=key or f"{name}:{content}")


def order(tonight, known):
    return [tonight[number].name for number in reading_order(tonight, known)]


def test_unchanged_files_come_first_then_changed_then_new_ones():
    known = [file(name, "old") for name in "dcbae"]
    tonight = [
        file("_", "x"), file("a", "old"), file("b", "new"), file("c", "old"), file("d", "new"),
        file("e", "old"),
    ]  # fmt: skip
    assert order(tonight, known) == ["c", "a", "e", "d", "b", "_"]


def test_a_file_under_another_name_or_specification_is_unchanged():
    known = [file("a", "1"), file("b", "2"), file("c", "3")]
    tonight = [file("c", "3"), file("b", "2", key="other options"), file("z", "1")]
    assert order(tonight, known) == ["z", "b", "c"]


def test_a_copy_of_a_file_that_is_still_there_is_new():
    known = [file("x", "1"), file("y", "2")]
    tonight = [file("a", "1"), file("x", "1"), file("y", "2")]
    assert order(tonight, known) == ["x", "y", "a"]


def test_files_listed_without_content_are_known_by_key_and_name():
    known = [file("b", "", key="kb"), file("a", "", key="ka")]
    tonight = [file("a", "1", key="ka"), file("b", "2", key="kb2")]
    assert order(tonight, known) == ["a", "b"]
    check_none_gone(tonight, known)


def test_at_most_three_files_that_are_gone_are_named():
    known = [file(name, name) for name in "abcdef"]
    with pytest.raises(ValueError, match=r"gone: b, c, d and 2 more; .*allow_missing_files = true"):
        check_none_gone([known[0]], known)


def test_content_under_the_name_of_another_source_does_not_make_up_for_a_file():
    known = [file("s/a", "1"), file("s/b", "2")]
    tonight = [file("s/a", "1"), file("t/b", "2", source="t")]
    with pytest.raises(ValueError, match="gone: s/b;"):
        check_none_gone(tonight, known)


def test_a_file_that_is_there_and_no_longer_data_is_not_gone():
    readme = PoolFile(source="s", name="s/README.md", content="r", key="r")
    data = PoolFile(source="s", name="s/a.jsonl", content="a", key="a")
    check_none_gone([data], [data, readme], skipped={"s/README.md"})
    with pytest.raises(ValueError, match=r"are gone: s/README\.md"):
        check_none_gone([data], [data, readme])
