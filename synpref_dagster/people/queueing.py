"""Who sees which pair next: a fold over items, assignments and answers.

Each annotator has an own queue: the pair that is open for them comes first, so that a reload or a
restart resumes where they were. A share of the pairs goes to two people; where these disagree, an
adjudicator, who is not told what they said, gives one more answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import chain
from operator import and_

from synpref_dagster.people.enrolment import Enrolment, Missing
from synpref_dagster.people.ledger.answers import Answer, Side
from synpref_dagster.people.ledger.batches import Batch, ReviewItem, seen_twice

LEASE_SECONDS = 1800.0
MIN_ANSWERS_TO_DISAGREE = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """A pair shown to an annotator, under the token of the form that will answer it."""

    form_token: str
    batch_id: str
    pair_id: str
    annotator: str
    candidate_1: Side
    created_at: float


@dataclass(slots=True)
class Case:
    """Where one item stands."""

    item: ReviewItem
    adjudicate: bool
    answers: dict[str, Answer] = field(default_factory=dict)
    """annotator -> the answer that counts."""
    shown: dict[str, Assignment] = field(default_factory=dict)
    """annotator -> the assignment that has no answer yet."""
    since: dict[str, float] = field(default_factory=dict)
    """annotator -> when they first answered, whatever they corrected later."""
    enrolment: Enrolment = field(default_factory=Enrolment)

    @property
    def num_wanted(self) -> int:
        """How many answers it wants: never more than people were enrolled to give them."""
        if self.item.num_wanted == 1:
            return 1
        latest = max(self.since.values(), default=None)
        then = self.enrolment.count(latest) if latest is not None else 0
        return min([self.item.num_wanted, *filter(None, (self.enrolment.count(), then))])

    @property
    def disputed(self) -> bool:
        """Whether several people answered and no answer has more than half of them."""
        if len(self.answers) < MIN_ANSWERS_TO_DISAGREE:
            return False
        answers = [answer.sorted_sign for answer in self.answers.values()]
        return 2 * max(answers.count(answer) for answer in set(answers)) <= len(answers)

    @property
    def in_adjudication(self) -> bool:
        """Whether the next answer is an adjudicator's."""
        return self.adjudicate and self.disputed and len(self.answers) < self.num_wanted + 1

    @property
    def finished(self) -> bool:
        """Whether no more answers are wanted."""
        return len(self.answers) >= self.num_wanted and not self.in_adjudication

    def open_for(self, annotator: str, *, now: float, adjudicator: bool) -> bool:
        """Whether this annotator may be asked now."""
        if annotator in self.answers or self.finished:
            return False
        adjudicating = self.in_adjudication
        if adjudicating and not adjudicator:
            return False
        wanted = self.num_wanted + adjudicating
        busy = sum(
            now - shown.created_at < LEASE_SECONDS
            for who, shown in self.shown.items()
            if who != annotator
        )
        return len(self.answers) + busy < wanted


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchStatus:
    """How far a batch is."""

    batch: Batch
    num_finished: int
    num_answered: int
    """Pairs with at least one answer."""
    num_verdicts: int
    num_in_adjudication: int
    missing: Missing
    """What it waits for, and who could give it."""
    digest: str
    """Hash of the answers that count: changes with every correction."""

    @property
    def complete(self) -> bool:
        """Whether every pair of the batch has all answers it wants."""
        return self.num_finished == self.batch.num_items

    def ready(self, *, now: float, deadline_hours: float | None, min_share: float) -> bool:
        """Whether the campaign may go on: complete, or overdue with a minimum share answered."""
        if self.complete:
            return True
        if deadline_hours is None or now < self.batch.created_at + 3600 * deadline_hours:
            return False
        return self.num_answered >= min_share * self.batch.num_items


