"""NeMo RL's preference layout: completions of a context, each with its rank; the lowest is best."""

from synpref_dagster.sources.foreign.messages import is_messages
from synpref_dagster.sources.formats.fields import Row, RowFormat, RowReader, finite, required
from synpref_dagster.sources.formats.ranked import RANKED_OPTIONS, check_ranked_options, unfold
from synpref_dagster.sources.records import RowRejected, SourceSpec, Unfolded


def _is_ranked_completions(row: Row) -> bool:
    """{context: messages, completions: [{rank, completion: [message]}]}."""
    found = row.get("completions")
    return (
        is_messages(row.get("context"))
        and isinstance(found, list)
        and bool(found)
        and all(isinstance(each, dict) and {"rank", "completion"} <= set(each) for each in found)
    )


def _read_ranked_completions(spec: SourceSpec) -> RowReader:
    """Reader of a context and its ranked completions; every two of different ranks are a pair."""
    check_ranked_options(spec)

    def read(row: Row, number: int) -> Unfolded:
        context, completions = required(row, "context", "completions")
        if not isinstance(completions, list) or not all(
            isinstance(each, dict) for each in completions
        ):
            raise RowRejected("malformed_responses", detail="completions")
        ranks = [finite(each.get("rank")) for each in completions]
        return unfold(
            spec,
            number,
            conversation=context,
            responses=[each.get("completion") for each in completions],
            scores=[None if rank is None else -rank for rank in ranks],
        )

    return read


RANKED_COMPLETIONS = RowFormat(
    name="ranked_completions",
    layout="context: messages; completions: [{rank, completion: [message]}], the lowest rank best",
    matches=_is_ranked_completions,
    make_reader=_read_ranked_completions,
    columns=frozenset({"context", "completions"}),
    asks="context",
    options=RANKED_OPTIONS,
)
