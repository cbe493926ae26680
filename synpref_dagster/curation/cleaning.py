"""Structural check, exact deduplication and contradictions (App. D.1, steps 1 and 2).

A pair enters the pool when a person could judge it: a well-formed conversation that ends with the
user, and two responses that exist, differ and can be stored. Every function here splits its input
into kept and dropped rows, dropped with a reason code; no row is changed and none vanishes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ROLES = ("user", "assistant", "system")
MAX_TEXT_BYTES = 1_000_000
"""Longest text taken, in UTF-8 bytes: about 250,000 tokens, beyond every context window here."""

STRUCTURAL_REASONS = (
    "malformed_conversation",
    "not_text",
    "not_encodable",
    "null_byte",
    "over_byte_limit",
    "unknown_role",
    "empty_conversation",
    "roles_not_alternating",
    "conversation_not_ending_with_user",
    "empty_turn",
    "empty_response",
    "identical_responses",
)
"""Why a pair is structurally unfit, in the order in which the reasons are reported."""


class Selection(NamedTuple):
    """Outcome of a selection over a table: every input row is in exactly one of the two."""

    kept: pa.Table
    dropped: pa.Table


def structural_reasons(
    conversation: object, chosen: object, rejected: object, *, max_text_bytes: int = MAX_TEXT_BYTES
) -> tuple[str, ...]:
    """All structural reasons against a pair, in the order of `STRUCTURAL_REASONS`.

    Takes anything, also what a broken file holds in place of turns and texts. A None response
    counts as empty, any other value that is no string as `not_text`.
    """
    found = _conversation_reasons(conversation) | _response_reasons(chosen, rejected)
    for text in (*_contents(conversation), chosen, rejected):
        found |= _text_reasons(text, max_text_bytes)
    return tuple(reason for reason in STRUCTURAL_REASONS if reason in found)


def roles_alternate(roles: Sequence[object]) -> bool:
    """True for an optional leading system turn followed by user, assistant, user, ... in turn.

    >>> roles_alternate(["system", "user", "assistant"]), roles_alternate(["user", "user"])
    (True, False)
    """
    spoken = roles[1:] if roles and roles[0] == "system" else roles
    return all(role == ("user", "assistant")[turn % 2] for turn, role in enumerate(spoken))


def check_structure(table: pa.Table, *, max_text_bytes: int = MAX_TEXT_BYTES) -> Selection:
    """Splits a table with `PAIR_SCHEMA` into sound pairs and dropped ones with a reason.

    `detail` of a dropped row lists all its reasons when there are several.
    """
    columns = [table.column(name).to_pylist() for name in ("conversation", "chosen", "rejected")]
    found = [
        structural_reasons(conversation, chosen, rejected, max_text_bytes=max_text_bytes)
        for conversation, chosen, rejected in zip(*columns, strict=True)
    ]
    keep = np.array([not reasons for reasons in found], dtype=bool)
    against = [reasons for reasons in found if reasons]
    return select(
        table,
        keep,
        reasons=[reasons[0] for reasons in against],
        details=["; ".join(reasons[1:]) for reasons in against],
    )


def select(
    table: pa.Table,
    keep: np.ndarray,
    *,
    reasons: Sequence[str] | pa.Array | str,
    details: Sequence[str] | pa.Array | str = "",
) -> Selection:
    """Splits a table by a bool mask; dropped rows get the columns `reason` and `detail`.

    `reasons` and `details` are one text for all dropped rows or one per dropped row, in order.
    """
    dropped = table.filter(pa.array(~keep))
    for name, texts in (("reason", reasons), ("detail", details)):
        if isinstance(texts, str):
            texts = pa.repeat(texts, dropped.num_rows)
        column = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.string())
        dropped = dropped.append_column(name, column)
    return Selection(table.filter(pa.array(keep)), dropped)


def first_copies(table: pa.Table) -> np.ndarray:
    """(n,) int64: row with the first copy of each pair, which exact deduplication keeps.

    Needs the column `pair_id` only. Raises ValueError when an id is null.
    """
    return first_occurrences(id_keys(table.column("pair_id")))


def contradicted_rows(table: pa.Table) -> np.ndarray:
    """(n,) bool: whether the row's content occurs under both labels.

    A over B here, B over A elsewhere. Needs the columns `pair_id` and `content_id`.
    """
    first_content = first_occurrences(id_keys(table.column("content_id")))
    first_pair = first_occurrences(id_keys(table.column("pair_id")))
    # A content has one pair_id per label: a pair_id other than its first row's is the flip.
    flips = first_pair != first_pair[first_content]
    contradicted = np.zeros(len(flips), dtype=bool)
    contradicted[first_content[flips]] = True
    return contradicted[first_content]


def id_keys(ids: pa.ChunkedArray) -> np.ndarray:
    """(n, 2) uint64: 16-byte ids as numbers. Raises ValueError when an id is null."""
    array = ids.combine_chunks()
    storage = array.storage if isinstance(array, pa.ExtensionArray) else array
    if storage.null_count:
        raise ValueError(f"{storage.null_count} ids are null: every pair needs its id")
    binary = pc.cast(storage, pa.binary(16))
    raw = np.frombuffer(binary.buffers()[1] or b"", dtype=np.uint64)
    return raw.reshape(-1, 2)[binary.offset : binary.offset + len(binary)]


def first_occurrences(keys: np.ndarray) -> np.ndarray:
    """(n,) int64: position of the first row with the same key, for keys (n, k) uint64.

    Ids are hashes, so a row whose first word is unique is unique: only the others are compared
    in full.
    """
    first = np.arange(len(keys))
    leading = np.ascontiguousarray(keys[:, 0])
    by_leading = np.argsort(leading)
    ranked = leading[by_leading]
    equals_next = ranked[1:] == ranked[:-1]
    in_group = np.zeros(len(keys), dtype=bool)
    in_group[:-1] |= equals_next
    in_group[1:] |= equals_next
    rows = np.sort(by_leading[in_group])
    if len(rows):
        # lexsort is stable: the first row of a run of equal keys is their first occurrence.
        rows = rows[np.lexsort(keys[rows].T)]
        ranked = keys[rows]
        starts_run = np.append(True, (ranked[1:] != ranked[:-1]).any(axis=1))
        first[rows] = rows[starts_run][np.cumsum(starts_run) - 1]
    return first


def _conversation_reasons(conversation: object) -> set[str]:
    if not isinstance(conversation, Sequence) or isinstance(conversation, str | bytes):
        return {"malformed_conversation"}
    if not all(
        isinstance(turn, Mapping) and {"role", "content"} <= set(turn) for turn in conversation
    ):
        return {"malformed_conversation"}
    roles = [turn["role"] for turn in conversation]
    found = set()
    if any(role not in ROLES for role in roles):
        found.add("unknown_role")
    elif not roles_alternate(roles):
        found.add("roles_not_alternating")
    if all(role == "system" for role in roles):
        found.add("empty_conversation")
    elif roles[-1] != "user":
        found.add("conversation_not_ending_with_user")
    if any(_is_empty(turn["content"]) for turn in conversation):
        found.add("empty_turn")
    return found


def _response_reasons(chosen: object, rejected: object) -> set[str]:
    if _is_empty(chosen) or _is_empty(rejected):
        return {"empty_response"}
    # Chat templates trim contents: responses that differ at the edges only are one response.
    if isinstance(chosen, str) and isinstance(rejected, str):
        return {"identical_responses"} if chosen.strip() == rejected.strip() else set()
    return set()


def _text_reasons(text: object, max_text_bytes: int) -> set[str]:
    if text is None:
        return set()
    if not isinstance(text, str):
        return {"not_text"}
    found = {"null_byte"} if "\x00" in text else set()
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return found | {"not_encodable"}
    return found | {"over_byte_limit"} if size > max_text_bytes else found


def _contents(conversation: object) -> list[Any]:
    turns = conversation if isinstance(conversation, Sequence) else ()
    return [turn.get("content") for turn in turns if isinstance(turn, Mapping)]


def _is_empty(text: object) -> bool:
    return text is None or (isinstance(text, str) and not text.strip())
