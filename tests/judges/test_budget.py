"""The caps of a campaign and of single judges."""

import pytest

from synpref_dagster.judges.budget import Budget, Prices
from synpref_dagster.judges.cache import Payer
from synpref_dagster.judges.requests import JudgeReply

PAYER = Payer(campaign="c", asset="seed", judge="a")


@pytest.mark.parametrize(
    ("judge", "usd", "fits"),
    [("a", 0.25, True), ("a", 0.3, False), ("b", 0.5, True), ("b", 0.55, False)],
)
def test_a_call_fits_under_its_judges_cap_and_the_campaigns(judge, usd, fits):
    budget = Budget(max_usd=2.0, max_usd_by_judge={"a": 1.25})
    assert budget.fits(judge, usd, {"a": 1.0, "b": 0.5}) is fits


@pytest.mark.parametrize(
    ("prompt", "completion", "text", "finish", "usd"),
    [
        (100, 10, "{}", "stop", 2.0),  # as it says
        (100, 0, "", "content_filter", 1.0),  # nothing was written
        (0, 0, "{}", "stop", 5.0),
        (100, 0, "{}", "stop", 5.0),  # only half of it is said
        (0, 10, "{}", "stop", 5.0),
        (100, 0, "", "length", 5.0),  # all of it was thought
        (900, 0, "{}", "stop", 9.0),  # and that half is more than it could be
    ],
)
def test_a_reply_costs_the_most_unless_it_says_all_that_it_used(
    prompt, completion, text, finish, usd
):
    prices = Prices(usd_per_million_input=1e4, usd_per_million_output=1e5)
    reply = JudgeReply(
        text=text,
        finish_reason=finish,
        mode="text",
        prompt_tokens=prompt,
        completion_tokens=completion,
    )
    assert prices.charged_usd(reply, most_usd=5.0) == pytest.approx(usd)


def test_no_cap_is_no_limit():
    assert Budget().fits("a", 1e9, {"a": 1e9})
    assert Budget().left("a", committed={"a": 1.0}) == float("inf")


def test_the_message_names_the_cap_that_is_reached_and_what_is_missing():
    budget = Budget(max_usd=2.0, max_usd_by_judge={"a": 1.25})
    own = str(budget.exhausted(PAYER, {"a": 1.25, "b": 0.5}, num_missing=1200))
    assert "$1.2500 of max_usd of judge 'a' = $1.2500" in own
    assert "1,200 replies of judge 'a' for seed are missing" in own
    shared = str(budget.exhausted(PAYER, {"a": 1.0, "b": 1.0}, num_missing=1))
    assert "$2.0000 of judges.max_usd = $2.0000" in shared
