"""The same rows are the same pairs, whatever holds them; rows that are none are told."""

import pandas as pd
import pyarrow as pa
import pytest

from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.tools.curating.given import read_pairs

USER = {"role": "user", "content": "Hi"}


def said(pairs):
    return [(pair.conversation, pair.chosen, pair.rejected, pair.meta["row"]) for pair in pairs]


def test_files_rows_frames_tables_and_data_sets_give_the_same_pairs(rows, write_lines):
    import datasets

    file = write_lines("pairs.jsonl", rows)
    read = read_pairs(file)
    assert said(read)[0][1:] == ("Romulus", "Remus", 0)
    assert [pair.meta["row"] for pair in read] == [0, 1, 2, 3, 5]
    assert [(row["row"], row["reason"]) for row in read.quarantine] == [(4, "identical_responses")]
    assert (read.reading.num_rows, read.reading.num_items, len(read)) == (6, 5, 5)
    assert {pair.source for pair in read} == {"pairs.jsonl"}
    for same in (
        rows,
        pd.DataFrame(rows, index=list("abcdef")),
        pa.Table.from_pylist(rows),
        datasets.Dataset.from_list(rows),
        [file],
    ):
        assert said(read_pairs(same)) == said(read)
    assert read_pairs(read) is read


def test_messages_of_a_frame_read_from_parquet_are_arrays_and_read_as_lists(rows, tmp_path):
    told = [{**row, "prompt": [{"role": "user", "content": row["prompt"]}]} for row in rows]
    pd.DataFrame(told).to_parquet(tmp_path / "f.parquet")
    assert said(read_pairs(pd.read_parquet(tmp_path / "f.parquet"))) == said(read_pairs(rows))


def test_a_text_in_place_of_messages_is_one_user_turn():
    texts = {"conversation": "Hi", "chosen": "a", "rejected": "b"}
    pair = PreferencePair(**texts, source="s", origin="human")
    row = {"prompt": "Hi", "chosen": "a", "rejected": "b"}
    for data in ([pair], [row]):
        [read] = read_pairs(data)
        assert (read.conversation, read.chosen) == ((USER,), "a")


def test_cells_of_several_kinds_in_a_column_are_read_row_by_row():
    mixed = [
        {"prompt": "Hi", "chosen": "a", "rejected": "b"},
        {"prompt": [USER], "chosen": "c", "rejected": "d"},
    ]
    assert [pair.conversation for pair in read_pairs(pd.DataFrame(mixed))] == [(USER,)] * 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([3], "row 0 is neither a pair nor a mapping"),
        ([{"prompt": {1, 2}}], "row 0 is neither a pair nor a mapping"),
        (3, "cannot read a int: give a path"),
        ("gone.jsonl", "no file at 'gone.jsonl'"),
        ([{"a": "b"}], "input.jsonl: "),
    ],
)
def test_what_holds_no_rows_is_refused_in_a_line(data, words):
    with pytest.raises(ValueError, match=r"(?s).") as refused:
        read_pairs(data)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_splits_are_chosen_by_who_hands_them_in(rows):
    import datasets

    splits = datasets.DatasetDict(train=datasets.Dataset.from_list(rows))
    with pytest.raises(ValueError, match="hand in one of them, like data"):
        read_pairs(splits)
