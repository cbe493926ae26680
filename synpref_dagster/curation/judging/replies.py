"""From a judge's raw reply to its fields, or to the reason why there are none.

A reply is read strictly first, then tolerantly (a fenced block, text around one JSON object), since
some servers ignore the schema they are sent. What does not fit the schema, or fits it twice in
different ways, is an abstention with a typed reason, never a label.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from synpref_dagster.curation.judging.verdicts import Verdict
from synpref_dagster.pairs.texts import storable

Failure = Literal[
    "rate_limited",
    "server_error",
    "timeout",
    "connection_failed",
    "rejected",
    "empty_choices",
    "empty_reply",
    "truncated",
    "refused",
    "unfinished_thought",
    "unparsable",
    "off_schema",
    "ambiguous",
]
Reading = Literal["strict", "tolerant"]
REPLIES_VERSION = 3
"""Raised when the same reply is read differently: what was read before is read again, for free."""
_NAME = (
    r"(?:think|thinking|thought|thoughts|reason|reasoning|reflection|scratchpad|analysis|plan"
    r"|planning|draft|cot|chain[_-]of[_-]thoughts?|thought[_-]process|(?:inner|internal)[_-]monologue)"
)
_TAG = rf"(?:\w+:)?{_NAME}"
_MARK = r"(?:think|thought|reason|analy[sz]|reflect|scratch|monolog|draft|plan|\bcot\b)"
THOUGHT_ENDS = re.compile(
    rf"</{_TAG}\s*>|\[/{_NAME}\]|◁/think▷|<[|｜]\s*(?:/|[^<>|｜]{{0,20}}end)[^<>|｜]{{0,40}}{_MARK}"
    rf"[^<>|｜]{{0,40}}[|｜]>|<[|｜][^<>|｜]{{0,40}}{_MARK}[^<>|｜]{{0,40}}end[|｜]>|</[|｜][^<>|｜]{{1,60}}[|｜]>"
    r"|<unused95>|<\|channel\|>final(?:<\|message\|>)?|(?-i:assistantfinal)",
    re.IGNORECASE,
)
THOUGHT_BEGINS = re.compile(
    rf"<{_TAG}(?:\s[^<>]*)?>|\[{_NAME}\]|◁think▷|<[|｜][^<>|｜]{{0,40}}{_MARK}[^<>|｜]{{0,40}}[|｜]>"
    rf"|```[ \t]*{_NAME}\b|<\|channel\|>(?:analysis|commentary)|\A(?-i:analysis(?=[A-Z]))",
    re.IGNORECASE,
)
"""How models mark what they think, also where a template wrote the beginning: tags, with a prefix
as `seed:think` too, marks of Mistral, Kimi, Cohere, DeepSeek, Gemma and OpenThinker, and the
channels of gpt-oss, also when a server took their marks away (`analysisWe ... assistantfinal`)."""
_ANY_TAG = re.compile(
    r"<!--|(?P<comment>-->)|<\s*+(?P<end>/?+)\s*+(?P<name>[^\W\d][\w.:▁-]*+)(?:[\s/][^<>]*+)?>"
    r"|<[|｜](?P<mark>[^<>|｜]{1,60})[|｜]>"
)
_WRAPPERS = re.compile(
    r"(?:(?:final|answer|output|json|result|results|verdict)[_-]?)+"
    r"|br|hr|pre|code|s|eos|bos|pad|(?:start|end)_of_turn",
    re.IGNORECASE,
)
"""Tags around an answer, and those that end a line, a listing or a text."""
_OWN_MARKS = re.compile(
    r"im_|eot|eom|end|eos|bos|pad|begin.of.(?:text|sentence|solution)|start|assistant|message"
    r"|return|final|response|answer|constrain|channel|turn",
    re.IGNORECASE,
)
"""Marks between the parts of a conversation: servers forget to take them away."""
_QUOTED = re.compile(r"`[^`{}\n]*+`")
MAX_OBJECTS = 50  # a reply of nothing but braces must not take long to read
JSON_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedReply:
    """The fields of a reply, or why there are none."""

    fields: Mapping[str, Any] | None = None
    failure: Failure | None = None
    reading: Reading = "strict"
    """How the reply had to be read: `tolerant` says that the server ignored the schema."""


def parse_reply(text: str, schema: Mapping[str, Any]) -> ParsedReply:
    """Read a reply against a schema.

    >>> schema = {"properties": {"verdict": {"type": "string", "enum": ["tie"]}}}
    >>> parse_reply('{"verdict": "tie"}', schema).reading
    'strict'
    >>> parse_reply('I say: {"verdict": "tie"}', schema).reading
    'tolerant'
    >>> parse_reply('{"verdict": "candidate_3"}', schema).failure
    'off_schema'

    Args:
        text: the reply's content.
        schema: an object schema with flat properties (`type`, `enum`).
    """
    if not text.strip():
        return ParsedReply(failure="empty_reply")
    whole = _as_object(text)
    if whole is not None:
        if _fits(whole, schema):
            return ParsedReply(fields=_storable(whole))
        return ParsedReply(failure="off_schema")
    found, around = _objects(_after_tags(answer_part(text)))
    if THOUGHT_BEGINS.search(around) or _has_open_tag(around):
        return ParsedReply(failure="unfinished_thought", reading="tolerant")
    fitting = [each for each in found if _fits(each, schema)]
    if not fitting:
        return ParsedReply(failure="off_schema" if found else "unparsable", reading="tolerant")
    # Objects that differ only in their wording agree.
    choices = [name for name, rule in schema["properties"].items() if "enum" in rule]
    if any(len(_stated(name, found, around)) > 1 for name in choices):
        return ParsedReply(failure="ambiguous", reading="tolerant")
    return ParsedReply(fields=_storable(fitting[-1]), reading="tolerant")


def answer_part(text: str) -> str:
    """What follows the last end of a thought: a draft verdict in a thought is no verdict.

    >>> answer_part("<think>B? No.</think> A")
    ' A'
    """
    ends = [found.end() for found in THOUGHT_ENDS.finditer(text)]
    return text[ends[-1] :] if ends else text


def _storable(fields: Mapping[str, Any]) -> dict[str, Any]:
    # An escape within JSON can hold what no database and no table takes.
    return {
        name: storable(value) if isinstance(value, str) else value for name, value in fields.items()
    }


def verdict_from_reply(parsed: ParsedReply) -> Verdict:
    """The verdict in a reply of the pairwise prompt; a failure becomes an abstention."""
    if parsed.fields is None:
        return Verdict(choice="abstain", reason=str(parsed.failure), confidence=0.0)
    return Verdict(choice=parsed.fields["verdict"], reason=str(parsed.fields["reason"]))


def _stated(choice: str, found: Sequence[Mapping[str, Any]], around: str) -> set[str]:
    """Every value that a reply gives a choice, as JSON, also in objects that are broken.

    The form of the reply, repeated with its alternatives (`"a" | "b"`), states nothing.
    """
    said = re.findall(rf'"{re.escape(choice)}"\s*:\s*("[^"]*"|[^\s,}}|"]++)(?!\s*\|)', around)
    return {*said, *(json.dumps(each[choice]) for each in found if choice in each)}


def _fits(fields: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    properties = schema["properties"]
    if set(fields) != set(properties):
        return False
    return all(_is_legal(fields[name], rule) for name, rule in properties.items())


def _is_legal(value: Any, rule: Mapping[str, Any]) -> bool:
    if isinstance(value, bool) and rule["type"] != "boolean":
        return False
    if not isinstance(value, JSON_TYPES[rule["type"]]):
        return False
    return "enum" not in rule or value in rule["enum"]


def _as_object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _after_tags(text: str) -> str:
    """What follows the last end of an unknown tag, as of a thought; within objects is none."""
    outside = list(text)
    for _, begin, end in _spans(text) or []:
        outside[begin:end] = " " * (end - begin)
    ends = [found.end() for found, is_end in _tags("".join(outside)) if is_end]
    return text[ends[-1] :] if ends else text


def _has_open_tag(around: str) -> bool:
    """Whether a tag that nobody knows begins in what is around objects, and never ends."""
    return any(not is_end for _, is_end in _tags(around))


def _tags(text: str) -> Iterator[tuple[re.Match[str], bool]]:
    """Every tag of a name that is none of an answer, and whether it is the end of one."""
    # What is quoted is spoken about; blanks keep the places.
    text = _QUOTED.sub(lambda found: " " * len(found[0]), text)
    for found in _ANY_TAG.finditer(text):
        name, mark = found["name"], found["mark"]
        if (name and _WRAPPERS.fullmatch(name)) or (mark and _OWN_MARKS.match(mark.strip())):
            continue
        yield found, bool(found["end"] or found["comment"])


def _objects(text: str) -> tuple[list[dict[str, Any]], str]:
    """Every JSON object that starts somewhere in a text, outermost ones only, and what is around.

    No object where there are more than `MAX_OBJECTS` beginnings: a later one might disagree.
    """
    spans = _spans(text)
    if spans is None:
        return [], text
    edges = [0, *(edge for _, begin, end in spans for edge in (begin, end)), len(text)]
    around = [text[begin:end] for begin, end in zip(edges[::2], edges[1::2], strict=True)]
    return [value for value, _, _ in spans], " ".join(around)


def _spans(text: str) -> list[tuple[dict[str, Any], int, int]] | None:
    """Objects of a text with where they begin and end; None for too many beginnings."""
    decoder = json.JSONDecoder(object_pairs_hook=_once)
    found: list[tuple[dict[str, Any], int, int]] = []
    position = 0
    for _ in range(MAX_OBJECTS):
        position = text.find("{", position)
        if position < 0:
            return found
        try:
            value, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            position += 1
            continue
        found.append((value, position, end))
        position = end
    return found if text.find("{", position) < 0 else None


def _once(items: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(items)
    if len(fields) != len(items):
        raise ValueError("a reply that gives one field twice does not say which it means")
    return fields
