"""The one record of the pipeline: a preference pair (x, y_w, y_l), and its identities.

Everybody who touches pairs imports column names and types from here. Identities are blake2b-128
over length-prefixed fields, so that no two different inputs can collide by concatenation:

- `pair_id`          (conversation, chosen, rejected): the pair under its current label
- `content_id`       (conversation, {chosen, rejected}): survives a flip, finds contradictions
- `conversation_id`  the conversation alone: what splits and leak checks go by
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:  # Importing pandas costs as much as filtering a million rows.
    import pandas as pd

ID_BYTES = 16
Origin = Literal["human", "synthetic"]


class Turn(TypedDict):
    """One message of a conversation; `role` is user, assistant or system."""

    role: str
    content: str


ID_COLUMNS = ("pair_id", "content_id", "conversation_id", "gold_pair_id")
ID_TYPE = pa.uuid()
CONVERSATION_TYPE = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
PAIR_SCHEMA = pa.schema(
    [
        ("pair_id", ID_TYPE),
        ("content_id", ID_TYPE),
        ("conversation_id", ID_TYPE),
        ("conversation", CONVERSATION_TYPE),
        ("chosen", pa.string()),
        ("rejected", pa.string()),
        ("source", pa.string()),
        ("origin", pa.string()),
        ("meta", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class PreferencePair:
    """One conversation with two responses, the first preferred by the current label.

    `origin` says who set the source label: people (`human`, goes to stage 1) or a model or rule
    (`synthetic`, goes to stage 2). `meta` is free, JSON-serialisable, and never part of an id.
    """

    conversation: tuple[Turn, ...]
    chosen: str
    rejected: str
    source: str
    origin: Origin
    meta: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def pair_id(self) -> bytes:
        """16 bytes: identity of the labelled pair."""
        return self._ids[0]

    @cached_property
    def content_id(self) -> bytes:
        """16 bytes: identity of the unlabelled pair, the same after a flip."""
        return self._ids[1]

    @cached_property
    def conversation_id(self) -> bytes:
        """16 bytes: identity of the conversation."""
        return self._ids[2]

    @cached_property
    def _ids(self) -> tuple[bytes, bytes, bytes]:
        """pair_id, content_id and conversation_id: the conversation is hashed once for all."""
        hasher = blake2b(digest_size=ID_BYTES)
        _update(hasher, _conversation_fields(self.conversation))
        conversation = hasher.digest()
        flipped = hasher.copy()
        _update(hasher, (self.chosen, self.rejected))
        if self.chosen <= self.rejected:
            return hasher.digest(), hasher.digest(), conversation
        _update(flipped, (self.rejected, self.chosen))
        return hasher.digest(), flipped.digest(), conversation

    def flipped(self) -> PreferencePair:
        """The same pair under the opposite label."""
        return replace(self, chosen=self.rejected, rejected=self.chosen)


def ids_of_all(
    pairs: Iterable[PreferencePair],
) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """pair_id, content_id and conversation_id of many pairs, in order: each is hashed once."""
    rows = [pair._ids for pair in pairs]
    return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]


def digest(*fields: str) -> bytes:
    """blake2b-128 over the UTF-8 fields, each prefixed with its length in bytes.

    >>> digest("ab", "c") == digest("a", "bc")
    False
    """
    hasher = blake2b(digest_size=ID_BYTES)
    _update(hasher, fields)
    return hasher.digest()


def _update(hasher: blake2b, fields: Iterable[str]) -> None:
    for text in fields:
        encoded = text.encode("utf-8", "surrogatepass")
        hasher.update(len(encoded).to_bytes(8, "little") + encoded)


def conversation_id(conversation: Sequence[Turn]) -> bytes:
    """Identity of a conversation: roles and contents of all turns, in order."""
    return digest(*_conversation_fields(conversation))


def conversation_keys(conversations: Sequence[Sequence[Turn]]) -> list[bytes]:
    """`conversation_id` of each; one that is repeated as the same object is hashed once."""
    keys: dict[int, bytes] = {}
    for conversation in conversations:
        if id(conversation) not in keys:
            keys[id(conversation)] = conversation_id(conversation)
    return [keys[id(conversation)] for conversation in conversations]


def canonical_sign(chosen: str, rejected: str) -> int:
    """+1 when `chosen` sorts before `rejected`, else -1.

    A verdict stored against the sorted order of the two responses survives a flip; multiply it
    with this sign to read it relative to the current label.

    >>> canonical_sign("a", "b"), canonical_sign("b", "a")
    (1, -1)
    """
    return 1 if chosen <= rejected else -1


def first_user_turn(conversation: Sequence[Turn]) -> str:
    """Content of the first user turn, what decontamination compares; empty when there is none."""
    return next((turn["content"] for turn in conversation if turn["role"] == "user"), "")


def pairs_to_table(pairs: Iterable[PreferencePair]) -> pa.Table:
    """Arrow table with `PAIR_SCHEMA`, one row per pair, in order."""
    rows = list(pairs)
    columns: list[pa.Array] = [
        id_array([pair.pair_id for pair in rows]),
        id_array([pair.content_id for pair in rows]),
        id_array([pair.conversation_id for pair in rows]),
        pa.array([list(pair.conversation) for pair in rows], CONVERSATION_TYPE),
        pa.array([pair.chosen for pair in rows], pa.string()),
        pa.array([pair.rejected for pair in rows], pa.string()),
        pa.array([pair.source for pair in rows], pa.string()),
        pa.array([pair.origin for pair in rows], pa.string()),
        pa.array([json.dumps(dict(pair.meta), sort_keys=True) for pair in rows], pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=PAIR_SCHEMA)


def table_to_pairs(table: pa.Table) -> Iterator[PreferencePair]:
    """The pairs of a table with at least the text columns of `PAIR_SCHEMA`, in order."""
    columns = ["conversation", "chosen", "rejected", "source", "origin", "meta"]
    for batch in table.select(columns).to_batches():
        for row in batch.to_pylist():
            yield PreferencePair(
                conversation=tuple(row["conversation"]),
                chosen=row["chosen"],
                rejected=row["rejected"],
                source=row["source"],
                origin=row["origin"],
                meta=json.loads(row["meta"] or "{}"),
            )


def id_array(ids: Sequence[bytes]) -> pa.ExtensionArray:
    """16-byte ids as an Arrow UUID array (Parquet FIXED_LEN_BYTE_ARRAY, not BYTE_ARRAY)."""
    return pa.ExtensionArray.from_storage(ID_TYPE, pa.array(ids, pa.binary(ID_BYTES)))


def is_among(ids: pd.Series, known: Iterable[bytes]) -> np.ndarray:
    """Bool (n,): which ids are in `known`.

    Use this, not `Series.isin`: pandas turns a set of bytes into fixed-width NumPy strings, which
    drops trailing zero bytes, so that one id in 256 would silently be missing.
    """
    lookup = known if isinstance(known, set | frozenset) else set(known)
    return np.fromiter((each in lookup for each in ids), dtype=bool, count=len(ids))


def id_index(ids: Iterable[bytes]) -> pd.Index:
    """Ids as an object index for `.loc`, which would mangle a plain list of bytes (see above)."""
    import pandas as pd

    return pd.Index(list(ids), dtype=object)


def table_from_frame(frame: pd.DataFrame) -> pa.Table:
    """Arrow table of a narrow frame; the columns in `ID_COLUMNS` become UUIDs.

    Narrow tables (labels, votes, verdicts, rewards, decisions) are keyed by `pair_id` and never
    repeat texts.
    """
    columns: dict[str, pa.Array] = {}
    for name in frame.columns:
        values = frame[name]
        if name in ID_COLUMNS:
            columns[name] = id_array(values.tolist())
        elif values.dtype == object:
            columns[name] = pa.array(values.tolist(), pa.string())
        else:
            columns[name] = pa.array(values, from_pandas=False)
    return pa.table(columns)


def oriented(pairs: Iterable[PreferencePair], labels: Mapping[bytes, int]) -> list[PreferencePair]:
    """The pairs under the labels given: flipped where the label is -1.

    Args:
        pairs: pairs under their source label.
        labels: pair_id -> +1 or -1; pairs without an entry are left out.

    Raises:
        ValueError: a label is neither, because an undecided pair has no orientation.
    """
    undecided = [pair_id for pair_id, label in labels.items() if label not in (-1, 1)]
    if undecided:
        raise ValueError(
            f"{len(undecided)} labels are neither +1 nor -1, the first for pair "
            f"{undecided[0].hex()}; leave undecided pairs out"
        )
    return [
        pair if labels[pair.pair_id] > 0 else pair.flipped()
        for pair in pairs
        if pair.pair_id in labels
    ]


def _conversation_fields(conversation: Sequence[Turn]) -> list[str]:
    # The number of turns comes first: it keeps turns and responses from running into each other.
    fields = [str(len(conversation))]
    for turn in conversation:
        fields += [turn["role"], turn["content"]]
    return fields
