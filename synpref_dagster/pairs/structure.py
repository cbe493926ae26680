"""Whether a record can be judged by a person, and the reason where it cannot (App. D.1, step 1).

A well-formed conversation ends with the user, and has two responses that exist, differ and can be
stored.
"""

from collections.abc import Mapping, Sequence
from typing import Any

ROLES = ("user", "assistant", "system")
MAX_TEXT_BYTES = 1_000_000
"""Longest text taken, in UTF-8 bytes: about 250,000 tokens, beyond every context window here."""
_RANGES = """
    01-08 0E-1B 7F-84 86-9F AD 34F 61C 115F-1160 17B4-17B5 180B-180F 200B-200F 202A-202E 2060-206F
    2800 3164 FE00-FE0F FEFF FFA0 FFF0-FFFB 1BCA0-1BCA3 1D173-1D17A E0001 E0020-E007F E0100-E01EF
"""
_BOUNDS = [(each.partition("-")[0], each.rpartition("-")[2]) for each in _RANGES.split()]
UNSEEN = "".join(chr(n) for a, b in _BOUNDS for n in range(int(a, 16), int(b, 16) + 1))
"""Characters that show nothing and are no white space: controls, joiners, marks, fillers."""
_SPACES = "".join(chr(n) for n in range(0x3001) if chr(n).isspace())
_NOTHING = _SPACES + UNSEEN
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


def structural_reasons(
    conversation: object, chosen: object, rejected: object, *, max_text_bytes: int = MAX_TEXT_BYTES
) -> tuple[str, ...]:
    """All structural reasons against a pair, in the order of `STRUCTURAL_REASONS`.

    Takes anything, also what a broken file holds in place of turns and texts. A None response
    counts as empty, any other value that is no string as `not_text`.
    """
    if _is_sound(conversation, chosen, rejected, max_text_bytes=max_text_bytes):
        return ()
    found = _conversation_reasons(conversation) | _response_reasons(chosen, rejected)
    for text in (*_contents(conversation), chosen, rejected):
        found |= _text_reasons(text, max_text_bytes)
    return tuple(reason for reason in STRUCTURAL_REASONS if reason in found)


def seen(text: str) -> str:
    r"""A text without white space and characters that show nothing at its edges.

    >>> seen("\u200b Hi\ufeff\n"), seen("\u200d\xad ")
    ('Hi', '')
    """
    return text.strip(_NOTHING)


def roles_alternate(roles: Sequence[object]) -> bool:
    """True for an optional leading system turn followed by user, assistant, user, ... in turn.

    >>> roles_alternate(["system", "user", "assistant"]), roles_alternate(["user", "user"])
    (True, False)
    """
    spoken = roles[1:] if roles and roles[0] == "system" else roles
    return all(role == ("user", "assistant")[turn % 2] for turn, role in enumerate(spoken))


def _is_sound(
    conversation: object, chosen: object, rejected: object, *, max_text_bytes: int
) -> bool:
    """Whether a record of plain types has nothing against it: the quick way for nearly all."""
    if type(conversation) not in (list, tuple) or len(conversation) < 1:  # type: ignore[arg-type]
        return False
    place = 0
    for turn in conversation:  # type: ignore[attr-defined]
        if type(turn) is not dict or not _is_fit(turn.get("content"), max_text_bytes):
            return False
        role = turn.get("role")
        if role == "system" and not place and turn is conversation[0]:  # type: ignore[index]
            continue
        if role != ("user", "assistant")[place % 2]:
            return False
        place += 1
    fit = _is_fit(chosen, max_text_bytes) and _is_fit(rejected, max_text_bytes)
    return place % 2 == 1 and fit and not _response_reasons(chosen, rejected)


def _is_fit(text: object, max_text_bytes: int) -> bool:
    """Whether a value is a text that says something and can be stored."""
    if type(text) is not str or "\x00" in text or 4 * len(text) > max_text_bytes:
        return False
    # A lone surrogate cannot be encoded; ASCII holds none.
    return (text.isascii() or not _text_reasons(text, max_text_bytes)) and not _is_empty(text)


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
        return {"identical_responses"} if seen(chosen) == seen(rejected) else set()
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
    return text is None or (isinstance(text, str) and not seen(text))
