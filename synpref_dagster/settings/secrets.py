"""What must be said nowhere: keys, tokens and passwords, and the one function that blots them out.

A secret is known by its value, because somebody read it through `from_environment` or `kept`, or
because a variable of the environment is named like one. Others are known by their shape. Whatever
goes into a log, an event, a tag, a cache or a report and may quote something foreign passes
`redacted` before it is cut: half a key is a secret too.
"""

import base64
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

MASK = "***"
MIN_CHARS = 8
"""A shorter value is only known by its shape: it may be any word."""
SURE_CHARS = 16
"""A value of this length is found inside of other words too."""
MAX_DEPTH = 60
"""Of lists and mappings; what others nest deeper nobody reads."""
NAMED_SO = re.compile(r"(KEY|KEYS|TOKEN|TOKENS|SECRET|PASSWORD|PASSWD|PASS|PWD)$")
_PASSWORD = r"passw(?:or)?[dt]|passphrase|pwd"
_NAMES = (  # whatever stands behind them is secret
    rf"{_PASSWORD}|api[_-]?key|access[_-]?key(?:[_-]?id)?|"
    r"(?:secret|private|account|subscription|auth|signing|master|licen[cs]e)[_-]?key|"
    r"(?:api|auth|access|refresh|id|session|private|oauth|job|hf)[_-]?token|client[_-]?secret|"
    r"x-(?:amz|goog)-(?:signature|credential|security-token)"
)
_WORDS = r"token|secret|credentials?|signature|jwt"
"""Words of any text: what stands behind them is secret where it looks like one."""
_HEADERS = (
    r"(?:proxy-)?authorization|(?:x-)?api-key|x-[a-z-]{1,40}?-(?:key|token|secret)|private-token|"
    r"job-token|ocp-apim-subscription-key"
)
_VARIABLE = r"(?-i:[A-Z][A-Z0-9_]{0,60}(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|PWD))"
_NOTHING = r"(?!(?:none|null|nil|true|false|required|optional)\b)"
_BARE = rf"{_NOTHING}[^\s\"'\\,;&<>(){{}}\[\]]+"
_IN_TOKEN = r"[A-Za-z0-9_.~+/=%-]"
_TELLING = (  # letters and digits, or long
    rf"(?:(?=[A-Za-z_.~+/=%-]{{0,200}}\d)(?={_IN_TOKEN}{{0,200}}[A-Za-z]){_IN_TOKEN}{{8,}}|"
    r"[A-Za-z_-]{20,})"
)
_BEFORE = r"(?<![\w-])(?P<said>[\w-]{0,40}?(?:"
_QUERY = re.compile(  # in an address, also where that stands in another one
    r"(?P<said>(?:[?&;#]|%3F|%26)"
    rf"(?:[\w.\[%~-]{{0,60}}?(?:{_NAMES}|{_WORDS}|\bpass|\bpw|\bsig)\]?(?:=|%3D)|"
    rf"(?:[\w.%~-]{{0,60}}(?:[_.~-]|%5F|%2D))?(?:key|code|auth|session|session_?id|sid|ticket)(?:=|%3D)"
    rf"(?={_TELLING})))(?P<value>(?:(?!%26)[^\s\"'\\,;&#<>{{}}])+)",
    re.IGNORECASE,
)
_ADDRESS = re.compile(
    r"(?P<scheme>\b[a-z][a-z0-9+.-]{0,19}://)(?P<info>[^\s/?#\"'<>]*)@", re.IGNORECASE
)
_SLASHED = re.compile(  # what SQLAlchemy takes for a password although it has a slash in it
    r"(?P<scheme>\b(?:postgres|mysql|mariadb|mssql|oracle)[a-z0-9+]*://)"
    r"(?P<info>[^\s:/@\"'<>]{0,200}:[^\s@\"'<>]{0,200})@",
    re.IGNORECASE,
)
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), by)
    for pattern, by in (
        # In quotes: JSON, dictionaries, pairs of bytes. Then lines and what is said in a sentence.
        (rf"((?:{_HEADERS})[\"']?\s*[:=,]\s*b?\")[^\"\n]*", rf"\1{MASK}"),
        (rf"((?:{_HEADERS})[\"']?\s*[:=,]\s*b?')[^'\n]*", rf"\1{MASK}"),
        (rf"((?:{_HEADERS})\s*[:=]\s*)(?:digest|aws4|oauth|hawk|signature)\b[^\n]*", rf"\1{MASK}"),
        (rf"((?:{_HEADERS})\s*[:=]\s*)(?:(?:basic|bearer|token|apikey)\s+)?{_BARE}", rf"\1{MASK}"),
        (r"((?:set-)?cookie[\"']?\s*[:,]\s*b?[\"']?)(?=[^\s=:\"']{1,100}=)[^\"'\n]*", rf"\1{MASK}"),
        (rf"{_BEFORE}{_NAMES}|secret)\\+[\"']\s*:\s*\\+[\"'])[^\"'\\\n]*", rf"\g<said>{MASK}"),
        (rf"{_BEFORE}{_NAMES}|secret)[\"']?\s*[:=]\s*b?\")[^\"\n]*", rf"\g<said>{MASK}"),
        (rf"{_BEFORE}{_NAMES}|secret)[\"']?\s*[:=]\s*b?')[^'\n]*", rf"\g<said>{MASK}"),
        (rf"{_BEFORE}{_NAMES})\s*[:=]\s*){_BARE}", rf"\g<said>{MASK}"),
        (rf"{_BEFORE}secret|signature)=){_BARE}", rf"\g<said>{MASK}"),
        (
            rf"{_BEFORE}{_NAMES}|{_WORDS})\\*[\"']?\s*[:=,]\s*b?\\*[\"']?){_TELLING}",
            rf"\g<said>{MASK}",
        ),
        (rf"{_BEFORE}{_NAMES}|{_WORDS})\s+(?:is|was)\s+[\"'`]?){_TELLING}", rf"\g<said>{MASK}"),
        (
            rf"(?P<said><[\w:]{{0,40}}?(?:{_NAMES}|{_WORDS})[a-z]{{0,20}}>)[^<\s]{{1,2000}}(?=</)",
            rf"\g<said>{MASK}",
        ),
        (rf"(?<!\S)(--[a-z-]{{0,40}}?(?:{_NAMES}|{_WORDS})[ =])(?!-){_BARE}", rf"\1{MASK}"),
        (rf"(?<![\w-])({_VARIABLE}\s*=\s*[\"']?){_BARE}", rf"\1{MASK}"),
        (rf"(?<![\w-])({_VARIABLE}[\"']?[:,]?\s+[\"']?){_TELLING}", rf"\1{MASK}"),
        (r"((?-i:\bToken)\s+)(?=[A-Za-z0-9]{0,200}\d)[A-Za-z0-9]{16,}", rf"\1{MASK}"),
        (
            r"(hooks\.slack\.com/services/|discord(?:app)?\.com/api/webhooks/)[^\s\"'<>]+",
            rf"\1{MASK}",
        ),
        (r"(-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----)[A-Za-z0-9+/=\s\\]+", rf"\1{MASK}"),
        (r"\b(bearer|basic)[\s:]+(?=\S*(?-i:[A-Z0-9=]))[A-Za-z0-9._~+/=-]{8,}", rf"\1 {MASK}"),
    )
) + tuple(
    (re.compile(rf"(?<![A-Za-z0-9]){pattern}"), MASK)
    for pattern in (
        r"sk-[A-Za-z0-9_*.-]{8,}",
        r"(?:hf|spr|ghp|gho|ghs|ghu|github_pat|sk_live|rk_live|gsk|r8)_[A-Za-z0-9_*-]{8,}",
        r"(?:glpat|xox[abeprs]|xai|pplx)-[A-Za-z0-9_*-]{8,}",
        r"(?:AKIA|ASIA)[A-Z0-9]{16}",
        r"AIza[A-Za-z0-9_-]{30,}",
        r"eyJ[A-Za-z0-9_-]{8,1000}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?",
    )
)

