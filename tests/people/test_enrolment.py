"""Nobody waits for an answer that no one could give, and it is said who could give the others."""

import pytest
from review_cases import Clock, announce, make_pair

from synpref_dagster.people.accounts import Accounts
from synpref_dagster.people.desk import ReviewDesk
from synpref_dagster.people.ledger.database import ReviewDatabase


@pytest.fixture
def house(tmp_path):
    """A ledger with its accounts and desk, and a way to answer as somebody."""

    class House:
        def __init__(self):
            self.clock = Clock()
            self.store = ReviewDatabase(f"sqlite:///{tmp_path}/r.sqlite3")
            self.accounts = Accounts(self.store, clock=self.clock)
            self.desk = ReviewDesk(self.store, clock=self.clock)

        def enrol(self, name, **more):
            self.clock.now += 1
            self.accounts.add(name, **more)

        def answers(self, name, verdict="candidate_1", count=100):
            """How many pairs somebody could answer before none was left for them."""
            who = self.accounts.named(name)
            for done in range(count):
                opened = self.desk.open(who)
                if opened is None:
                    return done
                self.clock.now += 1
                self.desk.submit(who, opened[1].form_token, {"verdict": verdict})
            return count

        def status(self):
            return self.desk.batch("batch")

    return House()


def test_one_annotator_finishes_a_batch_that_two_should_see(house):
    announce(house.desk, [make_pair(n) for n in range(4)], double_share=1.0)
    assert not house.status().complete
    house.enrol("ann")
    assert house.answers("ann") == 4
    assert house.status().complete
    assert str(house.status().missing) == ""


def test_what_one_finished_alone_stays_finished_when_another_comes(house):
    announce(house.desk, [make_pair(n) for n in range(4)], double_share=1.0)
    house.enrol("ann")
    assert house.answers("ann", count=2) == 2
    house.enrol("bob")
    assert house.status().num_finished == 2
    assert house.answers("bob") == 2
    assert house.answers("ann") == 2
    assert house.status().complete
    assert house.status().num_verdicts == 6


def test_two_are_asked_while_both_are_enrolled_and_one_is_enough_when_one_leaves(house):
    announce(house.desk, [make_pair(n) for n in range(2)], double_share=1.0)
    house.enrol("ann")
    house.enrol("bob")
    house.answers("ann")
    assert house.status().num_finished == 0
    assert str(house.status().missing) == "2 for a second person; bob can give answers"
    house.accounts.close("bob")
    assert house.status().complete


def test_it_is_said_who_could_answer_and_whom_to_enrol(house):
    announce(house.desk, [make_pair(n) for n in range(3)], double_share=1.0)
    assert str(house.status().missing) == (
        "3 for an answer; for 3 nobody is enrolled on the page who could: "
        "`synpref review add-annotator NAME`"
    )
    house.enrol("ann")
    house.enrol("bob")
    assert str(house.status().missing) == "3 for an answer; ann, bob can give answers"


def test_a_dispute_without_an_adjudicator_says_how_it_can_end(house):
    announce(house.desk, [make_pair(0)], double_share=1.0)
    house.enrol("ann")
    house.enrol("bob")
    house.answers("ann", "tie")
    house.answers("bob", "cannot_decide")
    told = str(house.status().missing)
    assert told.startswith("1 for an adjudicator; for 1 no adjudicator is enrolled who could: ")
    assert "--adjudicator`, or set people.adjudicate = false" in told
    house.enrol("cat", adjudicator=True)
    assert str(house.status().missing) == "1 for an adjudicator; cat can give answers"
    assert house.desk.missing() == [
        "human_verified_seed waits 1 for an adjudicator; cat can give answers"
    ]


def test_a_share_that_is_lowered_while_a_batch_waits_takes_back_what_was_not_answered(house):
    announce(house.desk, [make_pair(n) for n in range(4)], double_share=1.0)
    house.enrol("ann")
    house.enrol("bob")
    house.answers("ann")
    assert house.status().num_finished == 0
    assert house.desk.change("batch", double_share=0.5, adjudicate=True)
    assert not house.desk.change("batch", double_share=0.5, adjudicate=True)
    assert house.status().num_finished == 2
    assert house.answers("bob") == 2
    assert house.status().complete
    again = ReviewDesk(house.store, clock=house.clock)
    assert again.batch("batch") == house.status()


def test_adjudication_that_is_turned_off_ends_a_dispute(house):
    announce(house.desk, [make_pair(0)], double_share=1.0)
    house.enrol("ann")
    house.enrol("bob")
    house.answers("ann", "tie")
    house.answers("bob", "cannot_decide")
    assert house.status().num_in_adjudication == 1
    house.desk.change("batch", double_share=1.0, adjudicate=False)
    assert house.status().complete
