"""What readers have to be told: columns under names that no format has, and what numbers mean.

Only where one column answers to each, and the rows read under these names: it is written into the
profile and said, so that whoever knows better can correct it. Numbers that may mean more than one
thing are refused.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

from synpref_dagster.sources.files.rows import read_rows
from synpref_dagster.sources.foreign.unsupported import plain_name
from synpref_dagster.sources.formats.two_responses import code_of
from synpref_dagster.sources.reading import format_of
from synpref_dagster.sources.records import SourceSpec
from synpref_dagster.sources.survey.joining import WINNERS, two_columns

LOOKED_AT = 100  # first rows
CODED_ROWS = 200_000
"""Rows in which numbers of a winner's column are looked for."""
_BETTER = "chosen accepted preferred better best good winner winning positive"
_WORSE = "rejected dispreferred unpreferred worse worst bad loser losing negative"
_BEHIND = "response answer output completion reply text message"
_WANTED: Mapping[str, frozenset[str]] = {
    known: frozenset(
        spelled
        for word in words.split()
        for spelled in (word, *(f"{word}_{each}" for each in _BEHIND.split()),
                        *(f"{each}_{word}" for each in _BEHIND.split()))
    )
    for known, words in (("chosen", _BETTER), ("rejected", _WORSE))
}  # fmt: skip
_OF_WINNERS = {
    "two_answers": "winner",
    "two_outputs": "preference",
    "arena_conversations": "winner",
}
"""Format -> its column that says which response won."""
_PLACES = frozenset({"winner", "preferred", "choice"})
"""Columns in which 0 and 1 can only be places: a label or a preference of 1 may mean "yes"."""
_ENDS = ("", "_response", "_answer", "_output", "_index", "_idx", "_id")
_CALLED = {f"{name}{end}": name for name in WINNERS for end in _ENDS}
EXAMPLE = "options = { codes = { a = 1, b = 2, tie = 0 } }"


def guessed_columns(spec: SourceSpec) -> dict[str, str] | None:
    """Known name -> name in the data, where the names leave no doubt; None where they do.

    Args:
        spec: a source in none of the known formats.
    """
    try:
        rows = [row.value for row in islice(read_rows(spec), LOOKED_AT) if row.value]
    except ValueError:
        return None
    names = sorted({name for row in rows for name in row})
    columns = _two_sides(names) or _with_winner(names)
    if columns is None:
        return None
    columns = {known: name for known, name in columns.items() if known != name}
    try:
        is_read = format_of(replace(spec, options={**spec.options, "columns": columns}))
    except ValueError:
        return None
    return columns if is_read else None


def guessed_codes(spec: SourceSpec, format_name: str) -> dict[str, int] | None:
    """What the numbers in the winner's column of a source stand for; None where it has none.

    Args:
        spec: the source, with its columns.
        format_name: that it is read in.

    Raises:
        ValueError: they may mean more than one thing; in one line.
    """
    if format_name not in _OF_WINNERS or "codes" in spec.options:
        return None
    known = _OF_WINNERS[format_name]
    columns = spec.options.get("columns", {})
    name = columns.get(known, known)
    codes = {
        code
        for row in islice(read_rows(spec), CODED_ROWS)
        if row.value and (code := code_of(row.value.get(name))) and code[-1].isdigit()
    }
    if not codes:
        return None
    # Columns that are numbered themselves say what a number means.
    numbered = {columns.get("response_a", "")[-1:], columns.get("response_b", "")[-1:]}
    if codes == {"1", "2"} and numbered != {"0", "1"}:
        return {"a": 1, "b": 2}
    is_place = _CALLED.get(plain_name(name)) in _PLACES and format_name != "two_outputs"
    if codes == {"0", "1"} and (numbered == {"0", "1"} or (is_place and numbered != {"1", "2"})):
        return {"a": 0, "b": 1}
    found = ", ".join(sorted(codes, key=int)[:5])
    raise ValueError(
        f"its column {name} says {found}, and which number means which response is not told: name "
        f"it as a source with {EXAMPLE}, as it is"
    )


def _two_sides(names: list[str]) -> dict[str, str] | None:
    """Columns of a better and a worse response."""
    found = {
        known: [name for name in names if plain_name(name) in spellings]
        for known, spellings in _WANTED.items()
    }
    if any(len(each) != 1 for each in found.values()):
        return None
    return {known: name for known, (name,) in found.items()}


def _with_winner(names: list[str]) -> dict[str, str] | None:
    """Columns of two responses, and of which one won."""
    sides, winners = two_columns(names), [n for n in names if plain_name(n) in _CALLED]
    if len(sides) != 1 or len(winners) != 1:
        return None
    [(first, second)], [winner] = sides, winners
    return {"response_a": first, "response_b": second, "winner": winner}
