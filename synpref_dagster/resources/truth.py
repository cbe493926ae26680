"""The sealed truth: which response is really better. For evidence and reports only.

No judge, reward model or filter may see it; only `claims` and `judges` of `assets/evidence/`
hold this resource, and a test runs the curation with the sealed files taken away. Synthetic world:
true by construction. Crowd votes: the majority gold of the data set, for pool pairs and for the
held-out debates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import dagster as dg
import numpy as np

from synpref_dagster.pairs.record import PreferencePair, canonical_sign, table_to_pairs
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.sources import PoolSources
from synpref_dagster.settings.pool import CROWD_VOTES
from synpref_dagster.sources.held_out import held_out_debates
from synpref_dagster.sources.majorities import majority_gold
from synpref_dagster.sources.reading import read_source
from synpref_dagster.sources.records import SourceSpec
from synpref_dagster.storage import hash_json
from synpref_dagster.synthetic.sealed import TEST_PAIRS, sealed_signs

TEST_ORDER = "by content"  # of the pairs of held-out debates, the first of which judges are shown


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
        order = [TEST_ORDER] if self._test_debates else []
        return str(hash_json([self.sources.fingerprint(), list(self._test_debates), *order]))

    @property
    def _test_debates(self) -> tuple[str, ...]:
        return held_out_debates(self.campaign.profile.pool, self.campaign.seed)

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
        if not self._test_debates:
            return Truth(signs={}, test_pairs=[])
        files = {
            source.path: source.name
            for source in self.campaign.profile.pool.sources
            if source.path and source.format == CROWD_VOTES
        }
        signs, test_pairs = majority_gold(files, test_debates=set(self._test_debates))
        return Truth(signs=signs, test_pairs=test_pairs)


def _world_truth(folder: Path) -> Truth:
    spec = SourceSpec(
        name="test", path=str(folder / TEST_PAIRS), origin="human", licence="synthetic"
    )
    tables = [batch.pairs_table() for batch in read_source(spec, seed=0)]
    return Truth(
        signs=sealed_signs(folder),
        test_pairs=[pair for table in tables for pair in table_to_pairs(table)],
    )
