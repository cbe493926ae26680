"""Messages stored as text: JSON in a column of texts, or what pandas writes of lists into CSV.

A text is read as messages only when it is one as a whole. One that begins like a list of messages
and cannot be read to its end (NumPy's notation without commas, a cell cut off) is refused.
"""

import ast
import json
import re
import warnings
from typing import Any

from synpref_dagster.sources.foreign.messages import (
    CONTENT_KEYS,
    ROLE_KEYS,
    SPOKEN,
    TOOL_ROLES,
    Message,
    as_messages,
    holds_something,
    is_messages,
    plain_name,
)
from synpref_dagster.sources.records import RowRejected

REASON = "messages_stored_as_text"
MAX_CHARS = 2_000_000
"""Longest text that is read as messages; longer ones that look like it are refused."""
_FIRST = '[{"(an'
# A list, an array or a lone object whose first key is quoted.
_BEGINS = re.compile(r"\s*\"?(?:array\(|np\.array\()?\s*[\[(]*\s*\{\s*\\*[\"']")
_ROLE_KEY, _CONTENT_KEY = (
    re.compile(rf"[\"'](?:{'|'.join(names)})\\*[\"']\s*:") for names in (ROLE_KEYS, CONTENT_KEYS)
)
_NAMES, _SPEAKERS = "|".join(ROLE_KEYS), "|".join([*SPOKEN, *TOOL_ROLES])
_QUOTE = r"\\*[\"']"
_SPEAKS = re.compile(
    rf"{_QUOTE}(?:{_NAMES}){_QUOTE}\s*:\s*{_QUOTE}(?:{_SPEAKERS}){_QUOTE}", re.IGNORECASE
)
_NAMING = frozenset(
    ("id", "uuid", "conversation_id", "model", "created", "created_at", "timestamp", "title")
)
"""What may stand beside the messages of an object: it names the conversation and adds nothing."""
_LISTS = ("messages", "conversations", "conversation")


def may_store(text: str) -> bool:
    """Whether a text begins so that it may store messages: a quick look before any other."""
    begun = text if text[:1] > " " else text.lstrip()
    return begun[:1] in _FIRST and begun[:1] != "" and _BEGINS.match(begun) is not None


def stored_messages(text: str) -> list[Message] | None:
    """The messages that a text stores; None for a text that is none, whatever else it holds.

    Raises RowRejected `messages_stored_as_text` where they cannot be read exactly.

    >>> stored_messages('[{"role": "user", "content": "Hi"}]')
    [{'role': 'user', 'content': 'Hi'}]
    >>> stored_messages("[{'name': 'Ada', 'role': 'admin', 'content': 'all'}]") is None
    True
    """
    if not may_store(text):
        return None
    if not (_ROLE_KEY.search(text) and _CONTENT_KEY.search(text) and _SPEAKS.search(text)):
        return None
    if len(text) > MAX_CHARS:
        raise RowRejected(REASON, detail=f"more than {MAX_CHARS:,} characters")
    known, value = _value(text)
    if not known:
        if _goes_on(text):
            if all(line.strip()[:1] == "{" for line in text.strip().splitlines()):
                raise RowRejected(REASON, detail="a message on each line")
            return None
        raise RowRejected(REASON, detail="neither JSON nor a Python literal to its end")
    if isinstance(value, dict) and not is_messages(value):
        inside = [name for name in _LISTS if is_messages(value.get(name))]
        if len(inside) == 1:
            _refuse_beside(value, inside[0])
            value = value[inside[0]]
    return as_messages(value) if is_messages(value) and _spoken(value) else None


def _refuse_beside(value: dict[str, Any], messages: str) -> None:
    """Raises RowRejected where an object holds more than its messages and what names them."""
    for name, other in value.items():
        if name != messages and holds_something(other) and plain_name(name) not in _NAMING:
            raise RowRejected(REASON, detail=f"an object holds {str(name)[:60]!r} beside messages")


def _value(text: str) -> tuple[bool, Any]:
    """(whether the text is a literal, its value)."""
    try:
        value = json.loads(text)
        # JSON within a JSON string: written twice.
        return True, json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return True, ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return False, None


def _goes_on(text: str) -> bool:
    """Whether a whole JSON value is followed by prose: somebody talks about messages."""
    try:
        _, end = json.JSONDecoder().raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return False
    return bool(text.lstrip()[end:].strip())


def _spoken(value: Any) -> bool:
    """Whether somebody known speaks: a list of people with roles and texts is no conversation."""
    messages = value if isinstance(value, list | tuple) else [value]
    roles = [message.get(name) for message in messages for name in ROLE_KEYS if name in message]
    known = {*SPOKEN, *TOOL_ROLES}
    return all(isinstance(role, str) and role.strip().lower() in known for role in roles)
