"""The strict pass of the decontamination (App. D.1): what pairs that may become gold share.

All turns and both responses are compared, with shorter n-grams than the pool's. Looked at are the
pairs that could come into stage 1: those that people labelled, and risky ones. A pair that shares
words with a benchmark prompt, and was not cleared by judges, is barred from stage 1 and from gold.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.curation.contamination.hits import FIELDS, HIT_SCHEMA, find_hits
from synpref_dagster.curation.contamination.recheck import cleared_pairs
from synpref_dagster.curation.contamination.rules import ContaminationIndex
from synpref_dagster.pairs.columns import rows_where
from synpref_dagster.pairs.record import ID_TYPE, is_among

HUMAN = "human"
FOUND_COLUMNS = ["pair_id", "field", "benchmark", "item_id", "gram", "rule"]
OVERLAP_SCHEMA = pa.schema(
    [*(HIT_SCHEMA.field(name) for name in FOUND_COLUMNS), ("cleared", pa.bool_())]
)
"""What pairs share with benchmarks; `cleared`: judges call all that the pair shares coincidence."""
CANDIDATE_SCHEMAS = {
    "risky": pa.schema([("pair_id", ID_TYPE)]),
    "counts": pa.schema([("num_human", pa.int64()), ("num_risky", pa.int64())]),
}


def stage_one_candidates(clean: pa.Table) -> dict[str, pa.Table]:
    """The clean pairs of one shard that could come into stage 1.

    Args:
        clean: columns pair_id, origin and risky.

    Returns:
        "risky": ids of the risky ones that no person labelled; "counts": one row that counts them
        and those that people labelled.
    """
    of_people = pc.equal(clean["origin"], HUMAN)
    risky = clean.filter(pc.and_not(clean["risky"], of_people)).select(["pair_id"])
    counts = {"num_human": [pc.sum(of_people, min_count=0).as_py()], "num_risky": [risky.num_rows]}
    return {
        "risky": risky.cast(CANDIDATE_SCHEMAS["risky"]),
        "counts": pa.table(counts, schema=CANDIDATE_SCHEMAS["counts"]),
    }


def find_overlaps_of_people(raw: pa.Table, indexes: Sequence[ContaminationIndex]) -> list[pa.Table]:
    """What each index finds in the pairs of one raw shard that people labelled.

    They are looked at whether they are clean or not, so that the outcome for a shard stands when
    others of its pairs leave the pool or come back.

    Args:
        raw: `PAIR_SCHEMA`.
        indexes: of one configuration, one per benchmark.

    Returns:
        Per index `hits.HIT_SCHEMA`; rows are those of `raw`.
    """
    return _find_among(raw, pc.equal(raw["origin"], HUMAN), indexes)


def find_risky_overlaps(
    raw: pa.Table, risky: pa.Table, indexes: Sequence[ContaminationIndex]
) -> list[pa.Table]:
    """What each index finds in the risky pairs of one raw shard that no person labelled.

    Args:
        raw: `PAIR_SCHEMA`.
        risky: their pair_id.
        indexes: of one configuration, one per benchmark.

    Returns:
        Per index `hits.HIT_SCHEMA`; rows are those of `raw`.
    """
    ids, wanted = (each["pair_id"].combine_chunks().storage for each in (raw, risky))
    is_risky = pc.is_in(ids, value_set=wanted)
    return _find_among(raw, pc.and_not(is_risky, pc.equal(raw["origin"], HUMAN)), indexes)


def _find_among(
    raw: pa.Table, is_candidate: pa.ChunkedArray, indexes: Sequence[ContaminationIndex]
) -> list[pa.Table]:
    rows = rows_where(is_candidate)
    return [
        hits.set_column(0, HIT_SCHEMA.field("row"), rows.take(hits["row"]).cast(pa.int64()))
        for hits in find_hits(raw.take(rows), indexes)
    ]


def overlaps_of(clean: pa.Table, *hits: pa.Table) -> pa.Table:
    """`OVERLAP_SCHEMA` of the candidates among the clean pairs of one shard, nothing cleared yet.

    Args:
        clean: columns pair_id, origin and risky.
        hits: what was found for each benchmark, in people's pairs and in risky ones.
    """
    together = pa.concat_tables([HIT_SCHEMA.empty_table(), *hits])
    candidates = clean.filter(pc.or_(pc.equal(clean["origin"], HUMAN), clean["risky"]))
    ids, wanted = (each["pair_id"].combine_chunks().storage for each in (together, candidates))
    found = together.filter(pc.is_in(ids, value_set=wanted))
    order = [(name, "ascending") for name in ("row", "benchmark", "field")]
    frame = found.sort_by(order).to_pandas()
    # A pair that is there twice in the raw shard was found twice.
    first = np.flatnonzero(~frame.duplicated(["pair_id", "benchmark", "field"]))
    kept = found.sort_by(order).take(pa.array(first)).select(FOUND_COLUMNS)
    return _with_cleared(kept, pa.repeat(False, kept.num_rows))


def with_recheck(overlaps: pa.Table, rechecked: pa.Table) -> pa.Table:
    """The overlaps of one shard after the judges' look at them.

    Args:
        overlaps: `OVERLAP_SCHEMA`.
        rechecked: `recheck.RECHECK_COLUMNS`, of these pairs.
    """
    ids = pd.Series(overlaps["pair_id"].combine_chunks().storage.to_pylist(), dtype=object)
    frame = pd.DataFrame(
        {
            "pair_id": pd.Series(
                rechecked["pair_id"].combine_chunks().storage.to_pylist(), dtype=object
            ),
            "cleared": rechecked["cleared"].to_pylist(),
        }
    )
    cleared = is_among(ids, cleared_pairs(frame))
    return _with_cleared(overlaps.select(FOUND_COLUMNS), pa.array(cleared, pa.bool_()))


def barred_pairs(overlaps: pa.Table) -> pa.Table:
    """The column pair_id of the pairs of one shard that may not come into stage 1, each once."""
    barred = overlaps.filter(pc.invert(overlaps["cleared"]))
    ids = pc.unique(barred["pair_id"].combine_chunks().storage)
    return pa.table({"pair_id": ids}, schema=CANDIDATE_SCHEMAS["risky"])


@dataclass(slots=True)
class OverlapTally:
    """Counts over the overlaps of a pool, taken in shard by shard."""

    num_pairs: int = 0
    num_barred: int = 0
    by_benchmark: Counter[str] = field(default_factory=Counter)
    """Barred pairs that share words with each benchmark."""
    by_field: Counter[str] = field(default_factory=Counter)
    """Barred pairs that share them in each of `hits.FIELDS`."""
    by_gram: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Barred pairs by what is shared and with which benchmark."""

    def add(self, overlaps: Iterable[pa.Table]) -> "OverlapTally":
        """Count tables with `OVERLAP_SCHEMA`, a pair in one of them only."""
        for table in overlaps:
            frame = table.select(["benchmark", "field", "gram", "cleared"]).to_pandas()
            frame["pair"] = pc.dictionary_encode(
                table["pair_id"].combine_chunks().storage
            ).indices.to_numpy()
            barred = frame[~frame["cleared"]]
            self.num_pairs += frame["pair"].nunique()
            self.num_barred += barred["pair"].nunique()
            self.by_benchmark.update(_pairs_per(barred, "benchmark"))
            self.by_field.update(_pairs_per(barred, "field"))
            shared = zip(barred["gram"], barred["benchmark"], strict=True)
            self.by_gram.update(shared)
        return self

    def most_shared(self, count: int) -> pd.DataFrame:
        """What is shared most often: boilerplate stands here, on top."""
        rows = [(gram, benchmark, num) for (gram, benchmark), num in self._frequent(count)]
        return pd.DataFrame(rows, columns=["shared words", "benchmark", "times"])

    def fields(self) -> dict[str, int]:
        """`by_field` in the order of a pair's fields."""
        return {name: self.by_field[name] for name in FIELDS}

    def _frequent(self, count: int) -> list[tuple[tuple[str, str], int]]:
        return sorted(self.by_gram.items(), key=lambda item: (-item[1], item[0]))[:count]


def _pairs_per(frame: pd.DataFrame, column: str) -> dict[str, int]:
    return {str(name): int(num) for name, num in frame.groupby(column)["pair"].nunique().items()}


def _with_cleared(found: pa.Table, cleared: pa.Array) -> pa.Table:
    return found.append_column("cleared", cleared).cast(OVERLAP_SCHEMA)
