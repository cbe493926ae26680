r"""Chats rendered with plain labels: "Human: ... Assistant:", "### Instruction:", "USER: ...".

Labels are ordinary words, so the rule is narrow: a text must begin with the user's label (or with
a system label or the template's own sentence before it). The assistant's begins a line; where no
line does, the whole chat may stand on one. A text that only mentions a label, or a response that
runs on into further turns, stays a text.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise

from synpref_dagster.pairs.structure import UNSEEN, seen
from synpref_dagster.sources.foreign.messages import Message
from synpref_dagster.sources.foreign.rendered import REASON
from synpref_dagster.sources.records import RowRejected

_USERS = ("Human", "User", "Prompter", "用户", "人类", "ユーザー")
_SPEAKS_FIRST = (
    "AI Assistant",
    "Assistant",
    "Chatbot",
    "ChatGPT",
    "AI",
    "Bot",
    "GPT",
    "助手",
    "助理",
    "アシスタント",
)
"""Names with which a reply begins only where somebody speaks; others are words of answers, too."""
_ASSISTANTS = (*_SPEAKS_FIRST, "Model")
_HEADED = {"user": ("Instruction", "Prompt"), "assistant": ("Response", "Output"), "input": "Input"}
_ROLES = {
    **{name.lower(): "user" for name in (*_USERS, *_HEADED["user"])},
    **{name.lower(): "assistant" for name in (*_ASSISTANTS, *_HEADED["assistant"])},
    "input": "input",
    "system": "system",
}
_COLON, _BOLD = r"[ \u00a0]?[:：]", r"(?:\*{1,3}|__?)"
_STYLES = {
    "plain": ("", _COLON),
    "bold": (_BOLD, rf"(?:{_COLON}{_BOLD}|{_BOLD}{_COLON})"),
    "heading": ("#{1,6} ?", _COLON),
    "bare": ("#{1,6} ?", r"[ \t]*(?=\r?\n|\Z)"),
    "angle": ("<", f">(?:{_COLON})?"),
    "square": (r"\[", rf"\](?:{_COLON})?"),
    "round": (r"\(", rf"\){_COLON}"),
    "token": (r"<\|", r"\|>:?"),
}
"""What stands before and behind the name in a label; a control token may stand for one."""
_HEADINGS = ("heading", "bare")
_EDGE = rf"(?:[\s{UNSEEN}]|<s>)*"
_BARE = frozenset(("Human", "User", "Assistant", "Instruction", "Response", "Input", "System"))
"""Names that are labels as headings without a colon: others are titles of articles."""
_LAST = ":：>*]_)"  # how an open turn ends
_FIRST = frozenset("HhUuPpIiAaCcBbGgMmRrOoSs*_#<[(用人ユ助ア")  # how labels and sentences begin
_ALPACA = "Below is an instruction that describes a task"
_VICUNA = "A chat between a curious "
_TAIL = 40  # characters in which an open turn at the end stands
# No run of white space is gone through from each of its places: texts may be full of it.
_LINE, _PARAGRAPH, _ANYWHERE = (
    rf"(?:\A\s*|{before})" for before in (r"\n[ \t]*", r"\n\n[ \t]*", r"\s|</s>|(?=#)")
)


def _known(style: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if style != "bare" or name in _BARE]


def _any_label(names: Iterable[str], headed: Iterable[str] = (), *, tokens: bool = False) -> str:
    """A pattern of labels in every style; the group that is found tells the style."""
    found = []
    for style, (before, behind) in _STYLES.items():
        known = _known(style, (*names, *(headed if style in _HEADINGS else ())))
        cased = {each for name in known for each in (name, name.upper(), name.lower())}
        listed = "|".join(sorted(map(re.escape, cased), key=len, reverse=True))
        if style != "token" or tokens:
            found.append(rf"(?P<{style}>{before}(?:{listed}){behind})")
    return "|".join(found)


_USER, _ASSISTANT = (
    # A role that is all of the first line is what is left of a rendering without its tokens.
    re.compile(rf"{_EDGE}(?:{_any_label(names, headed, tokens=True)}|(?:{roles})(?=\n))")
    for names, headed, roles in (
        (_USERS, _HEADED["user"], "user"),
        (_SPEAKS_FIRST, ("Response",), "assistant|model"),
    )
)
_OPENING = re.compile(rf"{_EDGE}(?:{_any_label((*_USERS, 'System'), _HEADED['user'])})")
_TEMPLATE = re.compile(rf"{_EDGE}(?:{_ALPACA}|{_VICUNA})")
_WITHIN = re.compile(rf"(?:\A|\s|(?=#))(?:{_any_label(_USERS, _HEADED['user'])})")
_OPEN = _any_label(_SPEAKS_FIRST, ("Response",))
_OTHER_OPEN = re.compile(r"\n[^\W\d_][\w -]{0,20}:\s*\Z")
_OPEN_LINE, _OPEN_END = (
    re.compile(rf"(?:{before})(?:{_OPEN})\s*\Z") for before in (r"\n\s*", r"\s|\\n|(?=#)")
)


def labelled_messages(text: str) -> list[Message] | None:
    r"""The turns of a text that is a chat with labels, None for one that is none.

    An assistant turn that is open at the end has an empty content; contents are stripped. Raises
    RowRejected `rendered_chat` for a text that ends with an open turn but begins unlike any chat,
    and for labels that do not go in turns.

    >>> labelled_messages("\n\nHuman: Hi\n\nAssistant:")
    [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': ''}]
    >>> labelled_messages("### Human: Hi### Assistant: Hello")[1]
    {'role': 'assistant', 'content': 'Hello'}
    >>> labelled_messages('What does "Human:" mean?') is None
    True
    """
    if not may_be_chat(text):
        return None
    text = text.lstrip(UNSEEN).removeprefix("<s>")
    before, opening = "", _OPENING.match(text)
    if opening is None and _TEMPLATE.match(text) and (opening := _WITHIN.search(text)):
        before, text = text[: opening.start()].strip(), text[opening.start() :]
    if opening is None:
        _refuse_open(text)
        return None
    turns = _turns(text, opening)
    if turns is None:
        _refuse_open(text)
        if _OTHER_OPEN.search(text[-_TAIL:]):
            raise RowRejected(REASON, detail="a chat that ends with a label of somebody unknown")
    return [{"role": "system", "content": before}, *turns] if turns and _VICUNA in before else turns


def may_be_chat(text: str) -> bool:
    """Whether a text may be a chat with labels: a quick look before any other."""
    return may_begin(text) or text.rstrip()[-1:] in _LAST


def may_begin(text: str) -> bool:
    """Whether a text may begin with a label or a template's sentence, quickly."""
    begun = text[:1] if "!" <= text[:1] <= "~" else seen(text)[:1]
    if begun not in _FIRST:
        return False
    return begins_chat(text) or bool(_USER.match(text) or _ASSISTANT.match(text))


def assistant_label(text: str) -> str | None:
    r"""The label of the assistant that a text begins with, None where there is none.

    >>> assistant_label("\n\nAssistant: An apple."), assistant_label("Assistants are nice.")
    ('Assistant:', None)
    """
    found = _ASSISTANT.match(text)
    return _bare(found)


def user_label(text: str) -> str | None:
    """The label of the user that a text begins with, None where there is none."""
    found = _USER.match(text)
    return _bare(found)


def begins_chat(text: str) -> bool:
    """Whether a text begins with a user's label, or with the sentence of a template before it."""
    return bool(_OPENING.match(text) or _TEMPLATE.match(text))


def _bare(label: re.Match[str] | None) -> str | None:
    return seen(seen(label.group()).removeprefix("<s>")) if label else None


def _refuse_open(text: str) -> None:
    """Refuses a text of its own that ends with an open turn of the assistant."""
    tail = text[-_TAIL:]
    if _OPEN_LINE.search(tail) or (_OPEN_END.search(tail) and _WITHIN.search(text)):
        raise RowRejected(REASON, detail="a text of its own that ends with the assistant's label")


def _turns(text: str, opening: re.Match[str]) -> list[Message] | None:
    """The turns of a text that begins with a label: on lines, or all on one."""
    refused: RowRejected | None = None
    for splitter in _splitters(text, opening):
        before, *parts = splitter.split(text)
        said = list(zip(parts[::2], map(str.strip, parts[1::2]), strict=True))
        roles = [_ROLES[label.lower()] for label, _ in said]
        if before.strip() or "user" not in roles:
            continue
        if "assistant" not in roles and not text.startswith("\n\n"):
            continue
        try:
            return _joined(said, roles)
        except RowRejected as rejection:
            refused = refused or rejection
    if refused:
        raise refused
    return None


def _splitters(text: str, opening: re.Match[str]) -> Iterator[re.Pattern[str]]:
    """What splits a text before its labels, in the order in which it is tried."""
    style = opening.lastgroup or "plain"
    first = re.sub("[^A-Za-z]", "", opening.group())
    case = "upper" if first.isupper() else "lower" if first.islower() else "title"
    labels, assistants = _labels(style, case, first.lower() == "system")
    # Speakers as headings and in capitals may follow each other on one line, Alpaca's do not.
    if case == "upper" or (style in _HEADINGS and first in _USERS):
        yield _compiled(_ANYWHERE + labels)
    in_paragraphs = _compiled(rf"\n\n{assistants}").search(text)
    yield _compiled((_PARAGRAPH if in_paragraphs else _LINE) + labels)
    yield _compiled(_ANYWHERE + labels)


@cache
def _labels(style: str, case: str, has_system: bool) -> tuple[str, str]:
    """Patterns of every label of a chat, and of the assistant's, the name in a group."""
    is_headed = style in _HEADINGS
    assistants = (*_ASSISTANTS, *(_HEADED["assistant"] if is_headed else ()))
    others = (*_USERS, *((*_HEADED["user"], "Input", "System") if is_headed else ()))
    before, behind = _STYLES[style]

    def pattern(names: Iterable[str]) -> str:
        known = _known(style, names)
        cased = known if case == "title" else [getattr(name, case)() for name in known]
        return rf"{before}({'|'.join(map(re.escape, cased))}){behind}"

    return pattern((*assistants, *others, *(("System",) if has_system else ()))), pattern(
        assistants
    )


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _joined(said: list[tuple[str, str]], roles: list[str]) -> list[Message]:
    turns: list[Message] = []
    for role, before, (label, content) in zip(roles, ["", *roles], said, strict=False):
        if role != "input":
            turns.append({"role": role, "content": content})
        elif before != "user":
            raise RowRejected(REASON, detail=f"{label} does not follow the instruction")
        elif content:
            turns[-1]["content"] += f"\n\n{content}"
    names = {(role, label) for role, (label, _) in zip(roles, said, strict=True)}
    in_turns = all(one["role"] != other["role"] for one, other in pairwise(turns))
    if not in_turns or len(names) > len(set(roles)):
        raise RowRejected(REASON, detail="labels do not go in turns")
    return turns
