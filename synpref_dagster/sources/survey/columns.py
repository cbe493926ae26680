"""Columns that mean a prompt and two responses under names that no reader knows.

Only where one column answers to each, and the rows read under these names: it is written into the
profile and said, so that whoever knows better can correct it.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

from synpref_dagster.sources.foreign.unsupported import plain_name
from synpref_dagster.sources.reading import format_of
from synpref_dagster.sources.records import SourceSpec

LOOKED_AT = 100  # first rows
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


def guessed_columns(spec: SourceSpec) -> dict[str, str] | None:
    """Known name -> name in the data, where the names leave no doubt; None where they do.

    Args:
        spec: a source in none of the known formats.
    """
    from synpref_dagster.sources.files.rows import read_rows

    try:
        rows = [row.value for row in islice(read_rows(spec), LOOKED_AT) if row.value]
    except ValueError:
        return None
    names = {name for row in rows for name in row}
    found = {
        known: [name for name in sorted(names) if plain_name(name) in spellings]
        for known, spellings in _WANTED.items()
    }
    if any(len(each) != 1 for each in found.values()):
        return None
    columns = {known: name for known, (name,) in found.items() if name != known}
    try:
        is_read = format_of(replace(spec, options={**spec.options, "columns": columns}))
    except ValueError:
        return None
    return columns if is_read else None
