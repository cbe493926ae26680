"""The questions LLM judges answer beside preferences, and how long each question is."""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.curation.contamination.recheck import Opinion, Suspicion
from synpref_dagster.curation.judging.prompts import (
    CONTAMINATION,
    PERSONAL_DATA,
    VERIFICATION,
    Message,
    attribute_messages,
    contamination_messages,
    pairwise_messages,
    personal_data_messages,
    verification_messages,
)
from synpref_dagster.curation.judging.replies import ParsedReply
from synpref_dagster.curation.judging.verdicts import Exemplar, JudgeQuestion
from synpref_dagster.curation.personal_data.report import NOT_JUDGED
from synpref_dagster.curation.verification.people import PRE_VERIFICATION_COLUMNS
from synpref_dagster.judges.endpoint import EndpointJudge, ask_each
from synpref_dagster.pairs.attributes import ATTRIBUTE_COLUMNS
from synpref_dagster.pairs.record import PreferencePair, Turn

Task = Literal["verdict", "verdict_alone", "attributes", "response", "personal_data", "overlap"]
"""What is asked: a verdict beside exemplars or without any, or one of the other prompts."""
BYTES_PER_TOKEN = 4.0  # of English texts; others take more tokens
NUM_SAMPLED = 500  # pairs whose texts are measured
TURNS: tuple[Turn, ...] = ({"role": "user", "content": ""},)
SOME_ATTRIBUTES = dict.fromkeys(ATTRIBUTE_COLUMNS, "a few words")


def opinions(judges: Sequence[EndpointJudge], asked: Sequence[Suspicion]) -> list[list[Opinion]]:
    """What the judges that answered say about each suspicion."""
    messages = [
        contamination_messages(each.text, each.prompt.prompt, shared=each.shared) for each in asked
    ]
    return [
        [
            Opinion(decision=str(fields["decision"]), why=str(fields["reason"]))
            for fields in (reply.fields for reply in said)
            if fields is not None
        ]
        for said in ask_each(judges, CONTAMINATION, messages)
    ]


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


def _median(levels: Sequence[int]) -> int:
    return sorted(levels)[len(levels) // 2] if levels else NOT_JUDGED


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


def tokens_of(task: Task, *, num_exemplars: int, per_pair: float) -> float:
    """Tokens of one question: the prompt's own words, and the pairs in it.

    Args:
        task: what is asked.
        num_exemplars: decided pairs shown with a verdict.
        per_pair: of the texts of a pair.
    """
    if task not in ("verdict", "verdict_alone"):
        return _length(_other_messages(task)) + per_pair
    some = Exemplar(
        conversation=TURNS,
        candidate_1="",
        candidate_2="",
        preferred="candidate_1",
        attributes=SOME_ATTRIBUTES,
    )
    shown = (some,) * (num_exemplars if task == "verdict" else 0)
    question = JudgeQuestion(
        conversation=TURNS,
        candidate_1="",
        candidate_2="",
        attributes=SOME_ATTRIBUTES if shown else {},
        exemplars=shown,
    )
    return _length(pairwise_messages(question)) + (1 + len(shown)) * per_pair


def mean_tokens(tables: Iterable[pa.Table]) -> float | None:
    """Tokens of a pair by the texts of the first pairs; None where there are none.

    Args:
        tables: shards with conversation, chosen and rejected, of which the first one is looked at.
    """
    for table in tables:
        rows = table.slice(0, NUM_SAMPLED)
        if rows.num_rows:
            contents = pc.struct_field(pc.list_flatten(rows["conversation"]), "content")
            texts = (contents, rows["chosen"], rows["rejected"])
            size = sum(pc.sum(pc.binary_length(each)).as_py() or 0 for each in texts)
            return float(size) / BYTES_PER_TOKEN / rows.num_rows
    return None


def _other_messages(task: Task) -> list[Message]:
    if task == "attributes":
        return attribute_messages(TURNS, ("", ""))
    if task == "personal_data":
        return personal_data_messages(TURNS, ("", ""))
    if task == "response":
        return verification_messages(TURNS, "")
    return contamination_messages("", "", shared="")


def _length(messages: Sequence[Message]) -> float:
    return sum(len(each["content"]) for each in messages) / BYTES_PER_TOKEN
