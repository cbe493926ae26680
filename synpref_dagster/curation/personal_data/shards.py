"""One shard's pattern findings as flagged pairs with levels (App. D.3)."""

import pandas as pd
import pyarrow as pa

from synpref_dagster.curation.personal_data.report import (
    FLAGGED_SCHEMA,
    SCORED_SCHEMA,
    flagged_pairs,
    with_judges,
)
from synpref_dagster.pairs.record import table_from_frame
from synpref_dagster.storage import to_frame


def flag_shard(findings: pa.Table) -> pa.Table:
    """`flagged_pairs` of one shard's findings with `FLAGGED_SCHEMA`."""
    return scored_table(flagged_pairs(to_frame(findings)), FLAGGED_SCHEMA)


def level_shard(flagged: pa.Table) -> pa.Table:
    """The flagged pairs of one shard at the level that patterns give, with `SCORED_SCHEMA`."""
    return scored_table(with_judges(to_frame(flagged)), SCORED_SCHEMA)


def scored_table(frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """The rows as a table with that schema, also where there are none."""
    return table_from_frame(frame).cast(schema) if len(frame) else schema.empty_table()
