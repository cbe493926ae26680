"""Who sees what: queues, double annotation, adjudication, completeness."""

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from review_cases import Clock, announce, make_pair

from synpref_dagster.people.accounts import Accounts
from synpref_dagster.people.desk import ForeignFormError, ReviewDesk
from synpref_dagster.people.ledger.answers import live_answers
from synpref_dagster.people.ledger.batches import batch_id, side_for
from synpref_dagster.people.ledger.database import ReviewDatabase
from synpref_dagster.people.ledger.ledger import AnswerLedger
from synpref_dagster.people.queueing import LEASE_SECONDS


@pytest.fixture
def people(accounts):
    for name in ("ann", "bob", "eve"):
        accounts.add(name)
    accounts.add("carol", adjudicator=True)
    return {name: accounts.named(name) for name in ("ann", "bob", "eve", "carol")}


def answer(desk, who, sign=1):
    """Say that the sorted-first response is better (1), worse (-1), or equal (0)."""
    _, shown = desk.open(who)
    verdict = "tie"
    if sign:
        verdict = "candidate_1" if (sign > 0) == (shown.candidate_1 == "first") else "candidate_2"
    return desk.submit(who, shown.form_token, {"verdict": verdict})


def test_two_people_get_different_pairs_and_the_order_of_the_batch(desk, people):
    announce(desk, [make_pair(n) for n in range(3)])
    places = [desk.open(people[name])[0].item.position for name in ("ann", "bob", "eve")]
    assert places == [0, 1, 2]
    assert desk.open(people["carol"]) is None


def test_the_double_share_is_exact_and_both_annotators_are_different(desk, people):
    announce(desk, [make_pair(n) for n in range(10)], double_share=0.3)
    assert sorted(case.item.num_wanted for case in desk.cases("batch")) == [1] * 7 + [2] * 3
    while desk.open(people["ann"]):
        answer(desk, people["ann"])
    assert desk.progress(people["ann"]).num_done == 10
    while desk.open(people["bob"]):
        answer(desk, people["bob"])
    assert desk.progress(people["bob"]).num_done == 3
    assert desk.batch("batch").complete


def test_a_disagreement_goes_to_an_adjudicator_and_a_third_verdict_settles_it(desk, people):
    announce(desk, [make_pair(1)], double_share=1.0)
    answer(desk, people["ann"], 1)
    answer(desk, people["bob"], -1)
    status = desk.batch("batch")
    assert (status.complete, status.num_in_adjudication) == (False, 1)
    assert desk.open(people["eve"]) is None
    assert desk.progress(people["carol"]).num_remaining == 1
    answer(desk, people["carol"], -1)
    assert desk.batch("batch").complete
    assert desk.in_adjudication() == []


def test_without_adjudication_a_disagreement_stands(desk, people):
    announce(desk, [make_pair(1)], double_share=1.0, adjudicate=False)
    answer(desk, people["ann"], 1)
    answer(desk, people["bob"], -1)
    assert desk.batch("batch").complete


def test_an_abandoned_pair_goes_to_somebody_else_and_a_late_answer_still_counts(
    desk, people, clock, store
):
    announce(desk, [make_pair(1)])
    _, shown = desk.open(people["ann"])
    assert desk.open(people["bob"]) is None
    clock.now += LEASE_SECONDS + 1
    assert desk.open(people["bob"])[0].item.position == 0
    answer(desk, people["bob"])
    desk.submit(people["ann"], shown.form_token, {"verdict": "tie"})
    assert {row.annotator for row in AnswerLedger(store).answers()} == {"ann", "bob"}


def test_a_form_of_somebody_else_is_refused(desk, people):
    announce(desk, [make_pair(1), make_pair(2)])
    _, shown = desk.open(people["ann"])
    for token in (shown.form_token, "", "unknown"):
        with pytest.raises(ForeignFormError):
            desk.submit(people["bob"], token, {"verdict": "tie"})


