"""What people correct about a pair besides its label: its preference attributes.

A correction replaces what the labeller said wherever gold is used: as exemplar for judges, in
retrieval around errors, and where results are shown by category. It stays marked as from a person:
a gold row carries its corrections as JSON, the labeller's own table is never changed.
"""

import json
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from synpref_dagster.pairs.attributes import ATTRIBUTE_COLUMNS

EDITS_COLUMN = "edited_attributes"
NO_EDITS = "{}"


def read_edits(text: object) -> dict[str, str]:
    """Corrections as kept in a table; nothing for a missing value.

    >>> read_edits('{"objectivity": "subjective"}')
    {'objectivity': 'subjective'}
    """
    values = json.loads(text) if isinstance(text, str) and text else {}
    return {name: str(values[name]) for name in ATTRIBUTE_COLUMNS if name in values}


def write_edits(edits: Mapping[str, str]) -> str:
    """Corrections as text for a table, the same for equal corrections."""
    return json.dumps(dict(edits), sort_keys=True, ensure_ascii=True)


def agreed_edits(edits: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The corrections that hold when several people saw a pair, oldest answer first.

    Per attribute the value of most people holds, where not to correct counts for what was shown.
    With as many for one as for the other a correction beats what was shown, since whoever corrects
    has looked, and of two corrections the newer one holds.

    >>> agreed_edits([{"objectivity": "subjective"}, {}])
    {'objectivity': 'subjective'}
    >>> agreed_edits([{"objectivity": "subjective"}, {}, {}])
    {}
    """
    agreed = {}
    for name in ATTRIBUTE_COLUMNS:
        said = [each.get(name) for each in edits]
        # None: left as shown. Ties go to the right: corrections after None, newer after older.
        ranked = sorted(
            set(said), key=lambda value: (said.count(value), value is not None, _last(said, value))
        )
        if ranked and ranked[-1] is not None:
            agreed[name] = ranked[-1]
    return agreed


def edits_by_pair(ledger: pd.DataFrame) -> dict[bytes, str]:
    """pair_id -> agreed corrections as text, for the pairs that have any.

    Args:
        ledger: one row per person and pair, in the order of the answers, with pair_id and, where
            people could correct anything, `edited_attributes`.
    """
    if EDITS_COLUMN not in ledger:
        return {}
    said: dict[bytes, list[dict[str, str]]] = {}
    for pair_id, text in zip(ledger["pair_id"], ledger[EDITS_COLUMN], strict=True):
        said.setdefault(pair_id, []).append(read_edits(text))
    agreed = {pair_id: agreed_edits(edits) for pair_id, edits in said.items()}
    return {pair_id: write_edits(edits) for pair_id, edits in agreed.items() if edits}


def corrected(
    attributes: Iterable[Mapping[str, str]], edits: Iterable[object]
) -> list[dict[str, str]]:
    """Attributes of pairs with people's corrections in place of what the labeller said.

    Args:
        attributes: the labeller's, one per pair.
        edits: the pairs' corrections as kept in gold, in the same order.
    """
    return [{**each, **read_edits(text)} for each, text in zip(attributes, edits, strict=True)]


def _last(said: Sequence[str | None], value: str | None) -> int:
    return max(place for place, each in enumerate(said) if each == value)
