"""Pairs in one file and people's votes about them in another, joined into one that can be read.

Two answers to a prompt under a number, and lines that say who found which of the two better: only
where the names of columns and all values leave no doubt, and never in place of another file.
"""

import gzip
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from synpref_dagster.pairs.texts import counted
from synpref_dagster.sources.annotators import annotator_key
from synpref_dagster.sources.files.rows import read_rows
from synpref_dagster.sources.foreign.unsupported import plain_name
from synpref_dagster.sources.formats.two_responses import SIDES
from synpref_dagster.sources.records import SourceSpec
from synpref_dagster.sources.survey.writing import writing
from synpref_dagster.storage.atomic import beside, put_in_place

Row = Mapping[str, Any]
ENDING = "_voted.jsonl.gz"
LOOKED_AT = 100  # first rows of a file
MAX_VOTES = 5_000_000  # that are held
NUMBERS = ("1", "2")
_SIDES = (*SIDES, NUMBERS)
_COLUMN_SIDES = (*_SIDES, ("0", "1"))
_RESPONSES = "response result answer output completion reply"
_PROMPTS = ("prompt", "question", "instruction", "query", "text")
_KEYS = ("id", "pair_id", "idx", "index", "key")
WINNERS = ("winner", "vote", "verdict", "preference", "preferred", "choice", "label")
_WORKERS = ("worker", "annotator", "user", "rater", "labeler", "labeller", "voter")
_PARTS = ("debate", "topic", "slug")
_EQUAL = ("tie", "equal", "draw", "both", "neither")


@dataclass(frozen=True, kw_only=True)
class Join:
    """Two files and the columns by which they belong together."""

    pairs: Path
    votes: Path
    key: str
    prompt: str
    responses: tuple[str, str]
    part: str | None
    winner: str
    worker: str
    signs: Mapping[str, str]
    """What the winner's column says -> a, b or equal."""

    @property
    def name(self) -> str:
        """What the joined file is called, without its ending."""
        return re.sub(r"[^A-Za-z0-9._-]+", "_", self.pairs.resolve().parent.name) or "pairs"


def find_joins(files: Sequence[Path]) -> list[Join]:
    """The pairs of files that belong together, each file of pairs with the first votes for it.

    Args:
        files: that no reader takes.
    """
    heads = {file: _head(file) for file in files}
    found = []
    for pairs, head in heads.items():
        about = _as_pairs(head)
        for votes in files if about else ():
            cast = votes.parent == pairs.parent and _as_votes(heads[votes])
            keys = [key for key in _KEYS if cast and key in head[0] and key in heads[votes][0]]
            if about and cast and keys:
                found.append(Join(pairs=pairs, votes=votes, key=keys[0], **about, **cast))
                break
    return found


def write_join(join: Join, target: Path, *, may_replace: bool) -> str:
    """Write the joined file, and say in words what is in it.

    The same files give the same bytes. Workers stand in it under a key, not under their ids.

    Raises:
        ValueError: the votes or the pairs are not what their first rows said, or another file is
            in the place.
    """
    votes = _votes(join)
    total = sum(map(len, votes.values()))
    with writing(target):
        part = beside(target)
        try:
            _write_rows(_joined(join, votes), part)
            if target.exists() and not may_replace and target.read_bytes() != part.read_bytes():
                why = "is there and holds something else: move it, or use --force"
                raise ValueError(f"{target} {why}")
            put_in_place(part, target)
        finally:
            part.unlink(missing_ok=True)
    lost = sum(map(len, votes.values()))
    about = "is about no pair" if lost == 1 else "are about no pair"
    rest = f", {counted(lost, 'vote')} {about} of it" if lost else ""
    kept = total - lost
    return f"{counted(kept, 'vote')} {'is' if kept == 1 else 'are'} now in {target}{rest}"