_remembered: set[str] = set()
_addresses: dict[str, str] = {}


def from_environment(name: str) -> str | None:
    """The value of a variable that holds a secret; from now on it is known. None: not set."""
    value = os.environ.get(name)
    remember(value or "")
    return value


def remember(*values: str) -> None:
    """Make secrets known by their value; what is short or a mask stays known by its shape only."""
    _remembered.update(each for each in values if _is_telling(each))


def redacted(text: str) -> str:
    """A text without secrets: those that are known by value or by shape are `***`.

    >>> redacted("no answer from https://ann:pa55word@db.example.com/v1")
    'no answer from https://***@db.example.com/v1'
    >>> redacted('{"Authorization": "Bearer abc"}, password=hunter2 of postgresql://ann:pw@db/r')
    '{"Authorization": "***"}, password=*** of postgresql://ann:***@db/r'
    """
    text = _without_known(text)
    text = _ADDRESS.sub(_masked_info, text)
    text = _SLASHED.sub(_masked_info, text)
    text = _QUERY.sub(rf"\g<said>{MASK}", text)
    for pattern, by in _SHAPES:
        text = pattern.sub(by, text)
    return text


def without_known(data: Any) -> Any:
    """Texts, lists and mappings without the secrets that are known by value.

    For what others answer and is data: a text that only looks like a key may be what it is about.
    """
    return _everywhere(data, _without_known, MAX_DEPTH)


