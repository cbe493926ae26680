r"""Thoughts that a template opens for the model: a prompt that ends with `<think>\n`.

What the model says goes on from there. Responses that close the thought are written with its
beginning, like those of sets that hold the whole; responses without an end of it are answers.
"""

import re

from synpref_dagster.sources.foreign.unsupported import THOUGHTS
from synpref_dagster.sources.records import RowRejected

_NAMES = ("think", "thinking", "thought", "thoughts", "reasoning", "seed:think", "mm:think")
_MARKS = {
    **{f"<{name}>": f"</{name}>" for name in _NAMES},
    "[THINK]": "[/THINK]",
    "◁think▷": "◁/think▷",
}
"""How a thought begins -> how it ends."""
_OPEN = "|".join(map(re.escape, _MARKS))
_OPENED = re.compile(rf"\s*({_OPEN})\s*")
_LEFT_OPEN = re.compile(rf"(?<![\s`'\"(])(?:{_OPEN})\s*\Z|\n(?:{_OPEN})\s*\Z")


def opened_thought(content: str) -> str | None:
    r"""The mark of a thought that is all of a turn and open, "" for an empty one, else None.

    >>> opened_thought("<think>\n"), opened_thought("<think>\n\n</think>"), opened_thought("Hm.")
    ('<think>', '', None)
    """
    found = _OPENED.match(content)
    rest = content[found.end() :].strip() if found else content
    if not rest:
        return found[1] if found else ""
    return "" if found and rest == _MARKS[found[1]] else None


def leaves_open(text: str) -> bool:
    """Whether a text ends with the mark of a thought that somebody else goes on with."""
    return text.rstrip()[-1:] in ">]▷" and _LEFT_OPEN.search(text) is not None


def with_thought(mark: str, sides: tuple[str, str]) -> tuple[str, str]:
    r"""Two responses to a prompt that opened a thought, each with its beginning.

    Raises RowRejected where one ends the thought and the other does not.

    >>> with_thought("<think>", ("Hm.</think>An apple.", "Well.</think>A stone."))
    ('<think>\nHm.</think>An apple.', '<think>\nWell.</think>A stone.')
    >>> with_thought("<think>", ("An apple.", "A stone."))
    ('An apple.', 'A stone.')
    """
    ended = [_MARKS[mark] in side for side in sides]
    if ended[0] != ended[1]:
        detail = f"one response ends the {mark} of the prompt, the other does not"
        raise RowRejected(THOUGHTS, detail=detail)
    chosen, rejected = (
        side if not ended[0] or side.lstrip().startswith(mark) else f"{mark}\n{side.lstrip()}"
        for side in sides
    )
    return chosen, rejected
