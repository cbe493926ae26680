"""`score`: rewards of every pair or response of a file under one reward model.

The output appears whole at its end. What is finished before lies in a hidden folder beside it: the
same call goes on there after a kill, and removes it when done.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from synpref_dagster.pairs.texts import UNKNOWN_LENGTH
from synpref_dagster.settings.shards import ShardSettings
from synpref_dagster.storage import DatasetRef, iter_tables
from synpref_dagster.storage.atomic import beside, put_in_place, remove
from synpref_dagster.storage.processes import alone_with
from synpref_dagster.tools.models import named_model
from synpref_dagster.tools.outputs import (
    PARQUET,
    QUARANTINE,
    checked_output,
    quarantine_of,
    set_aside,
    work_of,
    writer,
)
from synpref_dagster.tools.rows import AUTO, Input, Kind, Reading, read_candidates
from synpref_dagster.tools.running import Listener, scored

WHERE = ["file", "row", "pair_id", "place"]
_WHERE = [("file", pa.string()), ("row", pa.int64())]
SCHEMAS: Mapping[Kind, pa.Schema] = {
    "pairs": pa.schema(
        [
            *_WHERE,
            ("pair_id", pa.string()),
            ("chosen_reward", pa.float32()),
            ("rejected_reward", pa.float32()),
            ("margin", pa.float32()),
            ("chosen_num_tokens", pa.int32()),
            ("rejected_num_tokens", pa.int32()),
            ("chosen_over_long", pa.bool_()),
            ("rejected_over_long", pa.bool_()),
        ]
    ),
    "responses": pa.schema(
        [
            *_WHERE,
            ("response", pa.int32()),
            ("reward", pa.float32()),
            ("num_tokens", pa.int32()),
            ("over_long", pa.bool_()),
        ]
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreReport:
    """What scoring a file came to."""

    output: Path
    quarantine: Path | None
    """Rows that became nothing, each with file, row, reason and its beginning; None without any."""
    reading: Reading
    num_scored: int
    """Responses scored by this call, in whole chunks; the others an earlier one had scored."""
    num_over_long: int
    """Responses whose conversation lost its beginning."""
    accuracy: float | None
    """Share of the pairs with a margin above 0; None without a pair."""

    def table(self) -> pa.Table:
        """The rewards.

        Of pairs one row each: file, row, pair_id, chosen_reward, rejected_reward, margin (float32),
        chosen_num_tokens, rejected_num_tokens (null where a model counts none), chosen_over_long,
        rejected_over_long. Of responses: file, row, response, reward, num_tokens, over_long.
        """
        if self.output.suffix == PARQUET:
            return pq.read_table(self.output)
        with self.output.open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        return pa.Table.from_pylist(rows, schema=SCHEMAS[self.reading.kind])


def score(  # noqa: PLR0913 - what is scored, how it is read, where it goes and who works on it
    model: str | Path,
    file: str | Path,
    output: str | Path,
    *,
    layout: str = AUTO,
    columns: Mapping[str, str] | None = None,
    seed: int = 0,
    force: bool = False,
    shards: ShardSettings | None = None,
    listener: Listener | None = None,
) -> ScoreReport:
    """Give every response of a file its reward.

    Args:
        model: folder or hub id of a reward model: ours, or any classifier with one label.
        file: pairs in any layout that sources may have, or rows of a conversation with a response
            or several; JSON, JSON lines, CSV, Parquet or Arrow, packed or not. Also a folder.
        output: where rewards go, `.parquet` or `.jsonl`.
        layout: `responses`, or the name of a format of pairs; seen by itself by default.
        columns: known name -> name in the data.
        seed: of formats that draw which response is the chosen one.
        force: replace an output that is there.
        shards: who works on the chunks, as `[shards]` of a profile; this process by default.
        listener: called with how many responses are scored, and at what rate.

    Raises:
        ValueError: there is no such model or file, or it is another kind of thing, or the output
            is there already; one line says what to do.
    """
    target = checked_output(Path(output), [file], force=force, what="rewards")
    scorer = named_model(model)
    given = Input(path=str(file), layout=layout, columns=columns or {}, seed=seed)
    work = work_of(target)
    with alone_with(str(target.resolve())):
        candidates, reading, place = read_candidates(given, work=work)
        rewards, num_scored = scored(
            candidates,
            scorer,
            uri=place / "rewards",
            shards=shards or ShardSettings(),
            listener=listener,
        )
        aside = set_aside(
            place / QUARANTINE, quarantine_of(target), is_needed=bool(reading.quarantined)
        )
        tally = _write(target, candidates, rewards=rewards, kind=reading.kind)
        remove(work)
    return ScoreReport(
        output=target,
        quarantine=aside,
        reading=reading,
        num_scored=num_scored,
        num_over_long=tally.num_over_long,
        accuracy=tally.num_right / tally.num_pairs if tally.num_pairs else None,
    )


@dataclass(slots=True)
class _Tally:
    num_over_long: int = 0
    num_pairs: int = 0
    num_right: int = 0

    def add(self, rows: pa.Table) -> None:
        for name in rows.column_names:
            if name.endswith("over_long"):
                self.num_over_long += int(np.count_nonzero(rows[name]))
        if "margin" in rows.column_names:
            self.num_pairs += rows.num_rows
            self.num_right += int(np.count_nonzero(rows["margin"].to_numpy() > 0))


def _write(target: Path, candidates: DatasetRef, *, rewards: DatasetRef, kind: Kind) -> _Tally:
    """Write the output shard by shard, and count what is in it."""
    make_rows = _pair_rows if kind == "pairs" else _response_rows
    tally = _Tally()
    part = beside(target)
    with writer(part, as_parquet=target.suffix == PARQUET, schema=SCHEMAS[kind]) as write:
        for where, found in zip(iter_tables(candidates, WHERE), iter_tables(rewards), strict=True):
            rows = make_rows(where, found).cast(SCHEMAS[kind])
            tally.add(rows)
            write(rows)
    put_in_place(part, target)
    return tally


def _pair_rows(where: pa.Table, found: pa.Table) -> pa.Table:
    """Of every two rows, chosen and rejected, one."""
    chosen, rejected = np.arange(0, where.num_rows, 2), np.arange(1, where.num_rows, 2)
    first, second = found.take(chosen), found.take(rejected)
    margin = first["reward"].to_numpy() - second["reward"].to_numpy()
    sides = {"chosen": first, "rejected": second}
    return pa.table(
        {
            **{name: where[name].take(chosen) for name in ("file", "row", "pair_id")},
            **{f"{side}_reward": rows["reward"] for side, rows in sides.items()},
            "margin": margin,
            **{f"{side}_num_tokens": _lengths(rows) for side, rows in sides.items()},
            **{f"{side}_over_long": rows["truncated"] for side, rows in sides.items()},
        }
    )


def _response_rows(where: pa.Table, found: pa.Table) -> pa.Table:
    return pa.table(
        {
            "file": where["file"],
            "row": where["row"],
            "response": where["place"],
            "reward": found["reward"],
            "num_tokens": _lengths(found),
            "over_long": found["truncated"],
        }
    )


def _lengths(rows: pa.Table) -> pa.Array:
    lengths = rows["num_tokens"].to_numpy()
    return pa.array(lengths, pa.int32(), mask=lengths == UNKNOWN_LENGTH)
