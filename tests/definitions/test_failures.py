"""A run that fails is logged with its step and cause."""

import dagster as dg
import pytest

from synpref_dagster.definitions.failures import report_failures


@pytest.fixture
def instance():
    with dg.instance_for_test() as instance:
        yield instance


def test_a_failed_run_is_logged_with_its_step_and_cause(instance, capfd):
    @dg.op
    def gives_up():
        raise ValueError("the pool is empty")

    @dg.job
    def broken():
        gives_up()

    result = broken.execute_in_process(instance=instance, raise_on_error=False)
    context = dg.build_run_status_sensor_context(
        sensor_name="report_failures",
        dagster_instance=instance,
        dagster_run=result.dagster_run,
        dagster_event=result.get_run_failure_event(),
    ).for_run_failure()
    capfd.readouterr()
    report_failures(context)
    logged = capfd.readouterr().err
    assert "broken failed" in logged
    assert "gives_up: ValueError: the pool is empty" in logged
