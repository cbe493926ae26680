"""Batches: written, answered elsewhere, collected into the same cache; nobody waits."""

import json
import sqlite3

import openai
import pytest
from fake_batch_server import answered, batch_server
from fake_judge_server import Reply, listening, verdict
from fastapi import FastAPI, Response

from synpref_dagster.curation.judging.verdicts import JudgeQuestion
from synpref_dagster.judges.batches import files
from synpref_dagster.judges.batches.files import collect_batch, write_batch
from synpref_dagster.judges.batches.ledger import BatchLedger
from synpref_dagster.judges.batches.service import (
    all_sent,
    batch_service,
    missing_requests,
)
from synpref_dagster.judges.budget import Budget, BudgetExhaustedError, Prices
from synpref_dagster.judges.cache import Payer, ReplyCache
from synpref_dagster.judges.client import JudgeClient
from synpref_dagster.judges.endpoint import EndpointJudge
from synpref_dagster.judges.forms import RequestForm
from synpref_dagster.judges.requests import (
    BatchPendingError,
    JudgeRefusedError,
    JudgeReply,
    JudgeUnavailableError,
)
from synpref_dagster.judges.reservations import Reservations
from synpref_dagster.settings.judges import JudgeEndpoint
from synpref_dagster.storage.processes import process_name

PAYER = Payer(campaign="c", asset="seed", judge="judge")
TURNS = ({"role": "user", "content": "What is 2 + 2?"},)


@pytest.fixture
def cache(tmp_path):
    found = ReplyCache(tmp_path / "replies.sqlite")
    yield found
    found.close()


def questions(count):
    return [
        JudgeQuestion(conversation=TURNS, candidate_1=f"four {n}", candidate_2="five")
        for n in range(count)
    ]


def make_judge(cache, url="http://127.0.0.1:9/v1", *, budget=None, **changes):
    settings = {"name": "judge", "base_url": url, "model": "m", "max_attempts": 1, **changes}
    client = JudgeClient(
        JudgeEndpoint(**settings), cache=cache, budget=budget or Budget(), payer=PAYER
    )
    return EndpointJudge(client, num_samples=2)


def make_requests(judge, count=4):
    from synpref_dagster.curation.judging.prompts import PAIRWISE, pairwise_messages

    return [
        judge.request(PAIRWISE, pairwise_messages(each), sample=n)
        for n, each in enumerate(questions(count))
    ]


def test_a_batch_has_one_line_per_missing_request_named_by_its_key(cache, tmp_path):
    judge = make_judge(cache)
    asked = make_requests(judge)
    path = tmp_path / "in.jsonl"
    assert write_batch(path, asked + asked, batch="b", cache=cache, payer=PAYER) == 4
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["custom_id"] for line in lines] == [request.key for request in asked]
    assert {line["url"] for line in lines} == {"/v1/chat/completions"}
    assert lines[0]["body"] == json.loads(json.dumps(asked[0].body(RequestForm())))
    assert missing_requests(asked, cache=cache) == []


def test_collected_replies_answer_without_a_server_and_are_paid_at_the_batch_price(cache, tmp_path):
    judge = make_judge(cache)
    path, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_batch(path, make_requests(judge), batch="b", cache=cache, payer=PAYER)
    first, second, third, fourth = path.read_text().splitlines()
    out.write_text(
        "\n".join(
            [
                answered(fourth),
                answered(first, "I will not say"),
                answered(second, error={"code": "expired"}, response=None),
                answered(third, response={"status_code": 500, "body": {}}),
                answered(third, custom_id="stranger"),
                "",
            ]
        )
    )
    found = collect_batch(out, batch="b", cache=cache, prices=Prices(usd_per_million_input=10.0))
    assert (found.num_replies, found.num_failed, found.num_unknown) == (2, 2, 1)
    assert cache.usd_by_judge("c") == {"judge": pytest.approx(2 * 0.001)}
    verdicts = judge.verdicts(questions(4), range(4))
    assert [each.choice for each in verdicts] == ["abstain", "abstain", "abstain", "candidate_1"]
    reasons = [each.reason for each in verdicts[:3]]
    assert reasons == ["unparsable", "connection_failed", "connection_failed"]
    assert len(missing_requests(make_requests(judge), cache=cache)) == 2


