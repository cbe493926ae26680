"""Devices by name: a time is operations over what is expected of the device."""

import pytest

from synpref_dagster.reward.prediction.machines import ASSUMED, MACHINES, machine


def test_a_time_is_operations_over_the_expected_share_of_the_peak():
    h200 = machine("H200")
    assert h200.utilisation == ASSUMED == 0.4
    assert h200.seconds(989e12, dtype="bfloat16") == pytest.approx(1 / 0.4)
    assert machine("h200", utilisation=1.0).seconds(67e12, dtype="float32") == pytest.approx(1)


def test_an_unknown_device_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match=r"'tpu' is unknown: choose h200, h100, .*cpu"):
        machine("tpu")


def test_every_device_says_where_its_numbers_are_from():
    for each in MACHINES.values():
        assert each.source
        assert each.half_flops > each.float_flops > 1e11
        assert (each.memory_bytes > 0) == (each.device == "cuda")
