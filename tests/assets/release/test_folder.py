"""The champion changes only through gates that pass."""

from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest

from synpref_dagster.assets.release.benchmarks import SCORED
from synpref_dagster.assets.release.folder import (
    refuse_other_scores,
    refuse_other_weights,
    register_release,
)
from synpref_dagster.assets.release.lineage import DATA_VERSION
from synpref_dagster.benchmarks.gates import Figure, Scorecard
from synpref_dagster.resources.tracking.registry import (
    CANDIDATE,
    CHAMPION,
    FINGERPRINT_TAG,
    ModelVersion,
)
from synpref_dagster.reward.folders import folder_fingerprint
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


def test_scores_of_another_model_are_refused_with_the_nights_of_both():
    made = {"old": 1_700_000_000, "new": 1_700_090_000}

    def records(instance_filter, limit):
        found = [
            SimpleNamespace(
                timestamp=timestamp,
                asset_materialization=SimpleNamespace(tags={DATA_VERSION: version}),
            )
            for version, timestamp in made.items()
        ]
        return SimpleNamespace(records=found)

    scored = pd.DataFrame({"model": ["old"]})
    step = SimpleNamespace(
        context=SimpleNamespace(
            partition_key="qwen3-0.6b", instance=SimpleNamespace(fetch_materializations=records)
        ),
        campaign=SimpleNamespace(frame=lambda ref: scored),
    )
    refuse_other_scores(step, ModelRef("m", "old"), {SCORED: None})
    with pytest.raises(
        ValueError,
        match="of the model of 2023-11-14 22:13 UTC, and the model to be released is that of "
        "2023-11-15 23:13 UTC",
    ):
        refuse_other_scores(step, ModelRef("m", "new"), {SCORED: None})
    with pytest.raises(ValueError, match="do not say of which model they are"):
        refuse_other_scores(step, ModelRef("m", "new"), {})


def test_a_checkpoint_that_was_written_over_is_refused(tmp_path):
    (tmp_path / "weights").write_text("a")
    model = ModelRef(str(tmp_path), folder_fingerprint(tmp_path))
    refuse_other_weights(model)
    (tmp_path / "weights").write_text("b")
    with pytest.raises(ValueError, match="holds other files than the model"):
        refuse_other_weights(model)