class ReviewQueue:
    """The state of all batches, built row by row."""

    def __init__(self) -> None:
        self.batches: dict[str, Batch] = {}
        self.assignments: dict[str, Assignment] = {}
        self._cases: dict[str, dict[str, Case]] = {}
        self._unfinished: dict[tuple[str, str], Case] = {}
        self._adjudicating: dict[tuple[str, str], Case] = {}
        self._history: dict[str, list[Answer]] = {}
        self._current: dict[str, Assignment] = {}
        self._enrolment = Enrolment()

    def add_account(self, name: str, *, active: bool, adjudicator: bool, at: float) -> None:
        """An account was opened, changed or closed."""
        self._enrolment.add(name, active=active, adjudicator=adjudicator, at=at)
        for batch_id, cases in self._cases.items():
            for pair_id, case in cases.items():
                if case.item.num_wanted > 1:
                    self._file((batch_id, pair_id), case)

    def add_batch(self, batch: Batch) -> None:
        """A batch was announced."""
        self.batches[batch.batch_id] = batch
        self._cases.setdefault(batch.batch_id, {})

    def add_item(self, item: ReviewItem) -> None:
        """A pair of a batch; items arrive in their order of showing."""
        adjudicate = self.batches[item.batch_id].adjudicate
        case = Case(item, adjudicate=adjudicate, enrolment=self._enrolment)
        self._cases[item.batch_id][item.pair_id] = case
        self._unfinished[item.batch_id, item.pair_id] = case

    def change_batch(self, batch_id: str, *, double_share: float, adjudicate: bool) -> None:
        """Other settings for a batch that waits; what was answered counts as before."""
        cases = self._cases.get(batch_id, {})
        twice = seen_twice([bytes.fromhex(pair_id) for pair_id in cases], double_share)
        for pair_id, case in cases.items():
            wanted = 2 if bytes.fromhex(pair_id) in twice else 1
            case.item, case.adjudicate = replace(case.item, num_wanted=wanted), adjudicate
            self._file((batch_id, pair_id), case)

    def terms(self, batch_id: str) -> tuple[int, bool]:
        """How many pairs of a batch two people should see, and whether disputes are decided."""
        cases = self._cases[batch_id].values()
        twice = sum(case.item.num_wanted > 1 for case in cases)
        return twice, any(case.adjudicate for case in cases)

    def add_assignment(self, assignment: Assignment) -> None:
        """A pair was shown to somebody."""
        self.assignments[assignment.form_token] = assignment
        case = self.case(assignment.batch_id, assignment.pair_id)
        if case is not None:
            case.shown[assignment.annotator] = assignment
            self._current[assignment.annotator] = assignment

    def add_answer(self, answer: Answer) -> None:
        """Somebody answered, corrected or withdrew."""
        case = self.case(answer.batch_id, answer.pair_id)
        if case is None:
            return
        case.answers.pop(answer.annotator, None)
        case.shown.pop(answer.annotator, None)
        history = self._history.setdefault(answer.annotator, [])
        if answer.verdict == "withdrawn":
            key = (answer.batch_id, answer.pair_id)
            history[:] = [v for v in history if (v.batch_id, v.pair_id) != key]
        else:
            case.answers[answer.annotator] = answer
            case.since.setdefault(answer.annotator, answer.created_at)
            history.append(answer)
        self._file((answer.batch_id, answer.pair_id), case)

    def case(self, batch_id: str, pair_id: str) -> Case | None:
        """Where an item stands; None when there is no such item."""
        return self._cases.get(batch_id, {}).get(pair_id)

    def current(self, annotator: str) -> Assignment | None:
        """The pair that is open for this annotator, if it still wants an answer of theirs."""
        shown = self._current.get(annotator)
        if shown is None:
            return None
        case = self.case(shown.batch_id, shown.pair_id)
        is_open = case is not None and case.shown.get(annotator) == shown and not case.finished
        return shown if is_open else None

    def next_case(self, annotator: str, *, now: float, adjudicator: bool = False) -> Case | None:
        """The next pair for an annotator: adjudication first, then the batch's own order."""
        before = self._adjudicating.values() if adjudicator else ()
        for case in chain(before, self._unfinished.values()):
            if case.open_for(annotator, now=now, adjudicator=adjudicator):
                return case
        return None

    def num_remaining(self, annotator: str, *, adjudicator: bool = False) -> int:
        """How many pairs could still come to this annotator, also if others look at them now."""
        answered = {(row.batch_id, row.pair_id) for row in self.history(annotator)}
        waiting = len(self._unfinished) - sum(key in self._unfinished for key in answered)
        if adjudicator:
            return waiting
        return waiting - sum(key not in answered for key in self._adjudicating)

    def history(self, annotator: str) -> list[Answer]:
        """This annotator's answers that were not withdrawn, oldest first."""
        return self._history.get(annotator, [])

    def in_adjudication(self) -> list[Case]:
        """Pairs that wait for an adjudicator."""
        return list(self._adjudicating.values())

    def status(self, batch_id: str) -> BatchStatus:
        """How far a batch is.

        Raises:
            ValueError: there is no such batch.
        """
        if batch_id not in self.batches:
            raise ValueError(f"batch {batch_id!r} is unknown")
        cases = list(self._cases[batch_id].values())
        rows = sorted(
            f"{case.item.pair_id}:{who}:{answer.sorted_sign}:{answer.as_row()['edited_attributes']}"
            for case in cases
            for who, answer in case.answers.items()
        )
        return BatchStatus(
            batch=self.batches[batch_id],
            num_finished=sum(case.finished for case in cases),
            num_answered=sum(bool(case.answers) for case in cases),
            num_verdicts=len(rows),
            num_in_adjudication=sum(case.in_adjudication for case in cases),
            missing=self._missing([case for case in cases if not case.finished]),
            digest=blake2b("\n".join(rows).encode(), digest_size=16).hexdigest(),
        )

    def _missing(self, waiting: Sequence[Case]) -> Missing:
        disputed = [case.in_adjudication for case in waiting]
        could = [
            self._enrolment.who_could(besides=case.answers, adjudicators=is_disputed)
            for case, is_disputed in zip(waiting, disputed, strict=True)
        ]
        alone = [not names for names in could]
        num_first = sum(not case.answers for case in waiting)
        return Missing(
            num_first=num_first,
            num_second=len(waiting) - num_first - sum(disputed),
            num_disputed=sum(disputed),
            who=tuple(sorted(set(chain.from_iterable(could)))),
            num_without_anybody=sum(alone),
            num_without_adjudicator=sum(map(and_, alone, disputed)),
        )

    def cases(self, batch_id: str) -> list[Case]:
        """All items of a batch with their answers, in order."""
        return list(self._cases.get(batch_id, {}).values())

    def _file(self, key: tuple[str, str], case: Case) -> None:
        for pile, belongs in (
            (self._unfinished, not case.finished),
            (self._adjudicating, case.in_adjudication),
        ):
            if belongs:
                pile[key] = case
            else:
                pile.pop(key, None)
