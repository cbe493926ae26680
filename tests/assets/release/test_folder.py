"""The champion changes only through gates that pass."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from synpref_dagster.assets.release.folder import register_release
from synpref_dagster.benchmarks.gates import Figure, Scorecard
from synpref_dagster.resources.tracking.registry import (
    CANDIDATE,
    CHAMPION,
    FINGERPRINT_TAG,
    ModelVersion,
)
from synpref_dagster.settings.stages import GateSettings
from synpref_dagster.storage import ModelRef

NAME = "demo-skywork-reward-v2-qwen3-0.6b"


class MemoryRegistry:
    def __init__(self):
        self.versions, self.aliases = [], {}

    def register(self, name, folder, *, metrics, tags):
        version = len(self.versions) + 1
        found = ModelVersion(name=name, version=version, source=str(folder), tags=dict(tags))
        self.versions.append(found)
        return found

    def version_of(self, name, fingerprint):
        found = [v for v in self.versions if v.tags[FINGERPRINT_TAG] == fingerprint]
        return found[-1] if found else None

    def aliased(self, name, alias):
        version = self.aliases.get(alias)
        return self.versions[version - 1] if version else None

    def point(self, name, alias, version):
        self.aliases[alias] = version

    def tag(self, name, version, tags):
        self.versions[version - 1].tags.update(tags)


def figure(value):
    return Figure(value=value, low=value - 0.02, high=value + 0.02)


GOOD = Scorecard(gold=figure(0.8), benchmarks={"rmb": figure(0.7)}, suite="a")


@pytest.fixture
def registry():
    return MemoryRegistry()


def release(registry, tmp_path, fingerprint, card):
    step = SimpleNamespace(
        tracked=SimpleNamespace(register_checkpoint=registry.register),
        campaign=SimpleNamespace(profile=SimpleNamespace(gates=GateSettings())),
    )
    model = ModelRef(uri="somewhere", fingerprint=fingerprint)
    gates, version = register_release(step, registry, NAME, tmp_path, card, model)
    return [gate.name for gate in gates if not gate.passed], version


def test_a_failed_gate_moves_the_candidate_and_keeps_the_champion(registry, tmp_path):
    assert release(registry, tmp_path, "f0", GOOD) == ([], 1)
    assert registry.aliases == {CANDIDATE: 1, CHAMPION: 1}
    worse = replace(GOOD, benchmarks={"rmb": figure(0.6)})
    assert release(registry, tmp_path, "f1", worse) == (["no_regression/rmb"], 2)
    assert registry.aliases == {CANDIDATE: 2, CHAMPION: 1}
    better = replace(GOOD, benchmarks={"rmb": figure(0.75)})
    assert release(registry, tmp_path, "f2", better) == ([], 3)
    assert registry.aliases == {CANDIDATE: 3, CHAMPION: 3}


def test_the_same_weights_stay_one_version(registry, tmp_path):
    for _ in range(3):
        assert release(registry, tmp_path, "f0", GOOD) == ([], 1)
    assert len(registry.versions) == 1


def test_a_model_no_better_than_chance_never_becomes_champion(registry, tmp_path):
    chance = replace(GOOD, gold=figure(0.51))
    assert release(registry, tmp_path, "f0", chance) == (["gold_accuracy"], 1)
    assert registry.aliases == {CANDIDATE: 1}
