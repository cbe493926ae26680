"""Rewards kept by what was scored: a candidate under a model is scored once, on every benchmark.

One Parquet file per model holds hashes of the texts and their rewards, never the texts. Candidates
that are missing are scored in chunks beside it; a killed run goes on after the last one.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from synpref_dagster.pairs.record import conversation_id, digest
from synpref_dagster.pairs.texts import Conversation
from synpref_dagster.reward.shards import SCORES_VERSION
from synpref_dagster.settings.judges import DEFAULT_STORE
from synpref_dagster.settings.shards import ShardSettings
from synpref_dagster.storage import ModelRef, build_dataset, hash_json, read_frame
from synpref_dagster.storage.atomic import beside, put_in_place, remove
from synpref_dagster.storage.processes import alone_beside
from synpref_dagster.tools.running import CHUNK, Listener, scored

Candidate = tuple[Conversation, str]
SCORES, SCORING = "scores.parquet", "scoring"
COLUMNS = ["reward", "num_tokens", "truncated"]


def default_cache() -> Path:
    """Beside the campaigns of a local store, where the reply cache of the judges is."""
    base = (os.environ.get("SYNPREF_STORE") or DEFAULT_STORE).rstrip("/")
    return Path(DEFAULT_STORE if "://" in base else base, "tool_scores")


def cached_scores(
    candidates: Sequence[Candidate],
    model: ModelRef,
    *,
    cache: Path,
    shards: ShardSettings,
    listener: Listener | None = None,
) -> tuple[pd.DataFrame, int]:
    """Rewards of distinct candidates, scoring those that no call has scored before.

    Args:
        candidates: (conversation, response), each once.
        model: from `named_model`; its content is part of the key.
        cache: folder of all models.
        shards: who works on what is missing.
        listener: called with how many of the missing ones are scored, and at what rate.

    Returns:
        reward (float32), num_tokens and truncated, rows as the candidates; and how many of them
        were scored by this call.

    Raises:
        ValueError: the kept rewards are damaged, or the model cannot score.
    """
    folder = cache / f"{model.fingerprint}-{SCORES_VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    ids = [digest(conversation_id(asked).hex(), response) for asked, response in candidates]
    with alone_beside(folder / SCORES):
        known = _known(folder / SCORES)
        missing = [number for number, each in enumerate(ids) if each not in known.index]
        num_new = 0
        if missing:
            wanted = [candidates[number] for number in missing]
            key = hash_json([ids[number] for number in missing])
            new, num_new = _scored(wanted, model, folder=folder, key=key, how=(shards, listener))
            new.index = pd.Index([ids[number] for number in missing], dtype=object)
            known = pd.concat([known, new]) if len(known) else new
            _keep(known, folder / SCORES)
        remove(folder / SCORING)
    return known.loc[pd.Index(ids, dtype=object), COLUMNS].reset_index(drop=True), num_new


def _scored(
    candidates: Sequence[Candidate],
    model: ModelRef,
    *,
    folder: Path,
    key: str,
    how: tuple[ShardSettings, Listener | None],
) -> tuple[pd.DataFrame, int]:
    place = folder / SCORING
    texts = build_dataset(str(place / "texts"), step=key, compute=lambda: _tables(candidates))
    shards, listener = how
    found, num_new = scored(texts, model, uri=place / "rewards", shards=shards, listener=listener)
    return read_frame(found)[COLUMNS], num_new


def _tables(candidates: Sequence[Candidate]) -> Iterator[pa.Table]:
    for start in range(0, len(candidates), CHUNK):
        rows = candidates[start : start + CHUNK]
        asked = [json.dumps(list(turns), ensure_ascii=False) for turns, _ in rows]
        answers = [response for _, response in rows]
        yield pa.table({"conversation": asked, "response": pa.array(answers, pa.string())})


def _known(file: Path) -> pd.DataFrame:
    """Rewards by hash; none where there is no file yet."""
    if not file.is_file():
        return pd.DataFrame(columns=COLUMNS)
    try:
        table = pq.read_table(file)
        frame = table.select(COLUMNS).to_pandas()
        frame.index = pd.Index(table["id"].to_pylist(), dtype=object)
    except (pa.ArrowException, KeyError, OSError) as error:
        raise ValueError(f"{file} is damaged: remove it, and its rewards are made anew") from error
    return frame


def _keep(known: pd.DataFrame, file: Path) -> None:
    part = beside(file)
    table = pa.table(
        {
            "id": pa.array(list(known.index), pa.binary(16)),
            "reward": pa.array(known["reward"].to_numpy(), pa.float32()),
            "num_tokens": pa.array(known["num_tokens"].to_numpy(), pa.int32()),
            "truncated": pa.array(known["truncated"].to_numpy(), pa.bool_()),
        }
    )
    pq.write_table(table, part, compression="zstd")
    put_in_place(part, file)
