"""`decide`: the consistency filter over rewards that are at hand, or that two models give first.

Rows are decided by the function that decides the shards of a campaign. Flips need evidence: rows
about which people said something, in the file itself or in one of its own.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any, get_args
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from synpref_dagster.curation.filtering.decision import DECISIONS, REASONS, Recycle as Recycle
from synpref_dagster.curation.filtering.flip_guard import (
    FlipGuard,
    GuardConfig,
    estimate_flip_guard,
)
from synpref_dagster.curation.filtering.score_columns import CODE_TYPE, SCORE_SCHEMA, filter_shard
from synpref_dagster.curation.filtering.witnesses import Witnesses
from synpref_dagster.pairs.columns import to_numbers
from synpref_dagster.pairs.record import ID_TYPE
from synpref_dagster.storage.atomic import beside, put_in_place, remove
from synpref_dagster.storage.processes import alone_with
from synpref_dagster.tools.curating.columns import (
    FILE,
    FILE_TYPE,
    JUDGES,
    PAIR_ID,
    PEOPLE,
    BrokenRow,
    Named,
    Rows,
    score_rows,
)
from synpref_dagster.tools.outputs import (
    PARQUET,
    ROW,
    checked_output,
    quarantine_of,
    work_of,
    writer,
)

if TYPE_CHECKING:  # Reading rows and scoring cost more to load than a million decisions.
    from synpref_dagster.settings.shards import ShardSettings
    from synpref_dagster.tools.curating.given import Data
    from synpref_dagster.tools.running import Listener

DECIDED_SCHEMA = pa.schema(
    [
        (FILE, FILE_TYPE),
        (ROW, pa.int64()),
        (PAIR_ID, pa.string()),
        ("best_margin", pa.float32()),
        ("gold_margin", pa.float32()),
        ("judge_label", pa.int8()),
        ("human_label", pa.int8()),
        ("decision", CODE_TYPE),
        ("reason", CODE_TYPE),
    ]
)
FLOOR, MIN_FLIPS = GuardConfig().floor, GuardConfig().min_flips
ONE_SIDED = "{} holds 0 and 1 and never -1: 0 is read as undecided, -1 would disagree"
NO_FLIPS = "no gold is given, so that nobody knows how right flips are: none is made"


@dataclass(frozen=True, kw_only=True, slots=True)
class DecideReport:
    """What filtering came to."""

    output: Path | None
    """None where no file was asked for."""
    quarantine: Path | None
    """Rows that could not be read, with reasons; None without any."""
    num_rows: int
    """Rows read: those that are decided and those that are quarantined."""
    totals: dict[str, int]
    """kept, flipped, discarded -> rows."""
    reasons: dict[str, int]
    """Reason -> rows, in the order of the rules."""
    quarantined: dict[str, int]
    """Reason -> rows."""
    max_confidence: float
    """A flip needs p below this under both models; 0 forbids every flip by machines."""
    guard: FlipGuard | None
    """What gold says of such flips; None where there is no gold."""
    notes: tuple[str, ...] = ()
    """What has to be known beside the counts."""
    held: pa.Table | None = None
    """The rows, where no file was asked for."""

    def table(self) -> pa.Table:
        """One row per row that could be read: file, row, pair_id, what was said, decision, reason.

        `best_margin` and `gold_margin` are float32, `judge_label` and `human_label` int8.
        """
        if self.held is not None:
            return self.held
        assert self.output is not None
        if self.output.suffix == PARQUET:
            return pq.read_table(self.output)
        with self.output.open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        return pa.Table.from_pylist(rows, schema=DECIDED_SCHEMA)


def decide(  # noqa: PLR0913 - who says what in which column, and how strict flips are
    data: "Data",
    output: str | Path | None = None,
    *,
    best: str = "best_margin",
    gold: str = "gold_margin",
    judges: str | None = None,
    people: str | None = None,
    models: tuple[str | Path, str | Path] | None = None,
    evidence: str | Path | None = None,
    max_confidence: float | None = None,
    floor: float = FLOOR,
    min_flips: int = MIN_FLIPS,
    recycle: Recycle = "strict",
    layout: str = "auto",
    columns: Mapping[str, str] | None = None,
    force: bool = False,
    shards: "ShardSettings | None" = None,
    listener: "Callable[[str], Listener] | None" = None,
) -> DecideReport:
    """Decide for every pair whether it is kept, flipped or discarded, by the rule of campaigns.

    Args:
        data: a file or folder of rewards, rows as mappings, a data frame, a table, a data set.
        output: where decisions go, `.parquet` or `.jsonl`; None holds them in memory.
        best: column of the margin under the best model, or of both rewards as `chosen,rejected`.
        gold: the same under the model that was trained on people's labels alone.
        judges: column of labels 1, -1, 0 or null; `judge_label` where there is one.
        people: the same of people, null where nobody looked; `human_label` where there is one.
        models: folders or hub ids of the best and the gold model: `data` are pairs to score first.
        evidence: file of other rows on which the guard is estimated in place of people's in `data`.
        max_confidence: the guard's threshold where it is known already; 0 forbids flips.
        floor: flips are allowed where the lower bound of their precision on gold reaches this.
        min_flips: fewer flips on gold than this are no evidence, and then none are made.
        recycle: `strict`, `all` or `none`, as in a profile.
        layout: of pairs that models score; seen by itself by default.
        columns: of these pairs: known name -> name in the data.
        force: replace an output that is there.
        shards: who scores, as `[shards]` of a profile; this process by default.
        listener: given what a model is called, what is told how many responses are scored.

    Raises:
        ValueError: a column is not there or holds something else, or the output is there already.
    """
    named = Named(best=best, gold=gold, judges=judges, people=people)
    config = GuardConfig(floor=floor, min_flips=min_flips)
    guarding = _Guarding(evidence, max_confidence, config, recycle)
    guarding.check(named, models)
    scoring = None if models is None else (models, layout, columns or {}, shards, listener)
    with TemporaryDirectory(prefix="synpref-") as folder:
        path = _one_file(data, Path(folder))
        if output is not None:
            inputs = [path, *([evidence] if evidence else [])]
            target = checked_output(Path(output), inputs, force=force, what="decisions")
            return _report(path, target, named, guarding=guarding, scoring=scoring)
        target = Path(folder, "out", "decisions.parquet")
        target.parent.mkdir()
        report = _report(path, target, named, guarding=guarding, scoring=scoring)
        return replace(report, output=None, quarantine=None, held=report.table())


@dataclass(frozen=True, slots=True)
class _Guarding:
    """How flips are guarded."""

    evidence: str | Path | None
    max_confidence: float | None
    config: GuardConfig
    recycle: Recycle

    def check(self, named: Named, models: object) -> None:
        """Refuse what contradicts itself."""
        if models is not None and (named.best, named.gold) != (Named().best, Named().gold):
            raise ValueError("columns of rewards and models are given: take one of them out")
        if self.recycle not in get_args(Recycle):
            known = ", ".join(get_args(Recycle))
            raise ValueError(f"recycle is {self.recycle!r}, must be one of {known}")
        if self.max_confidence is not None and self.evidence is not None:
            raise ValueError("evidence and a threshold are given: the guard is one or the other")
        if not 0 <= (self.max_confidence or 0) <= 0.5:
            raise ValueError(
                f"max_confidence {self.max_confidence} must be from 0 to 0.5: a flip needs p < it"
            )


def _report(
    path: str, target: Path, named: Named, *, guarding: _Guarding, scoring: tuple[Any, ...] | None
) -> DecideReport:
    """The report of a file that is decided into another."""
    with alone_with(str(target.resolve())):
        aside: Path | None = None
        if scoring is not None:
            path, aside = _rewards(path, named, target=target, scoring=scoring)
        guard: FlipGuard | None = None
        notes: tuple[str, ...] = ()
        if guarding.max_confidence is None:
            must = guarding.evidence is not None
            source = str(guarding.evidence or path)
            guard, notes = _guard(source, named, guarding.config, must=must)
        threshold = guard.max_confidence if guard is not None else guarding.max_confidence or 0.0
        rule = threshold, guarding.recycle
        written = _write(path, target, named, rule=rule, aside=aside)
        remove(work_of(target))
    report = DecideReport(output=target, max_confidence=threshold, guard=guard, **written)
    return replace(report, notes=(*notes, *report.notes))


def _one_file(data: "Data", folder: Path) -> str:
    """Where data lie; what is in memory is written below a folder first."""
    if isinstance(data, str | Path):
        return str(data)
    from synpref_dagster.tools.curating.given import as_files

    [path, *more] = as_files(data, folder)
    if more:
        raise ValueError(f"one file or folder at a time: put {path} and the others into one")
    return path


def _rewards(
    path: str, named: Named, *, target: Path, scoring: tuple[Any, ...]
) -> tuple[str, Path | None]:
    """`rewards_of`, loaded when models are to score."""
    from synpref_dagster.settings.shards import ShardSettings
    from synpref_dagster.tools.curating.reading import Given
    from synpref_dagster.tools.curating.rewards import Scoring, rewards_of

    models, layout, columns, shards, listener = scoring
    given = Given([path], layout=layout, columns=columns)
    how = Scoring(shards or ShardSettings(), listener)
    return rewards_of(models, given, named, work=work_of(target), how=how)


def _guard(
    path: str, named: Named, config: GuardConfig, *, must: bool
) -> tuple[FlipGuard | None, tuple[str, ...]]:
    """The guard that people's labels support, and what is to be said of them."""
    parts = [
        rows.scores.filter(pc.not_equal(pc.fill_null(rows.scores[PEOPLE], 0), 0))
        for rows in score_rows(path, named)
        if isinstance(rows, Rows)
    ]
    known = pa.concat_tables([SCORE_SCHEMA.empty_table(), *parts])
    if not known.num_rows:
        if must:
            raise ValueError(f"{path} holds no label of people (1 or -1), which the guard needs")
        return None, (NO_FLIPS,)
    import pandas as pd

    from synpref_dagster.curation.evidence.warnings import models_at_chance

    labels = to_numbers(known[PEOPLE], null=0)
    gold = Witnesses(
        gold_margin=to_numbers(known["gold_margin"], null=np.nan),
        best_margin=to_numbers(known["best_margin"], null=np.nan),
        judge_label=to_numbers(known[JUDGES], null=0),
        human_label=labels,
        human_seen=np.ones(len(labels), dtype=bool),
    )
    guard = estimate_flip_guard(gold, config=config)
    margins = {"gold_margin": gold.gold_margin, "best_margin": gold.best_margin}
    weak = models_at_chance(pd.DataFrame({**margins, PEOPLE: labels}))
    return guard, tuple(each.sentence for each in weak)


