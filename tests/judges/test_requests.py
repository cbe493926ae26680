"""A request's key follows every part of the request and nothing else."""

import json
from dataclasses import replace
from typing import get_args

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st
from odd_replies import DRAFT, mutated

from synpref_dagster.curation.judging.prompts import PAIRWISE, pairwise_messages
from synpref_dagster.curation.judging.replies import Failure
from synpref_dagster.curation.judging.verdicts import Exemplar, JudgeQuestion
from synpref_dagster.judges.budget import Budget
from synpref_dagster.judges.cache import Payer, ReplyCache
from synpref_dagster.judges.client import JudgeClient
from synpref_dagster.judges.endpoint import EndpointJudge
from synpref_dagster.judges.errors import MAX_SAID, is_error, told
from synpref_dagster.judges.forms import RequestForm
from synpref_dagster.judges.requests import JudgeReply, JudgeRequest, read_completion
from synpref_dagster.settings.judges import JudgeEndpoint

TURNS = ({"role": "user", "content": "What is 2 + 2?"},)
EXEMPLAR = Exemplar(
    conversation=TURNS, candidate_1="four", candidate_2="five", preferred="candidate_1"
)
QUESTION = JudgeQuestion(
    conversation=TURNS,
    candidate_1="yes",
    candidate_2="no",
    attributes={"task_category": "math"},
    exemplars=(EXEMPLAR,),
)
ENDPOINT = JudgeEndpoint(name="judge", base_url="http://one/v1", model="m")


@pytest.fixture
def key(tmp_path):
    """The key of the pairwise question, with changes of endpoint, prompt, question or sample."""
    cache = ReplyCache(tmp_path / "replies.sqlite")

    def make(*, endpoint=ENDPOINT, prompt=PAIRWISE, question=QUESTION, sample=0, asset="seed"):
        payer = Payer(campaign="test", asset=asset, judge=endpoint.name)
        client = JudgeClient(endpoint, cache=cache, budget=Budget(), payer=payer)
        messages = pairwise_messages(question)
        messages[0]["content"] = prompt.instructions
        return EndpointJudge(client, num_samples=2).request(prompt, messages, sample=sample).key

    yield make
    cache.close()


def endpoint(**changes):
    return {"endpoint": ENDPOINT.model_copy(update=changes)}


def question(**changes):
    return {"question": replace(QUESTION, **changes)}


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": replace(PAIRWISE, system=PAIRWISE.system + " ")},
        {"prompt": replace(PAIRWISE, schema={**PAIRWISE.schema, "title": "x"})},
        {"sample": 1},
        endpoint(temperature=0.0),
        endpoint(max_tokens=10),
        endpoint(extra={"reasoning_effort": "low"}),
        endpoint(model="n"),
        endpoint(base_url="http://two/v1"),
        question(exemplars=()),
        question(exemplars=(replace(EXEMPLAR, preferred="candidate_2"),)),
        question(attributes={"task_category": "other"}),
        question(candidate_1="no", candidate_2="yes"),
        question(conversation=({"role": "user", "content": "What is 2 + 3?"},)),
    ],
)
def test_changing_one_part_of_the_request_changes_the_key(key, change):
    assert key(**change) != key()


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"asset": "judge_votes"},
        endpoint(name="renamed"),
        endpoint(timeout_seconds=1.0),
        endpoint(max_concurrency=1),
        endpoint(max_attempts=1),
        endpoint(usd_per_million_input=9.0),
        endpoint(max_usd=1.0),
        endpoint(batch=True),
        endpoint(api_key_env="KEY"),
        endpoint(base_url="http://one/v1/"),
        question(attributes=dict(QUESTION.attributes)),
    ],
)
def test_what_the_reply_does_not_depend_on_leaves_the_key_alone(key, change):
    assert key(**change) == key()


def test_what_is_left_out_is_part_of_the_key_and_of_no_key_from_before(key):
    assert key(**endpoint(leave_out=("seed",))) != key()
    assert key(**endpoint(leave_out=("seed", "temperature"))) == key(
        **endpoint(leave_out=("temperature", "seed"))
    )


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    cache = ReplyCache(tmp_path_factory.mktemp("cache") / "replies.sqlite")
    yield cache
    cache.close()


@settings(max_examples=400, deadline=None, derandomize=True)
@given(body=mutated(), status=st.sampled_from([0, 200, 400, 401, 402, 404, 422, 429, 500]))
def test_any_body_is_an_answer_that_can_be_kept_or_a_failure_in_words(kept, body, status):
    request = make_request(json.dumps([repr(body), status]))
    found = read_completion(body, "json_schema")
    if isinstance(found, JudgeReply):
        assert not is_error(body)
        kept.add(request, found, Payer(campaign="c", asset="a", judge="j"))
        assert kept.find([request.key]) == {request.key: found}
        fields = found.parsed(request).fields
        # What a model thinks is never its verdict, wherever a server writes it.
        assert fields is None or fields["reason"] != "draft" or DRAFT in str(answer_of(body))
        assert pa.array([str(fields and fields["reason"]), found.text], pa.string())
    else:
        assert found.failure in get_args(Failure)
        found.detail.encode()
    said = told(body, status=status)
    said.text.encode()
    assert len(said.text) <= MAX_SAID
    form = RequestForm().without(said, request.body(RequestForm()))
    assert form is None or form != RequestForm()


