"""Votes of people that ship with the sources: kept while the pool is read, found again per file.

Reading a file writes its votes beside its pairs, so that nobody reads the sources again for them.
Annotators are numbered over all files; of the votes only the wanted ones are ever held.
"""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.pairs.record import ID_BYTES
from synpref_dagster.sources.annotators import AnnotatorNumbers
from synpref_dagster.sources.records import VERDICT_SCHEMA, SourceBatch
from synpref_dagster.storage import DatasetRef, iter_tables

VOTE_SCHEMA = pa.schema([("source", pa.string()), *VERDICT_SCHEMA])


def votes_of(batch: SourceBatch, source: str) -> pa.Table:
    """The recorded verdicts of a batch with `VOTE_SCHEMA`, in order."""
    verdicts = batch.verdict_table()
    names = pa.array([source] * len(verdicts), pa.string())
    return pa.Table.from_arrays([names, *verdicts.columns], schema=VOTE_SCHEMA)


def named_votes(votes: DatasetRef, contents: Iterable[bytes] | None = None) -> list[dict[str, Any]]:
    """content_id, annotator and verdict of the votes on some contents, in recorded order.

    One numbering over all files: a person who voted in two of a source's is one person, whoever
    else's votes are wanted.

    Args:
        votes: `VOTE_SCHEMA`, the files in the order of the pool.
        contents: ids of the contents that are wanted; None takes all.
    """
    stored = pa.binary(ID_BYTES)
    wanted = None if contents is None else pa.array(list(contents), stored)
    numbers = AnnotatorNumbers()
    found = []
    for table in iter_tables(votes):
        _number(table, numbers)
        if wanted is not None:
            table = table.filter(pc.is_in(table["content_id"].cast(stored), value_set=wanted))
        found += [
            {
                "content_id": row["content_id"].bytes,
                "annotator": numbers.name(row["source"], row["annotator"]),
                "verdict": row["verdict"],
            }
            for row in table.to_pylist()
        ]
    return found


def voted_contents(votes: DatasetRef) -> pa.Array:
    """The 16-byte ids of the contents that somebody voted on, each once; no vote is held.

    Args:
        votes: `VOTE_SCHEMA`.
    """
    stored = pa.binary(ID_BYTES)
    found = [
        table["content_id"].combine_chunks().cast(stored).unique()
        for table in iter_tables(votes, ["content_id"])
    ]
    return pa.concat_arrays([pa.array([], stored), *found]).unique()


def _number(table: pa.Table, numbers: AnnotatorNumbers) -> None:
    # One thread: groups then come in order of first appearance, which the numbers go by.
    people = table.group_by(["source", "annotator"], use_threads=False).aggregate([])
    for row in people.to_pylist():
        numbers.name(row["source"], row["annotator"])
