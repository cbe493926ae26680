"""How a run of a campaign ended, and what its people do next: wait, mend something, or try again.

An error is worth another attempt when it may pass by itself; one that names a wrong setting comes
back for ever, and saying "start again" after it would send people in a circle.
"""

import dagster as dg

from synpref_dagster.definitions.failures import waits_for
from synpref_dagster.settings.stages import PeopleSettings

KEPT = "finished steps are kept."
AGAIN = f"Start the same command again to continue: {KEPT}"
MEND_FIRST = (
    "Change what the message names first, in the profile, the sources or the environment; "
    f"as it is, it fails again. Then start the same command: {KEPT}"
)
FULL = (
    "A disk is full: free space where the message says. Then start the same command: "
    f"{KEPT} Nothing that was paid for or said by people is lost."
)
FULL_WORDS = ("disk is full", "No space left on device", "Disk quota exceeded")
MAYBE_AGAIN = f"{AGAIN} Should the same error come back, it does not pass by itself."
ONCE_DONE = "Start this command again when they are done"
PASSING = frozenset(  # classes of errors that a later attempt may not meet
    {
        "JudgeUnavailableError",
        "DamagedShardError",
        "ConnectionError",
        "LedgerAwayError",
        "StoreInUseError",
        "ConnectionRefusedError",
        "ConnectionResetError",
        "ConnectionAbortedError",
        "BrokenPipeError",
        "TimeoutError",
        "OperationalError",
        "DagsterExecutionInterruptedError",
        "KeyboardInterrupt",
    }
)
LASTING = frozenset(  # classes of errors that say what people must change
    {
        "ValueError",
        "DamagedError",
        "ValidationError",
        "BudgetExhaustedError",
        "DamagedCacheError",
        "JudgeRefusedError",
        "PermissionError",
        "FileNotFoundError",
        "ModuleNotFoundError",
        "ImportError",
        "DagsterAssetCheckFailedError",
    }
)


class CampaignFailedError(Exception):
    """A run of the campaign failed; the message names the run."""

    def __init__(self, message: str, *, advice: str = MAYBE_AGAIN) -> None:
        super().__init__(message)
        self.advice = advice


class CampaignWaitingError(CampaignFailedError):
    """The campaign cannot go on before people or batches have answered; nothing went wrong."""

    def __init__(self, message: str, *, advice: str = f"{ONCE_DONE}.") -> None:
        super().__init__(message, advice=advice)


def refuse_unfinished(
    result: dg.ExecuteInProcessResult, title: str, *, people: PeopleSettings
) -> None:
    """Pass a run that did everything; else say why not and what to do next.

    Args:
        result: of the run.
        title: what people call it.
        people: where people answer.

    Raises:
        CampaignFailedError: a step failed.
        CampaignWaitingError: nothing failed, but others are asked and have not answered.
    """
    failures = [event for event in result.all_events if event.is_step_failure]
    waiting = [said for each in failures if (said := waits_for(each)) is not None]
    failed = [each for each in failures if waits_for(each) is None]
    if failed or not (result.success or waiting):
        raise CampaignFailedError(
            f"{title} failed in run {result.run_id}", advice=advice_after(failed)
        )
    if waiting:
        raise CampaignWaitingError(
            f"{title} waits for judges: {'; '.join(waiting)}",
            advice=f"{ONCE_DONE}, or turn on the sensor judge_batches in `make ui`, which "
            "continues by itself.",
        )
    if any(event.event_type == dg.DagsterEventType.STEP_SKIPPED for event in result.all_events):
        raise CampaignWaitingError(
            f"{title} waits for people: {_where(people)}",
            advice=f"{ONCE_DONE}, or turn on the sensor verdicts_arrived in `make ui`, which "
            "continues by itself.",
        )


def advice_after(failures: list[dg.DagsterEvent]) -> str:
    """What to do after these step failures: a lasting one decides, since it has to be mended."""
    kinds = {_kind(each) for each in failures}
    if any(map(_is_full, failures)):
        return FULL
    if LASTING in kinds:
        return MEND_FIRST
    return AGAIN if kinds == {PASSING} else MAYBE_AGAIN


def _kind(failure: dg.DagsterEvent) -> frozenset[str] | None:
    """`PASSING`, `LASTING`, or None for an error of which neither is known."""
    error = failure.step_failure_data.error
    classes = []
    while error is not None:
        classes.append(error.cls_name or "")
        error = error.cause
    if PASSING & set(classes):
        return PASSING
    # A `dg.Failure` is how a step says that it will not go on by itself.
    told = failure.step_failure_data.user_failure_data is not None
    return LASTING if told or LASTING & set(classes) else None


def _is_full(failure: dg.DagsterEvent) -> bool:
    error = failure.step_failure_data.error
    while error is not None:
        if any(words in error.message for words in FULL_WORDS):
            return True
        error = error.cause
    return False


def _where(people: PeopleSettings) -> str:
    if people.backend == "label_studio":
        return f"their pairs are in Label Studio at {people.label_studio_url}"
    return (
        "their pairs are on the review page (`synpref review serve`); "
        "`synpref review status` says how far they are"
    )