def statuses(cache):
    return cache.table("SELECT batch, state, COUNT(*) AS num FROM batches GROUP BY batch, state")


def test_a_batch_holds_nobody_and_is_sent_once_and_collected_when_finished(cache):
    with batch_server() as server:
        judge = make_judge(cache, server.url, batch=True)
        with pytest.raises(BatchPendingError, match=r"4 replies .* batch batch-0"):
            judge.verdicts(questions(4), range(4))
        with pytest.raises(BatchPendingError, match="a batch under way"):
            judge.verdicts(questions(4), range(4))
        assert len(server.batches) == 1
        assert batch_service(judge.client.endpoint, cache).collect_finished() == {}
        server.finish("batch-0")
        (found,) = batch_service(judge.client.endpoint, cache).collect_finished().values()
        assert (found.num_replies, found.num_failed, found.num_unanswered) == (4, 0, 0)
        verdicts = judge.verdicts(questions(4), range(4))
    assert {each.choice for each in verdicts} == {"candidate_1"}
    assert judge.facts()["in_batches"] == {"answered": 4}
    assert server.num_calls == 0
    assert BatchPendingError.permanent


def test_whoever_asks_again_collects_what_is_finished_without_a_sensor(cache):
    with batch_server() as server:
        judge = make_judge(cache, server.url, batch=True)
        with pytest.raises(BatchPendingError):
            judge.verdicts(questions(3), range(3))
        server.finish("batch-0")
        assert len(judge.verdicts(questions(3), range(3))) == 3


def test_a_key_is_not_needed_for_what_is_in_the_cache(cache, monkeypatch):
    with batch_server() as server:
        monkeypatch.setenv("SOME_KEY", "k")
        judge = make_judge(cache, server.url, batch=True, api_key_env="SOME_KEY")
        with pytest.raises(BatchPendingError):
            judge.verdicts(questions(2), range(2))
        server.finish("batch-0")
        judge.verdicts(questions(2), range(2))
        monkeypatch.delenv("SOME_KEY")
        assert len(judge.verdicts(questions(2), range(2))) == 2


def test_an_expired_batch_keeps_what_was_done_and_the_rest_goes_into_another_one(cache):
    with batch_server() as server:
        judge = make_judge(cache, server.url, batch=True)
        with pytest.raises(BatchPendingError):
            judge.verdicts(questions(5), range(5))
        server.finish("batch-0", status="expired", num_answered=2)
        with pytest.raises(BatchPendingError, match=r"3 replies .* batch batch-1"):
            judge.verdicts(questions(5), range(5))
        assert [len(each.lines) for each in server.batches.values()] == [5, 3]
        server.finish("batch-1")
        assert len(judge.verdicts(questions(5), range(5))) == 5
    assert judge.facts()["in_batches"] == {"answered": 5, "unanswered": 3}
    assert server.num_calls == 0


def test_what_two_batches_ended_without_is_asked_alone(cache):
    with batch_server() as server:
        judge = make_judge(cache, server.url, batch=True, max_batches=2)
        for name in ("batch-0", "batch-1"):
            with pytest.raises(BatchPendingError):
                judge.verdicts(questions(3), range(3))
            server.finish(name, status="failed", num_answered=0)
        verdicts = judge.verdicts(questions(3), range(3))
    assert {each.choice for each in verdicts} == {"candidate_1"}
    assert (len(server.batches), server.num_calls) == (2, 3)
    assert judge.facts()["num_left_by_batches"] == 3


