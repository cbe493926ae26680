"""What a campaign cost is the sum over its history, of its own steps alone."""

import dagster as dg
import pytest

from synpref_dagster.assets.costs import CPU_SECONDS, GPU_SECONDS, SECONDS, Meter, cost_so_far
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.settings.profile import load_profile


@pytest.fixture
def campaign(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path))
    return Campaign.of(load_profile("smoke"))


def made(instance, campaign, name, *costs, **about):
    for seconds, cpu, gpu in costs:
        took = {SECONDS: seconds, CPU_SECONDS: cpu, GPU_SECONDS: gpu}
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                campaign.key(name), metadata={**campaign.about(), **took, **about}
            )
        )


def test_every_attempt_counts_and_other_campaigns_do_not(campaign):
    with dg.instance_for_test() as instance:
        made(instance, campaign, "raw_pool", (10.0, 8.0, 0.0), (1.0, 1.0, 0.0))
        made(instance, campaign, "iteration_01/reward_model", (3600.0, 20.0, 3600.0))
        made(instance, campaign, "raw_pool", (500.0, 500.0, 0.0), seed=7)
        # A campaign that was moved paid for what it did in its old place.
        made(instance, campaign, "gold", (7.0, 7.0, 0.0), store="/gone")
        found = cost_so_far(instance, campaign)
    assert found["by_step"] == {
        "gold": {"seconds": 7.0, CPU_SECONDS: 7.0, GPU_SECONDS: 0.0},
        "iteration_01/reward_model": {"seconds": 3600.0, CPU_SECONDS: 20.0, GPU_SECONDS: 3600.0},
        "raw_pool": {"seconds": 11.0, CPU_SECONDS: 9.0, GPU_SECONDS: 0.0},
    }
    assert found["cpu_hours"] == pytest.approx(36 / 3600)
    assert found["gpu_hours"] == pytest.approx(1.0)
    assert (found["num_steps"], found["num_unmeasured"]) == (4, 0)


def test_steps_of_an_earlier_version_are_said_to_be_unmeasured(campaign):
    with dg.instance_for_test() as instance:
        old = dg.AssetMaterialization(campaign.key("raw_pool"), metadata=campaign.about())
        instance.report_runless_asset_event(old)
        found = cost_so_far(instance, campaign)
    assert (found["num_steps"], found["num_unmeasured"]) == (1, 1)
    assert found["cpu_hours"] is found["gpu_hours"] is None


def test_a_step_that_computes_takes_processor_time_and_no_card():
    @dg.asset
    def busy(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        meter = Meter(context)
        total = sum(number * number for number in range(300_000))
        return dg.MaterializeResult(metadata={**meter.measured(), "total": total})

    result = dg.materialize([busy])
    [event] = result.get_asset_materialization_events()
    took = event.step_materialization_data.materialization.metadata
    assert took[CPU_SECONDS].value > 0
    assert took[SECONDS].value > 0
    assert took[GPU_SECONDS].value == 0.0