def all_redacted(data: Any) -> Any:
    """`redacted` for every text in lists and mappings; anything else is as it was."""
    return _everywhere(data, redacted, MAX_DEPTH)


def kept(address: str) -> str:
    """An address as a profile, a resource and a log may have it: without its password.

    The whole one is remembered by this process, see `whole`.
    """
    shown = redacted(address)
    if shown != address:
        remember(*_secrets_of(address))
        _addresses[shown] = address
    return shown


def whole(address: str) -> str:
    """The address that `kept` was given, for whoever connects.

    Raises:
        ValueError: it has lost its password, which this process was never told.
    """
    if address in _addresses:
        return _addresses[address]
    if MASK in address:
        raise ValueError(
            f"{address!r} has {MASK} in the place of a password that is not known here: write the "
            "whole address into the profile or the environment again"
        )
    return address


def _everywhere(data: Any, clean: Callable[[str], str], depth: int) -> Any:
    if isinstance(data, str):
        return clean(data)
    if isinstance(data, dict | list | tuple) and not depth:
        return MASK
    if isinstance(data, dict):
        return {
            clean(name) if isinstance(name, str) else name: _everywhere(each, clean, depth - 1)
            for name, each in data.items()
        }
    if type(data) in (list, tuple):
        return type(data)(_everywhere(each, clean, depth - 1) for each in data)
    return data


def _without_known(text: str) -> str:
    pattern = _any_of(frozenset(_known()))
    return pattern.sub(MASK, text) if pattern else text


def _known() -> Iterator[str]:
    yield from _remembered
    for name, value in os.environ.items():
        if NAMED_SO.search(name.upper()) and not value.startswith("/"):
            yield value
        if "@" in value and "://" in value:
            yield from _secrets_of(value)


@lru_cache(maxsize=8)
def _any_of(values: frozenset[str]) -> re.Pattern[str] | None:
    """Finds these values however they are written; the longest first, for one may begin another."""
    spelled = {form for each in values if _is_telling(each) for form in _spellings(each)}
    if not spelled:
        return None
    forms = sorted(spelled, key=lambda form: (-len(form), form))
    return re.compile("|".join(map(_found_as, forms)))


def _spellings(value: str) -> set[str]:
    """The value as it is, in JSON, in an address, and as the name or password of basic access."""
    plain = {value, quote(value, safe=""), json.dumps(value)[1:-1], repr(value)[1:-1]}
    return plain | {_base64(value)}


def _found_as(form: str) -> str:
    if len(form) >= SURE_CHARS:
        return re.escape(form)
    return rf"(?<![A-Za-z0-9]){re.escape(form)}(?![A-Za-z0-9])"


def _is_telling(value: str) -> bool:
    return len(value) >= MIN_CHARS and MASK not in value


def _secrets_of(address: str) -> Iterable[str]:
    """Passwords of an address, as written and as meant, and what basic access makes of them."""
    for pattern in (_ADDRESS, _SLASHED):
        for found in pattern.finditer(address):
            user, separator, password = found["info"].partition(":")
            if not separator:
                user, password = "", user if _is_web(found) else ""
            yield from (password, unquote(password))
            if password:
                yield _base64(f"{unquote(user)}:{unquote(password)}")
    for found in _QUERY.finditer(address):
        yield from (found["value"], unquote(found["value"]))


def _masked_info(found: re.Match[str]) -> str:
    user, separator, _ = found["info"].partition(":")
    if _is_web(found):  # a name alone may be a token there
        return f"{found['scheme']}{MASK}@"
    return f"{found['scheme']}{user}:{MASK}@" if separator else found[0]


def _is_web(found: re.Match[str]) -> bool:
    return found["scheme"].lower() in ("http://", "https://")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "replace")).decode().rstrip("=")
