"""People as a campaign sees them, accounts, limits and the command line."""

import json
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from review_cases import ATTRIBUTES, Clock, make_pair
from typer.testing import CliRunner

from synpref_dagster.cli.app import app
from synpref_dagster.curation.verification.people import consensus
from synpref_dagster.people.accounts import Accounts
from synpref_dagster.people.campaign import (
    TOKEN_VARIABLE,
    DisagreementError,
    NoLabelStudioError,
    People,
)
from synpref_dagster.people.desk import ReviewDesk
from synpref_dagster.people.ledger.database import ReviewDatabase
from synpref_dagster.people.page.limits import RateLimiter, refuse_open_address
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.people import Reviewers
from synpref_dagster.resources.sources import PoolSources
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.settings.stages import PeopleSettings

PAIRS = [make_pair(number) for number in range(6)]
HOUR = 3600


def about():
    return pd.DataFrame([{"pair_id": pair.pair_id, **ATTRIBUTES} for pair in PAIRS])


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/review.sqlite3"


def people(url, clock, **settings):
    values = {"backend": "page", "ledger_url": url, "double_share": 0.5, **settings}
    return People(PeopleSettings(**values), campaign="demo-seed-0", clock=clock)


def answer_all(url, clock, names, *, says, at_most=99):
    """Everybody in turn prefers what `says(pair number, name)` says: good, bad or tie."""
    store = ReviewDatabase(url)
    desk, accounts = ReviewDesk(store, clock=clock), Accounts(store, clock=clock)
    for name in names:
        accounts.add(name)
        who = accounts.named(name)
        for _ in range(at_most):
            if (opened := desk.open(who)) is None:
                break
            case, shown = opened
            candidate_1, _ = case.item.candidates(shown.candidate_1)
            said = says(int(candidate_1.split()[-1]), name)
            same = candidate_1.startswith(said)
            verdict = "tie" if said == "tie" else "candidate_1" if same else "candidate_2"
            desk.submit(who, shown.form_token, {"verdict": verdict})
    store.close()


def test_asking_ends_at_once_and_gives_the_ledger_when_all_have_answered(url):
    clock = Clock()
    asking = people(url, clock)
    assert asking.ask("gold", PAIRS, about) is None
    assert [status.batch.asset for status in asking.waiting()] == ["gold"]
    answer_all(url, clock, ["ann", "bob"], says=lambda number, _: "tie" if number == 2 else "good")
    answers = people(url, clock).ask("gold", PAIRS, about)
    ledger = answers.ledger()
    assert len(ledger) == 9
    by_pair = dict(zip(ledger["pair_id"], ledger["verdict"], strict=True))
    assert [by_pair[pair.pair_id] for pair in PAIRS] == [1, 1, 0, 1, 1, 1]
    assert ledger["decided"].all()


def test_the_verdicts_are_relative_to_the_label_the_campaign_has(url):
    clock = Clock()
    flipped = [pair.flipped() for pair in PAIRS]
    frame = pd.DataFrame([{"pair_id": pair.pair_id, **ATTRIBUTES} for pair in flipped])
    asking = people(url, clock)
    assert asking.ask("gold", flipped, lambda: frame) is None
    answer_all(url, clock, ["ann", "bob"], says=lambda *_: "good")
    assert set(asking.ask("gold", flipped, about).ledger()["verdict"]) == {-1}


def test_after_the_deadline_a_minimum_share_is_enough(url):
    clock = Clock()
    asking = people(url, clock, double_share=0.0, deadline_hours=24, min_share=0.5)
    assert asking.ask("gold", PAIRS, about) is None
    answer_all(url, clock, ["ann"], says=lambda *_: "good", at_most=3)
    assert asking.ask("gold", PAIRS, about) is None
    clock.now += 24 * HOUR
    assert len(asking.ask("gold", PAIRS, about).ledger()) == 3


def test_too_little_agreement_blocks_gold_and_says_why(url):
    clock = Clock()
    settings = {"double_share": 1.0, "adjudicate": False}
    asking = people(url, clock, alpha_floor=0.4, min_pairs_for_alpha=5, **settings)
    assert asking.ask("gold", PAIRS, about) is None
    opposite = {"ann": "good", "bob": "bad"}
    answer_all(url, clock, ["ann", "bob"], says=lambda _, name: opposite[name])
    too_little = r"people agree too little: Krippendorff's alpha is -"
    with pytest.raises(DisagreementError, match=too_little):
        asking.ask("gold", PAIRS, about)
    assert people(url, clock, **settings).ask("gold", PAIRS, about) is not None


