"""What a server may charge stays below the cap: time-outs, kills and other processes included."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import fake_judge_server as fake
import paying_judge
import pytest
from paying_judge import INPUT, MOST_TOKENS, OUTPUT, TIMEOUT, asked, make_judge, questions

from synpref_dagster.curation.judging.prompts import PAIRWISE, pairwise_messages
from synpref_dagster.judges.budget import BudgetExhaustedError
from synpref_dagster.judges.cache import ReplyCache
from synpref_dagster.judges.reservations import Reservations

WELL = fake.verdict("candidate_1")


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

    def __init__(self, seconds=2 * TIMEOUT):
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


@pytest.fixture(scope="module")
def answering():
    """A server for many short tests: sets its answer, and forgets what it was asked before."""
    current = {}
    with fake.serve(lambda body: current["answer"](body)) as server:

        def answer_with(answer):
            current["answer"] = answer
            server.bodies.clear()
            return server

        yield answer_with


def committed(cache):
    return sum(Reservations(cache).committed("test").values())


def possible(cache):
    return Reservations(cache).possible("test")


def most_of(judge):
    request = judge.request(PAIRWISE, pairwise_messages(questions(1)[0]), sample=0)
    return ((request.num_bytes + 16 * len(request.messages)) * INPUT + MOST_TOKENS * OUTPUT) / 1e6


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429])
def test_a_call_that_was_refused_costs_nothing(cache, answering, status):
    server = answering(lambda _: fake.error(status))
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
        lambda _: time.sleep(0.4) or WELL,
    ],
    ids=["500", "503", "408", "no JSON", "no choices", "filtered", "time-out"],
)
def test_a_call_that_may_have_done_its_work_stays_possible_and_each_attempt_counts(
    cache, answering, answer
):
    server = answering(answer)
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
        judge = make_judge(server.url, cache, timeout_seconds=TIMEOUT, max_attempts=2, cap=0.5)
        found = asked(judge, 200)
        assert isinstance(found, BudgetExhaustedError)
        assert "calls whose price is not known" in str(found)
        time.sleep(3 * TIMEOUT)
        again = asked(make_judge(server.url, cache, timeout_seconds=TIMEOUT, cap=0.5), 200)
        assert isinstance(again, BudgetExhaustedError)
    assert 0.3 < charged(server) <= committed(cache) <= 0.5
    assert len(possible(cache)) == 1


class Workers:
    """Processes that ask a server until the cap stops them."""

    def __init__(self, program):
        self.program = program

    def start(self, server, cache, cap):
        """Start one; returns its process."""
        print(json.dumps([server.url, str(cache.path), cap]), file=self.program.stdin, flush=True)
        return int(self._told("started")[0])

    def ended(self):
        """What stopped the next one that ends, and is not killed."""
        return self._told("Budget")[1]

    def _told(self, word):
        while word not in (line := self.program.stdout.readline()):
            assert line, "the host of the workers is gone"
        return line.split()


@pytest.fixture(scope="module")
def workers():
    command = [sys.executable, paying_judge.__file__]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as program:
        yield Workers(program)
        program.stdin.close()


def test_a_campaign_that_is_killed_again_and_again_costs_no_more_than_its_cap(cache, workers):
    with fake.serve(HalfTimesOut()) as server:
        for goal in (10, 25):
            worker = workers.start(server, cache, 0.6)
            deadline = time.monotonic() + 40
            while server.num_calls < goal and time.monotonic() < deadline:
                time.sleep(0.005)
            os.kill(worker, signal.SIGKILL)
        assert server.num_calls >= 25
        assert not possible(cache).empty  # what was in flight is remembered
        workers.start(server, cache, 0.6)
        assert workers.ended() == "BudgetExhaustedError"
    assert 0.4 < charged(server) <= committed(cache) <= 0.6


def test_two_processes_at_once_cost_no_more_than_one_cap(cache, workers):
    with fake.serve(HalfTimesOut()) as server:
        for _ in range(2):
            workers.start(server, cache, 0.6)
        assert {workers.ended() for _ in range(2)} == {"BudgetExhaustedError"}
    assert 0.4 < charged(server) <= committed(cache) <= 0.6
