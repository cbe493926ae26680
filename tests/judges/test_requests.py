"""A request's key follows every part of the request and nothing else."""

from dataclasses import replace

import pytest

from synpref_dagster.curation.judging.prompts import PAIRWISE, pairwise_messages
from synpref_dagster.curation.judging.verdicts import Exemplar, JudgeQuestion
from synpref_dagster.judges.budget import Budget
from synpref_dagster.judges.cache import Payer, ReplyCache
from synpref_dagster.judges.client import JudgeClient
from synpref_dagster.judges.endpoint import EndpointJudge
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
