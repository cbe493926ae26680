import gzip
import json

import pyarrow.parquet as pq
import pytest

from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.synthetic.source_files import malformed_rows, to_row, write_rows

PAIR = PreferencePair(
    conversation=({"role": "user", "content": "what is it?"},),
    chosen="it is this.",
    rejected="it is that.",
    source="s",
    origin="human",
)
LONG = PreferencePair(
    conversation=(
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "noted."},
        {"role": "user", "content": "go on."},
    ),
    chosen="a",
    rejected="b",
    source="s",
    origin="human",
)


def test_layouts_are_the_public_ones():
    answer = [{"role": "assistant", "content": "it is this."}]
    asked = [{"role": "user", "content": "what is it?"}]
    assert to_row(PAIR, "plain") == {
        "prompt": "what is it?",
        "chosen": "it is this.",
        "rejected": "it is that.",
    }
    assert to_row(PAIR, "explicit")["prompt"] == asked
    assert to_row(PAIR, "explicit")["chosen"] == answer
    assert to_row(PAIR, "implicit")["chosen"] == asked + answer
    assert (
        to_row(PAIR, "transcript")["rejected"] == "\n\nHuman: what is it?\n\nAssistant: it is that."
    )


def test_the_plain_layout_refuses_a_conversation_of_several_turns():
    with pytest.raises(ValueError, match="single-turn"):
        to_row(LONG, "plain")


@pytest.mark.parametrize("layout", ["explicit", "implicit", "plain", "transcript"])
def test_malformed_rows_differ_from_the_good_one(layout):
    good = to_row(PAIR, layout)
    broken = malformed_rows(good, layout)
    assert len(broken) >= 5
    assert all(row != good for row in broken.values())
    assert to_row(PAIR, layout) == good


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_the_same_rows_give_the_same_bytes(tmp_path, name):
    rows = [to_row(PAIR, "explicit"), to_row(LONG, "explicit")]
    write_rows(rows, tmp_path / name)
    first = (tmp_path / name).read_bytes()
    write_rows(rows, tmp_path / name)
    assert (tmp_path / name).read_bytes() == first


def test_written_rows_read_back(tmp_path):
    rows = [to_row(PAIR, "explicit"), to_row(LONG, "explicit")]
    write_rows(rows, tmp_path / "a.jsonl.gz")
    write_rows(rows, tmp_path / "a.parquet")
    with gzip.open(tmp_path / "a.jsonl.gz", "rt") as lines:
        assert [json.loads(line) for line in lines] == rows
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == rows


def test_an_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match="suffix"):
        write_rows([], tmp_path / "a.csv")