def test_a_step_fails_for_good_where_people_cannot_be_asked_or_disagree(url, monkeypatch):
    def ask(**settings):
        section = PeopleSettings(ledger_url=url, **settings)
        profile = load_profile("smoke").model_copy(update={"people": section})
        campaign = Campaign(profile_json=profile.model_dump_json(), store_root="unused")
        reviewers = Reviewers(sources=PoolSources(campaign=campaign))
        return reviewers.ask("gold", lambda: PAIRS, about)

    def failed(**settings):
        with pytest.raises(dg.Failure) as raised:
            ask(**settings)
        assert not raised.value.allow_retries
        return type(raised.value.__cause__), raised.value.description

    page = {"backend": "page", "double_share": 1.0, "adjudicate": False}
    assert ask(**page) is None
    opposite = {"ann": "good", "bob": "bad"}
    answer_all(url, Clock(), ["ann", "bob"], says=lambda _, name: opposite[name])
    kind, message = failed(alpha_floor=0.4, min_pairs_for_alpha=5, **page)
    assert kind is DisagreementError
    assert message.startswith("people agree too little: Krippendorff's alpha is -")

    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    needs = f"Label Studio needs people.label_studio_url and ${TOKEN_VARIABLE}"
    server = {"backend": "label_studio", "label_studio_url": "http://127.0.0.1:9"}
    assert failed(**server) == (NoLabelStudioError, needs)


def test_other_pairs_or_another_campaign_are_another_batch(url):
    clock = Clock()
    asking = people(url, clock)
    asking.ask("gold", PAIRS, about)
    asking.ask("gold", PAIRS[:3], about)
    other = People(PeopleSettings(backend="page", ledger_url=url), campaign="other", clock=clock)
    other.ask("gold", PAIRS, about)
    desk = ReviewDesk(ReviewDatabase(url), clock=clock)
    assert [len(desk.statuses(name)) for name in ("demo-seed-0", "other")] == [2, 1]
    # Of two for the same asset the later one is awaited.
    [awaited] = asking.waiting()
    assert awaited.batch.num_items == 3
    assert len(other.waiting()) == 1


def test_a_bucket_fills_again_and_keys_do_not_share_it():
    clock = Clock()
    limiter = RateLimiter(per_second=1, burst=2, clock=clock)
    assert [limiter.allows("a") for _ in range(3)] == [True, True, False]
    assert limiter.allows("b")
    clock.now += 1
    assert [limiter.allows("a") for _ in range(2)] == [True, False]


def test_a_clock_that_is_set_back_shuts_nobody_out():
    now = [10_000.0]
    limiter = RateLimiter(per_second=1, burst=2, clock=lambda: now[0])
    assert limiter.allows("ann")
    now[0] -= 3_600
    assert limiter.allows("ann")
    assert not limiter.allows("ann")
    now[0] += 1
    assert limiter.allows("ann")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "example.org", "::"])
def test_other_addresses_need_accounts_and_a_name(host):
    with pytest.raises(ValueError, match="add-annotator"):
        refuse_open_address(host, num_accounts=0, public_hosts=["x"])
    with pytest.raises(ValueError, match="--public-host"):
        refuse_open_address(host, num_accounts=1, public_hosts=[])
    refuse_open_address(host, num_accounts=1, public_hosts=["review.example"])


def test_tokens_are_never_stored(url):
    store = ReviewDatabase(url)
    token = Accounts(store, clock=Clock()).add("ann")
    store.close()
    content = b"".join(path.read_bytes() for path in Path(url[10:]).parent.iterdir())
    assert token.encode() not in content


def test_the_command_line_opens_accounts_and_carries_the_ledger(url, tmp_path):
    runner = CliRunner()

    def synpref(*words):
        return runner.invoke(app, ["review", *words, "--ledger", url])

    assert "spr_" in synpref("add-annotator", "ann").output
    assert synpref("add-annotator", "no spaces").exit_code == 2
    asking = people(url, Clock())
    asking.ask("gold", PAIRS, about)
    answer_all(url, Clock(), ["bob"], says=lambda *_: "good")
    path = tmp_path / "ledger.jsonl"
    assert "6 verdicts" in synpref("export", str(path)).output
    assert {json.loads(line)["annotator"] for line in path.read_text().splitlines()} == {"bob"}
    assert "0 new verdicts" in synpref("import", str(path)).output
    status = synpref("status").output
    assert "gold: 3 of 6 pairs finished" in status
    assert "agreement: no pair was seen by two people yet" in status
    assert "nan," not in status
    assert synpref("close-annotator", "nobody").exit_code == 2
    assert synpref("serve", "--host", "0.0.0.0").exit_code == 2


