"""Texts from models as safe HTML: markdown without raw HTML, images or script links.

Nothing that a response contains can execute, load or hide: control and direction-changing
characters become visible, very long texts are shown whole but as plain text.
"""

import re
from functools import lru_cache
from html import escape

from markdown_it import MarkdownIt
from markupsafe import Markup

MAX_MARKDOWN_CHARACTERS = 40_000
NUM_CACHED = 512
_LINK = re.compile(r"https?://", re.IGNORECASE)
_CONTROLS = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n\r"}
_DIRECTIONS = {code: f"[U+{code:04X}]" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
_VISIBLE: dict[int, int | str] = {**_CONTROLS, 0x7F: 0x2421, **_DIRECTIONS}


def _is_web_link(address: str) -> bool:
    return bool(_LINK.match(address.strip()))


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table")
    parser.disable(["image", "html_block", "html_inline"])
    parser.validateLink = _is_web_link  # type: ignore[method-assign, assignment]
    return parser


_MARKDOWN = _parser()


def visible(text: str) -> str:
    """The text with control, direction-changing and unpaired characters made visible.

    >>> visible("a" + chr(0) + "b")
    'a␀b'
    """
    return text.encode("utf-8", "replace").decode("utf-8").translate(_VISIBLE)


@lru_cache(maxsize=NUM_CACHED)
def render(text: str) -> Markup:
    """Markdown as HTML; a text that is too long for markdown as preformatted text, whole."""
    shown = visible(text)
    if len(shown) > MAX_MARKDOWN_CHARACTERS:
        return Markup('<pre class="long">{}</pre>').format(shown)
    html = _MARKDOWN.render(shown).replace(
        "<a href=", '<a target="_blank" rel="noopener noreferrer nofollow" href='
    )
    # Wide code scrolls, and a keyboard can only scroll what it can reach.
    return Markup(html.replace("<pre>", '<pre tabindex="0">'))


def plain(text: str) -> Markup:
    """The text without any markup, escaped."""
    return Markup(escape(visible(text)))