def answer_of(body):
    """The parts of a message that are its answer, as they are."""
    content = body["choices"][0]["message"]["content"]
    parts = content if isinstance(content, list) else [content]
    return [
        each["text"] if isinstance(each, dict) else each
        for each in parts
        if isinstance(each, str) or (isinstance(each, dict) and each.get("type") == "text")
    ]


def make_request(text):
    return JudgeRequest(
        endpoint="http://one/v1",
        model="m",
        messages=[{"role": "user", "content": text}],
        prompt=PAIRWISE,
        sampling={"temperature": 0.7, "max_tokens": 10},
        sample=0,
    )


def completion(content="hello", *, finish="stop", usage=(10, 5), **choice):
    prompt, done = usage
    message = {"message": {"role": "assistant", "content": content}}
    return {
        "choices": [{"finish_reason": finish, **message, **choice}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": done},
    }


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        (completion(finish="error"), "server_error"),
        (completion(finish="network_error"), "server_error"),
        (completion(finish="insufficient_system_resource"), "server_error"),
        (completion(finish="ABORT"), "server_error"),
        (completion(finish="timeout"), "server_error"),
        (completion(finish="MALFORMED_FUNCTION_CALL"), "server_error"),
        (completion(finish="repetition_truncation"), "server_error"),
        (completion(native_finish_reason="MALFORMED_FUNCTION_CALL"), "server_error"),
        (completion(error={"code": 429}), "rate_limited"),
        (completion(message=None), "server_error"),
        (completion(message="hello"), "server_error"),
        (completion({"text": "hello"}), "server_error"),
        ({"choices": ["hello"]}, "server_error"),
        ({"choices": "hello"}, "server_error"),
        ({"choices": []}, "empty_choices"),
        ({"code": "rate_limit_exceeded", "choices": None}, "rate_limited"),
        ({"status": 429, "title": "Too many"}, "rate_limited"),
        ('{"error": {"code": 429}}', "rate_limited"),
        ("", "server_error"),
        (None, "server_error"),
    ],
)
def test_what_is_no_answer_is_a_failure_that_is_asked_again(body, failure):
    assert read_completion(body, "text").failure == failure


def test_an_account_is_empty_wherever_a_body_says_so():
    for body in ({"code": "insufficient_balance"}, completion(error={"code": 402})):
        assert read_completion(body, "text").stops == "no_money"


def test_what_a_model_writes_is_never_what_its_server_says():
    odd = completion([{"text": "x"}], message=[{"code": "insufficient_quota"}])
    assert read_completion(odd, "text").stops == ""


@pytest.mark.parametrize("finish", ["content_filter", "refusal", "sensitive", "SAFETY"])
def test_a_filter_took_the_reply_whatever_it_is_called(finish):
    for body in (completion("", finish=finish), completion(finish=finish, message=None)):
        found = read_completion(body, "text").parsed(make_request("x"))
        assert found.failure == "refused"


@pytest.mark.parametrize("content", ["", " ", None])
@pytest.mark.parametrize("finish", ["stop", None])
def test_a_filter_may_be_named_beside_a_plain_stop(content, finish):
    body = completion(content, finish=finish, native_finish_reason="SAFETY")
    assert read_completion(body, "text").refused
    whole = completion("hello", finish="stop", native_finish_reason="SAFETY")
    assert not read_completion(whole, "text").refused


@pytest.mark.parametrize("finish", ["length", "model_length", "MAX_TOKENS"])
def test_a_reply_without_its_end_is_truncated_whatever_that_is_called(finish):
    for body in (completion('{"reason"', finish=finish), completion(finish=finish, message=None)):
        assert read_completion(body, "text").parsed(make_request("x")).failure == "truncated"
    whole = '{"reason": "r", "verdict": "tie"}'
    found = read_completion(completion(whole, finish=finish), "text").parsed(make_request("x"))
    assert found.fields["verdict"] == "tie"


def test_a_completion_that_is_sent_as_plain_text_is_read():
    assert read_completion(json.dumps(completion("hello")), "text").text == "hello"


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ((10, 5), (10, 5)),
        ((10, 0), (10, 0)),
        ((10.0, 5), (10, 5)),
        (("n/a", 5), (0, 0)),  # half a bill is none
        ((10, None), (0, 0)),
        ((0, 5), (0, 0)),
        ((10, -5), (0, 0)),
        ((True, 5), (0, 0)),
    ],
)
def test_tokens_count_only_where_both_are_said(usage, counted):
    found = read_completion(completion(usage=usage), "text")
    assert (found.prompt_tokens, found.completion_tokens) == counted
