"""Columns beside those that a format reads: part of the conversation, metadata, or without a place.

A system prompt, earlier turns and what an instruction is about are put where they belong, in every
format whose conversation is one column. What cannot be put anywhere refuses the row by name.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from synpref_dagster.pairs.structure import seen
from synpref_dagster.sources.foreign.labelled import labelled_messages
from synpref_dagster.sources.foreign.messages import (
    MEDIA,
    TOOLS,
    TWO_SYSTEMS,
    UNSUPPORTED,
    Message,
    as_messages,
    holds_something,
    is_messages,
    listed,
    plain_name,
)
from synpref_dagster.sources.foreign.opening import hidden_messages
from synpref_dagster.sources.records import RowRejected

Row = Mapping[str, Any]
REASON = "unread_context"
_SYSTEM = """
    system system_prompt system_message system_instruction system_instructions sys_prompt
    developer_prompt
"""
_HISTORY = """
    history chat_history conversation_history dialogue_history dialog_history previous_turns
    previous_messages past_messages prior_turns previous_conversation
"""
_PROMPTS = """
    prompt question query instruction user_prompt user_message user_query user_input messages
    conversation conversations dialogue dialog post
"""
_ABOUT = "input inputs context passage document article"
_METADATA = """
    id ids idx index uid uuid guid key hash row number num count source sources dataset subset split
    domain category categories type types kind class model models generator engine score scores
    rating ratings rank reward rewards margin logp logps lang language locale timestamp time date
    created updated url link author annotator annotators worker judge reviewer label labels tag
    tags flag license licence version difficulty quality intent reason rationale explanation
    justification feedback comment comments critique annotation annotations name meta metadata
    origin provenance file filename path status length tokens toxicity sentiment winner preference
    confidence agreement strength