def test_a_correction_changes_the_digest_of_the_batch(desk, people):
    announce(desk, [make_pair(1)])
    first = answer(desk, people["ann"], 1)
    before = desk.batch("batch").digest
    desk.undo(people["ann"], first.form_token)
    assert not desk.batch("batch").complete
    answer(desk, people["ann"], -1)
    after = desk.batch("batch")
    assert after.complete
    assert after.digest != before


@pytest.mark.parametrize(
    ("hours", "num_answered", "ready"), [(1, 9, False), (3, 8, False), (3, 9, True), (0, 10, True)]
)
def test_a_batch_is_ready_when_complete_or_overdue_with_enough(
    desk, people, hours, num_answered, ready
):
    announce(desk, [make_pair(n) for n in range(10)])
    for _ in range(num_answered):
        answer(desk, people["ann"])
    status = desk.batch("batch")
    now = status.batch.created_at + 3600 * hours
    assert status.ready(now=now, deadline_hours=2, min_share=0.9) is ready
    assert status.ready(now=now, deadline_hours=None, min_share=0.0) is (num_answered == 10)


def test_a_batch_is_one_however_often_it_is_announced(desk, people):
    pairs = [make_pair(n) for n in range(4)]
    announce(desk, pairs)
    answer(desk, people["ann"])
    announce(desk, pairs)
    assert desk.batch("batch").num_verdicts == 1
    ids = [pair.pair_id for pair in pairs]
    one = batch_id("c", "a", ids=ids, protocol_version="1")
    assert one == batch_id("c", "a", ids=ids[::-1], protocol_version="1")
    assert one != batch_id("c", "a", ids=ids, protocol_version="2")


def test_a_flipped_pair_is_the_same_item_to_people(desk):
    announce(desk, [make_pair(1)], name="as is")
    announce(desk, [make_pair(1).flipped()], name="flipped")
    (one,), (two,) = desk.cases("as is"), desk.cases("flipped")
    hidden = {"batch_id": "", "pair_id": ""}
    assert dataclasses.replace(one.item, **hidden) == dataclasses.replace(two.item, **hidden)


def test_sides_differ_between_annotators():
    pairs = [f"{n:032x}" for n in range(400)]
    same = sum(side_for(pair, "ann") == side_for(pair, "bob") for pair in pairs)
    assert 150 < same < 250


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["answer", "undo", "wait", "restart", "replay"]),
        st.integers(0, 3),
        st.sampled_from([1, -1, 0]),
    ),
    max_size=40,
)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(acts=ACTS, double_share=st.sampled_from([0.0, 0.5, 1.0]))
def test_whatever_people_do_the_queue_is_what_the_ledger_says(tmp_path_factory, acts, double_share):
    clock = Clock()
    store = ReviewDatabase(f"sqlite:///{tmp_path_factory.mktemp('q')}/q.sqlite3")
    desk, accounts = ReviewDesk(store, clock=clock), Accounts(store, clock=clock)
    announce(desk, [make_pair(n) for n in range(4)], double_share=double_share)
    for n in range(4):
        accounts.add(f"p{n}", adjudicator=n == 3)
    sent = []
    for act, number, sign in acts:
        who = accounts.named(f"p{number}")
        clock.now += 1
        if act == "answer" and desk.open(who):
            sent.append((who, answer(desk, who, sign).form_token))
        elif act == "undo":
            desk.undo(who, desk.progress(who).last_form_token)
        elif act == "wait":
            clock.now += LEASE_SECONDS
        elif act == "restart":
            desk = ReviewDesk(store, clock=clock)
        elif act == "replay" and sent:
            assert desk.submit(*sent[-1], {"verdict": "cannot_decide"}) is None
    live = live_answers(AnswerLedger(store).answers())
    cases = desk.cases("batch")
    held = {
        ("batch", case.item.pair_id, name): verdict
        for case in cases
        for name, verdict in case.answers.items()
    }
    assert held == live
    for number in range(4):
        who = accounts.named(f"p{number}")
        assert desk.progress(who).num_done == sum(key[2] == who.name for key in live)
    assert desk.batch("batch").num_finished == sum(case.finished for case in cases)
