"""Personal data in the texts of a pool, found by patterns (App. D.3): which kind, where, how much.

Each kind has a pattern and a guard that looks at what was matched (check digits, known dummies).
Texts are searched many at once for what every kind must contain (an `@`, a run of digits, a key's
prefix), and the patterns are tried there only. Names, postal addresses and health data have no
pattern: a judge sees them, patterns do not. What was found is never repeated: a finding says kind,
place, length and shape (letters as x, digits as 0).
"""

import re
import string
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from synpref_dagster.curation.personal_data import plausibility
from synpref_dagster.curation.personal_data.plausibility import looks_random
from synpref_dagster.curation.texts.ngrams import text_batches

SEPARATOR = "\x1e"
"""Stands between texts; no pattern matches it, so nothing is found across two texts."""

Guard = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of personal data; `level` is the sensitivity of App. D.3 when nobody judges it."""

    name: str
    level: int
    pattern: re.Pattern[str]
    """Group `found`, where there is one, is the data; what stands around it are clues."""
    is_real: Guard
    before: int = 0
    """Characters before the trigger in which the pattern may begin."""
    after: int = 0
    """Characters behind the trigger up to which it may end."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Personal data in a text, without the data."""

    kind: str
    start: int
    length: int
    shape: str


_END = r"(?![\w])"
_KEY = r"[A-Za-z0-9_\-]"

