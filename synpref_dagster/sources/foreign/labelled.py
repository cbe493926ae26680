r"""Chats rendered with plain labels: "Human: ... Assistant:", "### Instruction:", "USER: ...".

Labels are ordinary words, so the rule is narrow: a text must begin with the user's label (or with
the template's own sentence before it), and the assistant's must begin a line. A text that only
mentions a label, or a response that runs on into further turns, stays a text.
"""

import re
from functools import cache
from itertools import pairwise

from synpref_dagster.sources.foreign.messages import Message
from synpref_dagster.sources.foreign.rendered import REASON
from synpref_dagster.sources.records import RowRejected

FAMILIES = (
    ("Human", "Assistant"),
    ("Human", "AI"),
    ("### Human", "### Assistant"),
    ("### User", "### Assistant"),
    ("### Instruction", "### Response"),
    ("USER", "ASSISTANT"),
    ("User", "Assistant"),
    ("<human>", "<bot>"),
)
_LAST = ":>"  # how an open turn ends
INPUT = "### Input"
SYSTEM = "### System"
_ALPACA = "Below is an instruction that describes a task"
_VICUNA = "A chat between a curious "
_NAMES = sorted({name for family in FAMILIES for name in family})
_BEGUN = re.compile(rf"\s*(?:(?:{'|'.join(map(re.escape, _NAMES))}):|{_ALPACA}|{_VICUNA})")


def labelled_messages(text: str) -> list[Message] | None:
    r"""The turns of a text that is a chat with labels, None for one that is none.

    An assistant turn that is open at the end has an empty content; contents are stripped. Raises
    RowRejected `rendered_chat` for a text that ends with an open turn but begins unlike any chat.

    >>> labelled_messages("\n\nHuman: Hi\n\nAssistant:")
    [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': ''}]
    >>> labelled_messages('What does "Human:" mean?') is None
    True
    """
    if not may_be_chat(text):
        return None
    for user, assistant in FAMILIES:
        if f"{user}:" in text and (f"{assistant}:" in text or text.startswith(f"\n\n{user}:")):
            turns = _turns(text, user, assistant)
            if turns is not None:
                return turns
    return None


def may_be_chat(text: str) -> bool:
    """Whether a text may be a chat with labels: a quick look before any other."""
    return may_begin(text) or text.rstrip()[-1:] in _LAST


def may_begin(text: str) -> bool:
    """Whether a text may begin with a label or a template's sentence, quickly."""
    return _BEGUN.match(text) is not None


def assistant_label(text: str) -> str | None:
    r"""The label of the assistant that a text begins with, None where there is none.

    >>> assistant_label("\n\nAssistant: An apple."), assistant_label("Assistants are nice.")
    ('Assistant', None)
    """
    begun = text.lstrip()
    return next((name for _, name in FAMILIES if begun.startswith(f"{name}:")), None)


def user_label(text: str) -> str | None:
    """The label of the user that a text begins with, None where there is none."""
    begun = text.lstrip()
    return next((name for name, _ in FAMILIES if begun.startswith(f"{name}:")), None)


def begins_chat(text: str) -> bool:
    """Whether a text begins with a user's label, or with the sentence of a template before it."""
    return user_label(text) is not None or text.lstrip().startswith((_ALPACA, _VICUNA))


def _turns(text: str, user: str, assistant: str) -> list[Message] | None:
    names = [user, assistant, *([INPUT, SYSTEM] if user.startswith("###") else [])]
    before, *parts = _splitter(
        tuple(names), _inline(text, user), f"\n\n{assistant}:" in text
    ).split(text)
    said = [
        (label, content.strip()) for label, content in zip(parts[::2], parts[1::2], strict=True)
    ]
    spoken = [label for label, _ in said if label in (user, assistant)]
    if not spoken or spoken[0] != user:
        return None
    is_open = said[-1] == (assistant, "")
    if before.strip() and not before.strip().startswith((_ALPACA, _VICUNA)):
        if is_open:
            raise RowRejected(REASON, detail=f"a text before the first {user}:")
        return None
    if assistant not in spoken and not text.startswith(f"\n\n{user}:"):
        return None
    system = [{"role": "system", "content": before.strip()}] if _VICUNA in before else []
    return system + _joined(said, user, assistant)


def _joined(said: list[tuple[str, str]], user: str, assistant: str) -> list[Message]:
    roles = {user: "user", assistant: "assistant", SYSTEM: "system"}
    turns: list[Message] = []
    for (label, content), (before, _) in zip(said, [("", ""), *said][: len(said)], strict=True):
        if label != INPUT:
            turns.append({"role": roles[label], "content": content})
        elif before != user:
            raise RowRejected(REASON, detail=f"{INPUT} does not follow {user}")
        elif content:
            turns[-1]["content"] += f"\n\n{content}"
    if any(one["role"] == other["role"] for one, other in pairwise(turns)):
        raise RowRejected(REASON, detail="labels do not go in turns")
    return turns


def _inline(text: str, user: str) -> bool:
    """Whether labels may follow each other on one line, as Vicuna writes them."""
    return user == "USER" and text.lstrip().startswith((f"{user}:", _VICUNA))


@cache
def _splitter(names: tuple[str, ...], inline: bool, paragraphs: bool) -> re.Pattern[str]:
    """Splits before labels: at any blank, at lines, or at paragraphs only where they are used."""
    start = r"(?:\A|\s|</s>)" if inline else r"(?:\A\s*|\n\n)" if paragraphs else r"(?:\A\s*|\n)"
    return re.compile(rf"{start}\s*({'|'.join(map(re.escape, names))}):")
