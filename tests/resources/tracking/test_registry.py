"""Versions of registered models and their aliases, in a real MLflow store."""

from dataclasses import replace

import pytest
from tracked_steps import client_of, step_context

from synpref_dagster.benchmarks.gates import Figure, Scorecard
from synpref_dagster.resources.tracking.registry import CANDIDATE, CHAMPION, FINGERPRINT_TAG


def figure(value):
    return Figure(value=value, low=value - 0.02, high=value + 0.02)


GOOD = Scorecard(gold=figure(0.8), benchmarks={"rmb": figure(0.7)}, suite="a")


class Releases:
    """Releases of one registered model, and where its aliases are."""

    def __init__(self, tracking, folder):
        self.tracking, self.folder, self.name = tracking, folder, tracking.campaign

    def release(self, fingerprint, card):
        with self.tracking.step(step_context()) as step:
            gates, version = step.release(
                self.name, self.folder, fingerprint=fingerprint, card=card, min_gold_accuracy=0.5
            )
        return [gate.name for gate in gates if not gate.passed], version

    @property
    def aliases(self):
        found = {each: self.tracking.registry().aliased(self.name, each) for each in ALIASES}
        return {alias: version.version for alias, version in found.items() if version}


ALIASES = (CANDIDATE, CHAMPION)


@pytest.fixture
def releases(tracking, tmp_path):
    return Releases(tracking, tmp_path)


def test_a_failed_gate_moves_the_candidate_and_keeps_the_champion(releases):
    assert releases.aliases == {}
    assert releases.release("f0", GOOD) == ([], 1)
    assert releases.aliases == {CANDIDATE: 1, CHAMPION: 1}
    worse = replace(GOOD, benchmarks={"rmb": figure(0.6)})
    assert releases.release("f1", worse) == (["no_regression/rmb"], 2)
    assert releases.aliases == {CANDIDATE: 2, CHAMPION: 1}
    better = replace(GOOD, benchmarks={"rmb": figure(0.75)})
    assert releases.release("f2", better) == ([], 3)
    assert releases.aliases == {CANDIDATE: 3, CHAMPION: 3}


def test_the_same_weights_stay_one_version_with_the_last_scorecard(releases):
    for card in (GOOD, GOOD, replace(GOOD, suite="b")):
        assert releases.release("f0", card) == ([], 1)
    found = releases.tracking.registry().aliased(releases.name, CHAMPION)
    assert Scorecard.from_json(found.tags["synpref.scorecard"]).suite == "b"
    assert found.source == releases.folder.as_uri()


def test_a_model_no_better_than_chance_never_becomes_champion(releases):
    chance = replace(GOOD, gold=figure(0.51))
    assert releases.release("f0", chance) == (["gold_accuracy"], 1)
    assert releases.aliases == {CANDIDATE: 1}


def test_versions_are_found_by_a_tag_and_early_ones_have_their_folder_as_source(tracking):
    registry, client = tracking.registry(), client_of(tracking)

    def register(fingerprint):
        tags = {FINGERPRINT_TAG: fingerprint}
        version = client.create_model_version("early", source="file:///tmp/x", tags=tags)
        return int(version.version)

    assert registry.tagged("early", FINGERPRINT_TAG, "f0") is None
    client.create_registered_model("early")
    first, second = register("f0"), register("f1")
    assert registry.tagged("early", FINGERPRINT_TAG, "f0").version == first
    found = registry.tagged("early", FINGERPRINT_TAG, "f1")
    assert (found.version, found.source) == (second, "file:///tmp/x")
    with pytest.raises(ValueError, match="quote"):
        registry.tagged("it's", FINGERPRINT_TAG, "f0")
