"""The sealed truth: which response is really better. For evidence and reports only.

No judge, reward model or filter may see it; only `claims` and `judges` of `assets/evidence/`
hold this resource, and a test runs the curation with the sealed files taken away. Synthetic world:
true by construction. Crowd votes: the majority gold of the data set, for pool pairs and for the
held-out debates.
"""

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from synpref_dagster.pairs.record import PreferencePair, canonical_sign, table_to_pairs
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.sources import PoolSources
from synpref_dagster.sources.reading import read_source
from synpref_dagster.sources.records import SourceSpec
from synpref_dagster.storage import hash_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """What is really so, for pool pairs and for a clean test set."""

    signs: dict[bytes, int]
    """content_id -> +1 when the response that sorts first is better, -1 when the other one is."""
    test_pairs: list[PreferencePair]
    """Pairs outside the pool whose chosen response is truly better."""

    def labels(self, pairs: Sequence[PreferencePair]) -> np.ndarray:
        """int8 (n,): +1 the pair's label is right, -1 wrong, 0 unknown."""
        return np.array(
            [
                self.signs.get(pair.content_id, 0) * canonical_sign(pair.chosen, pair.rejected)
                for pair in pairs
            ],
            dtype=np.int8,
        )


class SealedTruth(dg.ConfigurableResource):
    """Opens the sealed truth of the campaign, if it has one."""

    campaign: Campaign
    sources: PoolSources

    def fingerprint(self) -> str:
        """What the truth depends on."""
        test_debates = list(self.campaign.profile.pool.test_debates)
        return str(hash_json([self.sources.fingerprint(), test_debates]))

    def evaluation_pairs(self, held_out: list[PreferencePair]) -> list[PreferencePair]:
        """The clean test set, or the gold validation pairs where the campaign has no truth."""
        return self.truth.test_pairs or held_out

    def has_test_pairs(self) -> bool:
        """Whether there is a clean test set beside people's gold."""
        return bool(self.truth.test_pairs)

    @cached_property
    def truth(self) -> Truth:
        """The truth; a campaign without one knows no label and has no test pair."""
        if self.sources.is_synthetic:
            return _world_truth(self.sources.world_folder() / "sealed")
        profile = self.campaign.profile
        if not profile.pool.test_debates:
            return Truth(signs={}, test_pairs=[])
        files = sorted({source.path for source in profile.pool.sources if source.path})
        return _vote_truth(files, test_debates=set(profile.pool.test_debates))


def _world_truth(folder: Path) -> Truth:
    frame = pd.DataFrame(
        pq.read_table(folder / "truth.parquet", columns=["content_id", "verdict"]).to_pandas()
    )
    signs = dict(zip(frame["content_id"], frame["verdict"].astype(int), strict=True))
    spec = SourceSpec(
        name="test", path=str(folder / "test_pairs.jsonl"), origin="human", licence="synthetic"
    )
    tables = [batch.pairs_table() for batch in read_source(spec, seed=0)]
    return Truth(signs=signs, test_pairs=[p for table in tables for p in table_to_pairs(table)])


def _vote_truth(files: Sequence[str], *, test_debates: set[str]) -> Truth:
    signs: dict[bytes, set[int]] = {}
    test: dict[bytes, PreferencePair] = {}
    for row in _vote_rows(files):
        pair = _gold_pair(row)
        if pair is None:
            continue
        sign = canonical_sign(pair.chosen, pair.rejected)
        signs.setdefault(pair.content_id, set()).add(sign)
        if row["debate"] in test_debates:
            test[pair.content_id] = pair
    # The same two arguments can occur twice with opposite majorities: nobody knows then.
    settled = {content: next(iter(both)) for content, both in signs.items() if len(both) == 1}
    return Truth(
        signs=settled, test_pairs=[pair for content, pair in test.items() if content in settled]
    )


def _gold_pair(row: dict[str, Any]) -> PreferencePair | None:
    responses = {"a": row["response_a"], "b": row["response_b"]}
    if row["gold"] not in responses or responses["a"].strip() == responses["b"].strip():
        return None
    better = str(row["gold"])
    return PreferencePair(
        conversation=({"role": "user", "content": row["prompt"]},),
        chosen=responses[better],
        rejected=responses["b" if better == "a" else "a"],
        source=row["debate"],
        origin="human",
    )


def _vote_rows(files: Sequence[str]) -> Iterator[dict[str, Any]]:
    for file in files:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)
