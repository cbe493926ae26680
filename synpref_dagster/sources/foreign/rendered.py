r"""Chats rendered as text with control tokens: ChatML, Llama, Gemma, Zephyr, Phi, DeepSeek, ...

A text is a rendered chat when it begins, after a token for the beginning, with a token that opens
a turn; such a text is read turn by turn. A text that begins or ends in the middle of a rendering
is refused. Tokens that stand in prose or in quoted code make no chat: somebody asks about them.
"""

import re

from synpref_dagster.sources.foreign.messages import SPOKEN, TOOL_ROLES, Message
from synpref_dagster.sources.foreign.templates import (
    BEGIN,
    END,
    OPENING,
    OPENINGS,
    SPEAKER,
    SPEAKER_LINES,
    TOKEN,
    begins_unread,
    first_hint,
    holds_token,
)
from synpref_dagster.sources.records import RowRejected

REASON = "rendered_chat"
_LAST_END = re.compile(rf"{END}\Z")
_TAIL = 300
"""Characters in which tokens at the end of a text are looked for: blanks may fill the rest."""
# Right behind a word a token closes it; behind a blank it is spoken of. Llama 2 puts one there.
_CLOSED_WORD = re.compile(rf"(?:(?<=\S){END}|(?<=\S)\s</s>)(?:\s*{END})*\s*\Z")
_CLOSED_LINE = re.compile(rf"\n{END}(?:\s*{END})*\s*\Z")
_GOES_ON = re.compile(rf"{END}\s*(?:<s>\s*)?(?:{'|'.join(OPENINGS)}|\[INST\])")
"""A turn that ends, and the next one that begins: nobody only speaks of tokens so."""
_CUT_OFF = re.compile(rf"(?<=\S){END}(?![`'\")\]]|\s*(?:### )?(?:USER|User|Human):)")
_LLAMA_TURN = re.compile(
    r"\s*(?:<s>\s*)?\[INST\](.*?)\[/INST\](.*?)(?=</s>|<s>|\[INST\]|\Z)(?:\s*</s>)?", re.S
)
_LLAMA_SYSTEM = re.compile(r"\s*<<SYS>>(.*?)<</SYS>>(.*)", re.S)


def rendered_messages(text: str) -> list[Message] | None:
    r"""The turns of a text that is a rendered chat, None for one that is none.

    An assistant turn that is open at the end has an empty content. Contents are stripped, as chat
    templates do. Raises RowRejected `rendered_chat` where a turn would keep a control token, and
    for a part of a rendering.

    >>> rendered_messages("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': ''}]
    >>> rendered_messages("What does <|im_start|> mean in ChatML?") is None
    True
    """
    if not holds_token(text):
        return None
    start = BEGIN.match(text)
    body = text[start.end() :] if start else text
    if body.startswith("[INST]"):
        return _llama_messages(body)
    found = list(OPENING.finditer(body, first_hint(body)))
    if found and not found[0].start():
        return _messages(body, found)
    begun = text[: len(text) - len(body)]
    if found and "｜begin▁of▁sentence｜" in begun:  # DeepSeek's system prompt has no token.
        return [_turn("system", body[: found[0].start()]), *_messages(body, found)]
    if begins_unread(text) or begins_unread(body):
        raise RowRejected(REASON, detail="a template that is not read")
    if begun.replace("<s>", "").strip():
        raise RowRejected(REASON, detail="a text begins with a token for the beginning")
    _refuse_parts(body, found)
    return None


def without_end(text: str) -> str:
    r"""The text without the tokens that end a turn behind its last word.

    >>> without_end("An apple.<|im_end|>\n")
    'An apple.'
    """
    bare = text.rstrip()
    while found := _LAST_END.search(bare, max(0, len(bare) - _TAIL)):
        text = bare = bare[: found.start()].rstrip()
    return text


def ends_turn(text: str) -> bool:
    """Whether a text ends with a token that closes its last word, and holds no other."""
    end = _end(text)
    return end is not None and TOKEN.search(text, first_hint(text), end.start()) is None


