"""Data sets as pandas frames; the only module here that needs pandas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from synpref_dagster.storage.arrow_types import cast_types, stored_as
from synpref_dagster.storage.dataset import read_table
from synpref_dagster.storage.refs import DatasetRef

if TYPE_CHECKING:  # Importing pandas costs as much as filtering a million rows.
    import pandas as pd


def read_frame(ref: DatasetRef, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """All rows as a pandas frame; 16-byte ids are `bytes`."""
    return to_frame(read_table(ref, columns))


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Arrow table as a pandas frame; ids are `bytes`, also inside lists."""
    # In two steps: Arrow casts an extension type to its own storage type only, and converts
    # lists of binary to pandas, but not of fixed-size binary.
    return cast_types(cast_types(table, stored_as), _variable_size).to_pandas()


def _variable_size(kind: pa.DataType) -> pa.DataType:
    return pa.binary() if pa.types.is_fixed_size_binary(kind) else kind
