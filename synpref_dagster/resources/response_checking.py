"""What an LLM says about each response alone, prepared for the people who decide about the pair.

Judges are asked in the panel's order until one answers; people see its words behind a fold, under
the name of the judge. No label, no vote and no order of the candidates depends on it.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from synpref_dagster.curation.judge_prompts import VERIFICATION, verification_messages
from synpref_dagster.curation.judge_replies import ParsedReply
from synpref_dagster.curation.pairs import PreferencePair
from synpref_dagster.resources.endpoint_judge import EndpointJudge, ask_each
from synpref_dagster.resources.people import PRE_VERIFICATION_COLUMNS

CHECK_COLUMNS = ["pair_id", *PRE_VERIFICATION_COLUMNS.values()]
WORDS = {
    "correct": "Looks correct",
    "incorrect": "Looks wrong",
    "unsure": "Cannot tell",
}


def check_responses(
    judges: Sequence[EndpointJudge], pairs: Sequence[PreferencePair]
) -> pd.DataFrame:
    """pair_id and a note on the response that sorts first and on the other one.

    A response about which no judge said anything readable has a missing note.

    Raises:
        JudgeError: a judge cannot be asked any further.
    """
    sides = [side for pair in pairs for side in sorted((pair.chosen, pair.rejected))]
    talks = [pair.conversation for pair in pairs for _ in range(2)]
    messages = [verification_messages(talk, text) for talk, text in zip(talks, sides, strict=True)]
    notes: list[str | None] = [None] * len(messages)
    for judge in judges:
        missing = [row for row, note in enumerate(notes) if note is None]
        if not missing:
            break
        replies = ask_each([judge], VERIFICATION, [messages[row] for row in missing])
        for row, [reply] in zip(missing, replies, strict=True):
            notes[row] = _note(reply, judge.name)
    table = np.array(notes, dtype=object).reshape(-1, 2)
    frame = pd.DataFrame(table, columns=CHECK_COLUMNS[1:], dtype="str")
    frame.insert(0, "pair_id", pd.Series([pair.pair_id for pair in pairs], dtype=object))
    return frame


def _note(reply: ParsedReply, judge: str) -> str | None:
    if reply.fields is None:
        return None
    status, finding = WORDS[str(reply.fields["status"])], str(reply.fields["finding"]).strip()
    return f"{status}, says {judge}: {finding}" if finding else f"{status}, says {judge}."
