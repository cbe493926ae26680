"""Messages stored as text: JSON in a column of texts, or what pandas writes of lists into CSV.

A text is read as messages only when it is one as a whole, alone or in a block of code. One that
begins like a list of messages and cannot be read to its end (NumPy's notation without commas, a
cell cut off), or that names speakers in a notation that is not read, is refused.
"""

import ast
import json
import re
import warnings
from collections.abc import Mapping
from typing import Any

from synpref_dagster.pairs.structure import seen
from synpref_dagster.sources.foreign.messages import (
    CONTENT_KEYS,
    OTHER_ROLE_KEYS,
    ROLE_KEYS,
    SPOKEN,
    TOOL_ROLES,
    Message,
    as_messages,
    holds_something,
    is_messages,
)
from synpref_dagster.sources.foreign.unsupported import plain_name
from synpref_dagster.sources.records import RowRejected

REASON = "messages_stored_as_text"
MAX_CHARS = 2_000_000
"""Longest text that is read as messages; longer ones that look like it are refused."""
_FIRST = frozenset('[{"(anb`-HASCmc')
# A list, an array or a lone object whose first key is quoted; pairs of a role and a content.
_BEGINS = re.compile(
    r"(?:b?[\"'])?(?:array\(|np\.array\()?\s*[\[(]*\s*\{\s*\\*[\"']|[\[(]\s*[\[(]\s*\\*[\"']"
)
_FENCE = re.compile(r"```[\w+-]*[ \t]*\r?\n(.*?)\r?\n?```", re.DOTALL)
_ROLE_KEY, _CONTENT_KEY = (
    re.compile(rf"[\"'](?:{'|'.join(names)})\\*[\"']\s*:") for names in (ROLE_KEYS, CONTENT_KEYS)
)
_KNOWN = frozenset({*SPOKEN, *TOOL_ROLES})
_NAMES, _SPEAKERS = "|".join(ROLE_KEYS), "|".join(sorted(_KNOWN))
_QUOTE = r"\\*[\"']"
_SPEAKER = re.compile(rf"{_QUOTE}(?:{_SPEAKERS}){_QUOTE}", re.IGNORECASE)
_SPEAKS = re.compile(
    rf"{_QUOTE}(?:{_NAMES}){_QUOTE}\s*:\s*{_QUOTE}(?:{_SPEAKERS}){_QUOTE}", re.IGNORECASE
)
_NOTED = re.compile(
    # JavaScript, YAML, and what LangChain and others print.
    rf"[\[\s]*\{{\s*(?:{_NAMES})\s*:\s*[\"'](?:{_SPEAKERS})[\"']"
    rf"|(?:-[ \t]*|[\w-]+:[ \t]*\n\s*-[ \t]*)(?:{_NAMES}):[ \t]*[\"']?(?:{_SPEAKERS})[\"']?[ \t]*\n"
    r"|\[?(?:System|Human|AI|Assistant|User|Chat|ChatCompletion)\w*Message\w*\((?:role|content)=",
    re.IGNORECASE,
)
"""How messages begin in a notation that is not read."""
_SAYS = rf"(?:{'|'.join(CONTENT_KEYS)})"
_SHOWN = re.compile(
    # Objects of any class as Python prints them, in a list or alone.
    rf"[\[(\s]*(?:[A-Za-z_][\w.]*\(|<[A-Z]\w*\s)\s*(?=\w+=)(?=(?s:.*?)\b{_SAYS}=)"
    rf"(?=(?s:.*?)\b(?:{_NAMES})=<?(?:[\w.]*\.)?[\"']?(?i:{_SPEAKERS})\b)"
    # One message of YAML, in either order.
    rf"|(?:{_NAMES}):[ \t]*[\"']?(?i:{_SPEAKERS})[\"']?[ \t]*\r?\n\s*{_SAYS}:"
    rf"|{_SAYS}:[ \t][^\n]*\n(?:{_NAMES}):[ \t]*[\"']?(?i:{_SPEAKERS})[\"']?[ \t]*(?:\r?\n|\Z)"
)
"""The same without a sign or a name at the beginning that tells it."""
_NAMING = frozenset(
    ("id", "uuid", "conversation_id", "model", "created", "created_at", "timestamp", "title")
)
"""What may stand beside the messages of an object: it names the conversation and adds nothing."""
_USERS = frozenset(name for name, role in SPOKEN.items() if role == "user")
_ASSISTANTS = frozenset(n for n, role in SPOKEN.items() if role == "assistant") - {"model"}
"""Names of speakers that are hardly ever names of other fields."""
MAX_DEPTH = 6  # of a value in which speakers are looked for


