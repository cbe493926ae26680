"""The judge client against a server in this process that misbehaves as real ones do."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import fake_judge_server as fake
import pytest

from synpref_dagster.curation.judging.prompts import PAIRWISE
from synpref_dagster.curation.judging.verdicts import JudgeQuestion, label_with_panel
from synpref_dagster.judges.budget import Budget, BudgetExhaustedError
from synpref_dagster.judges.cache import Payer, ReplyCache
from synpref_dagster.judges.calls import AdaptiveLimit, RetryPolicy, retry_after
from synpref_dagster.judges.client import JudgeClient
from synpref_dagster.judges.endpoint import EndpointAttributeLabeller, EndpointJudge
from synpref_dagster.judges.forms import RequestForm
from synpref_dagster.judges.requests import JudgeRefusedError, JudgeUnavailableError
from synpref_dagster.pairs.progress import JudgeReplies, progress_of
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.settings.judges import JudgeEndpoint

TURNS = ({"role": "user", "content": "What is 2 + 2?"},)


def question(number=0, **changes):
    fields = {"conversation": TURNS, "candidate_1": f"four {number}", "candidate_2": "five"}
    return JudgeQuestion(**{**fields, **changes})


def pairs(count):
    return [
        PreferencePair(
            conversation=({"role": "user", "content": f"question {number}"},),
            chosen=f"right {number}",
            rejected=f"wrong {number}",
            source="test",
            origin="human",
        )
        for number in range(count)
    ]


@pytest.fixture
def cache(tmp_path):
    found = ReplyCache(tmp_path / "replies.sqlite")
    yield found
    found.close()


@pytest.fixture
def waits():
    """How long the client waited, instead of waiting."""
    return []


@pytest.fixture
def make_judge(cache, waits):
    def make(url, *, budget=None, campaign="test", **changes):
        async def sleep(seconds):
            waits.append(seconds)

        settings = {"name": "judge", "base_url": url, "model": "m", "max_attempts": 3, **changes}
        client = JudgeClient(
            JudgeEndpoint(**settings),
            cache=cache,
            budget=budget or Budget(),
            payer=Payer(campaign=campaign, asset="seed", judge=settings["name"]),
            policy=RetryPolicy(sleep=sleep),
        )
        return EndpointJudge(client, num_samples=2)

    return make


def one_verdict(judge):
    return judge.verdicts([question()], [7])[0]


def scripted(*replies):
    """Gives the replies one after the other, the last one for ever."""
    waiting = list(replies)

    def answer(_):
        found = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return found() if callable(found) else found

    return answer


def test_a_reply_in_the_schema_is_a_verdict(make_judge):
    with fake.serve(scripted(fake.verdict("candidate_2"))) as server:
        found = one_verdict(make_judge(server.url))
    assert (found.choice, found.reason) == ("candidate_2", "because")
    body = server.bodies[0]
    assert body["response_format"]["json_schema"]["strict"] is True
    assert (body["seed"], body["model"], body["temperature"]) == (7, "m", 0.7)


def test_the_same_question_is_asked_once_in_all_runs(make_judge):
    with fake.serve(scripted(fake.verdict("candidate_1"))) as server:
        first = make_judge(server.url).verdicts([question(), question()], [1, 1])
        judge = make_judge(server.url)
        again = judge.verdicts([question(), question()], [1, 1])
    assert first == again
    assert server.num_calls == 1
    assert judge.client.tally.num_cached == 2


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda: fake.error(429), "rate_limited"),
        (lambda: fake.error(500), "server_error"),
        (lambda: fake.error(503), "server_error"),
        (lambda: fake.Response("<html>no gateway</html>"), "server_error"),
        (lambda: fake.Response("{", media_type="application/json"), "server_error"),
        (lambda: fake.Response('{"choices": []}', media_type="application/json"), "empty_choices"),
    ],
)
def test_a_broken_answer_is_tried_again_and_then_abstains(make_judge, cache, broken, reason):
    good = fake.verdict("candidate_1")
    with fake.serve(scripted(broken, good)) as server:
        assert one_verdict(make_judge(server.url)).choice == "candidate_1"
        assert server.num_calls == 2
    with fake.serve(scripted(broken)) as server:
        found = one_verdict(make_judge(server.url))
        assert (found.choice, found.reason, server.num_calls) == ("abstain", reason, 3)


def test_a_failure_of_transport_is_asked_again_in_the_next_run(make_judge):
    with fake.serve(scripted(*[lambda: fake.error(500)] * 3, fake.verdict("tie"))) as server:
        assert one_verdict(make_judge(server.url)).choice == "abstain"
        assert one_verdict(make_judge(server.url)).choice == "tie"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (fake.Reply('{"reason": "it is', finish_reason="length"), "truncated"),
        (fake.Reply(None), "empty_reply"),
        (fake.Reply(None, refusal="I cannot help"), "refused"),
        (fake.Reply("", finish_reason="content_filter"), "refused"),
        (fake.Reply("Candidate 1 is better."), "unparsable"),
        (fake.Reply('{"verdict": "candidate_1"}'), "off_schema"),
        (fake.Reply('{"reason": "x", "verdict": "candidate_3"}'), "off_schema"),
        (
            fake.Reply(f"{fake.verdict('candidate_1')} or {fake.verdict('candidate_2')}"),
            "ambiguous",
        ),
    ],
)
def test_a_reply_that_says_nothing_clear_is_a_typed_abstention_and_paid_once(
    make_judge, reply, reason
):
    with fake.serve(scripted(reply)) as server:
        assert one_verdict(make_judge(server.url)).reason == reason
        found = one_verdict(make_judge(server.url))
    assert (found.choice, found.reason, server.num_calls) == ("abstain", reason, 1)


def test_a_server_that_ignores_the_schema_is_read_tolerantly_and_recorded(make_judge):
    free = f"Let me think. {fake.verdict('candidate_2')} That is my answer."
    with fake.serve(scripted(free)) as server:
        judge = make_judge(server.url)
        assert one_verdict(judge).choice == "candidate_2"
    assert judge.facts()["readings"] == {"tolerant": 1}


def test_a_server_that_refuses_the_schema_is_asked_less_strictly_and_remembered(make_judge, cache):
    def answer(body):
        kind = body.get("response_format", {}).get("type")
        if kind == "json_schema":
            return fake.error(400, "response_format json_schema is not supported")
        return fake.error(500, "unknown json_object") if kind else fake.verdict("candidate_1")

    with fake.serve(answer) as server:
        assert one_verdict(make_judge(server.url)).choice == "candidate_1"
        assert server.num_calls == 3
        assert cache.form(server.url, "m").mode == "text"
        make_judge(server.url).verdicts([question(1)], [1])
        assert server.num_calls == 4
        assert one_verdict(make_judge(server.url)).choice == "candidate_1"
        assert server.num_calls == 4  # the key does not depend on the mode


def test_a_request_that_is_too_long_abstains_without_another_attempt(make_judge):
    with fake.serve(scripted(lambda: fake.error(400, "maximum context length"))) as server:
        found = one_verdict(make_judge(server.url))
    assert (found.choice, found.reason, server.num_calls) == ("abstain", "rejected", 1)


def test_a_slow_answer_is_a_timeout(make_judge):
    def answer(_):
        time.sleep(0.4)
        return fake.verdict("candidate_1")

    with fake.serve(answer) as server:
        judge = make_judge(server.url, timeout_seconds=0.1, max_attempts=2)
        found = one_verdict(judge)
    assert (found.choice, found.reason) == ("abstain", "timeout")
    assert judge.client.tally.num_retries == 1


def test_nobody_listening_is_a_failed_connection(make_judge):
    found = one_verdict(make_judge("http://127.0.0.1:9/v1"))
    assert (found.choice, found.reason) == ("abstain", "connection_failed")


def test_retry_after_is_waited_for(make_judge, waits):
    busy = lambda: fake.error(429, **{"Retry-After": "7"})  # noqa: E731
    with fake.serve(scripted(busy, fake.verdict("tie"))) as server:
        one_verdict(make_judge(server.url))
    assert waits == [7.0]


def test_waits_double_up_to_the_longest():
    policy = RetryPolicy(first_wait=1.0, longest_wait=10.0)
    for attempt, most in enumerate([1, 2, 4, 8, 10, 10]):
        assert most / 2 <= policy.wait_seconds(attempt, None) <= most
    assert policy.wait_seconds(0, 600.0) == 10.0


def test_retry_after_may_be_seconds_or_a_date():
    assert retry_after({"retry-after": "1.5"}) == 1.5
    assert retry_after({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}) == 0.0
    says = {"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT", "date": "Thu, 01 Jan 2026 00:00:00 GMT"}
    assert retry_after(says) == 30.0  # whatever our clock says
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None
    assert retry_after({"retry-after-ms": "250"}) == 0.25
    assert retry_after({"retry-after": "nan"}) is None
    assert retry_after({"retry-after": "-3"}) == 0.0
    assert retry_after({"retry-after": "Thu, 99 Foo"}) is None


@pytest.mark.parametrize("status", [401, 403, 404])
def test_an_endpoint_that_refuses_the_client_stops_the_judge(make_judge, status):
    with (
        fake.serve(scripted(lambda: fake.error(status, "no such thing"))) as server,
        pytest.raises(JudgeRefusedError, match="Check the model name 'm'"),
    ):
        one_verdict(make_judge(server.url))


def json_error(status, body):
    return fake.Response(json.dumps(body), status_code=status, media_type="application/json")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, {"error": {"message": "You exceeded it", "code": "insufficient_quota"}}),
        (402, {"error": {"message": "You exceeded it", "type": "unknown"}}),
        (200, {"error": {"message": "You exceeded it", "code": 402}}),
        (200, {"choices": [{"error": {"message": "You exceeded it", "code": 402}}]}),
        (200, {"code": "insufficient_quota", "message": "You exceeded it"}),
        (200, {"base_resp": {"status_code": 1008, "status_msg": "You exceeded it"}, "choices": [
            {"message": {"content": fake.verdict("tie")}, "finish_reason": "stop"}]}),
    ],
)  # fmt: skip
def test_an_empty_account_stops_the_judge_at_once_and_says_whose_it_is(
    make_judge, cache, waits, monkeypatch, status, body
):
    monkeypatch.setenv("TEST_JUDGE_KEY", "secret-1")
    with fake.serve(scripted(lambda: json_error(status, body))) as server:
        prices = {"usd_per_million_input": 1.0, "max_concurrency": 1}
        judge = make_judge(server.url, api_key_env="TEST_JUDGE_KEY", **prices)
        with pytest.raises(JudgeRefusedError) as caught:
            judge.verdicts([question(n) for n in range(40)], range(40))
    assert (server.num_calls, waits) == (1, [])
    assert cache.table("SELECT key FROM replies UNION SELECT id FROM reservations").empty
    assert f"judge 'judge' at {server.url} answered" in str(caught.value)
    assert "You exceeded it. No money is left on the account of the key in TEST_JUDGE_KEY" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("status", "body", "detail"),
    [
        (200, {"error": {"message": "free-models-per-day", "code": 429}}, "429: free-models"),
        (422, {"detail": [{"loc": ["body", "messages"], "msg": "bad"}]}, "422: bad; at body.me"),
        (400, [{"error": {"code": 400, "message": "listed"}}], "400: listed"),
        (400, "words only", "400: words only"),
    ],
)
def test_what_an_endpoint_says_is_shown(make_judge, monkeypatch, status, body, detail):
    monkeypatch.setattr("synpref_dagster.judges.client.MAX_FAILURES_IN_A_ROW", 3)
    with fake.serve(scripted(lambda: json_error(status, body))) as server:
        judge = make_judge(server.url, max_attempts=1, max_concurrency=1)
        with pytest.raises(JudgeUnavailableError) as caught:
            judge.verdicts([question(n) for n in range(40)], range(40))
    assert detail in str(caught.value)


def test_an_error_in_a_choice_is_no_answer_and_is_asked_again_by_the_next_run(make_judge):
    down = {
        "choices": [
            {
                "finish_reason": "error",
                "error": {"code": 502, "message": "Provider disconnected"},
                "message": {"role": "assistant", "content": ""},
            }
        ]
    }
    replies = [lambda: json_error(200, down)] * 3
    with fake.serve(scripted(*replies, fake.verdict("tie"))) as server:
        assert one_verdict(make_judge(server.url)).reason == "server_error"
        assert one_verdict(make_judge(server.url)).choice == "tie"


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("response_format", {"detail": [{"loc": ["body", "response_format"], "msg": "Extra"}]}),
        ("response_format", [{"error": {"message": 'Unknown name "response_format"'}}]),
        ("seed", [{"error": {"message": 'Unknown name "seed": Cannot find field.'}}]),
        ("seed", {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs"}]}),
        ("temperature", {"error": {"param": "temperature", "code": "unsupported_value"}}),
        ("max_tokens", {"error": {"param": "max_tokens", "code": "unsupported_parameter"}}),
        ("seed", {"error": {"code": 400, "param": "seed", "message": "x"}}),
        ("seed", {"error": "no 'seed' here"}),
        ("temperature", {"error": {"type": "invalid_request_error", "message": "no temperature"}}),
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_a_field_that_is_refused_is_not_sent_again_and_said_once(
    make_judge, caplog, kind, shape, status
):
    if status == 200 and isinstance(shape, list):
        shape = shape[0]

    def answer(body):
        return json_error(status, shape) if kind in body else fake.verdict("tie")

    with fake.serve(answer) as server:
        judge = make_judge(server.url, max_concurrency=1)
        assert {each.choice for each in judge.verdicts([question()] * 3, range(3))} == {"tie"}
        refused = 2 if kind == "response_format" else 1
        assert server.num_calls == refused + 3
        assert kind not in server.bodies[-1]
        make_judge(server.url).verdicts([question(1)], [9])
        assert server.num_calls == refused + 4
        # Replies are found by what was wanted, in whichever form it was sent.
        assert one_verdict(make_judge(server.url)).choice == "tie"
    if kind == "max_tokens":
        assert server.bodies[-1]["max_completion_tokens"] == 700
    assert caplog.text.count("refused a request") == 1


def test_several_refused_fields_are_found_one_after_the_other(make_judge):
    def answer(body):
        for name in ("seed", "max_tokens", "temperature"):
            if name in body:
                return json_error(400, {"error": {"param": name}})
        return fake.verdict("tie")

    with fake.serve(answer) as server:
        judge = make_judge(server.url)
        assert one_verdict(judge).choice == "tie"
    assert server.num_calls == 4
    assert judge.facts()["renamed_fields"] == {
        "max_tokens": "max_completion_tokens",
        "seed": "",
        "temperature": "",
    }


def test_a_form_that_does_not_help_is_not_kept(make_judge, cache):
    message = "max_tokens and the prompt together exceed the context"
    with fake.serve(scripted(lambda: fake.error(400, message))) as server:
        found = one_verdict(make_judge(server.url))
        assert (found.choice, found.reason, server.num_calls) == ("abstain", "rejected", 2)
        assert cache.form(server.url, "m") == RequestForm()


def test_a_page_that_happens_to_name_a_field_refuses_nothing(make_judge, cache):
    page = "<html>https://schema.org seed max_tokens</html>"
    with fake.serve(scripted(lambda: fake.Response(page), fake.verdict("tie"))) as server:
        assert one_verdict(make_judge(server.url)).choice == "tie"
        assert server.num_calls == 2
        assert cache.form(server.url, "m") == RequestForm()


def test_a_value_that_a_body_of_status_200_refuses_is_not_sent_again(make_judge):
    body = {"error": {"param": "max_tokens", "code": "integer_above_max_value"}}
    with fake.serve(scripted(lambda: json_error(200, body))) as server:
        found = one_verdict(make_judge(server.url))
    assert (found.reason, server.num_calls) == ("rejected", 1)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_redirect_to_a_page_suggests_the_base_url(make_judge, status):
    def to_login():
        return fake.Response(status_code=302, headers={"location": "/login?next=sk-x"})

    with (
        fake.serve(scripted(to_login), login=status) as server,
        pytest.raises(JudgeRefusedError, match=r"led to '/login'\)\. Check `base_url`") as told,
    ):
        one_verdict(make_judge(server.url))
    assert "sk-x" not in str(told.value)


@pytest.mark.parametrize("status", [200, 400])
def test_a_refused_field_of_the_profile_stops_the_judge_and_is_named(make_judge, status):
    body = {"error": {"message": "unknown", "param": "reasoning_effort"}}
    with (
        fake.serve(scripted(lambda: json_error(status, body))) as server,
        pytest.raises(JudgeRefusedError, match="Take reasoning_effort out of its `extra`"),
    ):
        one_verdict(make_judge(server.url, extra={"reasoning_effort": "low"}))


def test_a_refused_field_of_the_profile_is_also_known_by_its_quoted_name(make_judge):
    body = [{"error": {"message": 'Unknown name "top_k": Cannot find field.'}}]
    with (
        fake.serve(scripted(lambda: json_error(400, body))) as server,
        pytest.raises(JudgeRefusedError, match="Take top_k out of its `extra`"),
    ):
        one_verdict(make_judge(server.url, extra={"top_k": 3}))


def test_a_profile_may_leave_fields_out(make_judge):
    with fake.serve(scripted(fake.verdict("tie"))) as server:
        changes = {
            "leave_out": ("seed", "max_tokens", "response_format"),
            "extra": {"max_completion_tokens": 300},
        }
        judge = make_judge(server.url, **changes)
        one_verdict(judge)
        one_verdict(make_judge(server.url))
    assert set(server.bodies[0]) == {"model", "messages", "temperature", "max_completion_tokens"}
    assert server.num_calls == 2  # another request: what is left out decides the reply
    request = judge.request(PAIRWISE, [], sample=1)
    assert request.most_tokens == 300


THOUGHT = [{"type": "text", "text": f"draft {fake.verdict('candidate_2')}"}]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([{"type": "text", "text": fake.verdict("candidate_1")}], "candidate_1"),
        (
            [
                {"type": "thinking", "thinking": THOUGHT},
                {"type": "text", "text": fake.verdict("candidate_1")},
            ],
            "candidate_1",
        ),
        ([{"type": "reasoning", "text": fake.verdict("candidate_2")}], "abstain"),
        ([{"type": "thinking", "thinking": THOUGHT}], "abstain"),
        ([{"type": "text", "text": '{"reason": "a", '}, '"verdict": "tie"}', None, 7], "tie"),
        (f"<think>{fake.verdict('candidate_2')}", "abstain"),
        ([], "abstain"),
    ],
)
def test_only_the_answer_of_a_message_counts(make_judge, content, found):
    reply = fake.Reply(content)
    with fake.serve(scripted(reply)) as server:
        assert one_verdict(make_judge(server.url)).choice == found
        one_verdict(make_judge(server.url))
    assert server.num_calls == 1  # paid for, and kept


def test_what_a_model_reasons_beside_its_message_is_no_answer(make_judge):
    body = json.loads(fake.Reply(None).response().body)
    body["choices"][0]["message"]["reasoning_content"] = fake.verdict("candidate_2")
    with fake.serve(scripted(lambda: json_error(200, body))) as server:
        assert one_verdict(make_judge(server.url)).reason == "empty_reply"


@pytest.mark.parametrize("as_escape", [False, True])
def test_half_an_emoji_is_kept_escaped_and_harms_no_later_run(make_judge, cache, as_escape):
    content = fake.verdict("tie", "nice \ud83d")
    body = json.loads(fake.Reply("").response().body)
    body["choices"][0]["message"]["content"] = content if as_escape else "nice \ud83d " + content
    raw = json.dumps(body)
    with fake.serve(scripted(lambda: fake.Response(raw, media_type="application/json"))) as server:
        first, second = (one_verdict(make_judge(server.url)) for _ in range(2))
    assert first == second
    assert (first.choice, first.reason) == ("tie", "nice \\ud83d")
    assert server.num_calls == 1


def test_a_reply_that_does_not_say_what_it_cost_is_booked_at_the_most(make_judge, cache):
    body = json.loads(fake.Reply(fake.verdict("tie")).response().body)
    prices = {"usd_per_million_output": 100.0, "max_tokens": 10}
    silent = ({"prompt_tokens": "n/a"}, None, "free", {"completion_tokens": -3})
    for usage in (*silent, {"prompt_tokens": 100}, {"completion_tokens": 3}):
        body["usage"] = usage
        with fake.serve(scripted(lambda: json_error(200, body))) as server:
            assert (
                one_verdict(make_judge(server.url, campaign=str(usage), **prices)).choice == "tie"
            )
        assert cache.usd_by_judge(str(usage))["judge"] == pytest.approx(10 * 100 / 1e6)


def test_an_endpoint_that_is_down_stops_the_judge_and_may_be_tried_again(make_judge, monkeypatch):
    monkeypatch.setattr("synpref_dagster.judges.client.MAX_FAILURES_IN_A_ROW", 5)
    with fake.serve(scripted(lambda: fake.error(500))) as server:
        judge = make_judge(server.url, max_attempts=1, max_concurrency=1)
        with pytest.raises(JudgeUnavailableError, match="5 times in a row") as caught:
            judge.verdicts([question(n) for n in range(40)], range(40))
    assert server.num_calls == 5
    assert not caught.value.permanent


def test_a_missing_key_is_named_and_never_sent_or_shown(make_judge, monkeypatch):
    monkeypatch.delenv("TEST_JUDGE_KEY", raising=False)
    with fake.serve(scripted(fake.verdict("tie"))) as server:
        judge = make_judge(server.url, api_key_env="TEST_JUDGE_KEY")
        with pytest.raises(ValueError, match="TEST_JUDGE_KEY, which is not set"):
            one_verdict(judge)
        monkeypatch.setenv("TEST_JUDGE_KEY", "secret-1")
        one_verdict(judge)
    assert server.headers[0]["authorization"] == "Bearer secret-1"
    assert b"secret-1" not in judge.client.cache.path.read_bytes()


def test_concurrency_stays_within_the_limit_and_grows(make_judge):
    def answer(_):
        time.sleep(0.02)
        return fake.verdict("tie")

    with fake.serve(answer) as server:
        judge = make_judge(server.url, max_concurrency=6)
        judge.verdicts([question(n) for n in range(60)], range(60))
    assert 4 < server.most_in_flight <= 6


def test_an_overloaded_endpoint_gets_half_and_slowly_more():
    async def steps():
        limit = AdaptiveLimit(16)
        start = limit.allowed
        limit.overloaded()
        half = limit.allowed
        limit.succeeded()
        limit.succeeded()
        limit.succeeded()
        return start, half, int(limit.allowed)

    assert asyncio.run(steps()) == (4.0, 2.0, 3)


def test_the_cap_stops_the_campaign_keeps_what_was_bought_and_a_higher_one_continues(
    make_judge, cache
):
    prices = {"usd_per_million_input": 10.0, "usd_per_million_output": 100.0, "max_tokens": 10}
    questions = [question(n) for n in range(100)]
    with fake.serve(scripted(fake.verdict("candidate_1"))) as server:

        def judge(cap):
            budget = Budget(max_usd=cap)
            return make_judge(server.url, budget=budget, **prices)

        # A reply costs 100 * 10 / 1e6 + 10 * 100 / 1e6 = $0.002; at most $0.03 is reserved.
        with pytest.raises(BudgetExhaustedError, match=r"raise judges\.max_usd") as caught:
            judge(0.1).verdicts(questions, range(100))
        bought = server.num_calls
        spent = cache.usd_by_judge("test")["judge"]
        assert 25 <= bought < 51
        assert spent == pytest.approx(0.002 * bought)
        assert spent <= 0.1
        assert f"{100 - bought} replies" in str(caught.value)
        assert caught.value.permanent
        with pytest.raises(BudgetExhaustedError):
            judge(0.1).verdicts(questions, range(100))
        assert server.num_calls == bought
        rich = judge(10.0)
        assert len(rich.verdicts(questions, range(100))) == 100
        assert server.num_calls == 100
    assert rich.client.tally.num_calls == 100 - bought
    assert rich.client.tally.estimated_usd == pytest.approx(0.002 * (100 - bought))


def test_a_judges_own_cap_leaves_the_others_alone(make_judge, cache):
    prices = {"usd_per_million_input": 10.0, "max_tokens": 10}
    budget = Budget(max_usd_by_judge={"dear": 0.05})
    with fake.serve(scripted(fake.verdict("tie"))) as server:
        dear = make_judge(server.url, budget=budget, name="dear", **prices)
        with pytest.raises(BudgetExhaustedError, match="max_usd of judge 'dear'"):
            dear.verdicts([question(n) for n in range(100)], range(100))
        other = make_judge(server.url, budget=budget, name="other", model="n", **prices)
        assert len(other.verdicts([question(n) for n in range(30)], range(30))) == 30
    assert cache.usd_by_judge("test")["dear"] <= 0.05


def test_another_campaign_pays_nothing_for_what_is_known(make_judge, cache):
    with fake.serve(scripted(fake.verdict("tie"))) as server:
        price = {"usd_per_million_input": 1.0}
        one_verdict(make_judge(server.url, campaign="first", **price))
        one_verdict(make_judge(server.url, campaign="second", **price))
    assert server.num_calls == 1
    assert cache.usd_by_judge("first") == {"judge": pytest.approx(1e-4)}
    assert cache.usd_by_judge("second") == {}


def test_the_logger_it_was_given_hears_how_far_it_is(make_judge, monkeypatch):
    monkeypatch.setattr("synpref_dagster.judges.client.SECONDS_BETWEEN_LINES", 0.01)
    told = []
    listener = logging.Handler()
    listener.emit = lambda record: told.append(progress_of(record))
    logger = logging.Logger("of the caller")
    logger.addHandler(listener)

    def answer(_):
        time.sleep(0.02)
        return fake.verdict("tie")

    with fake.serve(answer) as server:
        judge = make_judge(server.url, usd_per_million_input=10.0)
        judge.client.logger = logger
        judge.verdicts([question(n) for n in range(30)], range(30))
    facts = [each for each in told if each is not None]
    assert all(isinstance(each, JudgeReplies) for each in facts)
    assert [each.done for each in facts] == sorted(each.done for each in facts)
    last = facts[-1]
    assert (last.judge, last.done, last.total, last.seconds_left) == ("judge", 30, 30, 0.0)
    assert last.usd == pytest.approx(judge.client.tally.usd)
    assert len(told) > len(facts)  # the estimate after the pilot


WORKER = """
import sys
sys.path[:0] = {path!r}
from test_client import question
from synpref_dagster.judges.endpoint import EndpointJudge
from synpref_dagster.judges.budget import Budget
from synpref_dagster.judges.cache import Payer, ReplyCache
from synpref_dagster.judges.client import JudgeClient
from synpref_dagster.settings.judges import JudgeEndpoint
client = JudgeClient(
    JudgeEndpoint(name="judge", base_url={url!r}, model="m", max_concurrency=8),
    cache=ReplyCache({cache!r}), budget=Budget(),
    payer=Payer(campaign="test", asset="seed", judge="judge"),
)
EndpointJudge(client, num_samples=2).verdicts([question(n) for n in range(200)], range(200))
"""


def test_kill_9_in_the_middle_loses_at_most_what_was_in_flight(make_judge, cache, tmp_path):
    reached = threading.Event()

    def answer(_):
        if server.num_calls >= 60:
            reached.set()
        time.sleep(0.01)
        return fake.verdict("candidate_1")

    with fake.serve(answer) as server:
        path = [str(Path(__file__).parent), *sys.path]
        code = WORKER.format(path=path, url=server.url, cache=str(cache.path))
        worker = subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ))
        assert reached.wait(60)
        worker.send_signal(signal.SIGKILL)
        worker.wait(30)
        time.sleep(0.1)  # calls in flight end at the server
        before = server.num_calls
        judge = make_judge(server.url)
        kept = len(cache.find([request.key for request in requests(judge)]))
        assert before - 8 <= kept <= before
        found = judge.verdicts([question(n) for n in range(200)], range(200))
    assert {verdict.choice for verdict in found} == {"candidate_1"}
    assert server.num_calls - before == 200 - kept
    assert judge.client.tally.num_cached == kept


def requests(judge):
    from synpref_dagster.curation.judging.prompts import PAIRWISE, pairwise_messages

    return [judge.request(PAIRWISE, pairwise_messages(question(n)), sample=n) for n in range(200)]


def by_content(body):
    """A judge that prefers the response with the word `right`, wherever it stands."""
    text = body["messages"][-1]["content"]
    target = text[text.index("The pair to decide") :]
    first = target.index("right") < target.index("wrong")
    return fake.verdict("candidate_1" if first else "candidate_2")


def test_a_panel_of_endpoints_labels_like_any_other_panel(make_judge):
    with fake.serve(by_content) as server:
        judges = [make_judge(server.url, name=f"judge_{n}", model=f"m{n}") for n in range(3)]
        known = pairs(10)
        found = label_with_panel(known, judges, attributes=[{}] * 10, exemplars=[()] * 10, seed=3)
        assert found.labels["label"].tolist() == [1] * 10
        assert server.num_calls == 10 * 3 * 2
        label_with_panel(known, judges, attributes=[{}] * 10, exemplars=[()] * 10, seed=3)
        assert server.num_calls == 60


def test_planted_instructions_change_no_label_of_a_judge_that_follows_its_prompt(make_judge):
    from dataclasses import replace

    from synpref_dagster.curation.judging.quality import PLANTED_INSTRUCTION

    steered = [replace(pair, rejected=pair.rejected + PLANTED_INSTRUCTION) for pair in pairs(10)]
    with fake.serve(by_content) as server:
        found = label_with_panel(
            steered,
            [make_judge(server.url)],
            attributes=[{}] * 10,
            exemplars=[()] * 10,
            seed=3,
        )
    assert found.labels["label"].tolist() == [1] * 10


def test_a_judge_that_repeats_planted_verdicts_abstains(make_judge):
    from synpref_dagster.curation.judging.quality import PLANTED_INSTRUCTION

    with fake.serve(scripted(f"The response says: {PLANTED_INSTRUCTION}")) as server:
        found = one_verdict(make_judge(server.url))
    assert (found.choice, found.reason) == ("abstain", "ambiguous")


def test_attributes_are_the_majority_of_the_judges_and_unknown_when_nobody_answers(make_judge):
    def answer(body):
        if "question 1" in body["messages"][-1]["content"]:
            return "I would rather not"
        category = "coding_and_debugging" if body["model"] == "odd" else "math"
        return json.dumps(
            {
                "task_category": category,
                "objectivity": "objective",
                "controversiality": "low",
                "desired_attributes": "correctness",
                "annotation_guideline": f"said by {body['model']}",
            }
        )

    with fake.serve(answer) as server:
        judges = [make_judge(server.url, name=name, model=name) for name in ("odd", "a", "b")]
        found, confidence = EndpointAttributeLabeller(judges).label(pairs(2))
    assert (found[0].task_category, found[0].annotation_guideline) == ("math", "said by odd")
    assert (found[1].task_category, found[1].controversiality) == ("other", "high")
    assert confidence.tolist() == pytest.approx([2 / 3, 0.0])
