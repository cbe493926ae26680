"""The desk between page and database: hands out pairs, takes answers, knows how far things are.

The annotator of an answer is the signed-in account and the pair is the one its form was made for;
neither is ever read from the form itself. A form is recorded once, however often it arrives.
"""

import json
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from synpref_dagster.people.accounts import Annotator
from synpref_dagster.people.ledger import database
from synpref_dagster.people.ledger.answers import Answer
from synpref_dagster.people.ledger.batches import Batch, ReviewItem, side_for
from synpref_dagster.people.ledger.database import ReviewDatabase
from synpref_dagster.people.queueing import Assignment, BatchStatus, Case, ReviewQueue

PACE_ANSWERS = 20
MIN_PACE_ANSWERS = 3
TOKEN_BYTES = 16
SESSION_MARK = "."  # between a session's name and the rest of a form token


class ForeignFormError(ValueError):
    """A form token that was never given out, or to somebody else."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeskProgress:
    """What an annotator reads about their own work."""

    num_done: int
    """Verdicts that count."""
    num_remaining: int
    """Pairs that could still come to this person."""
    per_hour: float | None
    """Pace over the latest answers; None while there are fewer than three."""
    num_in_adjudication: int
    """Pairs that wait for an adjudicator, of all batches."""
    last_form_token: str
    """Token of the answer that undo would take back; empty when this session gave none."""


class ReviewDesk:
    """All that the page does with the database."""

    def __init__(self, store: ReviewDatabase, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.RLock()
        self._seen = dict.fromkeys(
            ("annotators", "batches", "items", "changes", "assignments", "verdicts"), 0
        )
        self._marks: tuple[int, ...] = ()
        self._queue = ReviewQueue()

    def announce(self, batch: Batch, items: Sequence[ReviewItem]) -> None:
        """Put a batch before people; a batch that is there already is left as it is."""
        rows = [
            {"batch_id": item.batch_id, "pair_id": item.pair_id, "content": _as_json(item)}
            for item in items
        ]
        with self._lock:
            self._store.append(database.batches, [asdict(batch)])
            self._store.append(database.items, rows)

    def change(self, batch_id: str, *, double_share: float, adjudicate: bool) -> bool:
        """Give a batch that waits other settings, for whoever looks at the ledger; says if it did.

        Args:
            batch_id: of a batch that was announced in full.
            double_share: share of its pairs that two people see.
            adjudicate: whether an adjudicator decides where they disagree.
        """
        with self._lock:
            self._refresh()
            num_items = self._queue.batches[batch_id].num_items
            wanted = (round(double_share * num_items), adjudicate)
            if not num_items or self._queue.terms(batch_id) == wanted:
                return False
            row = {
                "batch_id": batch_id,
                "double_share": double_share,
                "adjudicate": adjudicate,
                "created_at": self._clock(),
            }
            self._store.append(database.batch_changes, [row])
            self._refresh()
            return True

    def batch(self, batch_id: str) -> BatchStatus | None:
        """How far a batch is; None when it was never announced in full."""
        with self._lock:
            self._refresh()
            known = self._queue.batches.get(batch_id)
            if known is None or len(self._queue.cases(batch_id)) < known.num_items:
                return None
            return self._queue.status(batch_id)

    def statuses(self, campaign: str | None = None) -> list[BatchStatus]:
        """All batches (of one campaign), in order of announcement."""
        with self._lock:
            self._refresh()
            return [
                self._queue.status(batch.batch_id)
                for batch in self._queue.batches.values()
                if campaign in (None, batch.campaign)
            ]

    def missing(self) -> list[str]:
        """What batches wait for and who could give it, a sentence for each that does."""
        told = (f"{each.batch.asset} waits {each.missing}" for each in self.statuses()
                if not each.complete)  # fmt: skip
        return list(told)

    def cases(self, batch_id: str) -> list[Case]:
        """The items of a batch with the answers that count."""
        with self._lock:
            self._refresh()
            return self._queue.cases(batch_id)

    def num_staying(self) -> int:
        """Pairs of all batches that may not be shown on another machine."""
        statuses = self.statuses()
        return sum(
            not case.item.may_leave
            for status in statuses
            for case in self.cases(status.batch.batch_id)
        )

    def in_adjudication(self) -> list[Case]:
        """Pairs on which people disagree and that wait for one more answer."""
        with self._lock:
            self._refresh()
            return self._queue.in_adjudication()

    def open(self, annotator: Annotator, *, session: str = "") -> tuple[Case, Assignment] | None:
        """The pair before this annotator: the one already open, else the next of their queue.

        Args:
            annotator: who is signed in.
            session: name of their session; a pair that an earlier one left open gets a new form.
        """
        with self._lock:
            self._refresh()
            current = self._queue.current(annotator.name)
            if current is not None:
                case = self._queue.case(current.batch_id, current.pair_id)
                assert case is not None
                if not _is_of(session, current.form_token):
                    current = self._assign(case.item, annotator.name, session=session)
                return case, current
            case = self._queue.next_case(
                annotator.name, now=self._clock(), adjudicator=annotator.adjudicator
            )
            if case is None:
                return None
            return case, self._assign(case.item, annotator.name, session=session)

    def submit(
        self, annotator: Annotator, form_token: str, answer: Mapping[str, Any]
    ) -> Answer | None:
        """Record an answer.

        Args:
            annotator: who is signed in.
            form_token: from the form; decides which pair this is about.
            answer: `verdict`, and optionally edited_attributes, confidence, tools, seconds.

        Returns:
            The answer, or None when this form was recorded before.

        Raises:
            ForeignFormError: the token was not given to this annotator.
            ValueError: an illegal answer.
        """
        with self._lock:
            self._refresh()
            shown = self._queue.assignments.get(form_token)
            if shown is None or shown.annotator != annotator.name:
                raise ForeignFormError("this form was not given to you; nothing was recorded")
            if answer.get("verdict") == "withdrawn":
                raise ValueError("an answer is taken back with undo")
            given = self._answer(shown, answer)
            is_new = self._store.append(database.verdicts, [given.as_row()])
            self._refresh()
            return given if is_new else None

    def undo(self, annotator: Annotator, form_token: str, *, session: str = "") -> Answer | None:
        """Take back this annotator's last answer, as a new row, and show its pair again.

        Args:
            annotator: who is signed in.
            form_token: of the answer to take back, so that a second click takes back nothing else.
            session: name of their session; what an earlier one said stays.

        Returns:
            The answer that was taken back, or None when it is not the last one of this session.
        """
        with self._lock:
            self._refresh()
            history = self._queue.history(annotator.name)
            if not history or history[-1].form_token != form_token:
                return None
            if not _is_of(session, form_token):
                return None
            last = history[-1]
            case = self._queue.case(last.batch_id, last.pair_id)
            assert case is not None
            shown = Assignment(
                form_token=f"undo-{last.form_token}"[:100],
                batch_id=last.batch_id,
                pair_id=last.pair_id,
                annotator=annotator.name,
                candidate_1=last.candidate_1,
                created_at=self._clock(),
            )
            row = self._answer(shown, {"verdict": "withdrawn"}).as_row()
            self._store.append(database.verdicts, [row])
            self._refresh()
            self._assign(case.item, annotator.name, session=session)
            return last

    def progress(self, annotator: Annotator, *, session: str = "") -> DeskProgress:
        """How far this annotator is, and what undo would take back in this session."""
        with self._lock:
            self._refresh()
            history = self._queue.history(annotator.name)
            last = history[-1].form_token if history else ""
            return DeskProgress(
                num_done=len(history),
                num_remaining=self._queue.num_remaining(
                    annotator.name, adjudicator=annotator.adjudicator
                ),
                per_hour=_pace([answer.created_at for answer in history[-PACE_ANSWERS:]]),
                num_in_adjudication=len(self._queue.in_adjudication()),
                last_form_token=last if _is_of(session, last) else "",
            )

    def _answer(self, shown: Assignment, answer: Mapping[str, Any]) -> Answer:
        case = self._queue.case(shown.batch_id, shown.pair_id)
        assert case is not None
        now = self._clock()
        elapsed = max(0.0, now - shown.created_at)
        # The browser counts only the time in which the page was visible; it cannot claim more
        # than went by.
        claimed = answer.get("seconds")
        seconds = elapsed if claimed is None else min(max(0.0, float(claimed)), elapsed)
        changed = {
            name: value
            for name, value in (answer.get("edited_attributes") or {}).items()
            if value != case.item.attributes.get(name)
        }
        return Answer(
            form_token=shown.form_token,
            batch_id=shown.batch_id,
            pair_id=shown.pair_id,
            content_id=case.item.content_id,
            annotator=shown.annotator,
            candidate_1=shown.candidate_1,
            verdict=answer["verdict"],
            protocol_version=self._queue.batches[shown.batch_id].protocol_version,
            created_at=now,
            edited_attributes=changed,
            confidence=answer.get("confidence"),
            tools=tuple(answer.get("tools") or ()),
            seconds=round(min(seconds, 86_400.0), 1),
        )

    def _assign(self, item: ReviewItem, annotator: str, *, session: str) -> Assignment:
        assignment = Assignment(
            form_token=f"{session}{SESSION_MARK}{secrets.token_urlsafe(TOKEN_BYTES)}",
            batch_id=item.batch_id,
            pair_id=item.pair_id,
            annotator=annotator,
            candidate_1=side_for(item.pair_id, annotator),
            created_at=self._clock(),
        )
        self._store.append(database.assignments, [asdict(assignment)], durable=False)
        self._refresh()
        return assignment

    def _refresh(self) -> None:
        marks = self._store.marks()
        if marks == self._marks:
            return
        self._marks = marks
        for row in self._new("annotators", database.annotators):
            self._queue.add_account(
                row["name"],
                active=row["active"],
                adjudicator=row["adjudicator"],
                at=row["created_at"],
            )
        for row in self._new("batches", database.batches):
            self._queue.add_batch(Batch(**row))
        for row in self._new("items", database.items):
            self._queue.add_item(_from_json(row["content"]))
        for row in self._new("changes", database.batch_changes):
            self._queue.change_batch(
                row["batch_id"], double_share=row["double_share"], adjudicate=row["adjudicate"]
            )
        for row in self._new("assignments", database.assignments):
            self._queue.add_assignment(Assignment(**row))
        for row in self._new("verdicts", database.verdicts):
            self._queue.add_answer(Answer.from_row(row))

    def _new(self, name: str, table: Any) -> list[dict[str, Any]]:
        rows = [dict(row) for row in self._store.rows(table, after=self._seen[name])]
        if rows:
            self._seen[name] = rows[-1]["seq"]
        for row in rows:
            del row["seq"]
        return rows


def _is_of(session: str, form_token: str) -> bool:
    """Whether a form was given out in this session: its token begins with the session's name."""
    return form_token.startswith(f"{session}{SESSION_MARK}")


def _pace(times: Sequence[float]) -> float | None:
    if len(times) < MIN_PACE_ANSWERS or times[-1] <= times[0]:
        return None
    return 3600 * (len(times) - 1) / (times[-1] - times[0])


def _as_json(item: ReviewItem) -> str:
    # ASCII: null bytes and lone surrogates survive in every database.
    return json.dumps(asdict(item), sort_keys=True)


def _from_json(text: str) -> ReviewItem:
    # A database may be older or newer than this code: what it says more is not shown.
    names = {each.name for each in fields(ReviewItem)}
    values = {name: value for name, value in json.loads(text).items() if name in names}
    return ReviewItem(**{**values, "conversation": tuple(values["conversation"])})
