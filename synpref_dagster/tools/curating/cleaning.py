"""`clean`, `dedup`, `decontaminate`: what box 1 of a campaign keeps of files of pairs, and why.

Files are read into shards, screened, compared and selected by the functions of the clean pool, a
shard in memory at a time; what is finished before a kill is found again by the same call. Then
the kept pairs are written as one file, and all other rows with their reasons as another.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from synpref_dagster.curation.contamination.rules import NUM_WORDS
from synpref_dagster.settings.shards import ShardSettings
from synpref_dagster.storage.atomic import remove
from synpref_dagster.storage.processes import alone_with
from synpref_dagster.tools.curating.against import texts_against
from synpref_dagster.tools.curating.given import Data, as_files, is_on_disk
from synpref_dagster.tools.curating.reading import Given, listed, read_files
from synpref_dagster.tools.curating.selecting import Wanted, select_pool
from synpref_dagster.tools.curating.writing import KEPT_SCHEMA, write_pool
from synpref_dagster.tools.outputs import (
    PARQUET,
    QUARANTINE,
    checked_output,
    quarantine_of,
    set_aside,
    work_of,
)
from synpref_dagster.tools.rows import AUTO, Reading
from synpref_dagster.tools.running import opened

Stage = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class CleanReport:
    """What curating came to: rows read and unfolded = kept, dropped, quarantined and outside."""

    output: Path | None
    """None where no file was asked for."""
    quarantine: Path | None
    """Rows that are not in the output, with reasons; None without any, or without an output."""
    reading: Reading
    num_kept: int
    dropped: dict[str, int]
    """Reason -> pairs, most frequent first."""
    marked: dict[str, int]
    """Risk -> pairs that are kept and marked with it."""
    contaminated: dict[str, int] = field(default_factory=dict)
    """What was found -> pairs that are dropped for it."""
    notes: tuple[str, ...] = ()
    """What has to be known of what was looked for."""
    held: tuple[pa.Table, list[dict[str, Any]]] | None = None
    """Kept pairs and the rows that are none of them, where no file was asked for."""

    def table(self) -> pa.Table:
        """The kept pairs: prompt, chosen and rejected as messages, pair_id, file, row and risk."""
        if self.held is not None:
            return self.held[0]
        assert self.output is not None
        if self.output.suffix == PARQUET:
            return pq.read_table(self.output)
        return pa.Table.from_pylist(_lines(self.output), schema=KEPT_SCHEMA)

    def left_out(self) -> pd.DataFrame:
        """The rows that are not kept: file, row, reason, detail, and what is known beside."""
        rows = self.held[1] if self.held is not None else _lines(self.quarantine)
        return pd.DataFrame(rows, columns=None if rows else ["file", "row", "reason", "detail"])


def clean(  # noqa: PLR0913 - what is cleaned of what, how it is read, and where it goes
    data: Data,
    output: str | Path | None = None,
    *,
    against: Sequence[str | Path] = (),
    words: int = NUM_WORDS,
    everywhere: bool = False,
    layout: str = AUTO,
    columns: Mapping[str, str] | None = None,
    seed: int = 0,
    force: bool = False,
    shards: ShardSettings | None = None,
    stage: Stage | None = None,
) -> CleanReport:
    """Drop unsound, repeated and contaminated pairs, and mark contradictions and cycles.

    A pair is kept or dropped as it is in the clean pool of a campaign whose sources are these
    files in this order. A text in place of messages is one user turn, or the assistant's answer.

    Args:
        data: a file or folder in any layout that sources may have, or several; pairs; rows as
            mappings; a data frame, an Arrow table or a `datasets.Dataset`.
        output: where kept pairs go, `.parquet` or `.jsonl`; None holds them in memory.
        against: what must not be in them: folders and files of benchmarks, files of texts, names
            of benchmarks on the hub; see `decontaminate`.
        words: shared words that are contamination.
        everywhere: look for them in every turn and both responses, not only in the first turn.
        layout: the name of a format of pairs; seen by itself by default.
        columns: known name -> name in the data.
        seed: of formats that draw which response is the chosen one.
        force: replace an output that is there.
        shards: who works, as `[shards]` of a profile; this process by default.
        stage: told what is done now.

    Raises:
        ValueError: something cannot be read, or the output is there already; one line says why.
    """
    wanted = Wanted(against=against, words=words, everywhere=everywhere)
    how = _How(layout, columns or {}, seed, force, shards or ShardSettings(), stage or _unheard)
    return _curated(data, output, wanted=wanted, how=how)


def dedup(  # noqa: PLR0913 - how it is read, and where it goes
    data: Data,
    output: str | Path | None = None,
    *,
    layout: str = AUTO,
    columns: Mapping[str, str] | None = None,
    seed: int = 0,
    force: bool = False,
    shards: ShardSettings | None = None,
    stage: Stage | None = None,
) -> CleanReport:
    """Drop repeated pairs, of which the first is kept: `clean` without anything to look for.

    Arguments and errors are those of `clean`.
    """
    how = _How(layout, columns or {}, seed, force, shards or ShardSettings(), stage or _unheard)
    return _curated(data, output, wanted=Wanted(), how=how)


def decontaminate(  # noqa: PLR0913 - what is looked for in what, how it is read, where it goes
    data: Data,
    against: str | Path | Sequence[str | Path],
    output: str | Path | None = None,
    *,
    words: int = NUM_WORDS,
    everywhere: bool = False,
    layout: str = AUTO,
    columns: Mapping[str, str] | None = None,
    seed: int = 0,
    force: bool = False,
    shards: ShardSettings | None = None,
    stage: Stage | None = None,
) -> CleanReport:
    """Drop pairs that share a stretch of words, or a whole short prompt, with what is looked for.

    Args:
        data: see `clean`.
        against: one or several of: a folder that holds benchmarks in their published layouts, a
            file of a benchmark, a file of texts or pairs, `NAME=PATH` for a suite of one's own,
            the name of a benchmark on the hub, or `hub` for the seven.
        output: where kept pairs go, `.parquet` or `.jsonl`; None holds them in memory.
        words: shared words that are contamination.
        everywhere: look for them in every turn and both responses, not only in the first turn.
        layout: the name of a format of pairs; seen by itself by default.
        columns: known name -> name in the data.
        seed: of formats that draw which response is the chosen one.
        force: replace an output that is there.
        shards: who works, as `[shards]` of a profile; this process by default.
        stage: told what is done now.

    Raises:
        ValueError: as `clean`, or there is nothing to look for.
    """
    looked_for = [against] if isinstance(against, str | Path) else list(against)
    if not looked_for:
        raise ValueError("name at least one benchmark or file of texts to look for (--against)")
    wanted = Wanted(repetitions=False, against=looked_for, words=words, everywhere=everywhere)
    how = _How(layout, columns or {}, seed, force, shards or ShardSettings(), stage or _unheard)
    return _curated(data, output, wanted=wanted, how=how)


@dataclass(frozen=True, slots=True)
class _How:
    layout: str
    columns: Mapping[str, str]
    seed: int
    force: bool
    shards: ShardSettings
    tell: Stage


def _unheard(_: str) -> None:
    """Nobody listens."""


def _curated(data: Data, output: str | Path | None, *, wanted: Wanted, how: _How) -> CleanReport:
    with TemporaryDirectory(prefix="synpref-") as folder:
        paths = as_files(data, Path(folder))
        given = Given(paths, layout=how.layout, columns=how.columns, seed=how.seed)
        if output is not None:
            inputs = paths if is_on_disk(data) else []
            target = checked_output(Path(output), inputs, force=how.force, what="pairs")
            return _written(target, given, wanted=wanted, how=how)
        report = _written(Path(folder, "out", "kept.parquet"), given, wanted=wanted, how=how)
        held = report.table(), _lines(report.quarantine)
        return replace(report, output=None, quarantine=None, held=held)


def _written(target: Path, given: Given, *, wanted: Wanted, how: _How) -> CleanReport:
    wanted.config()  # refuses what is no rule before anything is read
    files, against, work = listed(given), texts_against(wanted.against), work_of(target)
    with alone_with(str(target.resolve())), _cleared_when_refused(work):
        work.mkdir(exist_ok=True, parents=True)
        with opened(how.shards, work) as executor:
            how.tell(f"reading {len(files.paths):,} files")
            raw = read_files(files, uri=str(work / "raw"), executor=executor)
            pool = select_pool(
                raw.pairs, against, wanted=wanted, uri=str(work), executor=executor, tell=how.tell
            )
        how.tell("writing")
        counted = write_pool(target, raw, pool, quarantine=work / QUARANTINE)
        aside = set_aside(
            work / QUARANTINE, quarantine_of(target), is_needed=counted.num_left_out > 0
        )
        remove(work)
    read = raw.reading
    counted_rows = counted.num_kept + counted.num_left_out + read.num_outside
    assert read.num_rows + read.num_unfolded == counted_rows, "a row was lost"
    return CleanReport(
        output=target,
        quarantine=aside,
        reading=read,
        num_kept=counted.num_kept,
        dropped=dict(sorted(counted.dropped.items(), key=lambda each: (-each[1], each[0]))),
        marked=dict(sorted(counted.marked.items())),
        contaminated=dict(sorted(counted.contaminated.items())),
        notes=tuple(against.notes),
    )


@contextmanager
def _cleared_when_refused(work: Path) -> Iterator[None]:
    """What cannot be read leaves nothing; what a kill leaves is gone on with."""
    try:
        yield
    except ValueError:
        remove(work)
        raise


def _lines(file: Path | None) -> list[dict[str, Any]]:
    if file is None:
        return []
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
