"""What a failed step says: the first cause of an error, or whom a step waits for."""

import dagster as dg

from synpref_dagster.resources.judges import WAITING_FOR


@dg.run_failure_sensor(
    name="report_failures",
    description="Writes every failed run to the log; replace by your own notifier.",
)
def report_failures(context: dg.RunFailureSensorContext) -> None:
    """Say which job failed in which step and why, where the daemon's log is read."""
    events = context.get_step_failure_events()
    if events and all(waits_for(event) for event in events):
        return  # nothing went wrong: a sensor continues when the others are done
    context.log.error("%s failed: %s", context.dagster_run.job_name, context.failure_event.message)
    for event in events:
        context.log.error("%s: %s", event.step_key, first_cause(event))


def waits_for(event: dg.DagsterEvent) -> str | None:
    """What a step says that ended because others are at work; None for one that really failed."""
    told = event.step_failure_data.user_failure_data
    if told is None or WAITING_FOR not in told.metadata:
        return None
    return str(told.description)


def first_cause(event: dg.DagsterEvent) -> str:
    """The message of the exception that our code raised, without Dagster's wrapping and stacks."""
    told = event.step_failure_data.user_failure_data
    if told is not None and told.description:
        return str(told.description)  # of a `dg.Failure`, without the name of its class
    error = event.step_failure_data.error
    while error is not None and error.cause is not None and _is_wrapping(error.cls_name):
        error = error.cause
    return error.message.strip() if error is not None else "no error was recorded"


def _is_wrapping(class_name: str | None) -> bool:
    return (class_name or "").startswith("Dagster")
