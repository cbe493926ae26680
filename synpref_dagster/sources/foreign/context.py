"""Where columns go that belong to a conversation: before its first turn, or below its prompt."""

from collections.abc import Iterable, Mapping
from typing import Any

from synpref_dagster.pairs.structure import seen
from synpref_dagster.sources.foreign.labelled import labelled_messages
from synpref_dagster.sources.foreign.messages import (
    TWO_SYSTEMS,
    Message,
    as_messages,
    holds_something,
    is_messages,
    listed,
)
from synpref_dagster.sources.foreign.names import ABOUT, PROMPTS, unread
from synpref_dagster.sources.foreign.opening import hidden_messages
from synpref_dagster.sources.foreign.unsupported import plain_name
from synpref_dagster.sources.records import RowRejected

Row = Mapping[str, Any]
SIDES = ("chosen", "rejected")
LEAST_PART = 20
"""Characters of a text that can be told to repeat a part of another."""
_SAYING = ("content", "value", "text", "parts", "message", "input", "output")
"""Names under which objects hold what somebody said."""


def with_context(row: Row, asks: str, given: Mapping[str, str]) -> object:
    """Text or messages of the conversation with its system prompt, earlier turns and matter."""
    of_kind: dict[str, list[str]] = {}
    for name in sorted(given, key=lambda each: _place(each, given[each])):
        of_kind.setdefault(given[name], []).append(name)
    prompt, prompts, about = row.get(asks), of_kind.get("prompt", []), of_kind.get("about", [])
    if _is_whole(row.get("chosen")):
        prompts, about = (
            [n for n in names if not repeats(row[n], row, SIDES)] for names in (prompts, about)
        )
    if not holds_something(prompt) and (prompts or (about and not prompt)):
        prompt = row[(prompts or about).pop(0)]
    for name in prompts:
        if not repeats(row[name], {**row, asks: prompt}, (asks, *SIDES)):
            raise unread(name)
    for name in _distinct(about, row):
        prompt = _about(prompt, row[name], name=name)
    systems = [_system(row[name], name=name) for name in of_kind.get("system", [])]
    histories = {name: _earlier(row[name], name=name) for name in of_kind.get("history", [])}
    before = _one_system(systems, _one_history(histories))
    return _below(before, prompt) if before else prompt


def _one_history(histories: Mapping[str, list[Message]]) -> list[Message]:
    """The earlier turns, which two columns may both hold."""
    first = next(iter(histories.values()), [])
    for name, turns in histories.items():
        if turns != first:
            raise unread(name)
    return first


def _one_system(systems: list[Message], turns: list[Message]) -> list[Message]:
    """The turns below their one system turn, wherever it stands and however often it is said."""
    is_first = bool(turns) and turns[0]["role"] == "system"
    found = systems + turns[:is_first]
    if any(seen(str(each["content"])) != seen(str(found[0]["content"])) for each in found):
        raise RowRejected(TWO_SYSTEMS, detail="two columns hold different system prompts")
    return [*found[:1], *turns[is_first:]]


def _distinct(names: Iterable[str], row: Row) -> list[str]:
    """The columns that say something of their own: of two that hold the same, the first."""
    return list({str(row[name]).strip(): name for name in reversed(list(names))}.values())[::-1]


def _is_whole(side: object) -> bool:
    """Whether a side repeats a conversation before its response."""
    messages = _hidden_or_none(side) if isinstance(side, str) else listed(side)
    return isinstance(messages, list) and len(messages) > 1


def _below(before: list[Message], prompt: object) -> object:
    if not holds_something(prompt):
        return before
    if isinstance(prompt, str) or not is_messages(prompt):
        asked = {"role": "user", "content": prompt}
        return before if before[-1] == asked else [*before, asked]
    turns = as_messages(prompt) or []
    is_system, has_system = before[0]["role"] == "system", turns[0]["role"] == "system"
    earlier, own, turns = before[is_system:], turns[:has_system], turns[has_system:]
    if turns[: len(earlier)] != earlier:
        turns = [*earlier, *turns]
    return _one_system(before[:is_system], [*own, *turns])


def _place(name: str, kind: str) -> int:
    order = {"prompt": PROMPTS, "about": ABOUT}.get(kind, "").split()
    plain = plain_name(name)
    return order.index(plain) if plain in order else 0


def _system(value: object, *, name: str) -> Message:
    if not isinstance(value, str):
        raise unread(name)
    return {"role": "system", "content": value}


def _about(prompt: object, about: object, *, name: str) -> object:
    """An instruction with its matter below an empty line, as Alpaca's template has it."""
    if any(isinstance(text, str) and hidden_messages(text) is not None for text in (prompt, about)):
        raise unread(name)  # one of them is a whole chat: nothing can be put below it as text
    if isinstance(prompt, str) and isinstance(about, str):
        told = prompt.strip().endswith(about.strip()) and len(about.strip()) >= LEAST_PART
        return prompt if told or prompt.strip() == about.strip() else f"{prompt}\n\n{about}"
    if isinstance(about, str) and is_messages(prompt) and repeats(about, {"": prompt}, ("",)):
        return prompt
    raise unread(name)


def _earlier(value: object, *, name: str) -> list[Message]:
    """The turns of a history: messages, [user, assistant] pairs, or a chat stored as text."""
    if isinstance(value, str):
        found = hidden_messages(value)
        value = labelled_messages(value) if found is None else found
    listing = listed(value)
    if is_messages(listing):
        return as_messages(listing) or []
    pairs: list[Any] = [listed(pair) for pair in listing] if isinstance(listing, list) else []
    if not pairs or not all(map(_is_exchange, pairs)):
        raise unread(name)
    return [
        {"role": role, "content": content}
        for pair in pairs
        for role, content in zip(("user", "assistant"), pair, strict=True)
    ]


def _is_exchange(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(t, str) for t in pair)


def repeats(value: object, row: Row, columns: Iterable[str]) -> bool:
    """Whether every text of a value is said in one of these columns as well."""
    said = [text for name in columns for text in _texts(row.get(name))]
    texts = _texts(value)
    return bool(texts) and all(repeated(text, said) for text in texts)


def repeated(text: str, said: Iterable[str]) -> bool:
    """Whether a text is one of those said, or a part of one that is long enough to tell.

    >>> repeated("Hi  there", ["Hi there"]), repeated("Hi", ["Hi there"])
    (True, False)
    """
    words = " ".join(text.split())
    return any(
        words == one or (len(words) >= LEAST_PART and words in one)
        for one in (" ".join(each.split()) for each in said)
    )


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        messages = _hidden_or_none(value)
        return [value] if messages is None else [str(one["content"]) for one in messages]
    if isinstance(value, Mapping):
        return [text for name in _SAYING for text in _texts(value.get(name))]
    found = listed(value)
    return [text for each in found for text in _texts(each)] if isinstance(found, list) else []


def _hidden_or_none(text: str) -> list[Message] | None:
    try:
        return hidden_messages(text)
    except RowRejected:
        return None
