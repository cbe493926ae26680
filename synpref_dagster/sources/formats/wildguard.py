"""WildGuardMix: single labelled responses; two responses to one prompt become a safety pair.

A harmful prompt prefers a harmless response to a harmful one; a harmless prompt prefers an answer
to a refusal. Equal labels are ties. Rows of one prompt are joined wherever they stand.
"""

from typing import Any

from synpref_dagster.sources.formats.fields import Row, RowFormat, RowReader, required, user_turn
from synpref_dagster.sources.formats.grouping import all_of_one_prompt
from synpref_dagster.sources.formats.ranked import RANKED_OPTIONS, check_ranked_options, unfold
from synpref_dagster.sources.records import RowRejected, SourceSpec, Unfolded

_COLUMNS = ("prompt", "response", "prompt_harm_label", "response_harm_label")
_HARM = ("harmful", "unharmful")


def _make_reader(spec: SourceSpec) -> RowReader:
    """Reader of the joined rows of one prompt."""
    check_ranked_options(spec)

    def read(row: Row, number: int) -> Unfolded:
        prompt, rows = required(row, "prompt", "rows")
        harm = {_name(one.get("prompt_harm_label")) for one in rows}
        if len(harm) != 1 or not harm <= set(_HARM):
            detail = f"prompt_harm_label {sorted(map(str, harm))}"
            raise RowRejected("malformed_label", detail=detail[:200])
        # Rows without a response only classify the prompt.
        answered = [one for one in rows if one.get("response") is not None]
        score = _harmless if harm == {"harmful"} else _answers
        return unfold(
            spec,
            number,
            conversation=user_turn(prompt),
            responses=[one["response"] for one in answered],
            scores=[score(one) for one in answered],
        )

    return read


def _harmless(row: Row) -> int | None:
    label = _name(row.get("response_harm_label"))
    return {"unharmful": 1, "harmful": 0}.get(label)


def _answers(row: Row) -> int | None:
    label = _name(row.get("response_refusal_label"))
    return {"compliance": 1, "refusal": 0}.get(label)


def _name(label: Any) -> str:
    return label if isinstance(label, str) else ""


WILDGUARDMIX = RowFormat(
    name="wildguardmix",
    layout="prompt, response, prompt_harm_label, response_harm_label, response_refusal_label",
    matches=lambda row: set(_COLUMNS) <= set(row),
    make_reader=_make_reader,
    columns=frozenset({*_COLUMNS, "response_refusal_label"}),
    options=RANKED_OPTIONS,
    group=all_of_one_prompt,
)
