"""What judges say of each response alone, and how bad they find personal data.

Of levels the median counts, silence is none, and nothing is repeated.
"""

import json

import fake_judge_server as fake
import pytest

from synpref_dagster.curation.judging.prompts import PERSONAL_DATA
from synpref_dagster.curation.personal_data.report import NOT_JUDGED
from synpref_dagster.curation.verification.people import PRE_VERIFICATION_COLUMNS
from synpref_dagster.judges.budget import Budget
from synpref_dagster.judges.cache import Payer, ReplyCache
from synpref_dagster.judges.client import JudgeClient
from synpref_dagster.judges.endpoint import EndpointJudge
from synpref_dagster.judges.questions import CHECK_COLUMNS, check_responses, score_pairs
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.judges import JudgePanel
from synpref_dagster.settings.judges import JudgeEndpoint, JudgeSettings
from synpref_dagster.settings.profile import load_profile


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


def numbered(number):
    return PreferencePair(
        conversation=({"role": "user", "content": f"question {number}"},),
        chosen="ann.lee@posteo.de",
        rejected="no",
        source="test",
        origin="human",
    )


def panel_of(url, tmp_path, names=("a", "b", "c"), **changes):
    endpoints = [
        JudgeEndpoint(name=name, base_url=url, model=name, max_attempts=1, **changes)
        for name in names
    ]
    settings = JudgeSettings(
        kind="endpoints", endpoints=endpoints, cache=str(tmp_path / "replies.sqlite")
    )
    profile = load_profile("smoke").model_copy(update={"judges": settings})
    campaign = Campaign(profile_json=profile.model_dump_json(), store_root=str(tmp_path))
    return JudgePanel(campaign=campaign)


def reply(level):
    return json.dumps({"evidence": "an address of ann.lee@posteo.de", "level": level})


LEVELS = {"a": 0, "b": 1, "c": 3}


@pytest.mark.parametrize(
    ("names", "level"), [(["a", "b", "c"], 1), (["a", "c"], 3), (["a"], 0), (["b", "c"], 3)]
)
def test_the_median_of_the_judges_counts_and_the_higher_of_two(tmp_path, names, level):
    with fake.serve(lambda body: reply(LEVELS[body["model"]])) as server:
        judges = panel_of(server.url, tmp_path, names).endpoint_judges("pii_report")
        found = score_pairs(judges, [numbered(1), numbered(2)])
        assert server.num_calls == 2 * len(names)
    assert found["judge_level"].tolist() == [level] * 2
    assert found["pair_id"].tolist() == [numbered(1).pair_id, numbered(2).pair_id]
    assert "posteo" not in found.to_csv()


def test_a_judge_that_gives_no_level_does_not_vote(tmp_path):
    def answer(body):
        return "I will not look at that" if body["model"] == "c" else reply(LEVELS[body["model"]])

    with fake.serve(answer) as server:
        judges = panel_of(server.url, tmp_path).endpoint_judges("pii_report")
        assert score_pairs(judges, [numbered(1)])["judge_level"].tolist() == [1]
    with fake.serve(lambda _: "no") as server:
        judges = panel_of(server.url, tmp_path / "silent").endpoint_judges("pii_report")
        assert score_pairs(judges, [numbered(1)])["judge_level"].tolist() == [NOT_JUDGED]


def test_no_pairs_ask_nobody(tmp_path):
    with fake.serve(lambda _: reply(0)) as server:
        judges = panel_of(server.url, tmp_path).endpoint_judges("pii_report")
        assert len(score_pairs(judges, [])) == 0
        assert server.num_calls == 0


def test_levels_depend_on_the_prompt_and_on_what_decides_replies(tmp_path):
    def params(**changes):
        return panel_of("http://one/v1", tmp_path, **changes).identity(PERSONAL_DATA)

    assert params() == params(timeout_seconds=3.0)
    assert params() != params(temperature=0.1)
    assert params()["prompt"]
