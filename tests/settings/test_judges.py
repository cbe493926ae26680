"""The judges' part of a profile: what is refused, where replies are kept."""

import pytest
from pydantic import ValidationError

from synpref_dagster.settings.judges import JudgeEndpoint, JudgeSettings
from synpref_dagster.settings.profile import load_profile


def endpoint(**changes):
    return JudgeEndpoint(**{"name": "a", "base_url": "http://one/v1", "model": "m", **changes})


def test_the_default_needs_no_key_and_no_network():
    assert JudgeSettings().kind == "exemplar"
    assert JudgeSettings().endpoints == ()


def test_endpoints_without_a_panel_are_refused():
    with pytest.raises(ValidationError, match="name one or more"):
        JudgeSettings(kind="endpoints")


def test_two_judges_of_one_name_are_refused():
    with pytest.raises(ValidationError, match="different names"):
        JudgeSettings(kind="endpoints", endpoints=(endpoint(), endpoint(model="n")))


@pytest.mark.parametrize(
    "change", [{"num_samples": 1}, {"temperature": -1.0}, {"timeout_seconds": 0.0}, {"key": "x"}]
)
def test_impossible_endpoints_are_refused(change):
    with pytest.raises(ValidationError):
        endpoint(**change)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -0.01, "nan", "inf"])
def test_money_is_a_number_that_is_neither_negative_nor_endless(value):
    for setting in ("max_usd", "usd_per_million_input", "usd_per_million_output"):
        with pytest.raises(ValidationError, match=setting):
            endpoint(**{setting: value})
    with pytest.raises(ValidationError, match="max_usd"):
        JudgeSettings(kind="endpoints", endpoints=[endpoint()], max_usd=value)


def test_the_paper_profile_switches_to_its_panel_with_one_line():
    profile = load_profile("paper")
    assert profile.judges.kind == "exemplar"
    changed = JudgeSettings(**{**profile.judges.model_dump(), "kind": "endpoints"})
    assert [each.name for each in changed.endpoints] == ["hosted", "routed", "own"]
    assert all(each.api_key_env for each in changed.endpoints[:2])


def test_replies_are_kept_beside_the_campaigns_unless_told_otherwise(monkeypatch, tmp_path):
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path))
    assert JudgeSettings().cache_path() == tmp_path / "judge_replies.sqlite"
    monkeypatch.setenv("SYNPREF_STORE", "s3://bucket/campaigns")
    assert str(JudgeSettings().cache_path()) == ".synpref/judge_replies.sqlite"
    mine = JudgeSettings(kind="endpoints", endpoints=(endpoint(),), cache="mine.sqlite")
    assert str(mine.cache_path()) == "mine.sqlite"


@pytest.mark.parametrize("name", ["gpt-4.1 (azure)", "a@b", "a/b", "a:b", "..", "panel", "Panel"])
def test_a_judge_has_a_name_that_can_be_all_that_it_becomes(name):
    with pytest.raises(ValidationError, match="judge name"):
        endpoint(name=name)


@pytest.mark.parametrize("limit", ["700", 0, -1, True, 1.5, None])
def test_a_limit_of_tokens_in_extra_is_a_number_of_tokens(limit):
    with pytest.raises(ValidationError, match="max_completion_tokens has to be a whole number"):
        endpoint(extra={"max_completion_tokens": limit})


def test_a_priced_judge_needs_some_limit_of_tokens():
    with pytest.raises(ValidationError, match="may cost anything"):
        endpoint(leave_out=["max_tokens"], usd_per_million_output=1.0)
    assert endpoint(leave_out=["max_tokens"]).leave_out == ("max_tokens",)
    limited = {"leave_out": ["max_tokens"], "extra": {"max_completion_tokens": 9}}
    assert endpoint(**limited, usd_per_million_output=1.0).extra == {"max_completion_tokens": 9}


@pytest.mark.parametrize(
    "change",
    [
        {"leave_out": ["temperature"], "temperature": 0.1},
        {"leave_out": ["seed"], "extra": {"seed": 1}},
        {"leave_out": ["messages"]},
        {"extra": {"n": 2}},
        {"extra": {"stream": True}},
    ],
)
def test_fields_of_the_request_that_contradict_each_other_are_refused(change):
    with pytest.raises(ValidationError):
        endpoint(**change)


def test_a_profile_that_leaves_fields_out_may_be_written_and_read_again():
    for name in ("seed", "temperature", "max_tokens", "response_format"):
        known = endpoint(leave_out=[name])
        assert JudgeEndpoint.model_validate_json(known.model_dump_json()) == known
