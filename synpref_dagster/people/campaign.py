"""People who answer on the review page or in Label Studio, as a campaign sees them.

Asking puts a batch before people and returns at once. As long as answers are missing there is no
answer, and no process waits: the sensor `verdicts_arrived` continues the campaign later.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from synpref_dagster.curation.verification.corrections import write_edits
from synpref_dagster.curation.verification.people import (
    LEDGER_COLUMNS,
    LEDGER_DETAILS,
    PRE_VERIFICATION_COLUMNS,
)
from synpref_dagster.pairs.attributes import ATTRIBUTE_COLUMNS
from synpref_dagster.pairs.record import PreferencePair, canonical_sign
from synpref_dagster.people.accounts import Accounts
from synpref_dagster.people.agreement import answer_frame, gate, measure, sorted_answer
from synpref_dagster.people.annotations import LeftOut
from synpref_dagster.people.desk import ReviewDesk
from synpref_dagster.people.label_studio import LabelStudio, LabelStudioError
from synpref_dagster.people.ledger.batches import Batch, batch_id, make_batch
from synpref_dagster.people.ledger.database import ReviewDatabase
from synpref_dagster.people.ledger.ledger import AnswerLedger
from synpref_dagster.people.page.serving import ledger_url
from synpref_dagster.people.protocol import PROTOCOL_VERSION
from synpref_dagster.people.queueing import BatchStatus
from synpref_dagster.settings.secrets import from_environment
from synpref_dagster.settings.stages import PeopleSettings

LOGGER = logging.getLogger(__name__)
NUM_NAMED = 3  # annotations in a message
TOKEN_VARIABLE = "LABEL_STUDIO_TOKEN"
RISK_COLUMN = "risk"


class PeopleError(Exception):
    """People cannot be asked, or their answers are of no use; another attempt alone mends neither.

    `Reviewers` tells Dagster so; whoever else asks people gets it as it is.
    """


class DisagreementError(PeopleError):
    """People agree less than the profile's floor."""


class NoLabelStudioError(PeopleError):
    """People are to answer in Label Studio, but its address or its token is missing."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What people said about a set of pairs."""

    fingerprint: str
    """Changes with every answer that counts."""
    ledger: Callable[[], pd.DataFrame]
    """Gives `LEDGER_COLUMNS` and `LEDGER_DETAILS`, one row per answer, oldest first, relative to
    the current labels."""


