"""Judges score personal data: the median counts, silence is no level, and nothing is repeated."""

import json

import fake_judge_server as fake
import pytest

from synpref_dagster.curation.judging.prompts import PERSONAL_DATA
from synpref_dagster.curation.personal_data.report import NOT_JUDGED
from synpref_dagster.judges.questions import score_pairs
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.judges import JudgePanel
from synpref_dagster.settings.judges import JudgeEndpoint, JudgeSettings
from synpref_dagster.settings.profile import load_profile


def pair(number):
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
        found = score_pairs(judges, [pair(1), pair(2)])
        assert server.num_calls == 2 * len(names)
    assert found["judge_level"].tolist() == [level] * 2
    assert found["pair_id"].tolist() == [pair(1).pair_id, pair(2).pair_id]
    assert "posteo" not in found.to_csv()


def test_a_judge_that_gives_no_level_does_not_vote(tmp_path):
    def answer(body):
        return "I will not look at that" if body["model"] == "c" else reply(LEVELS[body["model"]])

    with fake.serve(answer) as server:
        judges = panel_of(server.url, tmp_path).endpoint_judges("pii_report")
        assert score_pairs(judges, [pair(1)])["judge_level"].tolist() == [1]
    with fake.serve(lambda _: "no") as server:
        judges = panel_of(server.url, tmp_path / "silent").endpoint_judges("pii_report")
        assert score_pairs(judges, [pair(1)])["judge_level"].tolist() == [NOT_JUDGED]


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
