"""One JSON object that is a whole file: a row of its own, or a table in one of its usual shapes.

A shape is only taken where it can mean nothing else; what may be two things is refused by name.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Row: TypeAlias = Mapping[str, Any]

TABLES = frozenset(
    {"data", "dataset", "examples", "instances", "items", "pairs", "records", "rows", "samples"}
)
SPLITS = frozenset(
    {"train", "training", "test", "val", "valid", "validation", "dev", "eval", "evaluation"}
    | {f"{part}_{kind}" for part in ("train", "test") for kind in ("prefs", "sft", "gen")}
)
_ABOUT = frozenset(  # what stands beside a table and is no column
    {"version", "name", "title", "description", "license", "licence", "citation", "homepage"}
    | {"author", "authors", "schema", "info", "metadata", "meta", "date", "created", "source"}
    | {"url", "language", "num_rows", "count", "total", "size", "features"}
)
_MESSAGE_KEYS = {"role", "from", "content"}
_ONE_EACH = "write its rows as JSON lines"


def rows_of(document: Row, *, split: str | None = None) -> Sequence[Row] | None:
    """The rows of a table; None where the object is a row itself.

    Args:
        document: the object, its keys in order.
        split: which part of an object with several, e.g. `{"train": [...], "test": [...]}`.

    Raises:
        ValueError: a shape that is not read, or several parts and no `split`; it names them.
    """
    named = {key: value for key, value in document.items() if _is_named_table(key, value)}
    parts = [key for key in named if key.lower() in SPLITS]
    if split is not None:
        return _part(named, split)
    if len(parts) > 1:
        raise ValueError(
            f"holds the parts {', '.join(parts)}: choose one by the option split, for example "
            f'options = {{ split = "{parts[0]}" }}'
        )
    if named:
        return _lone_table(document, named)
    return _by_columns(document)


def _is_named_table(key: str, value: Any) -> bool:
    return key.lower() in TABLES | SPLITS and _is_table(value)


def _is_table(value: Any) -> bool:
    """Whether it is a list of objects, none of which is a message."""
    return isinstance(value, list) and all(
        isinstance(each, dict) and not _MESSAGE_KEYS & each.keys() for each in value
    )


def _part(named: Mapping[str, Any], split: str) -> Sequence[Row]:
    if split not in named:
        raise ValueError(
            f"has no part {split!r}, which the option split names; "
            f"it has {', '.join(named) or 'none'}"
        )
    rows: Sequence[Row] = named[split]
    return rows


def _lone_table(document: Row, named: Mapping[str, Any]) -> Sequence[Row] | None:
    [name, *others] = named
    beside = [key for key in document if key != name]
    # What stands beside a table may say something about its rows, or be a row's own column.
    texts = [key for key in beside if key in others or _is_column(key, document[key])]
    if texts and not named[name]:
        return None  # An empty list among the columns of a row.
    if texts:
        raise ValueError(
            f"is one JSON object with {', '.join(texts)} beside the table {name!r}: {_ONE_EACH}"
        )
    rows: Sequence[Row] = named[name]
    return rows


def _is_column(key: str, value: Any) -> bool:
    return key.lower() not in _ABOUT and not isinstance(value, int | float | bool | None)


def _by_columns(document: Row) -> Sequence[Row] | None:
    """Rows of what pandas writes: by column, by row, or columns and cells apart."""
    values = list(document.values())
    if _cells_apart(document):
        columns = document["columns"]
        return [dict(zip(columns, cells, strict=True)) for cells in document["data"]]
    if values and all(isinstance(value, dict) for value in values):
        return _nested(document)
    if len(values) > 1 and _are_columns(values):
        return [dict(zip(document, cells, strict=True)) for cells in zip(*values, strict=True)]
    return None


def _cells_apart(document: Row) -> bool:
    columns, data = document.get("columns"), document.get("data")
    return (
        isinstance(columns, list)
        and isinstance(data, list)
        and document.keys() <= {"columns", "data", "index", "index_names", "column_names"}
        and all(isinstance(name, str) for name in columns)
        and len(set(columns)) == len(columns)
        and all(isinstance(row, list) and len(row) == len(columns) for row in data)
    )


def _nested(document: Row) -> Sequence[Row] | None:
    """Rows of an object of objects: {column: {index: cell}} or {index: {column: cell}}."""
    inner = next(iter(document.values())).keys()
    alike = all(value.keys() == inner for value in document.values())
    by_column = bool(inner) and all(key.isdecimal() for key in inner)
    by_row = all(key.isdecimal() for key in document)
    if by_column and not by_row:
        if not alike:
            raise ValueError(f"is a JSON table by columns of different rows: {_ONE_EACH}")
        return [{name: cells[key] for name, cells in document.items()} for key in inner]
    if by_row and not by_column:
        return list(document.values())
    if alike and not _MESSAGE_KEYS & inner and len(document) > 1:
        raise ValueError(
            f"is one JSON object of objects ({', '.join(list(document)[:3])}), which may be rows "
            f"or columns: {_ONE_EACH}"
        )
    return None


def _are_columns(values: Sequence[Any]) -> bool:
    """Whether all are lists of one length, and none is a list of messages, as in a row."""
    return all(
        isinstance(value, list)
        and len(value) == len(values[0])
        and not any(isinstance(cell, dict) and _MESSAGE_KEYS & cell.keys() for cell in value)
        for value in values
    )