def test_a_request_that_the_service_gives_an_error_for_is_asked_alone_at_once(cache):
    with batch_server() as server:
        judge = make_judge(cache, server.url, batch=True)
        with pytest.raises(BatchPendingError):
            judge.verdicts(questions(4), range(4))
        server.finish("batch-0", num_answered=3, num_errors=1)
        assert len(judge.verdicts(questions(4), range(4))) == 4
    assert (len(server.batches), server.num_calls) == (1, 1)
    assert judge.facts()["in_batches"] == {"answered": 3, "failed": 1}


def test_a_batch_of_errors_alone_ends_too(cache):
    with batch_server() as server:
        judge = make_judge(cache, server.url, batch=True)
        with pytest.raises(BatchPendingError):
            judge.verdicts(questions(2), range(2))
        server.finish("batch-0", num_answered=0, num_errors=2)
        assert len(judge.verdicts(questions(2), range(2))) == 2
    assert server.num_calls == 2


def test_a_sender_killed_before_it_noted_the_batch_pays_it_only_once(cache, monkeypatch):
    with batch_server() as server:
        judge = make_judge(cache, server.url, batch=True)

        def killed(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(BatchLedger, "rename", killed)
            with pytest.raises(KeyboardInterrupt):
                judge.verdicts(questions(2), range(2))
        assert statuses(cache)["batch"].str.startswith("unsent-").all()
        with pytest.raises(BatchPendingError, match="a batch under way"):
            judge.verdicts(questions(2), range(2))
        server.finish("batch-0")
        assert len(judge.verdicts(questions(2), range(2))) == 2
    assert len(server.batches) == 1


def test_a_sender_killed_before_the_service_knew_sends_again(cache, monkeypatch):
    with batch_server() as server:
        judge = make_judge(cache, server.url, batch=True)
        requests = make_requests(judge, 2)
        write_batch(cache.path.with_name("x"), requests, batch="unsent-x", cache=cache, payer=PAYER)
        with pytest.raises(BatchPendingError, match=r"in batch batch-0"):
            judge.verdicts(questions(2), range(2))
    assert statuses(cache).set_index("batch")["state"].to_dict() == {
        "unsent-x": "unsent",
        "batch-0": "pending",
    }


@pytest.mark.parametrize("arrived", [True, False])
def test_a_batch_whose_answer_was_lost_is_found_again_or_sent_again(cache, monkeypatch, arrived):
    create = openai.resources.Batches.create

    def lost(*args, **settings):
        if arrived:
            create(*args, **settings)
        raise openai.APITimeoutError(request=None)

    with batch_server() as server:
        judge = make_judge(cache, server.url, batch=True, usd_per_million_input=10.0)
        with monkeypatch.context() as patch:
            patch.setattr(openai.resources.Batches, "create", lost)
            with pytest.raises(JudgeUnavailableError, match="did not take a batch"):
                judge.verdicts(questions(2), range(2))
        promised = BatchLedger(cache).promised("c")["judge"]
        assert Reservations(cache).committed("c") == {"judge": promised}
        with pytest.raises(BatchPendingError):
            judge.verdicts(questions(2), range(2))
        assert len(server.batches) == 1
        assert BatchLedger(cache).promised("c")["judge"] == promised


def test_a_batch_reply_that_does_not_say_what_it_cost_is_booked_at_the_most(cache, tmp_path):
    judge, prices = make_judge(cache), Prices(usd_per_million_input=10.0)
    path, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_batch(path, make_requests(judge, 1), batch="b", cache=cache, payer=PAYER, prices=prices)
    promised = BatchLedger(cache).promised("c")["judge"]
    silent = Reply(verdict("tie"), prompt_tokens=0, completion_tokens=0)
    out.write_text(answered(path.read_text(), silent))
    collect_batch(out, batch="b", cache=cache, prices=prices)
    assert cache.usd_by_judge("c") == {"judge": promised}
    assert promised > 0


@pytest.mark.parametrize(
    ("changes", "is_possible"),
    [
        ({"response": {"status_code": 400, "body": {"error": {"message": "no"}}}}, False),
        ({"response": {"status_code": 429, "body": {}}}, False),
        ({"response": None, "error": {"code": "batch_expired"}}, False),
        ({"response": {"status_code": 500, "body": {}}}, True),
        ({"response": {"status_code": 200, "body": {"choices": []}}}, True),
        ({"response": None, "error": {"code": "what is this"}}, True),
    ],
    ids=["400", "429", "expired", "500", "no choices", "unknown error"],
)
def test_a_line_that_may_be_charged_without_a_reply_stays_possible(
    cache, tmp_path, changes, is_possible
):
    judge, prices = make_judge(cache), Prices(usd_per_million_input=10.0)
    path, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_batch(path, make_requests(judge, 1), batch="b", cache=cache, payer=PAYER, prices=prices)
    promised = BatchLedger(cache).promised("c")
    out.write_text(answered(path.read_text(), **changes))
    collect_batch(out, batch="b", cache=cache, prices=prices)
    assert Reservations(cache).committed("c") == (promised if is_possible else {})
    assert cache.usd_by_judge("c") == {}


def test_a_batch_and_a_call_with_the_same_question_are_both_paid_and_a_batch_once(cache, tmp_path):
    judge, prices = make_judge(cache), Prices(usd_per_million_input=10.0)
    path, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    [request] = make_requests(judge, 1)
    write_batch(path, [request], batch="b", cache=cache, payer=PAYER, prices=prices)
    reply = JudgeReply(text="{}", finish_reason="stop", mode="text", prompt_tokens=1, usd=0.5)
    cache.add(request, reply, PAYER)  # another process asked it alone meanwhile
    out.write_text(answered(path.read_text()))
    for _ in range(2):  # a collector that was killed before it closed the batch collects again
        collect_batch(out, batch="b", cache=cache, prices=prices)
        assert Reservations(cache).committed("c") == {"judge": pytest.approx(0.5 + 0.001)}
    assert cache.find([request.key])[request.key].usd == 0.5


def test_a_batch_that_its_service_took_and_forgot_may_have_cost_something(cache):
    with batch_server() as server:
        judge = make_judge(cache, server.url, batch=True, usd_per_million_input=10.0)
        with pytest.raises(BatchPendingError):
            judge.verdicts(questions(2), range(2))
        promised = BatchLedger(cache).promised("c")
        server.batches.clear()
        batch_service(judge.client.endpoint, cache).collect_finished()
    assert BatchLedger(cache).promised("c") == {}
    assert Reservations(cache).committed("c") == pytest.approx(promised)


@pytest.mark.parametrize(
    ("status", "counts", "num_possible"),
    [
        ("expired", None, 3),  # it does not say what it worked on
        ("expired", {"completed": 1, "failed": 0, "total": 4}, 0),
        ("cancelled", {"completed": 2, "failed": 1, "total": 4}, 2),  # two are not in its files
        ("completed", {"completed": 4, "failed": 0, "total": 4}, 3),
        ("failed", None, 3),
    ],
)
def test_what_a_batch_ended_without_stays_possible_unless_its_service_did_not_work_on_it(
    cache, status, counts, num_possible
):
    with batch_server() as server:
        judge = make_judge(cache, server.url, batch=True, usd_per_million_output=10.0)
        with pytest.raises(BatchPendingError):
            judge.verdicts(questions(4), range(4))
        each = BatchLedger(cache).promised("c")["judge"] / 4
        server.finish("batch-0", status=status, num_answered=1, counts=counts)
        batch_service(judge.client.endpoint, cache).collect_finished()
    paid = cache.usd_by_judge("c")["judge"]
    assert Reservations(cache).committed("c")["judge"] == pytest.approx(paid + num_possible * each)
    assert Reservations(cache).possible("c")["num_calls"].tolist() == [num_possible] * bool(
        num_possible
    )
    assert BatchLedger(cache).promised("c") == {}


def test_a_batch_that_was_refused_as_a_whole_costs_nothing_and_says_whose_account_is_empty(cache):
    with batch_server() as server:
        judge = make_judge(cache, server.url, batch=True, usd_per_million_output=10.0)
        with pytest.raises(BatchPendingError):
            judge.verdicts(questions(2), range(2))
        server.finish("batch-0", status="failed", num_answered=0)
        server.batches["batch-0"].refusal = "billing_hard_limit_reached"
        with pytest.raises(JudgeRefusedError, match=r"No money is left on the account .*\(none\)"):
            judge.verdicts(questions(2), range(2))
    assert Reservations(cache).committed("c") == {}


def test_what_a_batch_asks_is_asked_by_no_call_until_it_ends_or_is_given_up(cache):
    with batch_server() as server:
        judge = make_judge(cache, server.url, batch=True, usd_per_million_input=10.0)
        with pytest.raises(BatchPendingError):
            judge.verdicts(questions(2), range(2))
        alone = make_judge(cache, server.url, usd_per_million_input=10.0)
        with pytest.raises(BatchPendingError, match=r"2 replies .* forgive --batches"):
            alone.verdicts(questions(3), range(3))
        assert server.num_calls == 1  # what no batch asks
        ledger = BatchLedger(cache)
        assert ledger.forgive("c", before=0.0) == (0, 0.0)
        promised = ledger.promised("c")["judge"]
        assert ledger.forgive("c", before=9e9) == (2, pytest.approx(promised))
        assert len(alone.verdicts(questions(3), range(3))) == 3
        assert server.num_calls == 3


def test_a_judge_that_went_over_to_calls_collects_what_its_batches_ended_with(cache):
    with batch_server() as server:
        with pytest.raises(BatchPendingError):
            make_judge(cache, server.url, batch=True).verdicts(questions(3), range(3))
        server.finish("batch-0", num_answered=2, num_errors=1)
        assert len(make_judge(cache, server.url).verdicts(questions(3), range(3))) == 3
    assert server.num_calls == 1


def test_a_batch_does_not_carry_what_a_process_is_asking(cache):
    held = Reservations(cache)
    with batch_server() as server:
        judge = make_judge(cache, server.url, batch=True, usd_per_million_input=10.0)
        asked = make_requests(judge, 3)
        under_way, ended, killed = (
            held.reserve(PAYER, 0.25, fits=lambda _: True, key=each.key) for each in asked
        )
        held.end(ended)
        with cache.transaction() as connection:
            gone = f"{process_name().rpartition(':')[0]}:{2**22 + 1}"
            connection.execute("UPDATE reservations SET owner = ? WHERE id = ?", (gone, killed))
        with pytest.raises(BatchPendingError):
            judge.verdicts(questions(3), range(3))
        assert len(server.batches["batch-0"].lines) == 2
        assert asked[0].key not in "".join(server.batches["batch-0"].lines)
        held.end(under_way)
        with pytest.raises(BatchPendingError):
            judge.verdicts(questions(3), range(3))
        assert len(server.batches["batch-1"].lines) == 1


def test_a_batch_beyond_the_budget_is_not_sent(cache):
    with batch_server() as server:
        budget = Budget(max_usd=0.01)
        judge = make_judge(
            cache, server.url, batch=True, usd_per_million_input=100.0, budget=budget
        )
        with pytest.raises(BudgetExhaustedError, match="raise judges"):
            judge.verdicts(questions(4), range(4))
        assert not server.batches
        assert len(BatchLedger(cache).pending()) == 0


def test_what_batches_under_way_may_cost_counts_until_they_are_paid(cache):
    with batch_server() as server:
        judge = make_judge(cache, server.url, batch=True, usd_per_million_input=10.0)
        with pytest.raises(BatchPendingError):
            judge.verdicts(questions(2), range(2))
        promised = BatchLedger(cache).promised("c")
        assert promised["judge"] > 2 * 1e-5 * 0.5 * 1000  # prompts of more than 1,000 bytes
        assert BatchLedger(cache).promised("other") == {}
        server.finish("batch-0")
        judge.verdicts(questions(2), range(2))
    assert BatchLedger(cache).promised("c") == {}
    assert cache.usd_by_judge("c")["judge"] == pytest.approx(2 * 100 * 1e-5 * 0.5)


def test_a_large_round_is_cut_into_files_that_services_take(cache, monkeypatch):
    judge = make_judge(cache)
    asked = make_requests(judge, 5)
    size = len(json.dumps({"body": asked[0].body(RequestForm())}))
    monkeypatch.setattr(files, "MAX_FILE_BYTES", int(2.5 * size))
    assert [len(part) for part in files.batch_files(asked)] == [2, 2, 1]
    monkeypatch.setattr(files, "MAX_PER_BATCH", 1)
    assert [len(part) for part in files.batch_files(asked)] == [1] * 5
    assert list(files.batch_files([])) == []


def test_all_judges_send_their_batches_before_anybody_waits():
    called = []

    def waits(name):
        called.append(name)
        raise BatchPendingError(f"{name} waits")

    with pytest.raises(BatchPendingError, match="a waits; c waits"):
        all_sent([lambda: waits("a"), lambda: called.append("b"), lambda: waits("c")])
    assert called == ["a", "b", "c"]
    assert all_sent([lambda: 1, lambda: 2]) == [1, 2]


def test_a_ledger_of_an_earlier_version_is_read_and_gets_its_new_columns(tmp_path):
    path = tmp_path / "old.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE batches (batch TEXT, key TEXT, campaign TEXT, asset TEXT, judge TEXT, "
            "endpoint TEXT, model TEXT, prompt TEXT, sample INTEGER, mode TEXT, state TEXT, "
            "PRIMARY KEY (batch, key)) WITHOUT ROWID"
        )
        connection.execute(
            "INSERT INTO batches VALUES ('b', 'k', 'c', 'seed', 'judge', 'e', 'm', 'p', 0, "
            "'json_schema', 'pending')"
        )
    cache = ReplyCache(path)
    ledger = BatchLedger(cache)
    assert ledger.promised("c") == {"judge": 0.0}
    ledger.close("b", answered=["k"])
    assert ledger.unused("c").to_dict("records") == [{"batch": "b", "asset": "seed"}]
    ledger.mark_used(PAYER)
    assert ledger.unused("c").empty
    cache.close()


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_service_without_money_or_access_is_not_asked_again_by_itself(cache, status):
    app = FastAPI()

    @app.post("/v1/files")
    def refuse():
        return Response('{"error": {"message": "pay first"}}', status_code=status)

    with listening(app) as url, pytest.raises(JudgeRefusedError, match="pay first") as caught:
        make_judge(cache, url, batch=True).verdicts(questions(1), [0])
    assert caught.value.permanent
    assert BatchLedger(cache).pending().empty


def test_a_batch_that_ended_without_money_stops_its_judge_before_the_next_one(cache):
    with batch_server() as server:
        judge = make_judge(cache, server.url, batch=True)
        with pytest.raises(BatchPendingError):
            judge.verdicts(questions(2), [0, 1])
        server.finish("batch-0", num_answered=1)
        line = server.batches["batch-0"].lines[1]
        body = {"status_code": 429, "body": {"error": {"code": "insufficient_quota"}}}
        server.files["out-batch-0"] += "\n" + answered(line, response=body)
        with pytest.raises(JudgeRefusedError, match="No money is left"):
            judge.verdicts(questions(2), [0, 1])
        assert list(server.batches) == ["batch-0"]
        # Somebody paid: only what is missing goes into the next batch.
        with pytest.raises(BatchPendingError):
            judge.verdicts(questions(2), [0, 1])
        assert len(server.batches["batch-1"].lines) == 1
