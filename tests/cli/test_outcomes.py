"""How a run ended and what people are told to do next, on small jobs that really fail."""

import sqlite3
from errno import ENOSPC

import dagster as dg
import pytest

from synpref_dagster.cli.outcomes import (
    AGAIN,
    FULL,
    MAYBE_AGAIN,
    MEND_FIRST,
    CampaignFailedError,
    CampaignWaitingError,
    refuse_unfinished,
)
from synpref_dagster.judges.budget import BudgetExhaustedError
from synpref_dagster.judges.cache import CacheFullError
from synpref_dagster.judges.requests import JudgeUnavailableError
from synpref_dagster.resources.judges import WaitingForBatches
from synpref_dagster.settings.stages import PeopleSettings

PAGE = PeopleSettings(backend="page")


def run_steps(*errors):
    """Runs one asset per error, which raises it (None: succeeds)."""

    def asset(number, error):
        @dg.asset(name=f"step_{number}")
        def step():
            if error is not None:
                raise error

        return step

    return dg.materialize(
        [asset(number, error) for number, error in enumerate(errors)], raise_on_error=False
    )


def failure(cause):
    """A step's failure as the judges' assets raise it."""
    try:
        raise dg.Failure(str(cause)) from cause
    except dg.Failure as error:
        return error


@pytest.mark.parametrize(
    ("errors", "advice"),
    [
        ([ValueError("name a source")], MEND_FIRST),
        ([FileNotFoundError("pairs.jsonl")], MEND_FIRST),
        ([dg.Failure("people agree too little")], MEND_FIRST),
        ([failure(BudgetExhaustedError("raise judges.max_usd"))], MEND_FIRST),
        ([failure(JudgeUnavailableError("no answer"))], AGAIN),
        ([ConnectionError("no answer")], AGAIN),
        ([ConnectionError("no answer"), ValueError("name a source")], MEND_FIRST),
        ([KeyError("chosen")], MAYBE_AGAIN),
        ([ConnectionError("no answer"), KeyError("chosen")], MAYBE_AGAIN),
        ([OSError(ENOSPC, "No space left on device", "/store/a")], FULL),
        ([CacheFullError("the disk is full"), ValueError("name a source")], FULL),
        ([failure(sqlite3.OperationalError("database or disk is full"))], FULL),
    ],
)
def test_the_advice_is_to_start_again_only_where_that_may_help(errors, advice):
    with pytest.raises(CampaignFailedError, match=r"^curate failed in run ") as raised:
        refuse_unfinished(run_steps(*errors), "curate", people=PAGE)
    assert raised.value.advice == advice


def test_a_blocking_check_that_fails_has_to_be_mended():
    @dg.asset(check_specs=[dg.AssetCheckSpec("holds", asset="pool", blocking=True)])
    def pool():
        return dg.MaterializeResult(
            check_results=[dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.ERROR)]
        )

    result = dg.materialize([pool], raise_on_error=False)
    with pytest.raises(CampaignFailedError) as raised:
        refuse_unfinished(result, "curate", people=PAGE)
    assert raised.value.advice == MEND_FIRST


def test_a_run_that_did_everything_passes():
    refuse_unfinished(run_steps(None), "curate", people=PAGE)


def test_batches_under_way_are_waited_for_by_their_own_sensor():
    with pytest.raises(CampaignWaitingError, match="waits for judges: 4 replies") as raised:
        refuse_unfinished(run_steps(WaitingForBatches("4 replies")), "curate", people=PAGE)
    assert "judge_batches" in raised.value.advice
    assert "verdicts_arrived" not in raised.value.advice


def test_a_failure_beside_a_wait_is_a_failure():
    with pytest.raises(CampaignFailedError, match="curate failed") as raised:
        refuse_unfinished(
            run_steps(WaitingForBatches("4 replies"), ValueError("name a source")),
            "curate",
            people=PAGE,
        )
    assert not isinstance(raised.value, CampaignWaitingError)
    assert raised.value.advice == MEND_FIRST


@pytest.mark.parametrize(
    ("people", "place"),
    [
        (PAGE, "synpref review serve"),
        (
            PeopleSettings(backend="label_studio", label_studio_url="http://127.0.0.1:8080"),
            "Label Studio at http://127.0.0.1:8080",
        ),
    ],
)
def test_people_are_waited_for_where_they_answer(people, place):
    @dg.asset(output_required=False)
    def verdicts():
        if False:
            yield

    @dg.asset
    def silver(verdicts):
        raise AssertionError("must not run")

    result = dg.materialize([verdicts, silver], raise_on_error=False)
    with pytest.raises(CampaignWaitingError, match=place) as raised:
        refuse_unfinished(result, "curate", people=people)
    assert "verdicts_arrived" in raised.value.advice