def _write(
    path: str, target: Path, named: Named, *, rule: tuple[float, Recycle], aside: Path | None
) -> dict[str, Any]:
    """Decide a file into another, some rows at a time; what was counted, by field of the report."""
    counts: Counter[str] = Counter()
    broken: Counter[str] = Counter()
    labels = {JUDGES: set[int](), PEOPLE: set[int]()}
    found = score_rows(path, named)
    part, left = beside(target), beside(quarantine_of(target))
    with left.open("w", encoding="utf-8") as lines:
        if aside is not None:  # rows that were no pairs to score
            for line in aside.read_text(encoding="utf-8").splitlines(keepends=True):
                broken[json.loads(line)["reason"]] += 1
                lines.write(line)
        first = _next_rows(found, lines, broken)
        schema = _schema(first, target)
        with writer(part, as_parquet=target.suffix == PARQUET, schema=schema) as write:
            while first is not None:
                rows, counted = _decided(first, schema, max_confidence=rule[0], recycle=rule[1])
                counts.update(counted)
                for name, seen in labels.items():
                    seen |= _seen(first.scores[name])
                write(rows)
                first = _next_rows(found, lines, broken)
    put_in_place(part, target)
    if broken:
        put_in_place(left, quarantine_of(target))
    else:
        remove(left)
        remove(quarantine_of(target))
    totals = dict.fromkeys(DECISIONS, 0)
    for reason, number in counts.items():
        totals[REASONS[reason]] += number
    return {
        "quarantine": quarantine_of(target) if broken else None,
        "num_rows": counts.total() + broken.total(),
        "totals": totals,
        "reasons": {reason: counts[reason] for reason in REASONS if counts[reason]},
        "quarantined": dict(sorted(broken.items())),
        "notes": tuple(ONE_SIDED.format(name) for name in labels if labels[name] == {0, 1}),
    }


