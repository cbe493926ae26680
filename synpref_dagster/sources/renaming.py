"""The options `columns` and `ignore_columns`: the rows of a source under the names that are known.

What is accepted is obeyed: a name that no format reads, and one that no row has in place of the
column that it is to replace, are refused in one line.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from synpref_dagster.sources.files.raw_rows import RawRow
from synpref_dagster.sources.foreign.names import KINDS
from synpref_dagster.sources.records import SourceSpec
from synpref_dagster.sources.registry import FORMATS

CHECKED_ROWS = 100
"""First rows in which a column must be found that is to replace another one."""


def renamed_columns(spec: SourceSpec) -> Mapping[str, str]:
    """{name in the data: known name}, the option `columns` turned round.

    Raises ValueError for what is no table of names, for a known name that nobody reads, and for
    one column of the data under two names.
    """
    columns = spec.options.get("columns", {})
    if not isinstance(columns, Mapping):
        raise ValueError(
            f"source {spec.name!r}: columns {columns!r} must map known names to names in the data"
        )
    known = _known_names(spec)
    for name, given in columns.items():
        if name not in known:
            raise ValueError(
                f"source {spec.name!r}: columns names {name!r}, which nobody reads; known names "
                f"are {', '.join(sorted(known))}"
            )
        if not isinstance(given, str) or not given.strip():
            raise ValueError(
                f"source {spec.name!r}: columns = {{{name} = {given!r}}}: give the name that "
                f"{name} has in the data, one text"
            )
    turned = {given: name for name, given in columns.items()}
    if len(turned) < len(columns):
        raise ValueError(
            f"source {spec.name!r}: columns {dict(columns)!r} gives one column two names"
        )
    return turned


def ignored_columns(spec: SourceSpec) -> frozenset[str]:
    """The option `ignore_columns`: columns that are no part of the conversation."""
    names = spec.options.get("ignore_columns", ())
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"source {spec.name!r}: ignore_columns {names!r} must be a list of column names"
        )
    return frozenset(names)


def chosen_columns(
    rows: Iterator[RawRow], spec: SourceSpec, columns: Mapping[str, str]
) -> Iterator[RawRow]:
    """The rows with their columns under the known names and without those that are ignored.

    Args:
        rows: as found.
        spec: the source, whose option `ignore_columns` counts.
        columns: {name in the data: known name}.

    Raises:
        ValueError: the first rows all have a column under its known name and none under the name
            that is given for it.
    """
    ignored = ignored_columns(spec)
    lacking = {given: known for given, known in columns.items() if given != known}
    num_checked = 0
    for row in rows:
        if not (columns or ignored) or row.value is None:
            yield row
            continue
        if lacking and num_checked < CHECKED_ROWS:
            num_checked += 1
            lacking = {
                given: known
                for given, known in lacking.items()
                if given not in row.value and known in row.value
            }
            names = ", ".join(row.value)
        if lacking and num_checked == CHECKED_ROWS:
            raise _lacking(spec, lacking, names)
        kept = {name: value for name, value in row.value.items() if name not in ignored}
        yield replace(row, value=_rename(kept, columns), raw=row.excerpt())
    if lacking and num_checked:
        raise _lacking(spec, lacking, names)


def _lacking(spec: SourceSpec, lacking: Mapping[str, str], names: str) -> ValueError:
    given, known = next(iter(lacking.items()))
    return ValueError(
        f"source {spec.name!r}: columns = {{{known} = {given!r}}}: no row has a column {given!r}; "
        f"they have {names}"
    )


def _rename(value: Mapping[str, Any], columns: Mapping[str, str]) -> Mapping[str, Any]:
    # Renamed columns win over one that already has the known name.
    renamed = {known: value[given] for given, known in columns.items() if given in value}
    return {**{name: value[name] for name in value if name not in columns}, **renamed}


def _known_names(spec: SourceSpec) -> set[str]:
    formats = [FORMATS[spec.format]] if spec.format in FORMATS else FORMATS.values()
    read = {name for each in formats for name in each.columns}
    return read | {name for name, kind in KINDS.items() if kind}
