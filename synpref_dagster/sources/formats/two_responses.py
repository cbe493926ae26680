"""Layouts with two named responses and one decided label, of public sets and of everybody.

Each is one row of `_LAYOUTS`: which columns it has, and how a row says which response is better.
A label that says "equal" is a tie and becomes no pair. A winner that is a number is read only where
the option `codes` says what it stands for: 1 is the first of 1 and 2, and the second of 0 and 1.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from synpref_dagster.sources.formats.fields import (
    Row,
    RowFormat,
    RowReader,
    finite,
    labelled_pair,
    one_of,
    required,
    user_turn,
)
from synpref_dagster.sources.records import ParsedRow, RowRejected, SourceSpec

Sign = Callable[[Row], float]
"""Above 0 when the first response is better, below 0 for the second, 0 for a tie."""
SIDES = (("a", "b"), ("x", "y"), ("left", "right"), ("first", "second"))
"""How two responses are called where no number does it."""
CODES = frozenset({"codes"})
_SIGNS = {"a": 1.0, "b": -1.0, "tie": 0.0}
_TIES = (
    *("tie", "tie (bothbad)", "bothbad", "both bad", "both", "both good", "neither", "equal"),
    *("equally good", "same", "draw", "no preference"),
)
_WORDS = {
    **dict.fromkeys(_TIES, "tie"),
    **{word: side for names in SIDES for word, side in zip(names, "ab", strict=True)},
}
"""What a winner's column says in words -> a, b or tie."""
_SIDE = re.compile(
    r"(?:model|response|result|answer|output|completion|reply|assistant|candidate|option|choice"
    r"|side|conversation)[ _-]?(?=[^ _-])"
)
_NUMBER = re.compile(r"([+-]?\d{1,9})(?:\.0*)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layout:
    """One public layout of two responses."""

    name: str
    columns: tuple[str, ...]
    """Columns every row has, named in messages and used to recognise the layout."""
    responses: tuple[str, str]
    conversation: Callable[[Row], object]
    asks: str | None = None
    """The column with the conversation, where it is one."""
    beside: frozenset[str] = frozenset()
    """Columns read where they are there."""
    make_sign: Callable[[SourceSpec], Sign]
    options: frozenset[str] = frozenset()


def _row_format(layout: _Layout) -> RowFormat:
    def make_reader(spec: SourceSpec) -> RowReader:
        sign = layout.make_sign(spec)

        def read(row: Row, number: int) -> ParsedRow:
            required(row, *layout.columns)
            first, second = (row[name] for name in layout.responses)
            return ParsedRow(
                labelled_pair(
                    spec,
                    number,
                    conversation=layout.conversation(row),
                    responses=(first, second),
                    sign=sign(row),
                )
            )

        return read

    return RowFormat(
        name=layout.name,
        layout=", ".join(layout.columns),
        matches=lambda row: set(layout.columns) <= set(row),
        make_reader=make_reader,
        columns=layout.beside.union(layout.columns),
        asks=layout.asks,
        options=layout.options,
    )


def _pku_sign(spec: SourceSpec) -> Sign:
    """Option `label`: `better` (helpfulness), `safer`, or `both`, where the two must agree."""
    label = one_of(spec, "label", ("better", "safer", "both"))
    names = {
        "better": ("better_response_id",),
        "safer": ("safer_response_id",),
        "both": ("better_response_id", "safer_response_id"),
    }[label]

    def sign(row: Row) -> float:
        values = required(row, *names)
        signs = {_of_two(value, first=0, second=1) for value in values}
        # Helpfulness and safety pull apart: neither response is preferred.
        return signs.pop() if len(signs) == 1 else 0

    return sign


def _shp_sign(spec: SourceSpec) -> Sign:
    """Option `min_score_ratio`: how often more votes the better comment has; the card advises 2."""
    least = finite(spec.options.get("min_score_ratio", 1))
    if least is None or least < 1:
        raise ValueError(
            f"source {spec.name!r}: min_score_ratio {spec.options['min_score_ratio']!r} "
            "must be a number from 1"
        )

    def sign(row: Row) -> float:
        scores = finite(row["score_A"]), finite(row["score_B"])
        label = _of_two(row["labels"], first=1, second=0)
        if scores[0] is None or scores[1] is None:
            raise RowRejected("missing_score", detail="score_A and score_B must be numbers")
        gap = scores[0] - scores[1]
        if gap * label < 0:
            raise RowRejected("label_against_score", detail=f"label {row['labels']!r}, {scores}")
        more, fewer = max(scores[0], scores[1]), min(scores[0], scores[1])
        if gap and more < least * max(fewer, 1):
            raise RowRejected("small_gap", detail=f"scores {scores}")
        return label if gap else 0

    return sign


def _webgpt_sign(row: Row) -> float:
    scores = finite(row["score_0"]), finite(row["score_1"])
    if scores[0] is None or scores[1] is None:
        raise RowRejected("missing_score", detail="score_0 and score_1 must be numbers")
    return scores[0] - scores[1]


def _numbered_sign(row: Row) -> float:
    return _of_two(row["label"], first=1, second=2)


def _of_two(value: object, *, first: int, second: int) -> float:
    """+1 or -1 for the number of a response; raises RowRejected for any other value."""
    number = finite(value)
    if number not in (first, second):
        raise RowRejected("malformed_label", detail=f"{value!r}: not {first} or {second}"[:200])
    return 1.0 if number == first else -1.0


def code_of(cell: object) -> str | None:
    """What a winner's cell says: `a`, `b`, `tie`, or a number as text; None for anything else.

    >>> [code_of(cell) for cell in ("Model_A", "response B", "tie", "output_1", 2.0, True, "gpt")]
    ['a', 'b', 'tie', '1', '2', None, None]
    """
    if isinstance(cell, bool):
        return None
    text = " ".join(str(cell).replace("_", " ").split()).lower()
    bare = _SIDE.sub("", text, count=1) if _SIDE.match(text) else text
    if number := _NUMBER.fullmatch(bare):
        return str(int(number[1]))
    return _WORDS.get(text) or _WORDS.get(bare)


def winner_sign(spec: SourceSpec, column: str = "winner") -> Sign:
    """Reader of a winner's column, in words or under the option `codes`.

    Args:
        spec: the source; `codes` maps a, b and, where there are some, tie to what the column says.
        column: its name.

    Raises:
        ValueError: `codes` is no such table, or one code stands for two of them.
    """
    codes = _codes(spec)

    def sign(row: Row) -> float:
        cell = row[column]
        code = code_of(cell)
        told = {} if codes is None else codes
        side = told.get(_said(cell)) or told.get(code or "") or code
        if side in _SIGNS:
            return _SIGNS[side]
        if codes is None and code is not None:
            detail = f"{cell!r} may be the first response or the second: say so by the option codes"
            raise RowRejected("ambiguous_label", detail=detail[:200])
        raise RowRejected("malformed_label", detail=f"{column} {cell!r}: no side, no tie"[:200])

    return sign


def _codes(spec: SourceSpec) -> dict[str, str] | None:
    given = spec.options.get("codes")
    if given is None:
        return None
    example = "codes = { a = 1, b = 2, tie = 0 }"
    if not isinstance(given, Mapping) or not {"a", "b"} <= given.keys() <= _SIGNS.keys():
        raise ValueError(f"source {spec.name!r}: codes {given!r} must be like {example}")
    said = [
        (_said(code), side)
        for side, cells in given.items()
        for code in (cells if isinstance(cells, list | tuple) else [cells])
    ]
    codes = dict(said)
    if len(codes) < len(said) or "" in codes:
        raise ValueError(
            f"source {spec.name!r}: codes {given!r} must have a code of its own for each side, "
            f"like {example}"
        )
    return codes


def _said(cell: object) -> str:
    """A cell as it is compared: 1, 1.0 and "1" are one code."""
    text = str(cell).strip().lower()
    number = _NUMBER.fullmatch(text)
    return str(int(number[1])) if number else text


def _question(row: Row) -> object:
    question = row["question"]
    if not isinstance(question, Mapping) or "full_text" not in question:
        raise RowRejected("malformed_conversation", detail="question must hold full_text")
    return user_turn(question["full_text"])


_LAYOUTS = (
    _Layout(
        name="pku_saferlhf",
        columns=("prompt", "response_0", "response_1", "better_response_id"),
        responses=("response_0", "response_1"),
        conversation=lambda row: user_turn(row["prompt"]),
        asks="prompt",
        beside=frozenset({"safer_response_id"}),
        make_sign=_pku_sign,
        options=frozenset({"label"}),
    ),
    _Layout(
        name="shp",
        columns=("history", "human_ref_A", "human_ref_B", "score_A", "score_B", "labels"),
        responses=("human_ref_A", "human_ref_B"),
        conversation=lambda row: user_turn(row["history"]),
        asks="history",
        make_sign=_shp_sign,
        options=frozenset({"min_score_ratio"}),
    ),
    _Layout(
        name="webgpt",
        columns=("question", "answer_0", "answer_1", "score_0", "score_1"),
        responses=("answer_0", "answer_1"),
        conversation=_question,
        make_sign=lambda _: _webgpt_sign,
    ),
    _Layout(
        name="offsetbias",
        columns=("instruction", "output_1", "output_2", "label"),
        responses=("output_1", "output_2"),
        conversation=lambda row: user_turn(row["instruction"]),
        asks="instruction",
        make_sign=lambda _: _numbered_sign,
    ),
    _Layout(
        name="two_answers",
        columns=("prompt", "response_a", "response_b", "winner"),
        responses=("response_a", "response_b"),
        conversation=lambda row: user_turn(row["prompt"]),
        asks="prompt",
        make_sign=winner_sign,
        options=CODES,
    ),
    _Layout(
        name="two_outputs",
        columns=("instruction", "output_1", "output_2", "preference"),
        responses=("output_1", "output_2"),
        conversation=lambda row: user_turn(row["instruction"]),
        asks="instruction",
        make_sign=lambda spec: winner_sign(spec, "preference"),
        options=CODES,
    ),
)
PKU_SAFERLHF, SHP, WEBGPT, OFFSETBIAS, TWO_ANSWERS, TWO_OUTPUTS = map(_row_format, _LAYOUTS)
