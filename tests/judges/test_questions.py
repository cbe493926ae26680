"""What an LLM says about each response alone, as people on the review page find it."""

import json

import fake_judge_server as fake
import pytest

from synpref_dagster.curation.verification.people import PRE_VERIFICATION_COLUMNS
from synpref_dagster.judges.budget import Budget
from synpref_dagster.judges.cache import Payer, ReplyCache
from synpref_dagster.judges.client import JudgeClient
from synpref_dagster.judges.endpoint import EndpointJudge
from synpref_dagster.judges.questions import CHECK_COLUMNS, check_responses
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.settings.judges import JudgeEndpoint


def pair(chosen, rejected):
    return PreferencePair(
        conversation=({"role": "user", "content": "What is 2 + 2?"},),
        chosen=chosen,
        rejected=rejected,
        source="test",
        origin="human",
    )


PAIRS = [pair("4", "5"), pair("six", "four")]


def answer(body):
    """Knows what four is; the model `broken` says nothing that can be read."""
    if body["model"] == "broken":
        return "no idea"
    text = body["messages"][1]["content"]
    right = any(f"\n{word}\n" in text for word in ("4", "four"))
    return json.dumps({"finding": "recomputed", "status": "correct" if right else "incorrect"})


@pytest.fixture
def make_judges(tmp_path):
    cache = ReplyCache(tmp_path / "replies.sqlite")

    def make(url, *names):
        return [
            EndpointJudge(
                JudgeClient(
                    JudgeEndpoint(name=name, base_url=url, model=name, max_attempts=1),
                    cache=cache,
                    budget=Budget(),
                    payer=Payer(campaign="c", asset="a", judge=name),
                ),
                num_samples=2,
            )
            for name in names
        ]

    yield make
    cache.close()


def test_notes_belong_to_the_sorted_responses_whatever_the_label(make_judges):
    with fake.serve(answer) as server:
        found = check_responses(make_judges(server.url, "gpt"), PAIRS)
        assert server.num_calls == 4
        turned = [pair("5", "4"), pair("four", "six")]
        again = check_responses(make_judges(server.url, "gpt"), turned)
        assert server.num_calls == 4  # a judge is not shown which one the label prefers
    assert list(found.columns) == ["pair_id", *PRE_VERIFICATION_COLUMNS.values()] == CHECK_COLUMNS
    right, wrong = "Looks correct, says gpt: recomputed", "Looks wrong, says gpt: recomputed"
    assert found[["check_first", "check_second"]].to_numpy().tolist() == [
        [right, wrong],
        [right, wrong],
    ]
    assert again["check_first"].tolist() == found["check_first"].tolist()
    assert again["pair_id"].tolist() == [each.pair_id for each in turned]


def test_another_judge_is_asked_only_about_what_the_first_left_open(make_judges):
    with fake.serve(answer) as server:
        found = check_responses(make_judges(server.url, "gpt", "other"), PAIRS)
        assert {body["model"] for body in server.bodies} == {"gpt"}
        found = check_responses(make_judges(server.url, "broken", "other"), PAIRS[:1])
    assert found["check_first"].tolist() == ["Looks correct, says other: recomputed"]


def test_where_nobody_says_anything_readable_the_note_is_missing(make_judges):
    with fake.serve(answer) as server:
        found = check_responses(make_judges(server.url, "broken"), PAIRS)
    assert found[["check_first", "check_second"]].isna().all(axis=None)
    assert check_responses([], []).empty
