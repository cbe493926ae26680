"""Calls to an endpoint that answers anything at all: nothing is lost, and nothing made up."""

import itertools
import json

import fake_judge_server as fake
import pytest
from hypothesis import given, settings, strategies as st
from odd_replies import ERRORS, SOUND, mutated

from synpref_dagster.curation.judging.verdicts import JudgeQuestion
from synpref_dagster.judges.budget import Budget
from synpref_dagster.judges.cache import Payer, ReplyCache
from synpref_dagster.judges.calls import RetryPolicy
from synpref_dagster.judges.client import JudgeClient
from synpref_dagster.judges.endpoint import EndpointJudge
from synpref_dagster.judges.errors import is_error
from synpref_dagster.judges.requests import BROKEN_OFF, JudgeError
from synpref_dagster.settings.judges import JudgeEndpoint

QUESTION = JudgeQuestion(
    conversation=({"role": "user", "content": "What is 2 + 2?"},),
    candidate_1="four",
    candidate_2="five",
)
STATUSES = st.sampled_from([200, 200, 200, 400, 401, 402, 403, 404, 408, 422, 429, 500, 503])
HEADERS = st.sampled_from(
    [
        {},
        {"retry-after": "1"},
        {"retry-after": "Thu, 99 Foo"},
        {"retry-after-ms": "nan"},
        {"retry-after": "1e999"},
    ]
)
KINDS = st.sampled_from(["application/json", "application/json", "text/html", "text/plain"])


@st.composite
def answers(draw):
    """Any body under any status, of any kind: JSON, half of it, or bytes."""
    body = draw(mutated())
    raw = json.dumps(body).encode()
    if draw(st.integers(0, 5)) == 0:
        raw = draw(st.one_of(st.binary(max_size=20), st.just(raw[: len(raw) // 2])))
        body = None
    return body, (raw, draw(STATUSES), draw(HEADERS), draw(KINDS))


@pytest.fixture(scope="module")
def asked_twice(tmp_path_factory):
    """Asks a judge the same twice: both outcomes, calls of the second time, and what is kept."""
    numbers, current = itertools.count(), {}
    cache = ReplyCache(tmp_path_factory.mktemp("cache") / "replies.sqlite")

    async def at_once(seconds):
        assert 0 <= seconds <= 60

    def respond(_):
        raw, status, headers, kind = current["answer"]
        return fake.Response(raw, status_code=status, headers=headers, media_type=kind)

    def outcome(endpoint):
        payer = Payer(campaign="c", asset="a", judge=endpoint.name)
        client = JudgeClient(
            endpoint,
            cache=cache,
            budget=Budget(),
            payer=payer,
            policy=RetryPolicy(sleep=at_once),
        )
        try:
            return EndpointJudge(client, num_samples=2).verdicts([QUESTION], [0])
        except JudgeError as error:
            return type(error), str(error)

    with fake.serve(respond) as server:

        def ask(answer):
            current["answer"] = answer
            model = f"m{next(numbers)}"
            endpoint = JudgeEndpoint(name="j", base_url=server.url, model=model, max_attempts=2)
            first = outcome(endpoint)
            before = server.num_calls
            second = outcome(endpoint)
            query = "SELECT text, finish_reason FROM replies WHERE model = ?"
            kept = cache.table(query, [model]).to_dict("records")
            return first, second, server.num_calls - before, kept

        yield ask
    cache.close()


def check(asked_twice, body, answer):
    first, second, num_calls, kept = asked_twice(answer)
    assert first == second
    assert (num_calls == 0) == bool(kept)
    for row in kept:
        assert body is None or not is_error(body)
        assert answer[1] < 400
        assert row["finish_reason"].lower() not in BROKEN_OFF
        row["text"].encode()
        assert "\x00" not in row["text"]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(found=answers())
def test_an_endpoint_that_answers_anything_is_survived_and_asked_the_same_again(asked_twice, found):
    check(asked_twice, *found)


@pytest.mark.slow
@pytest.mark.timeout(900)
@settings(max_examples=1000, deadline=None)
@given(found=answers())
def test_an_endpoint_that_answers_anything_for_long_is_survived(asked_twice, found):
    check(asked_twice, *found)


@pytest.mark.parametrize("body", [SOUND, *ERRORS])
@pytest.mark.parametrize("status", [200, 400])
def test_sound_answers_are_kept_and_errors_are_not(asked_twice, body, status):
    *_, kept = asked_twice((json.dumps(body).encode(), status, {}, "application/json"))
    assert bool(kept) == (body is SOUND and status == 200)
