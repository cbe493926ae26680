"""Rewards that the filter has to make first: two models score a file, labels come from its rows."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from synpref_dagster.settings.shards import ShardSettings
from synpref_dagster.sources.files.identity import content_identity
from synpref_dagster.storage import hash_json
from synpref_dagster.storage.atomic import beside, put_in_place
from synpref_dagster.tools.curating.columns import (
    FILE,
    JUDGES,
    PAIR_ID,
    PEOPLE,
    Named,
    as_column,
)
from synpref_dagster.tools.curating.reading import Given, Place, cells_of, listed
from synpref_dagster.tools.models import named_model, short_name
from synpref_dagster.tools.outputs import ROW, quarantine_of
from synpref_dagster.tools.running import Listener
from synpref_dagster.tools.scoring import score

KEY_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Scoring:
    """Who scores, and who is told of it."""

    shards: ShardSettings
    listener: Callable[[str], Listener] | None = None
    """Given what a model is called."""


def rewards_of(
    models: tuple[str | Path, str | Path], given: Given, named: Named, *, work: Path, how: Scoring
) -> tuple[str, Path | None]:
    """Margins of pairs under two models, beside the labels that stand in the rows of the pairs.

    A killed call goes on with the scoring where it was.

    Args:
        models: the best model and the gold model.
        given: one file or folder of pairs.
        named: what the columns of the labels are called.
        work: folder for what is finished.
        how: who scores.

    Returns:
        A file as `score_rows` reads it, and the rows that were no pairs, if any.

    Raises:
        ValueError: the pairs or a model cannot be used, or a column of labels is not there.
    """
    labels = _labels(given, named)  # refused before anything is scored
    refs = [named_model(model) for model in models]
    work.mkdir(exist_ok=True)
    scored = [
        _scored(str(model), ref.fingerprint, given, work=work, how=how)
        for model, ref in zip(models, refs, strict=True)
    ]
    best, gold = (pq.read_table(file) for file in scored)
    columns = {name: best[name] for name in (FILE, ROW, PAIR_ID)}
    columns |= {named.best: best["margin"], named.gold: gold["margin"]}
    places = [*zip(best[FILE].to_pylist(), best[ROW].to_pylist(), strict=True)]
    for name, cells in labels.items():
        columns[name] = as_column([cells.get(place) for place in places])
    target = work / "rewards.parquet"
    part = beside(target)
    pq.write_table(pa.table(columns), part)
    put_in_place(part, target)
    aside = quarantine_of(scored[0])
    return str(target), aside if aside.is_file() else None


def _scored(model: str, fingerprint: str, given: Given, *, work: Path, how: Scoring) -> Path:
    """Where the rewards of a model lie, which are made unless a killed call made them."""
    [path] = given.paths
    about = [fingerprint, content_identity(path), given.layout, dict(given.columns)]
    output = work / f"{str(hash_json(about))[:KEY_DIGITS]}.parquet"
    if not output.is_file():
        score(
            model,
            path,
            output,
            layout=given.layout,
            columns=given.columns,
            force=True,
            shards=how.shards,
            listener=how.listener(short_name(model)) if how.listener else None,
        )
    return output


def _labels(given: Given, named: Named) -> dict[str, dict[Place, Any]]:
    """Each column of labels that is there, with its cells."""
    found = cells_of(listed(given), [named.judges or JUDGES, named.people or PEOPLE])
    if missing := [name for name in (named.judges, named.people) if name and name not in found]:
        raise ValueError(f"{given.paths[0]} has no column {missing[0]!r}")
    return dict(sorted(found.items()))
