"""Lists of messages in every spelling people use, as {role, content} of three roles.

Ids, times, models and training weights beside role and content are metadata: they say nothing of
what was said. Calls of tools, pictures and thoughts are part of it and have no place in a pair;
what nobody knows may be, and is refused where it says something.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from synpref_dagster.pairs.structure import ROLES, seen
from synpref_dagster.sources.foreign.unsupported import (
    MEDIA,
    THOUGHTS,
    TOOLS,
    in_message,
    in_part,
)
from synpref_dagster.sources.records import RowRejected

Message = dict[str, Any]
ROLE_KEYS = ("role", "from", "speaker")
CONTENT_KEYS = ("content", "value", "text", "parts", "message")
OTHER_ROLE_KEYS = ("sender", "author", "type")
"""Names that say the role where none of `ROLE_KEYS` does, and may say something else."""
_READ = frozenset({*ROLE_KEYS, *CONTENT_KEYS, *OTHER_ROLE_KEYS})
_MAY_SAY = (str, bytes, list, tuple, Mapping)
SPOKEN = {
    **{name: name for name in ROLES},
    **dict.fromkeys(("human", "prompter"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "bot", "chatbot", "ai", "model"), "assistant"),
    **dict.fromkeys(("developer",), "system"),
}
"""Names of roles in the wild, in lower case, and the role of a pair that each is."""
_KNOWN = frozenset(ROLES)
_SCALARS = frozenset({str, int, float, bool, type(None)})
TOOL_ROLES = frozenset({"tool", "function", "function_call", "observation", "ipython"})
SPEAKERS, TWO_SYSTEMS = "several_speakers", "two_system_prompts"
_PART_REASONS = (("tool", TOOLS), ("function", TOOLS), ("thinking", THOUGHTS), ("reason", THOUGHTS))


def holds_something(value: object) -> bool:
    """Whether a value is more than an empty place: None, NaN, "", [], {} and nests of them are not.

    >>> [holds_something(v) for v in (None, float("nan"), " ", [None, {}], {"a": None}, 0, "x")]
    [False, False, False, False, False, True, True]
    """
    if isinstance(value, str):
        return bool(seen(value))
    if isinstance(value, Mapping):
        return any(map(holds_something, value.values()))
    if isinstance(value, list | tuple):
        return any(map(holds_something, value))
    return value is not None and not (isinstance(value, float) and value != value)


def listed(value: object) -> object:
    """A NumPy array as the list it stands for, a lone message as a list of one; else the value."""
    if type(value) is list or isinstance(value, str | list):
        return value
    if isinstance(value, Mapping):
        return [value] if _is_message(value) else value
    to_list = getattr(value, "tolist", None)
    return to_list() if callable(to_list) else list(value) if isinstance(value, tuple) else value


def is_plain(message: object) -> bool:
    """Whether a value is a message as the record has it: role and content, nothing to translate."""
    if type(message) is not dict or len(message) != 2:
        return False
    role = message.get("role")
    return type(role) is str and role in _KNOWN and type(message.get("content")) is str


def unwrapped(value: object) -> object:
    """A value of NumPy or pandas as what Python has for it, all the way down; others stay."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if isinstance(value, list | tuple):
        return [each if type(each) in _SCALARS else unwrapped(each) for each in value]
    if isinstance(value, Mapping):
        return {name: unwrapped(each) for name, each in value.items()}
    if kind.__name__ in ("NAType", "NaTType"):  # what pandas has for None
        return None
    to_list = getattr(value, "tolist", None)
    return unwrapped(to_list()) if callable(to_list) else value


def is_messages(value: object) -> bool:
    """Whether a value is a non-empty list of messages, or one alone, in any known spelling.

    >>> is_messages([{"role": "user", "content": "Hi"}]), is_messages({"from": "gpt", "value": "a"})
    (True, True)
    >>> is_messages("Hi"), is_messages([{"name": "Ada", "role": "admin"}])
    (False, False)
    """
    found = listed(value)
    if not isinstance(found, list) or not found:
        return False
    return all(map(is_plain, found)) or all(map(_is_message, found))