def _seen(labels: pa.ChunkedArray) -> set[int]:
    return {value for value in (-1, 0, 1) if pc.any(pc.equal(labels, value)).as_py()}


def _next_rows(
    found: Iterator[Rows | BrokenRow], lines: IO[str], broken: Counter[str]
) -> Rows | None:
    """The next rows that can be decided; those before that cannot be read are set aside."""
    for each in found:
        if isinstance(each, Rows):
            return each
        broken[each.reason] += 1
        told = {"file": each.file, "row": each.number, "reason": each.reason}
        told |= {"detail": each.detail, "raw": each.raw}
        lines.write(json.dumps(told, ensure_ascii=False) + "\n")
    return None


def _schema(first: Rows | None, target: Path) -> pa.Schema:
    """Ids stay as they are where Parquet holds them; elsewhere they are texts."""
    if first is None or target.suffix != PARQUET or not _is_id(first.pair_ids.type):
        return DECIDED_SCHEMA
    place = DECIDED_SCHEMA.get_field_index(PAIR_ID)
    return DECIDED_SCHEMA.set(place, pa.field(PAIR_ID, first.pair_ids.type))


def _is_id(kind: pa.DataType) -> bool:
    return kind == ID_TYPE or kind == ID_TYPE.storage_type


def _decided(
    rows: Rows, schema: pa.Schema, *, max_confidence: float, recycle: Recycle
) -> tuple[pa.Table, dict[str, int]]:
    decided = filter_shard(rows.scores, max_confidence=max_confidence, recycle=recycle)
    decisions, counts = decided["decisions"], decided["counts"]
    kind = schema.field(PAIR_ID).type
    ids = rows.pair_ids if rows.pair_ids.type == kind else _as_kind(rows.pair_ids, kind)
    columns = {
        FILE: rows.files,
        ROW: rows.numbers,
        PAIR_ID: ids,
        **{name: rows.scores[name] for name in ("best_margin", "gold_margin", JUDGES, PEOPLE)},
        **{name: decisions[name] for name in ("decision", "reason")},
    }
    numbers = zip(counts["reason"].to_pylist(), counts["num_pairs"].to_pylist(), strict=True)
    return pa.Table.from_arrays([*columns.values()], schema=schema), dict(numbers)


def _as_kind(ids: pa.ChunkedArray | pa.Array, kind: pa.DataType) -> pa.Array:
    """Ids as texts, in hexadecimal digits as everywhere outside a store; none stay none."""
    if pa.types.is_string(kind):
        return pa.array([_as_text(each) for each in ids.to_pylist()], pa.string())
    if ids.null_count != len(ids):
        raise ValueError(f"{PAIR_ID} is {ids.type} in one file and {kind} in another: make it one")
    storage = pa.nulls(len(ids), ID_TYPE.storage_type)
    return pa.ExtensionArray.from_storage(kind, storage) if kind == ID_TYPE else storage


def _as_text(each: object) -> str | None:
    if isinstance(each, UUID):
        return each.hex
    if isinstance(each, bytes):
        return each.hex()
    if isinstance(each, float) and each.is_integer():
        return str(int(each))
    return None if each is None else str(each)
