"""Money and time, by what was found."""

import pytest
from endpoint_profile import small_profile
from own_files import profile, specs

from synpref_dagster.judges.forecast import forecast
from synpref_dagster.preview.costs import (
    RATES,
    bill,
    hours_of_people,
    machines,
    minutes_per_pair,
    num_for_people,
    pool_sizes,
    small_models,
)
from synpref_dagster.preview.survey import survey


@pytest.fixture
def found(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path / "store"))
    return survey(specs(tmp_path), seed=0)


def test_the_bill_is_that_of_the_estimate_with_the_pools_that_were_found(found):
    judged = small_profile("http://127.0.0.1:9/v1")
    told = bill(judged, found, num_comparisons=4)
    sizes = {"raw_pool": 13, "clean_pool": 11, "unverified_pool": 8, "judge_scores": 4}
    assert pool_sizes(found, 4) == sizes
    tokens = found.bytes_per_pair / 4
    rows = forecast(judged, sizes, None, tokens_per_pair=tokens)
    assert told.rows == tuple(rows)
    assert told.usd == pytest.approx(sum(row.usd for row in rows if not row.is_extra))
    assert told.shortage == ""


def test_a_cap_below_the_labels_is_a_line_with_both_numbers(found):
    plain = small_profile("http://127.0.0.1:9/v1")
    capped = plain.model_copy(update={"judges": plain.judges.model_copy(update={"max_usd": 0.01})})
    told = bill(capped, found, num_comparisons=None)
    assert told.shortage.startswith("labels cost about $")
    assert "$0.01 of judges.max_usd are left: raise it" in told.shortage


def test_judges_that_run_here_have_no_bill(tmp_path, found):
    assert bill(profile(tmp_path), found, num_comparisons=None) is None


def test_replies_take_as_long_as_the_slowest_judge(found):
    one = small_profile("http://127.0.0.1:9/v1", max_concurrency=1)
    many = small_profile("http://127.0.0.1:9/v1", max_concurrency=10)
    slow, quick = (bill(each, found, num_comparisons=None) for each in (one, many))
    assert slow.hours == pytest.approx(10 * quick.hours)
    asked = {}
    for row in slow.rows:
        if not row.is_extra:
            asked[row.judge] = asked.get(row.judge, 0) + row.num_questions
    assert slow.hours == pytest.approx(max(asked.values()) * 4.0 / 3600)
    assert not slow.is_timed


def test_models_without_a_backbone_take_no_hours_and_real_ones_do(tmp_path, found):
    assert machines(profile(tmp_path), found) == []
    real = {"backend": "hub", "model_size": "qwen3-0.6b"}
    told = machines(profile(tmp_path, reward_model=real), found)
    assert [each.device.name for each in told] == ["h200", "cpu"]
    assert 0 < told[0].hours < told[1].hours


def test_what_has_no_room_on_a_device_is_named(tmp_path, found):
    big = {"backend": "hub", "model_size": "qwen3-8b"}
    [line] = machines(profile(tmp_path, reward_model=big), found)[0].too_large
    assert line.startswith("qwen3-8b does not fit h200: a step needs ")


def test_people_read_what_is_there_and_some_pairs_are_seen_twice(tmp_path, found):
    # 240 words a minute, six bytes a word, half a minute to decide
    assert minutes_per_pair(found) == pytest.approx(found.bytes_per_pair / 6 / 240 + 0.5)
    asked = profile(tmp_path, people={"backend": "page", "double_share": 0.5})
    assert num_for_people(asked) == round(1.5 * (2 + 1))
    assert num_for_people(profile(tmp_path)) == 3
    assert hours_of_people(asked, found) == pytest.approx(4 * minutes_per_pair(found) / 60)
    assert hours_of_people(profile(tmp_path), found) == 0.0


def test_small_models_take_seconds_by_their_pairs_and_backbones_none(tmp_path, found):
    linear, release = small_models(profile(tmp_path), found)
    # one model of the seed and one of an iteration, the gold model, five folds of it, and six
    # variants; two of them score the clean pool
    assert (linear.backend, linear.what) == ("linear", "stages")
    assert linear.num_read == 2 * found.num_clean
    rate, size = RATES["linear"], found.bytes_per_pair
    expected = linear.num_trained * size / rate.trained + linear.num_read * size / rate.read
    assert linear.seconds == pytest.approx(expected + linear.num_models * rate.begin)
    assert (release.backend, release.num_models) == ("stand_in", len(profile(tmp_path).sizes()))
    real = {"backend": "hub", "model_size": "qwen3-0.6b"}
    told = small_models(profile(tmp_path, reward_model=real), found)
    assert [each.what for each in told] == ["release"]
