"""What a server may charge stays below the cap: time-outs, kills and other processes included."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import fake_judge_server as fake
import pytest

from synpref_dagster.curation.judging.prompts import PAIRWISE, pairwise_messages
from synpref_dagster.curation.judging.verdicts import JudgeQuestion
from synpref_dagster.judges.budget import Budget, BudgetExhaustedError
from synpref_dagster.judges.cache import Payer, ReplyCache
from synpref_dagster.judges.calls import RetryPolicy
from synpref_dagster.judges.client import JudgeClient
from synpref_dagster.judges.endpoint import EndpointJudge
from synpref_dagster.judges.requests import JudgeError
from synpref_dagster.judges.reservations import Reservations
from synpref_dagster.settings.judges import JudgeEndpoint

INPUT, OUTPUT, MOST_TOKENS = 10.0, 100.0, 10
"""US dollars per million tokens, and tokens of a reply."""
PAYER = Payer(campaign="test", asset="seed", judge="judge")
WELL = fake.verdict("candidate_1")


async def no_wait(_):
    pass


def make_judge(url, cache, *, cap=None, price=1.0, **changes):
    settings = {"name": "judge", "base_url": url, "model": "m", "max_attempts": 1, **changes}
    prices = {"usd_per_million_input": INPUT * price, "usd_per_million_output": OUTPUT * price}
    client = JudgeClient(
        JudgeEndpoint(**settings, **prices, max_tokens=MOST_TOKENS),
        cache=cache,
        budget=Budget(max_usd=cap),
        payer=PAYER,
        policy=RetryPolicy(sleep=no_wait),
    )
    return EndpointJudge(client, num_samples=2)


def questions(count, start=0):
    turns = ({"role": "user", "content": "What is 2 + 2?"},)
    return [
        JudgeQuestion(conversation=turns, candidate_1=f"four {number}", candidate_2="five")
        for number in range(start, start + count)
    ]


def usd_of(body):
    """What the server charges for a call that it got: a token per byte, all tokens of a reply."""
    num_bytes = sum(len(each["content"].encode()) for each in body["messages"])
    return (num_bytes * INPUT + MOST_TOKENS * OUTPUT) / 1e6


def charged(server):
    return sum(map(usd_of, server.bodies))


def priced(body):
    """A reply whose usage is what the server charges for it."""
    num_bytes = sum(len(each["content"].encode()) for each in body["messages"])
    return fake.Reply(WELL, prompt_tokens=num_bytes, completion_tokens=MOST_TOKENS)


class HalfTimesOut:
    """Answers every other call, and the others too late."""

    def __init__(self, seconds=0.6):
        self.seconds = seconds
        self.num = 0
        self.lock = threading.Lock()

    def __call__(self, body):
        with self.lock:
            self.num += 1
            is_late = self.num % 2 == 0
        time.sleep(self.seconds if is_late else 0.005)
        return priced(body)


@pytest.fixture
def cache(tmp_path):
    found = ReplyCache(tmp_path / "replies.sqlite")
    yield found
    found.close()


def committed(cache):
    return sum(Reservations(cache).committed("test").values())


def possible(cache):
    return Reservations(cache).possible("test")


def asked(judge, count=1):
    try:
        return judge.verdicts(questions(count), range(count))
    except JudgeError as error:
        return error


def most_of(judge):
    request = judge.request(PAIRWISE, pairwise_messages(questions(1)[0]), sample=0)
    return ((request.num_bytes + 16 * len(request.messages)) * INPUT + MOST_TOKENS * OUTPUT) / 1e6


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429])
def test_a_call_that_was_refused_costs_nothing(cache, status):
    with fake.serve(lambda _: fake.error(status)) as server:
        asked(make_judge(server.url, cache))
    assert server.num_calls
    assert possible(cache).empty


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: fake.error(500),
        lambda _: fake.error(503),
        lambda _: fake.error(408),
        lambda _: fake.Response("no JSON", media_type="application/json"),
        lambda _: fake.Response('{"choices": []}', media_type="application/json"),
        lambda _: fake.Response(
            '{"error": {"code": "content_filter"}}', status_code=400, media_type="application/json"
        ),
        lambda _: time.sleep(0.5) or WELL,
    ],
    ids=["500", "503", "408", "no JSON", "no choices", "filtered", "time-out"],
)
def test_a_call_that_may_have_done_its_work_stays_possible_and_each_attempt_counts(cache, answer):
    with fake.serve(answer) as server:
        judge = make_judge(server.url, cache, max_attempts=2, timeout_seconds=0.2)
        asked(judge)
    assert possible(cache)["num_calls"].tolist() == [server.num_calls]
    assert committed(cache) == pytest.approx(server.num_calls * most_of(judge))
    assert judge.client.tally.possible_usd == pytest.approx(committed(cache))
    assert cache.usd_by_judge("test") == {}


def test_an_endpoint_that_was_never_reached_costs_nothing(cache):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # bound, but nobody listens
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        judge = make_judge(url, cache)
        [found] = asked(judge)
    assert found.reason == "connection_failed"
    assert possible(cache).empty


def test_a_connection_that_broke_after_sending_may_have_cost_something(cache):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"

        def hang_up():
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        [found] = asked(make_judge(url, cache))
        thread.join(10)
    assert found.reason == "connection_failed"
    assert possible(cache)["num_calls"].tolist() == [1]


def test_free_judges_set_nothing_aside_and_stop_at_no_cap(cache, monkeypatch):
    written = []
    monkeypatch.setattr(Reservations, "reserve", lambda *_, **__: written.append(1) or 0)
    with fake.serve(lambda _: WELL) as server:
        assert len(asked(make_judge(server.url, cache, cap=0.0, price=0.0), 5)) == 5
    monkeypatch.undo()
    assert len(written) == 5
    rows = cache.table("SELECT seq FROM sqlite_sequence WHERE name = 'reservations'")
    assert rows.empty  # no row was ever written


def test_a_server_that_times_out_half_of_the_calls_charges_no_more_than_the_cap(cache):
    with fake.serve(HalfTimesOut()) as server:
        judge = make_judge(server.url, cache, timeout_seconds=0.3, max_attempts=2, cap=0.5)
        found = asked(judge, 200)
        assert isinstance(found, BudgetExhaustedError)
        assert "calls whose price is not known" in str(found)
        time.sleep(0.7)
        again = asked(make_judge(server.url, cache, timeout_seconds=0.3, cap=0.5), 200)
        assert isinstance(again, BudgetExhaustedError)
    assert 0.3 < charged(server) <= committed(cache) <= 0.5
    assert len(possible(cache)) == 1


WORKER = """
import sys
sys.path[:0] = {path!r}
from test_purse import asked, make_judge
from synpref_dagster.judges.cache import ReplyCache
judge = make_judge({url!r}, ReplyCache({cache!r}), timeout_seconds=0.3, max_attempts=3, cap={cap})
print(type(asked(judge, 300)).__name__)
"""


def start_worker(server, cache, cap):
    path = [str(Path(__file__).parent), *sys.path]
    code = WORKER.format(path=path, url=server.url, cache=str(cache.path), cap=cap)
    return subprocess.Popen(
        [sys.executable, "-c", code], env=dict(os.environ), stdout=subprocess.PIPE, text=True
    )


def test_a_campaign_that_is_killed_again_and_again_costs_no_more_than_its_cap(cache):
    with fake.serve(HalfTimesOut(0.4)) as server:
        for goal in (10, 25):
            worker = start_worker(server, cache, 0.6)
            deadline = time.monotonic() + 40
            while server.num_calls < goal and time.monotonic() < deadline:
                time.sleep(0.005)
            worker.send_signal(signal.SIGKILL)
            worker.communicate(timeout=30)
        assert server.num_calls >= 25
        assert not possible(cache).empty  # what was in flight is remembered
        last = start_worker(server, cache, 0.6)
        assert last.communicate(timeout=60)[0] == "BudgetExhaustedError\n"
    assert 0.4 < charged(server) <= committed(cache) <= 0.6


def test_two_processes_at_once_cost_no_more_than_one_cap(cache):
    with fake.serve(HalfTimesOut(0.4)) as server:
        workers = [start_worker(server, cache, 0.6) for _ in range(2)]
        said = [each.communicate(timeout=60)[0] for each in workers]
    assert said == ["BudgetExhaustedError\n"] * 2
    assert 0.4 < charged(server) <= committed(cache) <= 0.6
