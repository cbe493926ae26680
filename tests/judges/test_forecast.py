"""What a campaign may cost, said before it asks."""

import pytest
from endpoint_profile import small_profile

from synpref_dagster.curation.judging.prompts import PAIRWISE
from synpref_dagster.judges.cache import Payer, ReplyCache
from synpref_dagster.judges.forecast import fits, forecast, mean_tokens
from synpref_dagster.judges.requests import JudgeReply, JudgeRequest
from synpref_dagster.pairs.record import PreferencePair, pairs_to_table

PROFILE = small_profile("http://one/v1")
JUDGE = PROFILE.judges.endpoints[0].name


def row(found, asset):
    [each] = [each for each in found if (each.asset, each.judge) == (asset, JUDGE)]
    return each


def test_a_verdict_is_asked_once_per_sample_and_an_attribute_once_per_pair():
    found = forecast(PROFILE, {"unverified_pool": 300}, None)
    assert row(found, "attribute_labels").num_questions == 300
    assert row(found, "silver_seed").num_questions == 2 * 50
    assert row(found, "attribute_labels").usd == pytest.approx(300 * (900 * 1 + 150 * 4) / 1e6)


def test_texts_that_are_there_say_how_long_a_question_is():
    turns = ({"role": "user", "content": "q" * 40}, {"role": "assistant", "content": "a" * 20})
    pairs = [
        PreferencePair(
            conversation=turns, chosen="c" * 100, rejected="é" * 20, source="s", origin="human"
        )
    ]
    table = pairs_to_table(pairs)
    assert mean_tokens([]) is None
    assert mean_tokens([table.slice(0, 0)]) is None
    assert mean_tokens([table.slice(0, 0), table]) == 200 / 4  # bytes, not letters
    found = forecast(PROFILE, {"unverified_pool": 300}, None, tokens_per_pair=50.0)
    assert row(found, "attribute_labels").usd == pytest.approx(300 * (450 * 1 + 150 * 4) / 1e6)


def test_replies_that_are_there_give_the_price_and_are_not_paid_again(tmp_path):
    cache = ReplyCache(tmp_path / "replies.sqlite")
    request = JudgeRequest(
        endpoint="http://one/v1", model="m", messages=[], prompt=PAIRWISE, sampling={}, sample=0
    )
    reply = JudgeReply(
        text="{}", finish_reason="stop", mode="text", prompt_tokens=1000, completion_tokens=250
    )
    cache.add(request, reply, Payer(campaign="smoke-seed-0", asset="silver_seed", judge=JUDGE))
    seed = row(forecast(PROFILE, {}, cache), "silver_seed")
    assert (seed.num_paid, seed.is_measured) == (1, True)
    assert seed.usd == pytest.approx(99 * 0.002)


@pytest.mark.parametrize(
    ("cap", "said"),
    [(1.0, "NOT ENOUGH FOR LABELS"), (11.0, "not for all reports"), (99.0, "it fits")],
)
def test_it_says_whether_the_cap_reaches_for_labels_and_for_reports(cap, said):
    assert said in fits(forecast(PROFILE, {}, None), cap=cap, spent=0.0)
