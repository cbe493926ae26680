"""Columns between Arrow and numpy over their buffers, for shards of which there are millions.

`pa.array`, `pa.scalar` and `to_numpy` import pandas, which costs a process as much CPU as
filtering a million rows. These do not, and they copy nothing but nulls.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

DTYPES = {
    pa.from_numpy_dtype(dtype): np.dtype(dtype)
    for dtype in ("int8", "int16", "int32", "int64", "float32", "float64")
}


def to_numbers(column: pa.ChunkedArray | pa.Array, *, null: float) -> np.ndarray:
    """(n,) values of a column of integers or floats, `null` where there is none.

    >>> to_numbers(pa.array([1.5, None], pa.float32()), null=float("nan")).tolist()
    [1.5, nan]

    Raises:
        KeyError: the column is neither of signed integers nor of floats.
        ValueError: `null` is no value of the column's type, for instance 300 among int8.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    dtype = DTYPES[array.type]
    if dtype.kind == "i" and not np.iinfo(dtype).min <= null <= np.iinfo(dtype).max:
        raise ValueError(f"{null} cannot stand for a null among {dtype} values")
    validity, values = array.buffers()
    if values is None or not len(array):
        return np.full(len(array), null, dtype=dtype)
    window = slice(array.offset, array.offset + len(array))
    numbers: np.ndarray = np.frombuffer(values, dtype=dtype)[window]
    if not array.null_count:
        return numbers
    bits = np.frombuffer(validity, dtype=np.uint8)
    valid = np.unpackbits(bits, bitorder="little")[window]
    return np.where(valid, numbers, dtype.type(null))


def rows_where(mask: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Numbers of the rows where a column of booleans is true; null counts as false.

    >>> rows_where(pa.chunked_array([], pa.bool_())).to_pylist()
    []
    """
    # Arrow 25 crashes in `indices_nonzero` of no chunk at all, which is how Parquet reads a shard
    # without rows. Nobody else calls it; a test sees to that.
    array = mask.combine_chunks() if isinstance(mask, pa.ChunkedArray) else mask
    return pc.indices_nonzero(array)


def from_numbers(values: np.ndarray) -> pa.Array:
    """Arrow column over the same memory.

    >>> from_numbers(np.array([1, 2], dtype=np.int8)).type
    DataType(int8)
    """
    values = np.ascontiguousarray(values)
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


def from_strings(texts: Sequence[str | None]) -> pa.StringArray:
    """A short column of strings.

    >>> from_strings(["a", None, "bc"]).to_pylist()
    ['a', None, 'bc']
    """
    encoded = [(text or "").encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    present = np.array([text is not None for text in texts], dtype=bool)
    valid = np.packbits(present, bitorder="little")
    return pa.StringArray.from_buffers(
        len(texts),
        pa.py_buffer(ends),
        pa.py_buffer(b"".join(encoded)),
        pa.py_buffer(valid) if None in texts else None,
    )
