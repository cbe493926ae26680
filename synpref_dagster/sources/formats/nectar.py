"""Nectar: seven responses per prompt, ranked by GPT-4; rank 1 is best, equal ranks are ties."""

from collections.abc import Mapping

from synpref_dagster.sources.formats.fields import Row, RowFormat, RowReader, finite, required
from synpref_dagster.sources.formats.ranked import RANKED_OPTIONS, check_ranked_options, unfold
from synpref_dagster.sources.formats.transcripts import parse_transcript
from synpref_dagster.sources.records import RowRejected, SourceSpec, Unfolded


def _is_ranked(row: Row) -> bool:
    answers = row.get("answers")
    return (
        isinstance(row.get("prompt"), str)
        and isinstance(answers, list)
        and bool(answers)
        and all(isinstance(one, Mapping) and {"answer", "rank"} <= set(one) for one in answers)
    )


def _make_reader(spec: SourceSpec) -> RowReader:
    """Reader of {prompt: transcript that ends with an open assistant turn, answers}."""
    check_ranked_options(spec)

    def read(row: Row, number: int) -> Unfolded:
        prompt, answers = required(row, "prompt", "answers")
        if not isinstance(prompt, str):
            raise RowRejected("not_text", detail="prompt must be a transcript")
        if not isinstance(answers, list) or not all(isinstance(one, Mapping) for one in answers):
            raise RowRejected("malformed_responses", detail="answers must be a list of objects")
        *conversation, opening = parse_transcript(prompt)
        if opening["role"] != "assistant" or opening["content"]:
            raise RowRejected("not_a_transcript", detail="prompt must end with an open turn")
        ranks = [finite(one.get("rank")) for one in answers]
        return unfold(
            spec,
            number,
            conversation=conversation,
            responses=[one.get("answer") for one in answers],
            # Rank 1 is best: the higher score is the lower rank.
            scores=[None if rank is None else -rank for rank in ranks],
        )

    return read


NECTAR_RANKS = RowFormat(
    name="nectar_ranks",
    layout='prompt: "\\n\\nHuman: ... \\n\\nAssistant: "; answers: [{answer, rank}]',
    matches=_is_ranked,
    make_reader=_make_reader,
    columns=frozenset({"prompt", "answers"}),
    options=RANKED_OPTIONS,
)