# In order of precedence: of two findings in one place the first kind stays.
DIGIT_KINDS = (
    Kind(
        "iban",
        2,
        re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}(?![A-Za-z0-9])"),
        plausibility.is_iban,
        before=14,
        after=40,
    ),
    Kind(
        "payment_card",
        3,
        re.compile(r"(?<![\w.,\-])[2-6](?:[ \-]?[0-9]){12,18}(?![\w\-]|[.,][0-9])"),
        plausibility.is_card_number,
        before=1,
        after=2,
    ),
    Kind(
        "us_social_security_number",
        3,
        re.compile(
            r"(?<![\w.\-])[0-9]{3}-[0-9]{2}-[0-9]{4}(?![\w\-]|\.[0-9])"
            r"|(?:\bssn\b|social security)[^0-9\x1e\n]{0,20}(?P<found>[0-9]{9})(?![\w])",
            re.IGNORECASE,
        ),
        plausibility.is_social_security_number,
        before=40,
        after=2,
    ),
    Kind(
        "ip_address",
        1,
        re.compile(r"(?<![\w.\-])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w\-]|\.[0-9])"),
        plausibility.is_public_address,
        before=1,
        after=3,
    ),
    Kind(
        "phone_number",
        2,
        re.compile(
            r"(?<![\w)\].+])\+[1-9](?:[ .\-]?\(?[0-9]\)?){5,13}[ .\-]?[0-9](?![\w\-]|[.,][0-9])"
        ),
        plausibility.is_phone_number,
        before=2,
        after=3,
    ),
    Kind(
        "phone_number",
        2,
        re.compile(
            r"(?<![\w.+\-])(?:1[ .\-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[.\- ])"
            r"[2-9][0-9]{2}[.\-][0-9]{4}(?![\w\-]|\.[0-9])"
        ),
        plausibility.is_american_number,
        before=2,
        after=3,
    ),
    Kind(
        "phone_number",
        2,
        re.compile(
            r"\b(?:tel|phone|telephone|mobile|cell|fax|whatsapp|call me)\b[ .:]{0,3}"
            r"(?:no|number|is|at|on)?[ .:#]{0,3}"
            r"(?P<found>\(?[0-9](?:[ .\-/()]{0,2}[0-9]){6,14})(?![\w])",
            re.IGNORECASE,
        ),
        plausibility.is_phone_number,
        before=32,
        after=2,
    ),
)
ADDRESS_KINDS = (
    Kind(
        "ip_address",
        1,
        re.compile(
            r"(?<![\w:])(?:[0-9A-Fa-f]{1,4}:){2,7}(?::|[0-9A-Fa-f]{1,4})[0-9A-Fa-f:]{0,30}(?![\w:])"
        ),
        plausibility.is_public_address,
        before=6,
        after=40,
    ),
)
EMAIL = Kind(
    "email",
    1,
    re.compile(
        r"(?<![\w.+%/=\-])[\w.+%\-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,62})\.){1,6}[A-Za-z]{2,18}"
        r"(?![\w@\-])",
        re.ASCII,
    ),
    plausibility.is_personal_email,
    before=66,
    after=250,
)
_BEGIN = "-----BEGIN "  # of a key that spaces are part of; all others are one long word
SHORTEST_KEY = 20
SECRET_KINDS: dict[str, Kind] = {
    prefix: Kind(name, 3, re.compile(r"(?<![\w\-])" + pattern), guard)
    for name, prefix, pattern, guard in (
        ("aws_access_key", "AKIA", r"AKIA[A-Z2-7]{16}" + _END, looks_random),
        ("aws_access_key", "ASIA", r"ASIA[A-Z2-7]{16}" + _END, looks_random),
        ("github_token", "ghp_", r"ghp_[A-Za-z0-9]{36}" + _END, looks_random),
        ("github_token", "gho_", r"gho_[A-Za-z0-9]{36}" + _END, looks_random),
        ("github_token", "github_pat_", r"github_pat_\w{60,90}" + _END, looks_random),
        ("gitlab_token", "glpat-", r"glpat-" + _KEY + r"{20,30}" + _END, looks_random),
        ("slack_token", "xoxb-", r"xoxb-[0-9A-Za-z\-]{24,90}" + _END, looks_random),
        ("slack_token", "xoxp-", r"xoxp-[0-9A-Za-z\-]{24,90}" + _END, looks_random),
        ("google_api_key", "AIza", r"AIza" + _KEY + r"{35}" + _END, looks_random),
        (
            "stripe_key",
            "sk_live_",
            r"sk_live_[0-9A-Za-z]{16,120}" + _END,
            looks_random,
        ),
        ("openai_key", "sk-", r"sk-" + _KEY + r"{20,200}" + _END, looks_random),
        ("hugging_face_token", "hf_", r"hf_[A-Za-z]{34}" + _END, plausibility.varies),
        (
            "json_web_token",
            "eyJ",
            r"eyJ[\w\-]{10,2000}\.eyJ[\w\-]{10,2000}\.[\w\-]{20,2000}" + _END,
            looks_random,
        ),
        (
            "private_key",
            _BEGIN,
            r"-----BEGIN (?:[A-Z]{2,9} ){0,2}PRIVATE KEY-----(?:\\n|\s){1,4}[A-Za-z0-9+/=]{30,80}",
            looks_random,
        ),
    )
}
KINDS: dict[str, int] = {
    kind.name: kind.level for kind in (*SECRET_KINDS.values(), *DIGIT_KINDS, *ADDRESS_KINDS, EMAIL)
}
"""Level of every kind, most telling first."""

# Seven characters from digit to digit: the shortest thing here with digits in it.
_DIGITS = re.compile(r"[0-9][0-9 .()/\-]{5,}[0-9]")
_COLONS = re.compile(r":[0-9A-Fa-f]{0,4}:")


def find_personal_data(text: str) -> list[Finding]:
    """What the patterns find in one text, in order.

    >>> [(each.kind, each.shape) for each in find_personal_data("Write to ann.lee@posteo.de!")]
    [('email', 'xxx.xxx@xxxxxx.xx')]
    """
    return [finding for _, finding in find_in_texts([text])]


