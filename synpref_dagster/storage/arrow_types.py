"""Arrow types, changed all through a table: inside lists and structs as well."""

from collections.abc import Callable

import pyarrow as pa


def canonical_table(table: pa.Table) -> pa.Table:
    """The table in the one form that is written: no metadata, one chunk, Parquet's list names."""
    return cast_types(table.replace_schema_metadata(None), _element_named).combine_chunks()


def cast_types(table: pa.Table, change: Callable[[pa.DataType], pa.DataType]) -> pa.Table:
    """The table with `change` applied to every type, innermost first."""
    fields = [
        pa.field(column.name, _map_type(column.type, change), column.nullable)
        for column in table.schema
    ]
    return table.cast(pa.schema(fields, table.schema.metadata))


def stored_as(kind: pa.DataType) -> pa.DataType:
    """What Parquet keeps of a type: of an extension type, here a UUID, its storage."""
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _map_type(kind: pa.DataType, change: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    if pa.types.is_list(kind):
        return change(pa.list_(_map_field(kind.value_field, change)))
    if pa.types.is_large_list(kind):
        return change(pa.large_list(_map_field(kind.value_field, change)))
    if pa.types.is_struct(kind):
        return change(pa.struct([_map_field(inner, change) for inner in kind]))
    return change(kind)


def _map_field(inner: pa.Field, change: Callable[[pa.DataType], pa.DataType]) -> pa.Field:
    return pa.field(inner.name, _map_type(inner.type, change), inner.nullable)


def _element_named(kind: pa.DataType) -> pa.DataType:
    # Parquet calls the items of a list `element`; a table read back must be written alike.
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_name("element"))
    if pa.types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_name("element"))
    return kind
