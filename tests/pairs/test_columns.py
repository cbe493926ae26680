"""Columns between Arrow and numpy without pandas."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from synpref_dagster.curation.filtering.score_columns import SCORE_SCHEMA
from synpref_dagster.pairs.columns import from_numbers, from_strings, rows_where, to_numbers


@settings(deadline=None)
@given(st.lists(st.none() | st.integers(-128, 127)), st.integers(0, 9), st.integers(0, 9))
def test_numbers_of_any_slice_equal_what_arrow_says(
    values: list[int | None], start: int, stop: int
) -> None:
    column = pa.array(values, pa.int8())[start : start + stop]
    assert to_numbers(column, null=-7).tolist() == [
        -7 if value is None else value for value in column.to_pylist()
    ]


def test_numbers_of_several_chunks_follow_each_other() -> None:
    chunks = pa.chunked_array([pa.array([1.0, None]), pa.array([3.0])])
    assert to_numbers(chunks, null=0.0).tolist() == [1.0, 0.0, 3.0]


def test_a_null_that_does_not_fit_the_type_is_refused() -> None:
    with pytest.raises(ValueError, match="300 cannot stand for a null among int8"):
        to_numbers(pa.array([1, None], pa.int8()), null=300)


def test_numbers_go_to_arrow_and_back_also_when_they_are_not_contiguous() -> None:
    every_second = np.arange(10, dtype=np.int16)[::2]
    assert from_numbers(every_second).to_pylist() == [0, 2, 4, 6, 8]


@pytest.mark.parametrize(
    ("chunks", "rows"),
    [
        ([], []),
        ([[]], []),
        ([[], [True], [], [None, True]], [0, 2]),
        ([[False], [False]], []),
    ],
)
def test_rows_are_found_however_a_column_is_cut(chunks, rows) -> None:
    mask = pa.chunked_array([pa.array(chunk, pa.bool_()) for chunk in chunks], pa.bool_())
    assert rows_where(mask).to_pylist() == rows
    assert rows_where(mask.combine_chunks()).to_pylist() == rows


@settings(deadline=None)
@given(st.lists(st.none() | st.text()))
def test_strings_go_to_arrow_and_back(texts: list[str | None]) -> None:
    column = from_strings(texts)
    column.validate(full=True)
    assert column.to_pylist() == texts


def test_filtering_a_shard_never_imports_pandas(tmp_path: Path) -> None:
    ids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16], pa.binary(16)))
    label = pa.array(["x"]).dictionary_encode().cast(SCORE_SCHEMA.field("source").type)
    row = [ids, label, label, pa.array([1.0], pa.float32()), pa.array([1.0], pa.float32())]
    unknown = pa.array([None], pa.int8())
    table = pa.Table.from_arrays([*row, unknown, unknown], schema=SCORE_SCHEMA)
    pq.write_table(table, tmp_path / "scores.parquet")
    script = (
        "import sys, pyarrow.parquet as pq\n"
        "from synpref_dagster.curation.filtering.score_columns import filter_shard\n"
        "from synpref_dagster.storage import map_shards\n"
        "table = pq.ParquetFile(sys.argv[1]).read()\n"
        "decided = filter_shard(table, max_confidence=0.3)['decisions']\n"
        "assert decided['decision'].to_pylist() == ['kept']\n"
        "assert 'pandas' not in sys.modules\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "scores.parquet")]
    subprocess.run(command, check=True)
