"""What people have: files, lists of pairs or rows, data frames, `datasets`; each read as a file is.

`read_pairs` gives pairs to who wants to look at them, with every row that is none and its reason.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import pyarrow as pa
import pyarrow.parquet as pq

from synpref_dagster.pairs.record import PreferencePair, Turn, pairs_to_table
from synpref_dagster.pairs.texts import first_line
from synpref_dagster.sources.foreign.messages import unwrapped
from synpref_dagster.sources.reading import read_source
from synpref_dagster.tools.curating.reading import Given, listed
from synpref_dagster.tools.rows import AUTO, Reading

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset

Data: TypeAlias = "str | Path | Sequence[Any] | pd.DataFrame | Dataset | pa.Table | Pairs"
"""A path or several; pairs; rows as mappings; a data frame, a table, a `datasets.Dataset`."""
IN_MEMORY = "input"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairs(Sequence[PreferencePair]):
    """Pairs in the order of their rows, and what became of the rows that are none."""

    pairs: tuple[PreferencePair, ...]
    """`meta["row"]` is the row of each, from 0."""
    reading: Reading
    quarantine: tuple[Mapping[str, Any], ...]
    """Rows that are no pair: file, row, reason, detail, and their beginning."""

    @overload
    def __getitem__(self, place: int) -> PreferencePair: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[PreferencePair, ...]: ...
    def __getitem__(self, place: int | slice) -> PreferencePair | tuple[PreferencePair, ...]:
        """One pair, or a stretch of them."""
        return self.pairs[place]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.pairs)

    def table(self) -> pa.Table:
        """One row per pair: the columns of the record, ids among them."""
        return pairs_to_table(self.pairs)


def read_pairs(
    data: Data,
    *,
    layout: str = AUTO,
    columns: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Pairs:
    """Read pairs from anything that holds some; all of them are in memory afterwards.

    A text in place of a list of messages is taken as one user turn, where a conversation is, and
    as the assistant's answer, where a response is. `source` of a pair is the name of its file.

    Args:
        data: a file or folder in any layout that sources may have, or several; pairs; rows as
            mappings; a data frame, an Arrow table or a `datasets.Dataset`.
        layout: the name of a format of pairs; seen by itself by default.
        columns: known name -> name in the data.
        seed: of formats that draw which response is the chosen one.

    Raises:
        ValueError: there is no such file, or no known layout; one line says what to do.
    """
    if isinstance(data, Pairs):
        return data
    with TemporaryDirectory() as folder:
        given = Given(as_files(data, Path(folder)), layout=layout, columns=columns or {}, seed=seed)
        return _read(given)


def _read(given: Given) -> Pairs:
    files = listed(given)
    reading = Reading(kind="pairs", skipped=files.skipped)
    pairs: list[PreferencePair] = []
    aside: list[Mapping[str, Any]] = []
    for name, spec in files.specs():
        with files.named_errors():
            for batch in read_source(spec, seed=given.seed):
                reading.add(batch)
                pairs += [replace(pair, source=name) for pair in batch.pairs]
                aside += [
                    {"file": name, "row": row.row, "reason": row.reason, "detail": row.detail}
                    | {"raw": row.raw}
                    for row in batch.quarantined
                ]
    return Pairs(pairs=tuple(pairs), reading=reading, quarantine=tuple(aside))


def as_files(data: Data, folder: Path) -> list[str]:
    """The files in which data are; what is in memory is written below a folder first.

    Args:
        data: see `read_pairs`.
        folder: to write into.

    Raises:
        ValueError: it is nothing that holds rows.
    """
    if isinstance(data, str | Path):
        return [str(data)]
    if isinstance(data, Pairs):
        data = data.pairs
    if isinstance(data, Sequence) and data and all(isinstance(each, str | Path) for each in data):
        return [str(each) for each in data]
    if isinstance(data, Sequence) and not isinstance(data, bytes):
        return [_lines(data, folder)]
    return [_table(data, folder)]


def is_on_disk(data: Data) -> bool:
    """Whether data are named by paths."""
    if isinstance(data, str | Path):
        return True
    is_list = isinstance(data, Sequence) and not isinstance(data, Pairs)
    return is_list and len(data) > 0 and all(isinstance(each, str | Path) for each in data)


def _lines(rows: Sequence[Any], folder: Path) -> str:
    file = folder / f"{IN_MEMORY}.jsonl"
    with file.open("w", encoding="utf-8") as lines:
        for number, row in enumerate(rows):
            try:
                lines.write(json.dumps(_row(row)) + "\n")
            except (TypeError, ValueError, RecursionError) as error:
                raise ValueError(
                    f"row {number} is neither a pair nor a mapping of texts and messages "
                    f"({first_line(error)})"
                ) from error
    return str(file)


def _row(row: object) -> object:
    if isinstance(row, PreferencePair):
        said: Any = row.conversation
        turns = [Turn(role="user", content=said)] if isinstance(said, str) else list(said)
        sides = ("chosen", row.chosen), ("rejected", row.rejected)
        return {"prompt": turns} | {
            name: [{"role": "assistant", "content": text}] for name, text in sides
        }
    if not isinstance(row, Mapping):
        raise ValueError(f"it is a {type(row).__name__}")
    return unwrapped(row)


def _table(data: Any, folder: Path) -> str:
    if hasattr(data, "keys") and hasattr(data, "column_names") and not hasattr(data, "to_parquet"):
        raise ValueError("data in several splits: hand in one of them, like data['train']")
    file = folder / f"{IN_MEMORY}.parquet"
    try:
        if isinstance(data, pa.Table):
            pq.write_table(data, file)
        elif hasattr(data, "with_format") and hasattr(data, "to_parquet"):
            data.to_parquet(str(file))
        else:
            pq.write_table(pa.Table.from_pandas(data, preserve_index=False), file)
    except (pa.ArrowException, TypeError) as error:  # cells of several kinds in a column
        if hasattr(data, "to_dict"):
            return _lines(data.to_dict("records"), folder)
        raise ValueError(f"cannot read a {type(data).__name__}: {first_line(error)}") from error
    except AttributeError as error:
        raise ValueError(
            f"cannot read a {type(data).__name__}: give a path, pairs, rows, a data frame, a table "
            "or a datasets.Dataset"
        ) from error
    return str(file)