def may_store(text: str) -> bool:
    """Whether a text begins so that it may store messages: a quick look before any other."""
    begun = text if "!" < text[:1] < "\x7f" else seen(text)
    if not begun or (begun[:1] not in _FIRST and not _SHOWN.match(begun)):
        return False
    return begun.startswith("```") or _is_noted(begun) or bool(_BEGINS.match(begun))


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
    bare = seen(text)
    if fenced := _FENCE.fullmatch(bare):
        bare = seen(fenced[1])
    if _is_noted(bare):
        raise RowRejected(REASON, detail="messages in a notation that is not read")
    if not (_BEGINS.match(bare) and _SPEAKER.search(bare)):
        return None
    if len(text) > MAX_CHARS:
        raise RowRejected(REASON, detail=f"more than {MAX_CHARS:,} characters")
    known, value = _value(bare)
    if not known:
        _refuse_broken(bare)
        return None
    found = _exact(value)
    if found is None and _speaks(value):
        raise RowRejected(REASON, detail="speakers in a layout that is not read")
    return found


def _is_noted(text: str) -> bool:
    return bool(_NOTED.match(text) or _SHOWN.match(text))


def _exact(value: Any) -> list[Message] | None:
    """The messages that a value is, or holds under one name beside nothing else."""
    if isinstance(value, list | tuple) and value and all(map(is_said_pair, value)):
        value = [{"role": role, "content": content} for role, content in value]
    if isinstance(value, dict) and not is_messages(value):
        inside = [name for name, each in value.items() if is_messages(each) and _spoken(each)]
        if len(inside) == 1:
            _refuse_beside(value, inside[0])
            value = value[inside[0]]
    return as_messages(value) if is_messages(value) and _spoken(value) else None


def is_said_pair(value: Any) -> bool:
    """Whether a value is a pair of a known role and what it says."""
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(each, str) for each in value)
        and value[0].strip().lower() in SPOKEN
    )


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
            value = ast.literal_eval(text.strip())
            return True, json.loads(value) if isinstance(value, str | bytes) else value
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return False, None


def _refuse_broken(text: str) -> None:
    """Refuses what begins like messages and is no literal, unless somebody talks about messages."""
    if not (_ROLE_KEY.search(text) and _CONTENT_KEY.search(text) and _SPEAKS.search(text)):
        return
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        raise RowRejected(REASON, detail="neither JSON nor a Python literal to its end") from None
    if text[end:].lstrip()[:1] == "{":
        raise RowRejected(REASON, detail="a message behind the other")
    if not re.search(r"\w", text[end:]):
        raise RowRejected(REASON, detail="signs behind the messages")


def _spoken(value: Any) -> bool:
    """Whether somebody known speaks: a list of people with roles and texts is no conversation."""
    messages = value if isinstance(value, list | tuple) else [value]
    roles = [message.get(name) for message in messages for name in ROLE_KEYS if name in message]
    return all(isinstance(role, str) and role.strip().lower() in _KNOWN for role in roles)


def _speaks(value: Any, depth: int = MAX_DEPTH) -> bool:
    """Whether a speaker that is known says something, anywhere in a value."""
    if isinstance(value, Mapping):
        names = {str(name).strip().lower() for name in value}
        if names <= _KNOWN and names & _USERS and names & _ASSISTANTS:
            return True
        if _names_speaker(value) and names & {*CONTENT_KEYS, "data", "body", "utterance"}:
            return True
        value = list(value.values())
    if not isinstance(value, list | tuple) or not depth:
        return False
    return any(is_said_pair(each) or _speaks(each, depth - 1) for each in value)


def _names_speaker(value: Mapping[str, Any]) -> bool:
    roles = [value.get(name) for name in (*ROLE_KEYS, *OTHER_ROLE_KEYS)]
    inner = [role.get("role") for role in roles if isinstance(role, Mapping)]
    return any(isinstance(r, str) and r.strip().lower() in _KNOWN for r in [*roles, *inner])