def seen(url, clock):
    """The items of the only batch, as annotators get them."""
    store = ReviewDatabase(url)
    desk = ReviewDesk(store, clock=clock)
    [status] = desk.statuses()
    cases = desk.cases(status.batch.batch_id)
    store.close()
    return [case.item for case in cases]


def test_people_see_the_pairs_in_the_order_of_priority_with_their_risks(url):
    order = [PAIRS[3], PAIRS[0], PAIRS[5]]
    risks = ["contradictory, low_margin", "", "low_margin"]
    beside = pd.DataFrame(
        [
            {"pair_id": pair.pair_id, **ATTRIBUTES, "risk": risk}
            for pair, risk in zip(order, risks, strict=True)
        ]
    )
    people(url, Clock()).ask("gold", sorted(order, key=lambda p: p.pair_id), lambda: beside)
    items = seen(url, Clock())
    assert [item.pair_id for item in items] == [pair.pair_id.hex() for pair in order]
    assert [item.risk for item in items] == risks
    assert items[0].attributes == ATTRIBUTES


def test_what_an_llm_says_of_each_response_stays_with_that_response(url):
    pair = PAIRS[0]  # "bad 0" sorts before "good 0"
    beside = pd.DataFrame(
        [
            {
                "pair_id": pair.pair_id,
                **ATTRIBUTES,
                "check_first": "about the bad one",
                "check_second": None,
            }
        ]
    )
    people(url, Clock()).ask("gold", [pair], lambda: beside)
    [item] = seen(url, Clock())
    assert item.first == "bad 0"
    assert item.preverification == {"first": "about the bad one"}


def test_corrections_time_and_order_of_answers_are_in_the_ledger(url):
    clock = Clock()
    asking = people(url, clock, double_share=1.0, adjudicate=False)
    asking.ask("gold", PAIRS[:1], lambda: about().head(1))
    store = ReviewDatabase(url)
    desk, accounts = ReviewDesk(store, clock=clock), Accounts(store, clock=clock)
    for name, edits in {"zoe": {"objectivity": "subjective"}, "ann": {}}.items():
        accounts.add(name, hourly_rate=30.0 if name == "zoe" else 0.0)
        _, shown = desk.open(accounts.named(name))
        clock.now += 40
        answer = {"verdict": "tie", "edited_attributes": {**ATTRIBUTES, **edits}}
        desk.submit(accounts.named(name), shown.form_token, answer)
    store.close()
    ledger = asking.ask("gold", PAIRS[:1], about).ledger()
    assert ledger["annotator"].tolist() == ["zoe", "ann"]
    assert ledger["seconds"].tolist() == [40.0, 40.0]
    assert ledger["answer"].tolist() == ["0", "0"]
    assert ledger["edited_attributes"].tolist() == ['{"objectivity": "subjective"}', "{}"]
    assert asking.hourly_rates() == {"zoe": 30.0}
    # One of two corrected it: the correction holds (see curation.corrections).
    [row] = consensus(ledger).to_dict("records")
    assert row["edited_attributes"] == '{"objectivity": "subjective"}'


def test_a_corrected_attribute_is_an_answer_that_changed(url):
    clock = Clock()
    asking = people(url, clock, double_share=0.0)
    asking.ask("gold", PAIRS[:1], about)
    store = ReviewDatabase(url)
    desk, accounts = ReviewDesk(store, clock=clock), Accounts(store, clock=clock)
    accounts.add("ann")
    ann = accounts.named("ann")
    fingerprints = []
    for edits in ({}, {"task_category": "math"}):
        _, shown = desk.open(ann)
        answer = {"verdict": "candidate_1", "edited_attributes": edits}
        desk.submit(ann, shown.form_token, answer)
        fingerprints.append(asking.ask("gold", PAIRS[:1], about).fingerprint)
        desk.undo(ann, shown.form_token)
    store.close()
    assert len(set(fingerprints)) == 2