"""
_NOT_COLUMNS = {"file", "files", "function", "tool_call_id"}  # names of files and functions
KINDS = {
    **{name: "media" for name, reason in UNSUPPORTED.items() if reason in (TOOLS, MEDIA)},
    **dict.fromkeys(("img", "imgs", "picture", "pictures"), "media"),
    **dict.fromkeys(_SYSTEM.split(), "system"),
    **dict.fromkeys(_HISTORY.split(), "history"),
    **dict.fromkeys(_PROMPTS.split(), "prompt"),
    **dict.fromkeys(_ABOUT.split(), "about"),
    **dict.fromkeys(_NOT_COLUMNS, ""),
}
"""What a column of this name is to a conversation; any other name is metadata, or unknown."""
METADATA = frozenset(_METADATA.split())
"""Words in the names of columns that say nothing of what was said."""
REMARKS = frozenset(
    {"rationale", "reason", "explanation", "justification", "feedback", "critique", "annotation"}
    | {"annotations", "metadata", "meta", "licence", "license", "path", "url", "judge", "tags"}
)
"""Words in the names of columns that hold sentences about the responses or the data."""
SENTENCE = 3  # words from which on a text may be a prompt, whatever its column is called
_BLANK = frozenset({"", "[]", "{}"})
_MISSING = frozenset({"null", "none", "nan", "<na>", "n/a", "nat"})
"""What tables write where nothing was, in lower case."""
SIDES = ("chosen", "rejected")
MAX_NAMED, OTHERS = 200, "(further columns)"
LEAST_PART = 20
"""Characters of a text that can be told to repeat a part of another."""


@dataclass
class ColumnReader:
    """Reads rows of one source with all their columns, and counts those that nobody read."""

    columns: frozenset[str]
    """Columns that the format reads."""
    asks: str | None
    """The column with the conversation, None where a format makes it of several."""
    guesses: bool
    """Whether the prompt is inferred: then no other text may be it."""
    unread: Counter[str] = field(default_factory=Counter)
    """Rows in which a column held something that was not read."""
    others: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict)
    """Columns of a row -> those that the format does not read, and their kinds."""

    def read(self, row: Row) -> Row:
        """The row with its context in the conversation's column.

        Raises RowRejected where a column may belong to the conversation and cannot be put there.
        """
        others = self.others.get(shape := tuple(row))
        if others is None:
            others = self._note_shape(shape)
        left = {
            name: kind
            for name, kind in others.items()
            if (value := row[name]) is not None and _holds(value)
        }
        if not left:
            return row
        missing = [name for name, value in ((n, row[n]) for n in left) if _is_missing(value)]
        if missing:
            # Counted, since it may have been said: nothing tells the word from an empty place.
            self._count(missing)
            left = {name: kind for name, kind in left.items() if name not in missing}
        kinds = {name: kind for name, kind in left.items() if kind}
        if not kinds and not self.guesses:
            self._count(left)
            return row
        if self.guesses:
            refuse_other_prompts(row, left)
        read, used = self._with_context(row, kinds) if kinds else (row, [])
        self._count(name for name in left if name not in used)
        return read

    def _note_shape(self, names: tuple[str, ...]) -> dict[str, str]:
        others = {name: kind_of(name) for name in names if name not in self.columns}
        if len(self.others) < MAX_NAMED:
            self.others[names] = others
        return others

    def _count(self, names: Iterable[str]) -> None:
        for name in names:
            known = name in self.unread or len(self.unread) < MAX_NAMED
            self.unread[name if known else OTHERS] += 1

    def _with_context(self, row: Row, kinds: Mapping[str, str]) -> tuple[Row, list[str]]:
        media = [
            name
            for name, kind in kinds.items()
            if kind == "media" and not isinstance(row[name], bool | int | float)
        ]
        if media:
            reason = UNSUPPORTED.get(plain_name(media[0]), MEDIA)
            raise RowRejected(
                reason, detail=_advice(media[0], "holds what no pair has a place for")
            )
        given = {
            name: kind
            for name, kind in kinds.items()
            if kind != "media" and _may_be_text(row[name])
        }
        if not given:
            return row, []
        if self.asks is None:
            left = [name for name in given if not _repeats(row[name], row, self.columns)]
            if left:
                raise _unread(left[0])
            return row, list(given)
        return {**row, self.asks: _conversation(row, self.asks, given)}, list(given)


@lru_cache(maxsize=10_000)
def kind_of(name: object) -> str:
    """What a column of this name is to a conversation, "" where nothing is known of it.

    >>> kind_of("System Prompt"), kind_of("chatHistory"), kind_of("image_2"), kind_of("score")
    ('system', 'history', 'media', '')
    """
    return KINDS.get(plain_name(name), "")


@lru_cache(maxsize=10_000)
def is_metadata(name: str) -> bool:
    """Whether the name of a column says that it is metadata.

    >>> is_metadata("prompt_id"), is_metadata("chosen-model"), is_metadata("task")
    (True, True, False)
    """
    return not METADATA.isdisjoint(plain_name(name).split("_"))


def refuse_other_prompts(row: Row, names: Iterable[str]) -> None:
    """Raises RowRejected where a text beside two responses may be their prompt."""
    for name in names:
        value = row[name]
        if isinstance(value, str | list | Mapping) and not is_metadata(name):
            raise _unread(name)
        # What a name says counts less than a sentence, except where sentences are expected.
        if isinstance(value, str) and len(value.split()) >= SENTENCE and not _is_remark(name):
            raise _unread(name)


def _is_remark(name: str) -> bool:
    return not REMARKS.isdisjoint(plain_name(name).split("_"))


def with_prompt(row: Row) -> Row:
    """A row of chosen and rejected with its prompt under `prompt`, whatever its column is called.

    Rows of other layouts, and rows whose context cannot be placed, stay as they are.
    """
    if not {"chosen", "rejected"} <= row.keys():
        return row
    reader = ColumnReader(frozenset({"prompt", "chosen", "rejected"}), "prompt", guesses=False)
    try:
        return reader.read(row)
    except RowRejected:
        return row


def _conversation(row: Row, asks: str, given: Mapping[str, str]) -> object:
    """Text or messages of the conversation with its system prompt, earlier turns and matter."""
    of_kind: dict[str, list[str]] = {}
    for name in sorted(given, key=lambda each: _place(each, given[each])):
        of_kind.setdefault(given[name], []).append(name)
    prompt, prompts, about = row.get(asks), of_kind.get("prompt", []), of_kind.get("about", [])
    if _is_whole(row.get("chosen")):
        prompts, about = (
            [n for n in names if not _repeats(row[n], row, SIDES)] for names in (prompts, about)
        )
    if not holds_something(prompt) and (prompts or (about and not prompt)):
        prompt = row[(prompts or about).pop(0)]
    for name in prompts:
        if not _repeats(row[name], {**row, asks: prompt}, (asks, *SIDES)):
            raise _unread(name)
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
            raise _unread(name)
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
    order = {"prompt": _PROMPTS, "about": _ABOUT}.get(kind, "").split()
    plain = plain_name(name)
    return order.index(plain) if plain in order else 0


def _system(value: object, *, name: str) -> Message:
    if not isinstance(value, str):
        raise _unread(name)
    return {"role": "system", "content": value}


def _about(prompt: object, about: object, *, name: str) -> object:
    """An instruction with its matter below an empty line, as Alpaca's template has it."""
    if any(isinstance(text, str) and hidden_messages(text) is not None for text in (prompt, about)):
        raise _unread(name)  # one of them is a whole chat: nothing can be put below it as text
    if isinstance(prompt, str) and isinstance(about, str):
        told = prompt.strip().endswith(about.strip()) and len(about.strip()) >= LEAST_PART
        return prompt if told or prompt.strip() == about.strip() else f"{prompt}\n\n{about}"
    if isinstance(about, str) and is_messages(prompt) and _repeats(about, {"": prompt}, ("",)):
        return prompt
    raise _unread(name)


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
        raise _unread(name)
    return [
        {"role": role, "content": content}
        for pair in pairs
        for role, content in zip(("user", "assistant"), pair, strict=True)
    ]