class People:
    """The batches of one campaign and what became of them."""

    def __init__(
        self,
        settings: PeopleSettings,
        *,
        campaign: str,
        staying: Collection[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open the ledger.

        Args:
            settings: the profile's section.
            campaign: profile and seed; batches belong to it.
            staying: names of the sources whose texts may not leave this machine.
            clock: Unix time.
        """
        self._settings = settings
        self._campaign = campaign
        self._staying = frozenset(staying)
        self._clock = clock
        self._store = ReviewDatabase(settings.ledger_url or ledger_url())
        self._desk = ReviewDesk(self._store, clock=clock)
        self.left_out: list[LeftOut] = []
        """What the last `pull` could not use."""

    def ask(
        self,
        asset: str,
        pairs: Sequence[PreferencePair],
        about: Callable[[], pd.DataFrame],
    ) -> Answers | None:
        """The answers to a batch, or None while people have not finished it.

        Args:
            asset: which asset waits.
            pairs: what people are asked about.
            about: gives what people see besides the texts, in the order in which they see the
                pairs: pair_id, the attributes, and where known `risk` and the columns of
                `PRE_VERIFICATION_COLUMNS`; called when the batch is put before people.

        Raises:
            DisagreementError: people agree less than the profile's floor.
            NoLabelStudioError: they answer in Label Studio, which cannot be reached so.
        """
        ids = [pair.pair_id for pair in pairs]
        wanted = batch_id(self._campaign, asset, ids=ids, protocol_version=PROTOCOL_VERSION)
        if self._desk.batch(wanted) is None:
            self._announce(wanted, asset, pairs=pairs, about=about())
        self.pull()
        status = self._desk.batch(wanted)
        if status is None or not self._ready(status):
            return None
        self._refuse_disagreement(wanted)
        by_id = {pair.pair_id.hex(): pair for pair in pairs}
        return Answers(
            fingerprint=f"{wanted}-{status.digest}", ledger=lambda: self._ledger(wanted, by_id)
        )

    def hourly_rates(self) -> dict[str, float]:
        """Annotator -> price of an hour, for the accounts that have one."""
        accounts = Accounts(self._store, clock=self._clock).all()
        return {each.name: each.hourly_rate for each in accounts if each.hourly_rate > 0}

    def pull(self) -> int:
        """Fetch new answers from Label Studio, if that is where people work; how many are new.

        What cannot be used there is in `left_out` and in the log; the rest goes on.

        Raises:
            NoLabelStudioError: it cannot be asked.
        """
        self._tell_settings()
        if self._settings.backend != "label_studio":
            return 0
        ledger, server = AnswerLedger(self._store), self._label_studio()
        num_new, left_out = 0, []
        for status in self._desk.statuses(self._campaign):
            items = [case.item for case in self._desk.cases(status.batch.batch_id)]
            try:
                pulled = server.pull(status.batch, items)
            except LabelStudioError as error:
                raise NoLabelStudioError(str(error)) from error
            num_new += ledger.append(pulled.answers)
            left_out += pulled.left_out
        self.left_out = left_out
        if left_out:
            LOGGER.warning("%s", self.told_left_out())
        return num_new

    def told_left_out(self) -> str:
        """How much of Label Studio's export is left out, with the first places and reasons."""
        if not self.left_out:
            return ""
        first = "; ".join(map(str, self.left_out[:NUM_NAMED]))
        more = len(self.left_out) - NUM_NAMED
        rest = f"; and {more} more" if more > 0 else ""
        return f"left out of Label Studio's export: {len(self.left_out)} ({first}{rest})"

    def finished(self) -> list[BatchStatus]:
        """Batches with which the campaign may go on, in the order in which people were asked."""
        return [each for each in self._desk.statuses(self._campaign) if self._ready(each)]

    def waiting(self) -> list[BatchStatus]:
        """Batches that people have not finished; one that a later batch replaced is not awaited."""
        last = {each.batch.asset: each for each in self._desk.statuses(self._campaign)}
        return [each for each in last.values() if not self._ready(each)]

    def _ready(self, status: BatchStatus) -> bool:
        return status.ready(
            now=self._clock(),
            deadline_hours=self._settings.deadline_hours,
            min_share=self._settings.min_share,
        )

    def _tell_settings(self) -> None:
        """Give the batches that wait the settings of now; one that is finished stays so."""
        for status in self.waiting():
            batch = status.batch
            if self._desk.batch(batch.batch_id) is not None:
                self._desk.change(
                    batch.batch_id,
                    double_share=self._settings.double_share,
                    adjudicate=self._settings.adjudicate and self._settings.backend == "page",
                )

    def _announce(
        self,
        wanted: str,
        asset: str,
        *,
        pairs: Sequence[PreferencePair],
        about: pd.DataFrame,
    ) -> None:
        batch = Batch(
            batch_id=wanted,
            campaign=self._campaign,
            asset=asset,
            protocol_version=PROTOCOL_VERSION,
            num_items=len(pairs),
            adjudicate=self._settings.adjudicate and self._settings.backend == "page",
            created_at=self._clock(),
        )
        known = _about(about)
        place = {pair_id: number for number, pair_id in enumerate(known)}
        ordered = sorted(pairs, key=lambda pair: place.get(pair.pair_id, len(place)))
        items = make_batch(
            ordered,
            known,
            batch=batch,
            double_share=self._settings.double_share,
            staying=self._staying,
        )
        if self._settings.backend == "label_studio":
            # First, since a batch that is at the desk is announced nowhere again.
            try:
                self._label_studio().announce(batch, items)
            except LabelStudioError as error:
                raise NoLabelStudioError(str(error)) from error
        self._desk.announce(batch, items)

    def _refuse_disagreement(self, wanted: str) -> None:
        answers = [v for case in self._desk.cases(wanted) for v in case.answers.values()]
        message = gate(
            measure(answer_frame(answers)),
            floor=self._settings.alpha_floor,
            min_pairs=self._settings.min_pairs_for_alpha,
        )
        if message is not None:
            raise DisagreementError(message)

    def _ledger(self, wanted: str, pairs: Mapping[str, PreferencePair]) -> pd.DataFrame:
        rows = []
        for case in self._desk.cases(wanted):
            pair = pairs[case.item.pair_id]
            sign = canonical_sign(pair.chosen, pair.rejected)
            for annotator, answer in sorted(
                case.answers.items(), key=lambda each: (each[1].created_at, each[0])
            ):
                against_sorted = answer.sorted_sign
                rows.append(
                    {
                        "pair_id": pair.pair_id,
                        "content_id": pair.content_id,
                        "annotator": annotator,
                        "verdict": sign * (against_sorted or 0),
                        "decided": against_sorted is not None,
                        "answer": sorted_answer(answer),
                        "edited_attributes": write_edits(answer.edited_attributes),
                        "seconds": answer.seconds,
                        "created_at": answer.created_at,
                    }
                )
        ledger = pd.DataFrame(rows, columns=[*LEDGER_COLUMNS, *LEDGER_DETAILS])
        return ledger.astype(
            {"verdict": "int8", "decided": bool, "seconds": "float64", "created_at": "float64"}
        )

    def _label_studio(self) -> LabelStudio:
        token = from_environment(TOKEN_VARIABLE)
        if not self._settings.label_studio_url or not token:
            raise NoLabelStudioError(
                f"Label Studio needs people.label_studio_url and ${TOKEN_VARIABLE}"
            )
        return LabelStudio(self._settings.label_studio_url, token=token)


def _about(frame: pd.DataFrame) -> dict[bytes, dict[str, Any]]:
    """pair_id -> what people see of it besides the texts, in the order of the frame."""
    attributes = [name for name in ATTRIBUTE_COLUMNS if name in frame]
    checks = {side: name for side, name in PRE_VERIFICATION_COLUMNS.items() if name in frame}
    return {
        row["pair_id"]: {
            "attributes": {name: str(row[name]) for name in attributes},
            "risk": str(row.get(RISK_COLUMN) or ""),
            "preverification": {
                side: str(row[name]) for side, name in checks.items() if pd.notna(row[name])
            },
        }
        for row in frame.to_dict("records")
    }
