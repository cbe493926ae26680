"""JSON arrays are read element by element, and what is broken in them is said."""

import gzip
import json

import pytest

from synpref_dagster.sources.files.rows import read_rows
from synpref_dagster.sources.records import SourceSpec


def rows_of(path):
    return list(read_rows(SourceSpec(name="x", path=str(path), origin="human", licence="x")))


def found(path) -> list:
    return [row.problem or row.value for row in rows_of(path)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('[{"a": 1}, {"a": "ü]"}]', [{"a": 1}, {"a": "ü]"}]),
        ('\ufeff[\n  {"a": 1}\n]\n\n', [{"a": 1}]),
        ('[{"a": 1}, 3, null, [4]]', [{"a": 1}, *["not_an_object"] * 3]),
        ('[{"a": 1}, {"b": 2', [{"a": 1}, "not_json"]),
        ('[{"a": 1}', [{"a": 1}, "truncated_file"]),
        ('[{"a": 1} {"b": 2}]', [{"a": 1}, "not_json"]),
        ('[{"a": 1}, {"b": 1, "b": 2}, {"c": 3}]', [{"a": 1}, "duplicate_key"]),
        # Lines behind an array are lines.
        ('[{"a": 1}]\n{"b": 2}\n{"c": 3}', [{"a": 1}, {"b": 2}, {"c": 3}]),
    ],
)
def test_a_json_array_is_read_element_by_element(tmp_path, content, expected):
    path = tmp_path / "rows.json"
    for data in (content.encode(), gzip.compress(content.encode())):
        path.write_bytes(data)
        assert found(path) == expected
        assert [row.number for row in rows_of(path)] == list(range(len(expected)))


def test_elements_longer_than_one_look_at_the_file_are_whole(tmp_path):
    path = tmp_path / "rows.json"
    rows = [{"text": str(place) * 1_500_000} for place in range(3)]
    path.write_text(json.dumps(rows))
    assert [row.value for row in rows_of(path)] == rows


def test_bytes_that_are_no_text_end_an_array(tmp_path):
    path = tmp_path / "rows.json"
    path.write_bytes(b'[{"a": "\xff"}]')
    assert found(path) == ["not_utf8"]


def test_a_truncated_compressed_array_says_so(tmp_path):
    path = tmp_path / "rows.json.gz"
    whole = gzip.compress(json.dumps([{"a": place} for place in range(1000)]).encode())
    path.write_bytes(whole[: len(whole) // 2])
    assert found(path)[-1] in ("truncated_file", "not_json")