def _is_exchange(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(t, str) for t in pair)


def _repeats(value: object, row: Row, columns: Iterable[str]) -> bool:
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
        return [text for name in ("content", "value", "text") for text in _texts(value.get(name))]
    found = listed(value)
    return [text for each in found for text in _texts(each)] if isinstance(found, list) else []


def _hidden_or_none(text: str) -> list[Message] | None:
    try:
        return hidden_messages(text)
    except RowRejected:
        return None


def _may_be_text(value: object) -> bool:
    """Numbers count turns or name rows; texts, lists and objects may say something."""
    return isinstance(listed(value), str | list | Mapping)


def _holds(value: object) -> bool:
    """Whether a cell holds something; tables without types write an empty list as text, too."""
    if type(value) is str:
        return bool(seen(value)) if len(value) > 4 else seen(value) not in _BLANK
    return holds_something(value)


def _is_missing(value: object) -> bool:
    """Whether a cell is the word by which a table says that nothing is there."""
    return type(value) is str and len(value) < 9 and value.strip().lower() in _MISSING


def _advice(name: str, what: str) -> str:
    return (
        f"column {_shown(name)} {what}; if it is not part of it: ignore_columns = [{_shown(name)}]"
    )


def _unread(name: str) -> RowRejected:
    """The refusal of a column that may belong to the conversation and has no place in it."""
    rename = "; if it is the prompt: columns = {prompt = " + _shown(name) + "}"
    maybe = "" if kind_of(name) in ("system", "history") else rename
    what = f"may belong to the conversation and cannot be put into it{maybe}"
    return RowRejected(REASON, detail=_advice(name, what))


def _shown(name: str) -> str:
    return repr(name if len(name) <= 60 else name[:57] + "...")