def as_messages(value: object) -> list[Message] | None:
    """The messages of a value as {role, content}; None for what is no list of messages.

    Roles that nobody knows and contents that are no texts are left for the check of the record.
    Raises RowRejected for what a message holds beyond text, and for one role with two names.
    """
    found = listed(value)
    if not isinstance(found, list):
        return None
    if all(map(is_plain, found)):
        return found
    if not all(map(_is_message, found)):
        return None
    _check_speakers(found)
    return [_plain(message) for message in found]


def _is_message(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and (any(name in value for name in ROLE_KEYS) or _other_role(value) is not None)
        and any(name in value for name in (*CONTENT_KEYS, "tool_calls", "function_call"))
    )


def _plain(message: Mapping[str, Any]) -> Message:
    for name, value in message.items():
        if name in _READ or not holds_something(value):
            continue
        if reason := in_message(name, is_said=isinstance(value, _MAY_SAY)):
            raise RowRejected(reason, detail=f"a message holds {name}"[:200])
    role = _only(message, ROLE_KEYS) or _other_role(message)
    if isinstance(role, str):
        name = role.strip().lower()
        if name in TOOL_ROLES:
            raise RowRejected(TOOLS, detail=f"a message of role {name}")
        role = SPOKEN.get(name, role)
    return {"role": role, "content": _said(message)}


def _other_role(message: Mapping[str, Any]) -> str | None:
    """The role under a name that means one only where it names a known speaker."""
    values = (message.get(name) for name in OTHER_ROLE_KEYS)
    found = (v for v in values if isinstance(v, str) and v.strip().lower() in SPOKEN)
    return next(found, None)


def _said(message: Mapping[str, Any]) -> Any:
    """The content of a message, which may stand under several names."""
    given = [message[name] for name in CONTENT_KEYS if message.get(name) is not None]
    parts = message.get("parts")
    if isinstance(parts, list) and all(isinstance(part, str) for part in parts):
        given = ["".join(parts) if value is parts else value for value in given]
    if len(given) > 1:
        contents = [_content(value) for value in given if holds_something(value)] or [""]
        return _only(dict(enumerate(contents)), range(len(contents)))
    return _content(given[0]) if given else None


def _only(message: Mapping[Any, Any], names: Sequence[Any]) -> Any:
    """The value that stands under one of some names; two different ones cannot both count."""
    values = [message[name] for name in names if message.get(name) is not None]
    if any(value != values[0] for value in values[1:]):
        detail = f"two of {', '.join(map(str, names))} differ"
        raise RowRejected("malformed_conversation", detail=detail)
    return values[0] if values else None


def _content(content: Any) -> Any:
    """The text of a content; a list of parts that are all text is joined as chat templates do."""
    parts = listed(content) if not isinstance(content, str) else content
    if isinstance(parts, Mapping) and "type" in parts:
        parts = [parts]
    if not isinstance(parts, list) or not parts:
        return parts
    if not all(isinstance(part, Mapping) for part in parts):
        return parts
    return "".join(map(_part_text, parts))


def _part_text(part: Mapping[str, Any]) -> str:
    kind, text = str(part.get("type", "text")), part.get("text")
    beside = [n for n in part if n not in ("type", "text", "index") and holds_something(part[n])]
    if part.get("thought") is False:
        beside.remove("thought")
    is_typed = "type" in part
    is_text = kind in ("text", "input_text", "output_text") and isinstance(text, str)
    for name in beside:
        is_said = is_text and (not is_typed or isinstance(part[name], _MAY_SAY))
        if reason := in_part(name, is_said=is_said, is_typed=is_typed):
            raise RowRejected(reason, detail=f"a part of a content holds {name}"[:200])
    if is_text:
        return str(text)
    found = (reason for word, reason in _PART_REASONS if word in kind)
    media = any(word in kind for word in ("image", "audio", "video", "file", "document"))
    reason = next(found, MEDIA if media else "unsupported_content")
    raise RowRejected(reason, detail=f"a part of a content is of type {kind}"[:200])


def _check_speakers(messages: Iterable[Mapping[str, Any]]) -> None:
    """Refuses two people under one role: told apart by their names only, they would be one."""
    names: dict[str, set[str]] = {}
    for message in messages:
        name = message.get("name")
        if holds_something(name):
            names.setdefault(str(_only(message, ROLE_KEYS)), set()).add(str(name))
    for role, found in names.items():
        if len(found) > 1:
            detail = f"role {role} is {', '.join(sorted(found))}"
            raise RowRejected(SPEAKERS, detail=detail[:200])