def find_in_texts(texts: Sequence[str]) -> list[tuple[int, Finding]]:
    """(index of the text, finding) for many texts, in order of text and place."""
    found: list[tuple[int, Finding]] = []
    for batch in text_batches(texts):
        stretch = texts[batch.start : batch.stop]
        joined = SEPARATOR.join(stretch)
        starts = list(accumulate((len(text) + 1 for text in stretch), initial=0))
        for kind, start, end in _distinct(_spans(joined)):
            text = bisect_right(starts, start) - 1
            shape = shape_of(joined[start:end])
            found.append(
                (batch.start + text, Finding(kind, start - starts[text], end - start, shape))
            )
    return found


def shape_of(text: str, max_length: int = 24) -> str:
    """What a text looks like without what it says.

    >>> shape_of("+49 30 901820")
    '+00 00 000000'
    """
    shown = "".join("0" if c.isdigit() else "x" if c.isalpha() else c for c in text[:max_length])
    return shown + ("..." if len(text) > max_length else "")


class _Span(NamedTuple):
    kind: str
    start: int
    end: int


def _spans(joined: str) -> Iterator[_Span]:
    """Everything found, in order of precedence, overlaps included."""
    plain = joined.encode("ascii", "replace")  # a byte per character
    words = list(_runs(plain, _IN_KEY, least=SHORTEST_KEY))
    whole = [(0, len(joined))]
    for prefix, kind in SECRET_KINDS.items():
        for start, end in whole if prefix == _BEGIN else words:
            for place in _places(joined, prefix, (start, end)):
                match = kind.pattern.match(joined, place)
                if match and kind.is_real(match[0]):
                    yield _Span(kind.name, *match.span())
    digits = [
        match.span()
        for start, end in _runs(plain, _IN_NUMBER, least=7)
        for match in _DIGITS.finditer(joined, start, end)
    ]
    for kind in DIGIT_KINDS:
        for span in digits:
            yield from _matches(kind, joined, span)
    for kind in ADDRESS_KINDS:
        for match in _COLONS.finditer(joined):
            yield from _matches(kind, joined, match.span())
    for place in _places(joined, "@", whole[0]):
        yield from _matches(EMAIL, joined, (place, place))


def _marks(characters: str) -> bytes:
    """A table for `bytes.translate` that makes these characters 1 and all others 0."""
    return bytes(1 if chr(code) in characters else 0 for code in range(256))


_IN_NUMBER = _marks("0123456789 .()/-")
# Letters beyond ASCII are question marks here, and may stand in a word; a token has dots.
_IN_KEY = _marks("?-_." + string.ascii_letters + string.digits)


def _runs(plain: bytes, table: bytes, *, least: int) -> Iterator[tuple[int, int]]:
    """Where so many characters of a table follow each other: bytes are searched, no pattern is."""
    marks, wanted = plain.translate(table), b"\x01" * least
    start = marks.find(wanted)
    while start >= 0:
        end = marks.find(b"\x00", start)
        end = len(marks) if end < 0 else end
        yield start, end
        start = marks.find(wanted, end)


def _places(joined: str, needle: str, window: tuple[int, int]) -> Iterator[int]:
    place = joined.find(needle, *window)
    while place >= 0:
        yield place
        place = joined.find(needle, place + 1, window[1])


def _matches(kind: Kind, joined: str, trigger: tuple[int, int]) -> Iterator[_Span]:
    start, end = max(0, trigger[0] - kind.before), trigger[1] + kind.after
    named = "found" in kind.pattern.groupindex
    for match in kind.pattern.finditer(joined, start, end):
        group = "found" if named and match["found"] else 0
        if kind.is_real(match[group]):
            yield _Span(kind.name, *match.span(group))


def _distinct(spans: Iterator[_Span]) -> list[_Span]:
    """One finding per place: of overlapping ones the first, then by place."""
    chosen: list[_Span] = []
    for span in spans:
        place = bisect_left(chosen, span.end, key=lambda other: other.start)
        # Those chosen never overlap: only the last one that begins before this ends can touch it.
        if place == 0 or chosen[place - 1].end <= span.start:
            chosen.insert(place, span)
    return chosen
