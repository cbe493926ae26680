"""The option `columns` is obeyed, or refused in one line that names the key and what is known."""

import pytest

from synpref_dagster.sources.files.raw_rows import RawRow
from synpref_dagster.sources.records import SourceSpec
from synpref_dagster.sources.renaming import CHECKED_ROWS, chosen_columns, renamed_columns

ROW = {"prompt": "Name a fruit.", "chosen": "An apple.", "rejected": "A stone."}


def spec(columns, **options):
    options = {"columns": columns, **options}
    return SourceSpec(name="s", path="x", origin="human", licence="x", options=options)


def renamed(rows, columns):
    found = (RawRow(number, row, "") for number, row in enumerate(rows))
    read = chosen_columns(found, spec(columns), renamed_columns(spec(columns)))
    return [row.value for row in read]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"prompt": ["a"]}, "columns = {prompt = ['a']}: give the name"),
        ({"prompt": {"a": "b"}}, "give the name that prompt has in the data"),
        ({"chosen": 3}, "columns = {chosen = 3}"),
        ({"chosen": " "}, "columns = {chosen = ' '}"),
        ({"promt": "a"}, "columns names 'promt', which nobody reads; known names are .*, prompt, "),
        ({"prompt": "a", "chosen": "a"}, "gives one column two names"),
        ("prompt", "columns 'prompt' must map"),
    ],
)
def test_what_cannot_be_obeyed_is_refused_in_one_line(columns, said):
    with pytest.raises(ValueError, match=said.replace("[", r"\[").replace("{", r"\{")) as caught:
        renamed_columns(spec(columns))
    assert "\n" not in str(caught.value)


def test_columns_of_every_format_and_of_context_are_known():
    columns = {"votes": "v", "score_chosen": "s", "system": "task", "history": "before"}
    assert renamed_columns(spec(columns)) == {known: name for name, known in columns.items()}


def test_two_columns_may_change_places():
    [row] = renamed([ROW], {"chosen": "rejected", "rejected": "chosen"})
    assert row == {**ROW, "chosen": "A stone.", "rejected": "An apple."}


@pytest.mark.parametrize("num_rows", [1, CHECKED_ROWS, CHECKED_ROWS + 1])
def test_a_column_is_not_kept_in_place_of_one_that_no_row_has(num_rows):
    with pytest.raises(ValueError, match="no row has a column 'task'; they have prompt, chosen"):
        renamed([ROW] * num_rows, {"prompt": "task"})


def test_a_column_may_be_missing_where_nothing_stands_in_its_place():
    assert renamed([ROW], {"system": "rules"}) == [ROW]
    rows = [ROW, {**ROW, "task": "Name a tree."}]
    assert [row["prompt"] for row in renamed(rows, {"prompt": "task"})] == [
        "Name a fruit.",
        "Name a tree.",
    ]
