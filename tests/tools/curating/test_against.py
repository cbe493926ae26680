"""What is looked for: benchmarks by their layout, pairs by what their users ask, texts by row."""

import pytest

from synpref_dagster.tools.curating.against import texts_against


def found(*places):
    return [(each.benchmark, each.item_id, each.prompt) for each in texts_against(places).prompts]


@pytest.mark.parametrize(
    ("name", "rows", "texts"),
    [
        ("t.txt", ["one", "", "two"], [("0", "one"), ("2", "two")]),
        ("t.jsonl", [{"text": "one"}, {"text": None}], [("0", "one")]),
        ("t.jsonl", [{"question": "one", "answer": "two"}], [("0", "one")]),
        (
            "t.jsonl",
            [{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]}],
            [("0", "u")],
        ),
        ("t.jsonl", [{"prompt": "p", "chosen": "a", "rejected": "b"}], [("0", "p")]),
        ("t.csv", ["text,n", "one,1", "two,2"], [("0", "one"), ("1", "two")]),
        (
            "t.jsonl",
            [
                {
                    "chosen": "\n\nHuman: h\n\nAssistant: a",
                    "rejected": "\n\nHuman: h\n\nAssistant: b",
                }
            ],
            [("0", "h")],
        ),
    ],
)
def test_texts_are_called_by_file_and_row(name, rows, texts, write_lines):
    assert found(write_lines(name, rows)) == [(name, *each) for each in texts]


def test_benchmarks_are_known_by_their_layout_and_suites_by_their_name(write_lines, tmp_path):
    row = {"prompt": "p", "chosen": ["a", "b", "c"], "rejected": ["d", "e", "f"]}
    file = write_lines("data/any.jsonl", [{"id": "chat_1", "domain": "chat", **row}])
    assert found(file) == found(tmp_path / "data") == [("rm_bench", "chat/chat_1", "p")]
    mine = write_lines("mine.jsonl", [{"id": "x", "prompt": "q", "chosen": "a", "rejected": "b"}])
    assert found(f"mine={mine}") == [("mine", "x", "q")]


def test_rows_without_a_text_are_said(write_lines):
    file = write_lines("t.jsonl", [{"text": "one"}, {"text": 3}, "no json"])
    assert texts_against([file]).notes == [f"{file}: 2 rows without a text are not looked for"]


def test_texts_in_another_encoding_are_refused_by_name(tmp_path):
    file = tmp_path / "t.txt"
    file.write_bytes("caf\xe9".encode("latin-1"))
    with pytest.raises(ValueError, match=r"t\.txt is no text in UTF-8"):
        texts_against([file])
