"""What the embedded default and the real argument pairs must show, on whole campaigns.

Everything is read from `report.json`, as a user reads it. Differences are averaged over three
seeds: one campaign of this size is no evidence. A few minutes each; part of `make test-slow`.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import mean

import pytest

ROOT = Path(__file__).parents[2]

SEEDS = (0, 1, 2)
AT_A_TIME = 2

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def value(report, *path):
    found = report
    for name in path:
        found = found[name]
    return found["value"]


def average(reports, *path):
    return mean(value(report, *path) for report in reports)


@pytest.fixture(scope="module")
def demo(workplace):
    """Reports of three demo campaigns without releases."""
    places = [workplace("demo", seed=seed) for seed in SEEDS]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        list(pool.map(lambda place: place.campaign("--sizes", "none"), places))
    return [place.report() for place in places]


@pytest.fixture(scope="module")
def real(workplace, real_data, smollm2):
    """Reports of the campaigns on real answers with a real backbone, by profile."""
    mix = [sys.executable, "scripts/real_mix.py", str(real_data), ".synpref/real_mix"]
    subprocess.run(mix, cwd=ROOT, check=True)
    given = {"SYNPREF_REAL_DATA": str(real_data), "SYNPREF_SMOLLM2": str(smollm2)}
    first = workplace("real", **given, SYNPREF_KEY_PREFIX="real")
    # In one store: the features of the backbone are read once.
    second = replace(
        first, profile="real_turned", settings={**given, "SYNPREF_KEY_PREFIX": "real_turned"}
    )
    for place in (first, second):
        place.campaign("--sizes", "none")
    return {place.profile: place.report() for place in (first, second)}


def test_a_model_of_curated_labels_beats_one_of_the_original_labels(demo):
    curated = average(demo, "rm_accuracy", "filtered")
    assert curated - average(demo, "rm_accuracy", "original") >= 0.15
    assert curated - average(demo, "rm_accuracy", "original_equal_size") >= 0.12


def test_what_is_kept_and_flipped_is_right(demo):
    precision = {
        (rule, part): average(demo, "filter_precision", rule, part)
        for rule in ("consistency", "best_rm", "gold_rm")
        for part in ("kept", "flipped")
    }
    assert precision["consistency", "kept"] >= 0.88
    assert precision["consistency", "flipped"] >= 0.80
    for part in ("kept", "flipped"):
        alone = max(precision["best_rm", part], precision["gold_rm", part])
        assert precision["consistency", part] > alone


def test_retrieved_exemplars_beat_random_ones(demo):
    gain = average(demo, "judge_agreement", "retrieved") - average(
        demo, "judge_agreement", "random"
    )
    assert gain >= 0.15


def test_the_report_says_what_did_not_hold_either(demo):
    for report in demo:
        held = [claim["held"] for claim in report["claims"]]
        assert len(held) >= 10
        assert report["simulated"]


def test_bad_labels_of_real_pairs_are_repaired(real):
    labels = real["real_turned"]["label_accuracy"]
    assert labels["after"]["value"] - labels["before"]["value"] >= 0.12


def test_good_labels_of_real_pairs_are_left_alone(real):
    labels = real["real"]["label_accuracy"]
    for part in ("after", "whole_pool"):
        assert labels[part]["value"] - labels["before"]["value"] >= -0.01


def test_a_real_model_is_more_than_a_length_detector(real):
    for report in real.values():
        assert report["rm_accuracy"]["longer_is_better"]["n"] > 1_000
        assert value(report, "rm_accuracy", "truth") > value(
            report, "rm_accuracy", "longer_is_better"
        )
        # On the slice where gold contradicts length, length is always wrong.
        assert report["rm_accuracy_against_length"]["longer_is_better"]["value"] == 0.0
        assert value(report, "rm_accuracy_against_length", "truth") > 0.4
