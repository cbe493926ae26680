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


def dictionary_columns(schema: pa.Schema) -> list[str]:
    """Parquet paths of the leaf columns that are written with a dictionary.

    >>> dictionary_columns(pa.schema([("id", pa.uuid()), ("names", pa.list_(pa.string())),
    ...                               ("margin", pa.float32()), ("label", pa.int8())]))
    ['names.list.element', 'label']
    """
    return [path for field in schema for path in _leaves(field.name, field.type)]


def _leaves(path: str, kind: pa.DataType) -> list[str]:
    if isinstance(kind, pa.BaseExtensionType):
        return _leaves(path, kind.storage_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _leaves(f"{path}.list.element", kind.value_type)
    if pa.types.is_struct(kind):
        return [leaf for inner in kind for leaf in _leaves(f"{path}.{inner.name}", inner.type)]
    unique = pa.types.is_fixed_size_binary(kind) or pa.types.is_floating(kind)
    return [] if unique else [path]
