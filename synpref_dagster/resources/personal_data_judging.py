"""LLM judges score how sensitive the personal data in a pair are, 0 to 3 (App. D.3).

What a judge writes about its finding is never kept: it could repeat the data.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from synpref_dagster.curation.judge_prompts import PERSONAL_DATA, personal_data_messages
from synpref_dagster.curation.pairs import PreferencePair, table_from_frame
from synpref_dagster.curation.personal_data_report import (
    FLAGGED_SCHEMA,
    NOT_JUDGED,
    SCORED_SCHEMA,
    flagged_pairs,
    with_judges,
)
from synpref_dagster.resources.endpoint_judge import EndpointJudge, ask_each
from synpref_dagster.resources.judges import JudgePanel
from synpref_dagster.resources.pool_shards import shard_pairs
from synpref_dagster.storage import to_frame


def score_pairs(judges: Sequence[EndpointJudge], pairs: Sequence[PreferencePair]) -> pd.DataFrame:
    """pair_id, source and judge_level of every pair; each judge is asked once.

    The level is the median of the judges that answered, the higher one of two; `NOT_JUDGED` where
    none did.

    Raises:
        JudgeError: a judge cannot be asked any further.
    """
    messages = [personal_data_messages(p.conversation, (p.chosen, p.rejected)) for p in pairs]
    levels = [
        _median([int(reply.fields["level"]) for reply in about if reply.fields is not None])
        for about in ask_each(judges, PERSONAL_DATA, messages)
    ]
    return pd.DataFrame(
        {
            "pair_id": pd.Series([pair.pair_id for pair in pairs], dtype=object),
            "source": pd.Series([pair.source for pair in pairs], dtype=object),
            "judge_level": np.array(levels, dtype=np.int8),
        }
    )


def flag_shard(findings: pa.Table) -> pa.Table:
    """`flagged_pairs` of one shard's findings with `FLAGGED_SCHEMA`."""
    return scored_table(flagged_pairs(to_frame(findings)), FLAGGED_SCHEMA)


def level_shard(flagged: pa.Table) -> pa.Table:
    """The flagged pairs of one shard at the level that patterns give, with `SCORED_SCHEMA`."""
    return scored_table(with_judges(to_frame(flagged)), SCORED_SCHEMA)


def judge_levels_shard(
    flagged: pa.Table,
    sampled: pa.Table,
    texts: pa.Table,
    *,
    key: Mapping[str, Any],
    judges: Callable[[], Sequence[EndpointJudge]],
) -> pa.Table:
    """The flagged and the sampled pairs of one shard at the level that judges give them.

    Args:
        flagged: `FLAGGED_SCHEMA`.
        sampled: pair_id of pairs that no pattern found.
        texts: the raw shard that all of them come from.
        key: what the levels depend on besides the pairs; identifies the work.
        judges: gives the judges, who share one budget over all shards.

    Returns:
        `SCORED_SCHEMA`.
    """
    del key
    asked = pa.concat_tables([flagged.select(["pair_id"]), sampled])
    if not asked.num_rows:
        return SCORED_SCHEMA.empty_table()
    judged = score_pairs(judges(), shard_pairs(asked, texts))
    return scored_table(with_judges(to_frame(flagged), judged), SCORED_SCHEMA)


def judging_params(panel: JudgePanel) -> dict[str, Any]:
    """What the levels depend on besides the pairs."""
    return panel.identity(PERSONAL_DATA)


def scored_table(frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """The rows as a table with that schema, also where there are none."""
    return table_from_frame(frame).cast(schema) if len(frame) else schema.empty_table()


def _median(levels: Sequence[int]) -> int:
    return sorted(levels)[len(levels) // 2] if levels else NOT_JUDGED
