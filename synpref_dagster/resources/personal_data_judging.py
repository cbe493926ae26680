"""LLM judges score how sensitive the personal data in a pair are, 0 to 3 (App. D.3).

What a judge writes about its finding is never kept: it could repeat the data.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from synpref_dagster.curation.judge_prompts import PERSONAL_DATA, personal_data_messages
from synpref_dagster.curation.pairs import PreferencePair
from synpref_dagster.curation.personal_data_report import NOT_JUDGED
from synpref_dagster.resources.endpoint_judge import EndpointJudge, ask_each
from synpref_dagster.resources.judges import JudgePanel


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


def judging_params(panel: JudgePanel) -> dict[str, Any]:
    """What the levels depend on besides the pairs."""
    return panel.identity(PERSONAL_DATA)


def _median(levels: Sequence[int]) -> int:
    return sorted(levels)[len(levels) // 2] if levels else NOT_JUDGED
