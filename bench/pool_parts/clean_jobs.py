"""Cleaning a pool by its keys: made keys, our key index, and what one would write first.

A pool is screened shard by shard; here the screening is made. What is measured is the part that
concerns the whole pool: repetitions, contradictions, cycles, and the selection they lead to.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

SHARD_PAIRS = 10_000  # a shard of 64 MB of pairs of real length
NUM_SOURCES = 32
SPEAKS_AGAIN = 0.15  # share of pairs about an earlier conversation
NUM_RESPONSES = 3  # per conversation, so that pairs repeat, contradict and go in circles
CONTAMINATED_IN = 128  # of so many conversations one is contaminated
KEPT = ["pair_id", "content_id", "conversation_id", "source", "origin"]


def make_keys(folder: Path, num_pairs: int, *, copies_only: bool = False) -> None:
    """The screened pool; a larger one begins with the shards of a smaller one.

    `copies_only`: who speaks about an earlier conversation repeats its pair, and nothing else.
    """
    from synpref_dagster.storage import write_dataset

    shards = _shards(num_pairs, copies_only=copies_only)
    write_dataset(str(folder / "screened"), shards, step=str(num_pairs))


def clean_floor(folder: Path, output: Path) -> Any:
    """Reads the screened shards and writes the columns of the clean pool, nothing else."""
    import pyarrow.parquet as pq

    output.mkdir()
    for file in sorted((folder / "screened" / "shards").iterdir()):
        table = pq.ParquetFile(file).read().select(KEPT)
        pq.write_table(table, output / file.name, compression="zstd")
    return None


def note_known(folder: Path) -> None:
    """Keeps which shards are known by now, for `index_floor`."""
    (folder / "known.txt").write_text("\n".join(file.name for file in _in_order(folder)))


def index_floor(folder: Path, output: Path) -> Any:
    """Reads the keys of all shards and writes those of the new ones, nothing else."""
    import pyarrow.parquet as pq

    from synpref_dagster.curation.pool.marks import KEYED_COLUMNS

    output.mkdir()
    known = set((folder / "known.txt").read_text().split())
    for file in _in_order(folder):
        table = pq.ParquetFile(file).read(columns=KEYED_COLUMNS)
        if file.name not in known:
            pq.write_table(table, output / file.name, compression="zstd")
    return None


def index_ours(folder: Path, output: Path) -> Any:
    """The key index alone: of known shards only conversations that new pairs speak about too."""
    from synpref_dagster.curation.pool.key_index import mark_pool
    from synpref_dagster.storage import find_manifest, make_ref

    uri = str(folder / "screened")
    manifest = find_manifest(uri)
    assert manifest is not None
    marked = mark_pool(make_ref(uri, manifest), uri=str(output / "index"))
    return {"marked": marked.marks.num_rows, "known_pairs_read": marked.num_known_pairs_read}


def clean_ours(folder: Path, output: Path) -> Any:
    """The key index and the selection; a second call with more shards is a second night."""
    from synpref_dagster.curation.pool.key_index import mark_pool
    from synpref_dagster.curation.pool.selection import select_clean
    from synpref_dagster.storage import find_manifest, make_ref, map_shards

    uri = str(folder / "screened")
    manifest = find_manifest(uri)
    assert manifest is not None
    screened = make_ref(uri, manifest)
    marked = mark_pool(screened, uri=str(output / "index"))
    cleaned = map_shards(
        select_clean,
        screened,
        beside=[marked.marks],
        uri=str(output / "clean"),
        version="1",
        params={},
        outputs=["kept", "dropped", "tally"],
    )
    kept, dropped = (cleaned.outputs[name].num_rows for name in ("kept", "dropped"))
    assert kept + dropped == screened.num_rows
    return {"kept": kept}


def clean_pandas(folder: Path, output: Path) -> Any:
    """One frame and `drop_duplicates`: neither contradictions nor cycles."""
    import pandas as pd

    files = _in_order(folder)
    columns = [*KEPT, "screen_reason"]
    frame = pd.concat([pd.read_parquet(file, columns=columns) for file in files])
    frame = frame.drop_duplicates("pair_id")
    frame = frame[frame["screen_reason"].isna()]
    frame[KEPT].to_parquet(output, compression="zstd")
    return {"kept": len(frame)}


def _in_order(folder: Path) -> list[Path]:
    from synpref_dagster.storage import find_manifest

    manifest = find_manifest(str(folder / "screened"))
    assert manifest is not None
    return [folder / "screened" / "shards" / shard.name for shard in manifest.shards]


def _shards(num_pairs: int, *, copies_only: bool) -> Iterator[Any]:
    for start in range(0, num_pairs, SHARD_PAIRS):
        num_here = min(SHARD_PAIRS, num_pairs - start)
        yield _shard(start, num_here, copies_only=copies_only)


def _shard(start: int, n: int, *, copies_only: bool) -> Any:
    import numpy as np
    import pyarrow as pa

    from synpref_dagster.curation.pool.screening import SCREENED_SCHEMA

    rng = np.random.default_rng(start)
    again = rng.random(n) < SPEAKS_AGAIN
    earlier = (rng.random(n) * max(start, 1)).astype(np.uint64)
    conversation = np.where(again, earlier, np.arange(start, start + n, dtype=np.uint64))
    other = again & (not copies_only)
    chosen = np.where(other, rng.integers(0, NUM_RESPONSES, n), 0)
    rejected = (chosen + np.where(other, rng.integers(1, NUM_RESPONSES, n), 1)) % NUM_RESPONSES
    sides = [_mixed(conversation * np.uint64(8) + side.astype(np.uint64))
             for side in (chosen + 1, rejected + 1)]  # fmt: skip
    about = _mixed(conversation)
    source = f"source_{start // SHARD_PAIRS % NUM_SOURCES:02d}"
    reason = np.where(conversation % np.uint64(CONTAMINATED_IN) == 0, "contaminated", None)
    columns = {
        "pair_id": _ids(_mixed(sides[0] ^ _mixed(sides[1]))),
        "content_id": _ids(_mixed(np.minimum(*sides) ^ _mixed(np.maximum(*sides)))),
        "conversation_id": _ids(about),
        "source": pa.repeat(source, n),
        "origin": pa.repeat("human" if source.endswith("0") else "synthetic", n),
        "screen_reason": pa.array(reason, pa.string()),
        "chosen_key": pa.array(sides[0]),
        "rejected_key": pa.array(sides[1]),
    }
    filled = [columns.get(field.name, pa.nulls(n, field.type)) for field in SCREENED_SCHEMA]
    return pa.Table.from_arrays(filled, schema=SCREENED_SCHEMA)


def _mixed(numbers: Any) -> Any:
    """uint64: every number's own, as if drawn."""
    import numpy as np

    mixed = numbers * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _ids(numbers: Any) -> Any:
    """128-bit ids as UUIDs, the same for the same numbers."""
    import numpy as np
    import pyarrow as pa

    raw = pa.py_buffer(np.stack([numbers, _mixed(numbers)], axis=1).tobytes())
    storage = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(numbers), [None, raw])
    return pa.ExtensionArray.from_storage(pa.uuid(), storage)