def _write_rows(rows: Iterable[Row], part: Path) -> None:
    with (
        part.open("wb") as raw,
        gzip.GzipFile("", mode="wb", fileobj=raw, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8") as lines,
    ):
        for row in rows:
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")


def _joined(join: Join, votes: dict[str, list[dict[str, str]]]) -> Iterator[Row]:
    """The rows of the joined file; what is left in `votes` is about none of them."""
    seen: set[str] = set()
    for row in _rows(join.pairs):
        key = str(row.get(join.key))
        if key in seen:
            raise ValueError(f"{join.pairs}: {join.key} {key} stands there twice")
        seen.add(key)
        cast = votes.pop(key, [])
        counts = Counter(vote["value"] for vote in cast).most_common(2)
        is_clear = len(counts) == 1 or (len(counts) > 1 and counts[0][1] > counts[1][1])
        yield {
            "prompt": row.get(join.prompt),
            "response_a": row.get(join.responses[0]),
            "response_b": row.get(join.responses[1]),
            "votes": cast,
            "debate": str(row.get(join.part)) if join.part else None,
            "gold": counts[0][0] if is_clear else None,
        }


def _votes(join: Join) -> dict[str, list[dict[str, str]]]:
    votes: dict[str, list[dict[str, str]]] = defaultdict(list)
    for number, row in enumerate(_rows(join.votes)):
        value = join.signs.get(str(row.get(join.winner)).strip().lower())
        if value is None or number >= MAX_VOTES:
            raise ValueError(f"{join.votes}: row {number + 1} is no vote: {row.get(join.winner)!r}")
        worker = annotator_key(str(row.get(join.worker)))
        votes[str(row.get(join.key))].append({"worker": worker, "value": value})
    return dict(votes)


def _rows(file: Path) -> Iterator[Row]:
    spec = SourceSpec(name="survey", path=str(file), origin="human", licence="")
    return (row.value for row in read_rows(spec) if row.value is not None)


def _head(file: Path) -> list[Row]:
    try:
        return list(islice(_rows(file), LOOKED_AT)) or [{}]
    except (ValueError, OSError):
        return [{}]


def _as_pairs(head: Sequence[Row]) -> dict[str, Any] | None:
    """The columns of a file of pairs: a prompt, two responses, perhaps a part."""
    texts = [name for name in head[0] if all(isinstance(row.get(name), str) for row in head)]
    found = two_columns(texts)
    prompts = [name for name in _PROMPTS if name in texts]
    if len(found) != 1 or not prompts:
        return None
    part = next((name for name in _PARTS if name in texts), None)
    return {"prompt": prompts[0], "responses": found[0], "part": part}


def two_columns(names: Iterable[str]) -> list[tuple[str, str]]:
    """Every two columns that hold a response of each side, by their names.

    >>> two_columns(["prompt", "answer_1", "answer_2", "model_1", "model_2"])
    [('answer_1', 'answer_2')]
    """
    plain = {plain_side(name): name for name in names}
    return [
        (plain[stem, one], plain[stem, two])
        for stem in _RESPONSES.split()
        for one, two in _COLUMN_SIDES
        if (stem, one) in plain and (stem, two) in plain
    ]


def plain_side(name: str) -> tuple[str, str]:
    """What a column holds and of which side, "" where its name says none.

    >>> plain_side("result_x"), plain_side("Answer 2"), plain_side("prompt")
    (('result', 'x'), ('answer', '2'), ('prompt', ''))
    """
    text = re.sub(r"[\s\-.]+", "_", str(name).strip()).lower()
    stem, _, side = text.rpartition("_")
    if not stem and (told := re.fullmatch(r"([a-z]+)([012])", text)):
        stem, side = told[1], told[2]
    return (stem, side) if stem and any(side in each for each in _COLUMN_SIDES) else (text, "")


def _as_votes(head: Sequence[Row]) -> dict[str, Any] | None:
    """The columns of a file of people's votes: who, and which of the two is better."""
    plain = {plain_name(name).removesuffix("_id"): name for name in head[0]}
    winner = next((plain[name] for name in WINNERS if name in plain), None)
    worker = next((plain[name] for name in _WORKERS if name in plain), None)
    if winner is None or worker is None:
        return None
    said = {str(row.get(winner)).strip().lower() for row in head}
    for sides in _SIDES:
        for form in ("{}", "model_{}", "response_{}"):
            one, two = map(form.format, sides)
            signs = {one: "a", two: "b", **dict.fromkeys(_EQUAL, "equal")}
            # A lone 1 is the first of 1 and 2, or the second of 0 and 1.
            least = 2 if sides == NUMBERS else 1
            if said <= {*signs} and len(said & {one, two}) >= least:
                return {"winner": winner, "worker": worker, "signs": signs}
    return None
