"""`convert`: pairs of any layout in the layout of another trainer, a batch at a time."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from synpref_dagster.curation.verification.gold_silver import split_by_conversation
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.publishing.layouts import LAYOUTS, NOT_SINGLE_TURN, Layout, readme
from synpref_dagster.storage.atomic import beside, put_in_place, remove
from synpref_dagster.storage.processes import alone_with
from synpref_dagster.tools.on_pairs.given import (
    Given,
    GivenPairs,
    Place,
    pair_batches,
    refuse_lost,
    write_aside,
)
from synpref_dagster.tools.outputs import QUARANTINE
from synpref_dagster.tools.rows import AUTO, Input, Reading

SUFFIXES = (".jsonl", ".parquet")
TRAIN, VALIDATION = "train", "validation"
README = "README.md"
OURS = {TRAIN, VALIDATION, "README", "dataset_info"}
"""Names, without suffix, of what a folder may hold that is replaced."""
Write = Callable[[Sequence[dict[str, Any]]], object]


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertReport:
    """What was written."""

    output: Path
    quarantine: Path | None
    """Rows that became no pair, and pairs that the layout cannot hold; None without any."""
    reading: Reading
    written: Mapping[str, int]
    """Split -> pairs."""
    left_out: Mapping[str, int]
    """Reason -> pairs that the layout cannot hold."""
    use: str
    """What the trainer is told of it."""


def convert(  # noqa: PLR0913 - what is read how, and written how, and where
    file: Given,
    output: str | Path,
    *,
    to: str,
    held_out: float = 0.0,
    split: str | None = None,
    layout: str = AUTO,
    columns: Mapping[str, str] | None = None,
    seed: int = 0,
    force: bool = False,
) -> ConvertReport:
    """Write pairs in the layout of another trainer; read again, they are the same pairs.

    Args:
        file: pairs in any layout that sources may have, or a list of them.
        output: a folder, with what the trainer needs beside the pairs; or a single `.jsonl` or
            `.parquet` file.
        to: `datasets`, `trl`, `openrlhf`, `llama_factory`, `axolotl`, `axolotl_rm` or `nemo_rl`.
        held_out: share of the conversations that goes into a split `validation` of a folder.
        split: which of several that `datasets` saved in a folder.
        layout: name of a format of pairs; seen by itself by default.
        columns: known name -> name in the data.
        seed: of the split, and of formats that draw.
        force: replace an output that is there.

    Raises:
        ValueError: no such file or layout, or the output is there; in one line.
    """
    target = Path(output)
    refuse_lost(target, [file])
    wanted = _checked(target, to, held_out=held_out, force=force)
    given = GivenPairs(pairs=[], reading=Reading(kind="pairs"))
    how = Input(path="", layout=layout, columns=columns or {}, seed=seed)
    batches = pair_batches(file, given, how, split=split)
    with alone_with(str(target.resolve())):
        part = beside(target)
        try:
            files = _files(target, wanted, has_validation=held_out > 0)
            place = part if _is_file(target) else None
            if place is None:
                part.mkdir()
            work = _Work(wanted, given, share=held_out, seed=seed)
            work.write(batches, {name: place or part / file for name, file in files.items()})
            if place is None:
                about = {README: readme(wanted, files, counts=work.written)}
                for name, text in {**wanted.beside(files), **about}.items():
                    (part / name).write_text(text, encoding="utf-8")
            put_in_place(part, target)
        finally:
            remove(part)
        aside = write_aside(given, target.with_name(f"{target.stem}.{QUARANTINE}"))
    return ConvertReport(
        output=target,
        quarantine=aside,
        reading=given.reading,
        written=dict(work.written),
        left_out=dict(work.left_out),
        use=wanted.use(files),
    )


def _checked(target: Path, to: str, *, held_out: float, force: bool) -> Layout:
    if to not in LAYOUTS:
        raise ValueError(f"unknown layout {to!r}: choose {', '.join(LAYOUTS)}")
    if not 0 <= held_out < 1:
        raise ValueError(f"held-out share {held_out}: give a number from 0 up to 1")
    if held_out and _is_file(target):
        raise ValueError(f"{target} is one file, and has no splits: name a folder")
    if target.suffix and not _is_file(target):
        raise ValueError(f"{target}: name a folder, or a file {' or '.join(SUFFIXES)}")
    if target.exists() and not force:
        raise ValueError(f"{target} is there already: name another output, or give --force")
    if target.is_dir() and _is_file(target):
        raise ValueError(f"{target} is a folder; name a file")
    if target.is_file() and not _is_file(target):
        raise ValueError(f"{target} is a file; name a folder")
    if target.is_dir() and {file.stem for file in target.iterdir()} - OURS:
        raise ValueError(f"{target} holds other files, and is not replaced: name another output")
    return LAYOUTS[to]


def _is_file(target: Path) -> bool:
    return target.suffix in SUFFIXES


def _files(target: Path, layout: Layout, *, has_validation: bool) -> dict[str, str]:
    if _is_file(target):
        return {TRAIN: target.name}
    splits = (TRAIN, VALIDATION) if has_validation else (TRAIN,)
    return {split: f"{split}{layout.suffix}" for split in splits}


class _Work:
    """Pairs on their way into files, counted."""

    def __init__(self, layout: Layout, given: GivenPairs, *, share: float, seed: int) -> None:
        self.layout = layout
        self.given = given
        self.written: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self._share, self._seed = share, seed

    def write(
        self, batches: Iterable[list[tuple[Place, PreferencePair]]], paths: Mapping[str, Path]
    ) -> None:
        """Write every batch; each split has its file, also an empty one."""
        self.written.update(dict.fromkeys(paths, 0))
        with ExitStack() as stack:
            writers = {split: self._opened(path, stack) for split, path in paths.items()}
            for batch in batches:
                for split, rows in self._rows(batch).items():
                    writers[split](rows)
                    self.written[split] += len(rows)

    def _opened(self, path: Path, stack: ExitStack) -> Write:
        if ".parquet" in path.suffixes:
            file = stack.enter_context(
                pq.ParquetWriter(path, self.layout.schema, compression="zstd")
            )
            as_table = partial(pa.Table.from_pylist, schema=self.layout.schema)
            return lambda rows: file.write_table(as_table(list(rows)))
        lines = stack.enter_context(path.open("w", encoding="utf-8"))
        return lambda rows: lines.writelines(
            json.dumps(row, ensure_ascii=False) + "\n" for row in rows
        )

    def _rows(self, batch: list[tuple[Place, PreferencePair]]) -> dict[str, list[dict[str, Any]]]:
        rows: dict[str, list[dict[str, Any]]] = {}
        for (where, pair), split in zip(batch, self._splits(batch), strict=True):
            row = self.layout.row(pair)
            if row is None:
                self._leave_out(where, pair)
            else:
                rows.setdefault(split, []).append(row)
        return rows

    def _splits(self, batch: list[tuple[Place, PreferencePair]]) -> Iterable[str]:
        if not self._share:
            return [TRAIN] * len(batch)
        import pandas as pd

        ids = pd.Series([pair.conversation_id for _, pair in batch], dtype=object)
        return split_by_conversation(ids, validation_share=self._share, seed=self._seed)

    def _leave_out(self, where: Place, pair: PreferencePair) -> None:
        self.left_out[NOT_SINGLE_TURN] += 1
        file, row = where
        told = {"file": file, "row": row, "reason": NOT_SINGLE_TURN}
        detail = f"{self.layout.name} holds one question, not {len(pair.conversation)} turns"
        self.given.aside.append({**told, "detail": detail, "raw": ""})