def _end(text: str) -> re.Match[str] | None:
    """The tokens right behind the last word of a text."""
    if text.rstrip()[-1:] not in (">", "[", "]") or not holds_token(text) or _is_struck(text):
        return None
    bare = text.rstrip()
    return _CLOSED_WORD.search(bare, max(0, len(bare) - _TAIL))


def _is_struck(text: str) -> bool:
    """Whether `</s>` ends what HTML strikes through, or marks as a sentence."""
    return "<s>" in text and not holds_token(text.replace("</s>", ""))


def _messages(body: str, found: list[re.Match[str]]) -> list[Message]:
    turns = []
    for opening, following in zip(found, [*found[1:], None], strict=True):
        content = body[opening.end() : following.start() if following else len(body)]
        name = next(filter(None, opening.groups())).lower()
        turns.append(_turn(name, without_end(content)))
    # Templates open a system turn also where there is nothing to say in it.
    return [turn for turn in turns if turn["role"] != "system" or turn["content"]]


def _turn(name: str, content: str) -> Message:
    if name in TOOL_ROLES or TOKEN.search(content):
        raise RowRejected(REASON, detail=f"a control token or a tool inside a {name} turn")
    return {"role": SPOKEN.get(name, name), "content": content.strip()}


def _llama_messages(body: str) -> list[Message]:
    """Turns of `[INST] <<SYS>> system <</SYS>> user [/INST] assistant </s>`, repeated."""
    turns: list[Message] = []
    place = 0
    while place < len(body.rstrip()):
        found = _LLAMA_TURN.match(body, place)
        if found is None:
            raise RowRejected(REASON, detail="[INST] and [/INST] do not go in turns")
        asked, answer = found.groups()
        system = _LLAMA_SYSTEM.fullmatch(asked) if not turns else None
        if system:
            turns += [_turn("system", system[1])] * bool(system[1].strip())
            asked = system[2]
        turns += [_turn("user", asked), _turn("assistant", without_end(answer))]
        place = found.end()
    return turns


def _refuse_parts(text: str, found: list[re.Match[str]]) -> None:
    """Refuses a text that begins or ends in the middle of a rendered chat."""
    first = TOKEN.search(text, first_hint(text))
    if first is None or _is_struck(text):
        return
    bare = text.rstrip()
    line = _CLOSED_LINE.search(bare, max(0, len(bare) - _TAIL))
    where = ""
    if _end(text) or (line and first.start() > line.start()):
        where = "ends with a token that closes a turn"
    elif _opens_at_end(bare, found):
        where = "ends with a token that opens a turn"
    elif not text[: first.start()].strip() and _begins_turn(text, first):
        where = "begins with a control token"
    elif _CUT_OFF.match(text, first.start()) or _runs_on(text):
        where = "goes on behind the end of a turn"
    if where:
        raise RowRejected(REASON, detail=f"a text {where}")


def _runs_on(text: str) -> bool:
    """Whether a text goes on with further turns, outside of what is quoted as code."""
    if "`" in text:
        return False
    return bool(_GOES_ON.search(text)) or len(SPEAKER_LINES.findall(text)) > 1


def _begins_turn(text: str, first: re.Match[str]) -> bool:
    """Whether a text that begins with a token says something in a turn, and not of the token."""
    if first.group().startswith("[") and f"[/{first.group()[1:]}" in text:
        return True
    if first.group() == "[/INST]" and "[INST]" not in text:
        return True
    return not text[first.end() :][:1].isspace() or len(SPEAKER.findall(text)) > 1


def _opens_at_end(text: str, found: list[re.Match[str]]) -> bool:
    """Whether a text ends where a turn is open; one that has both of Llama's marks asks of them."""
    opened = bool(found) and text.endswith(found[-1].group().rstrip())
    return opened or (text.endswith("[/INST]") and "[INST]" not in text and len(text) > 7)
