"""Tables are read row by row, and what is broken in them is said."""

import gzip

import pytest

from synpref_dagster.sources.files.rows import read_rows
from synpref_dagster.sources.records import SourceSpec


def rows_of(path):
    return list(read_rows(SourceSpec(name="x", path=str(path), origin="human", licence="x")))


def found(path) -> list:
    return [row.problem or row.value for row in rows_of(path)]


def test_a_table_is_read_with_quoted_cells_and_line_breaks(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('\ufeffprompt,chosen\n"a, b","line\nbreak"\n\n c ,""\n')
    assert found(path) == [
        {"prompt": "a, b", "chosen": "line\nbreak"},
        {"prompt": " c ", "chosen": ""},
    ]
    path = tmp_path / "rows.tsv.gz"
    path.write_bytes(gzip.compress(b"prompt\tchosen\na\tb\n"))
    assert found(path) == [{"prompt": "a", "chosen": "b"}]


def test_broken_rows_of_a_table_are_rows_with_a_problem(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"a,b\n1,2\n1\n1,2,3\n\xff,2\n" + b"x" * 1_000_000 + b",2\n")
    problems = [row.problem for row in rows_of(path)]
    assert problems == ["", "wrong_number_of_cells", "wrong_number_of_cells", "not_utf8", ""]
    path.write_bytes(b'a,b\n1,2\n"1,2\n')
    assert [row.problem for row in rows_of(path)] == ["", "not_csv"]


def test_a_header_that_names_a_column_twice_is_refused(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,a\n1,2\n")
    with pytest.raises(ValueError, match="names a column twice"):
        rows_of(path)


@pytest.mark.parametrize(
    ("name", "text", "row"),
    [
        ("x.csv", "prompt;chosen\na, b;c\n", {"prompt": "a, b", "chosen": "c"}),
        ("x.csv", "id,a;b;c\n1,x;y\n", {"id": "1", "a;b;c": "x;y"}),
        ("x.csv", "prompt\na;b\n", {"prompt": "a;b"}),
        ("x.tsv", "a,b\tc\n1,2\t3\n", {"a,b": "1,2", "c": "3"}),
        ("x.csv", "the whole question;its best answer\na, b;c\n",
         {"the whole question": "a, b", "its best answer": "c"}),
        ("x.txt", "prompt|chosen\na, b; c|d\n", {"prompt": "a, b; c", "chosen": "d"}),
        ("x.jsonl", 'prompt,chosen\n"a\nb",c\n', {"prompt": "a\nb", "chosen": "c"}),
        ("x.csv.zst", "sep=|\nprompt|chosen\na|b\n", {"prompt": "a", "chosen": "b"}),
        ("x.csv", ",prompt,,chosen,\n0,a,,b,\n", {"prompt": "a", "chosen": "b"}),
        ("x.csv", "Unnamed: 0,prompt\n0,a\n", {"Unnamed: 0": "0", "prompt": "a"}),
        ("x.csv", '{"prompt": "a"}\n', {"prompt": "a"}),
        ("x.csv", "\n \n# exported, on a Monday\n,,\nprompt,chosen\na,b\n",
         {"prompt": "a", "chosen": "b"}),
        ("x.txt", "\ufeff# pairs\nprompt|chosen\na|b\n", {"prompt": "a", "chosen": "b"}),
        ("x.csv", "#,prompt,chosen\n1,a,b\n", {"#": "1", "prompt": "a", "chosen": "b"}),
    ],
)  # fmt: skip
def test_the_delimiter_is_what_header_and_rows_have_in_common(tmp_path, name, text, row):
    (tmp_path / name).write_text(text)
    assert found(tmp_path / name) == [row]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Our pairs\nprompt,chosen\na,b\n", "its first line 'Our pairs' is no header"),
        ("prompt,chosen\na,b\nchosen,prompt\nc,d\n", "names the columns in another order"),
    ],
)
def test_a_table_whose_columns_cannot_be_told_is_refused(tmp_path, text, said):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ValueError, match=said):
        rows_of(tmp_path / "x.csv")


def test_prose_with_commas_is_no_table(tmp_path):
    path = tmp_path / "x.txt"
    for text in ("Hello, world\nand, well, so on\n", "one line, no more\n"):
        path.write_text(text)
        with pytest.raises(ValueError, match="neither JSON nor a table with a header line"):
            found(path)
