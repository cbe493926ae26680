"""`opened`: conversation and responses of a row with everything unfolded that hides in its texts.

Every pair passes here before it is checked, whatever format it comes from: a prompt that is a
stored or rendered chat becomes its turns, a side that is one becomes messages.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from synpref_dagster.pairs.structure import seen
from synpref_dagster.sources.foreign.labelled import (
    assistant_label,
    begins_chat,
    labelled_messages,
    may_be_chat,
    may_begin,
    user_label,
)
from synpref_dagster.sources.foreign.messages import (
    TWO_SYSTEMS,
    Message,
    as_messages,
    is_plain,
    listed,
)
from synpref_dagster.sources.foreign.rendered import (
    REASON,
    ends_turn,
    rendered_messages,
    without_end,
)
from synpref_dagster.sources.foreign.stored import REASON as STORED, may_store, stored_messages
from synpref_dagster.sources.foreign.templates import holds_token
from synpref_dagster.sources.foreign.thoughts import leaves_open, opened_thought, with_thought
from synpref_dagster.sources.records import RowRejected

Side = Any  # a text, a list of messages, or what the check of the record will refuse


class _Asked(NamedTuple):
    """The conversation, and what its prompt tells about the responses."""

    turns: list[Message]
    is_open: bool = False
    """Whether the prompt was written with labels or ended with an open turn: responses go on."""
    is_rendered: bool = False
    thought: str = ""
    """The mark of a thought that the prompt opened for the responses."""


def opened(conversation: object, responses: tuple[Side, Side]) -> tuple[object, tuple[Side, Side]]:
    """Turns, and (chosen, rejected) as two texts or two lists of messages.

    What is no list of messages and no text goes through as it is: the check of the record refuses
    it. Raises RowRejected for what cannot be unfolded exactly.
    """
    if conversation and type(responses[0]) is list:
        responses = _lone_reply(responses[0]), _lone_reply(responses[1])
    if _hides_nothing(conversation, responses):
        return conversation, responses
    turns = as_messages(conversation)
    if turns is None:
        return conversation, responses
    asked = _asked(turns)
    return _with_sides(asked, responses)


def _lone_reply(side: Side) -> Side:
    """The text of a side that is one plain message of the assistant, else the side."""
    if type(side) is list and len(side) == 1 and is_plain(side[0]):
        return side[0]["content"] if side[0]["role"] == "assistant" else side
    return side


def _hides_nothing(conversation: object, responses: tuple[Side, Side]) -> bool:
    """Whether a quick look at each text finds nothing to unfold, as in nearly every row."""
    chosen, rejected = responses
    if type(chosen) is not str or type(rejected) is not str or type(conversation) is not list:
        return False
    if may_hide(chosen) or may_hide(rejected) or may_begin(chosen) or may_begin(rejected):
        return False
    for turn in conversation:
        if not is_plain(turn) or may_hide(turn["content"]):
            return False
    # Labels are looked for in the prompt; a turn before it that holds a whole chat is rarer still.
    return not conversation or not may_be_chat(conversation[-1]["content"])


def may_hide(text: str) -> bool:
    """Whether a text may be a stored chat, or hold control tokens of a rendered one."""
    return may_store(text) or holds_token(text)


def opened_sides(chosen: Side, rejected: Side) -> tuple[Side, Side]:
    """Two sides without a prompt: lists of messages where both are such, else texts."""
    return _with_sides(_Asked([]), (chosen, rejected))[1]


def hidden_messages(text: str) -> list[Message] | None:
    """The messages that a text stores or renders with control tokens; None for a plain text."""
    found = stored_messages(text)
    return rendered_messages(text) if found is None else found


def _asked(turns: list[Message]) -> _Asked:
    system = turns[:1] if turns and turns[0]["role"] == "system" else []
    spoken = turns[len(system) :]
    if len(spoken) != 1 or spoken[0]["role"] != "user":
        _refuse_hidden(turns)
        return _Asked(turns)
    _refuse_hidden(system)
    text = spoken[0]["content"]
    if not isinstance(text, str):
        return _Asked(turns)
    if leaves_open(text) and not (holds_token(text) or begins_chat(text)):
        raise RowRejected(REASON, detail="the prompt ends in a thought")
    found = hidden_messages(text)
    labelled = labelled_messages(text) if found is None else None
    said = labelled or found
    if not said:
        return _Asked(turns)
    if said[-1]["role"] != "assistant":
        return _Asked(_under(system, said), labelled is not None, labelled is None)
    thought = opened_thought(str(said[-1]["content"]))
    if thought is None:
        raise RowRejected(_kind([text]), detail="the prompt ends with a reply of the assistant")
    turns = _under(system, said[:-1])
    return _Asked(turns, is_open=True, is_rendered=labelled is None, thought=thought)


def _under(system: list[Message], turns: list[Message]) -> list[Message]:
    """The turns below a system turn; raises RowRejected where they have another one."""
    if system and turns and turns[0]["role"] == "system" and turns[0] != system[0]:
        raise RowRejected(TWO_SYSTEMS, detail="the prompt holds another system prompt")
    return turns if turns[:1] == system else [*system, *turns]


def _refuse_hidden(turns: Sequence[Message]) -> None:
    for turn in turns:
        content = turn["content"]
        if not isinstance(content, str):
            continue
        is_labelled = turn["role"] == "user" and may_be_chat(content)
        if hidden_messages(content) is not None or (is_labelled and labelled_messages(content)):
            raise RowRejected(_kind([content]), detail="a turn holds a whole chat")


def _kind(texts: Sequence[Side]) -> str:
    """The reason against texts one of which hides a chat."""
    return STORED if any(isinstance(t, str) and stored_messages(t) for t in texts) else REASON


def _with_sides(asked: _Asked, sides: tuple[Side, Side]) -> tuple[list[Message], tuple[Side, Side]]:
    chosen, rejected = _without_ends(sides, is_rendered=asked.is_rendered)
    found = _side(chosen), _side(rejected)
    hidden = isinstance(chosen, str) != isinstance(found[0], str) or isinstance(
        rejected, str
    ) != isinstance(found[1], str)
    if hidden and isinstance(found[0], list) != isinstance(found[1], list):
        raise RowRejected(_kind(sides), detail="one side is a whole chat, the other is not")
    return _with_labels(asked, found)


def _without_ends(sides: tuple[Side, Side], *, is_rendered: bool) -> tuple[Side, Side]:
    """The sides without tokens that end a turn: behind the last word, or after a rendering."""
    chosen, rejected = (
        without_end(side)
        if isinstance(side, str) and holds_token(side) and (is_rendered or ends_turn(side))
        else side
        for side in sides
    )
    return chosen, rejected


def _side(side: Side) -> Side:
    if isinstance(side, str):
        messages = hidden_messages(side)
        return side if messages is None else messages
    return as_messages(side) or listed(side)


def _with_labels(
    asked: _Asked, sides: tuple[Side, Side]
) -> tuple[list[Message], tuple[Side, Side]]:
    """The same with plain labels taken off, where prompt and responses agree on them."""
    turns = asked.turns
    if not all(isinstance(side, str) for side in sides):
        return turns, sides
    turns, sides = _without_labels(asked, sides)
    chats = [labelled_messages(side) if begins_chat(side) else None for side in sides]
    say_it = [chat is not None and _says(chat, turns) for chat in chats]
    if all(say_it):
        return turns, (chats[0], chats[1])
    if any(say_it):
        raise RowRejected(REASON, detail="one side is a whole chat, the other is not")
    if asked.is_open:
        sides = sides[0].strip(), sides[1].strip()
    return turns, with_thought(asked.thought, sides) if asked.thought else sides


def _says(chat: list[Message], turns: list[Message]) -> bool:
    """Whether a chat says what is asked; where nothing is asked, it is all there is."""
    said = [turn["content"] for turn in chat]
    return all(turn["content"] in said for turn in turns if turn["role"] != "system")


def _without_labels(asked: _Asked, sides: tuple[str, str]) -> tuple[list[Message], tuple[str, str]]:
    """Turns and texts without the label that a reply begins with.

    Raises RowRejected where only one of the two has it: nothing else would be easier to learn.
    """
    turns, labels = asked.turns, [assistant_label(side) for side in sides]
    wanted = str(turns[-1]["content"]) if turns else ""
    if not any(labels) or all(label in wanted for label in labels if label):
        return turns, sides
    if not all(labels):
        detail = f"one response begins with {labels[0] or labels[1]}, the other does not"
        raise RowRejected(REASON, detail=detail)
    if not asked.is_open and (not turns or not _unlabelled(turns)):
        raise RowRejected(REASON, detail=f"both responses begin with {labels[0]}")
    turns = turns if asked.is_open else _unlabelled(turns)
    return turns, (_after_label(sides[0], labels[0]), _after_label(sides[1], labels[1]))


def _unlabelled(turns: list[Message]) -> list[Message]:
    """A conversation of one user turn without the label that it begins with, else []."""
    *before, last = turns
    content = last["content"]
    label = user_label(content) if isinstance(content, str) else None
    if label is None:
        return []
    return [*before, {**last, "content": _after_label(content, label)}]


def _after_label(text: str, label: str | None) -> str:
    return seen(seen(text).removeprefix("<s>")).removeprefix(label or "").strip()
