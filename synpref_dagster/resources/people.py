"""The people who verify pairs, as a resource. Recorded verdicts play them in demo and tests.

A reviewer reveals a verdict only about a pair that it was asked about: what a campaign spends on
people is what it asked for.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.curation.verification.corrections import NO_EDITS
from synpref_dagster.curation.verification.people import LEDGER_COLUMNS
from synpref_dagster.pairs.record import PreferencePair, canonical_sign, id_array
from synpref_dagster.people.agreement import UNDECIDED
from synpref_dagster.people.recorded import RecordedReviewer
from synpref_dagster.resources.sources import PoolSources

if TYPE_CHECKING:
    from synpref_dagster.people.campaign import Answers, People


class Reviewers(dg.ConfigurableResource):
    """Asks people, or those who recorded their verdicts, about pairs."""

    sources: PoolSources

    @cached_property
    def _people(self) -> "People":
        from synpref_dagster.people.campaign import People

        profile = self.sources.campaign.profile
        return People(
            profile.people, campaign=profile.campaign_name(), staying=profile.pool.staying()
        )

    def ask(
        self,
        asset: str,
        pairs: Callable[[], Sequence[PreferencePair]],
        about: Callable[[], pd.DataFrame],
    ) -> "Answers | None":
        """What people say about pairs, or None while they have not finished.

        Args:
            asset: name of the asset that asks.
            pairs: gives the pairs.
            about: gives what people see besides the texts, see `People.ask`.

        Raises:
            dagster.Failure: people cannot be asked, or agree too little.
        """
        from synpref_dagster.people.campaign import Answers, PeopleError

        if self.sources.campaign.profile.people.backend == "recorded":
            return Answers(fingerprint=self.fingerprint(), ledger=lambda: self.ledger(pairs()))
        asked = pairs()
        rest = self.for_people(asked)
        if asked and not rest:
            return Answers(fingerprint=self.fingerprint(), ledger=lambda: self.ledger(asked))
        try:
            given = self._people.ask(asset, rest, about)
        except PeopleError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        if given is None or len(rest) == len(asked):
            return given
        ids = {pair.pair_id for pair in rest}
        voted = [pair for pair in asked if pair.pair_id not in ids]
        return Answers(
            fingerprint=f"{given.fingerprint}+{self.fingerprint()}",
            ledger=lambda: pd.concat([self.ledger(voted), given.ledger()], ignore_index=True),
        )

    def for_people(self, pairs: Sequence[PreferencePair]) -> list[PreferencePair]:
        """The pairs that are put before people: all, or those about which no vote is recorded.

        Args:
            pairs: what is asked about.
        """
        if not self.sources.campaign.profile.people.recorded_first:
            return list(pairs)
        is_voted = self._are_voted(id_array([pair.content_id for pair in pairs]))
        return [pair for pair, found in zip(pairs, is_voted, strict=True) if not found]

    def _are_voted(self, contents: pa.Array | pa.ChunkedArray) -> np.ndarray:
        voted = self.sources.voted_contents()
        return np.asarray(pc.is_in(contents.cast(voted.type), value_set=voted))

    def fingerprint(self) -> str:
        """What the answers depend on: the recorded verdicts."""
        return self.sources.verdict_fingerprint()

    def answerable(self, contents: pa.Array | pa.ChunkedArray) -> np.ndarray | None:
        """Bool (n,): which contents have a recorded answer; None when people can be asked.

        Recorded verdicts say nothing about other pairs: to ask for these would be in vain. Also
        None when they say nothing about any.

        Args:
            contents: their ids, n of them.
        """
        if self.sources.campaign.profile.people.backend != "recorded":
            return None
        found = self._are_voted(contents)
        return found if found.any() else None

    def recorded_fingerprint(self) -> list[str]:
        """What `answerable` depends on; nothing where people can be asked."""
        return (
            [self.fingerprint()]
            if self.sources.campaign.profile.people.backend == "recorded"
            else []
        )

    def ledger(self, pairs: Sequence[PreferencePair]) -> pd.DataFrame:
        """What each annotator said about each pair; one row per verdict.

        Recorded verdicts hold no corrections, and neither when they were given nor in what time.
        """
        recorded = self.sources.recorded_verdicts({pair.content_id for pair in pairs})
        ledger = pd.DataFrame(RecordedReviewer(recorded).review(pairs), columns=LEDGER_COLUMNS)
        ledger = ledger.astype({"verdict": "int8", "decided": bool})
        signs = {pair.pair_id: canonical_sign(pair.chosen, pair.rejected) for pair in pairs}
        against_sorted = ledger["verdict"].astype(int) * ledger["pair_id"].map(signs)
        return ledger.assign(
            answer=against_sorted.astype(str).astype(object).where(ledger["decided"], UNDECIDED),
            edited_attributes=NO_EDITS,
            seconds=np.nan,
            created_at=np.nan,
        )

    def hourly_rates(self) -> dict[str, float]:
        """Annotator -> price of an hour, where one is known; recorded verdicts know none."""
        if self.sources.campaign.profile.people.backend == "recorded":
            return {}
        return self._people.hourly_rates()
