"""A training ends with its release, however it was started."""

import dagster as dg
import pytest

from synpref_dagster.definitions.build import build_defs
from synpref_dagster.definitions.releasing import (
    FOLLOWING,
    RELEASED,
    TRAINED,
    unreleased,
)

SIZE, OTHER = "qwen3-0.6b", "qwen3-1.7b"


@pytest.fixture
def instance():
    with dg.instance_for_test() as instance:
        yield instance


def made(instance, key, size):
    event = dg.AssetMaterialization(dg.AssetKey(key), partition=size)

    @dg.op
    def make(context):
        context.log_event(event)

    @dg.job
    def by_hand():
        make()

    assert by_hand.execute_in_process(instance=instance).success


def sizes(instance):
    return [request.partition_key for request in unreleased(instance, (SIZE, OTHER))]


def test_each_training_without_a_release_asks_for_one_run(instance):
    assert sizes(instance) == []
    made(instance, TRAINED, SIZE)
    made(instance, TRAINED, OTHER)
    [first, second] = unreleased(instance, (SIZE, OTHER))
    assert [first.partition_key, second.partition_key] == [SIZE, OTHER]
    assert first.asset_selection == [dg.AssetKey(name) for name in FOLLOWING]
    [again, _] = unreleased(instance, (SIZE, OTHER))
    assert again.run_key == first.run_key
    made(instance, TRAINED, "a-size-of-old")  # no partition of the profile any more
    made(instance, RELEASED, SIZE)
    assert sizes(instance) == [OTHER]
    made(instance, TRAINED, SIZE)
    [newer, _] = unreleased(instance, (SIZE, OTHER))
    assert newer.partition_key == SIZE
    assert newer.run_key != first.run_key


def test_the_sensor_asks_for_the_job_of_the_releases(instance):
    made(instance, TRAINED, SIZE)
    made(instance, TRAINED, OTHER)
    defs = build_defs("smoke")
    with dg.build_sensor_context(
        instance=instance, repository_def=defs.get_repository_def()
    ) as context:
        tick = defs.resolve_sensor_def("release_follows_training").evaluate_tick(context)
    assert {request.partition_key for request in tick.run_requests} == {SIZE, OTHER}
    assert FOLLOWING == ["benchmark_scores", "model_release", "leaderboard"]
