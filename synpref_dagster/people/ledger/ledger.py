"""The answer ledger: append-only, idempotent by form token, portable as Parquet and JSON lines.

It is the one place where answers of people live, whichever way they came in: the review page,
Label Studio, a file, or votes that ship with public data.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from synpref_dagster.pairs.record import id_array
from synpref_dagster.people.ledger import database
from synpref_dagster.people.ledger.answers import ANSWER_COLUMNS, Answer
from synpref_dagster.people.ledger.database import ReviewDatabase

ID_FIELDS = ("pair_id", "content_id")


class AnswerLedger:
    """Verdicts in the order they arrived."""

    def __init__(self, store: ReviewDatabase) -> None:
        self._store = store

    def append(self, rows: Sequence[Answer]) -> int:
        """Add answers; those whose form token is known are left out. Returns how many are new."""
        return self._store.append(database.verdicts, [row.as_row() for row in rows])

    def answers(self) -> list[Answer]:
        """All answers, superseded and withdrawn ones included, in order."""
        return [Answer.from_row(dict(row)) for row in self._store.rows(database.verdicts)]

    def export(self, path: Path) -> int:
        """Write the whole ledger to a `.parquet` or `.jsonl` file; returns the number of rows.

        Raises:
            ValueError: another file name extension.
        """
        rows = [row.as_row() for row in self.answers()]
        if path.suffix == ".jsonl":
            lines = (json.dumps(row, sort_keys=True) + "\n" for row in rows)
            path.write_text("".join(lines), encoding="utf-8")
        elif path.suffix == ".parquet":
            pq.write_table(_as_table(rows), path, compression="zstd")
        else:
            raise ValueError(f"{path.name}: a ledger is written as .parquet or .jsonl")
        return len(rows)

    def load(self, path: Path) -> int:
        """Add the answers of an exported file; reading it twice adds nothing.

        Returns:
            How many rows are new.

        Raises:
            ValueError: not a ledger file, with the first line that is wrong. Nothing is added then.
        """
        if path.suffix not in (".parquet", ".jsonl"):
            raise ValueError(f"{path.name}: a ledger is read from .parquet or .jsonl")
        read = _read_parquet if path.suffix == ".parquet" else _read_lines
        return self.append([_answer(row, place) for place, row in enumerate(read(path), 1)])


def _as_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    columns: dict[str, pa.Array] = {}
    for name in ANSWER_COLUMNS:
        values = [row[name] for row in rows]
        if name in ID_FIELDS:
            columns[name] = id_array([bytes.fromhex(value) for value in values])
        elif name in ("created_at", "seconds"):
            columns[name] = pa.array(values, pa.float64())
        elif name == "confidence":
            columns[name] = pa.array(values, pa.int8())
        else:
            columns[name] = pa.array(values, pa.string())
    return pa.table(columns)


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    table = pq.read_table(path)
    if missing := set(ANSWER_COLUMNS) - set(table.column_names):
        raise ValueError(f"{path.name} is no ledger: columns {sorted(missing)} are missing")
    rows = table.to_pylist()
    return [{**row, **{name: row[name].hex for name in ID_FIELDS}} for row in rows]


def _read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def _answer(row: Mapping[str, Any], place: int) -> Answer:
    try:
        return Answer.from_row(row)
    except ValueError as error:
        raise ValueError(f"row {place}: {error}") from error
