"""Rows of a benchmark of one's own, read as rows of a source are: any container, no hidden chat."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from synpref_dagster.sources.files.folders import source_files
from synpref_dagster.sources.files.rows import read_rows as read_file_rows
from synpref_dagster.sources.foreign.columns import ColumnReader
from synpref_dagster.sources.foreign.opening import opened
from synpref_dagster.sources.formats.fields import user_turn
from synpref_dagster.sources.records import RowRejected, SourceSpec

CANDIDATE_COLUMNS = {"chosen", "rejected", "candidates"}
COLUMNS = frozenset({"prompt", "labels", "id", "subset", *CANDIDATE_COLUMNS})
"""Columns that a suite of one's own is read from; others belong to the prompt, or are counted."""


class SuiteRow(NamedTuple):
    """A row, in the fields of `benchmarks.raw_layouts.RawRow`, which a sibling does not know."""

    values: Mapping[str, Any]
    origin: str
    row: int
    problem: str = ""
    detail: str = ""
    unread: tuple[str, ...] = ()


def own_rows(name: str, path: Path) -> Iterator[SuiteRow]:
    """Rows of a suite of one's own, read as rows of a source are; what cannot be read is one too.

    Raises:
        ValueError: there is no such file, or none that is read.
    """
    is_folder = path.is_dir()
    columns = ColumnReader(COLUMNS, "prompt", guesses=False)
    for file in source_files(str(path)).data:
        origin = _origin(path, Path(str(file)), is_folder=is_folder)
        spec = SourceSpec(name=name, path=file, origin="human", licence="")
        number = -1
        for number, row in enumerate(read_file_rows(spec)):  # blank lines have no number
            columns.unread.clear()
            try:
                values = _unfolded(_with_context(row.value or {}, columns))
            except RowRejected as error:
                detail = error.detail or "a chat hides in its texts"
                yield SuiteRow({}, origin, number, error.reasons[0], detail)
                continue
            unread = tuple(columns.unread)
            yield SuiteRow(values, origin, number, row.problem, row.detail, unread)
        if is_folder and number < 0:
            yield SuiteRow({}, origin, 0, "empty_file", "the file holds no row")


def _with_context(values: Mapping[str, Any], columns: ColumnReader) -> Mapping[str, Any]:
    """A row whose other columns are in its prompt, as those of a source are.

    Raises:
        RowRejected: a column may belong to the conversation and cannot be put there.
    """
    # Several candidates are no turns of one conversation.
    several = {
        name: values[name]
        for name in CANDIDATE_COLUMNS & values.keys()
        if isinstance(values[name], list | tuple)
    }
    single = {name: value for name, value in values.items() if name not in several}
    read = columns.read(single)
    return values if read is single else {**read, **several}


def _unfolded(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row whose prompt and candidates hide no chat, as `build_pair` gives pairs.

    Raises:
        RowRejected: a chat is stored or rendered in its texts and cannot be taken apart exactly, or
            what is before the candidates depends on the candidate.
    """
    prompt = values.get("prompt")
    conversation: Any = user_turn(prompt) if isinstance(prompt, str) else prompt
    asked: list[object] = []
    sides: dict[str, Any] = {}
    for name in CANDIDATE_COLUMNS & values.keys():
        given = values[name]
        texts = given if isinstance(given, list | tuple) else [given]
        told = [opened(conversation, (text, text)) for text in texts]
        asked += [turns for turns, _ in told]
        found = [side for _, (side, _) in told]
        sides[name] = found if isinstance(given, list | tuple) else found[0]
    if any(turns != asked[0] for turns in asked):
        raise RowRejected("prompt_not_shared", detail="its candidates continue different prompts")
    is_changed = bool(asked) and asked[0] != conversation
    return {**values, **sides, **({"prompt": asked[0]} if is_changed else {})}


def _origin(path: Path, file: Path, *, is_folder: bool) -> str:
    if is_folder:
        return (path.name / file.relative_to(path)).as_posix()
    return "/".join(path.parts[-4:])
