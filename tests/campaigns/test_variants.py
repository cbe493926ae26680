"""Training sets compared by models that train like a release."""

import json
import shutil

import dagster as dg
import numpy as np

from synpref_dagster.settings.models import StandInReleaseSettings
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.settings.stages import VariantSettings

NUM_PAIRS = 48


def test_variants_train_like_a_release_on_equally_many_pairs(
    finished_campaign, start_campaign, tmp_path
):
    base = tmp_path / "copy"
    shutil.copytree(finished_campaign.base, base)
    asked = VariantSettings(
        trained_like="releases",
        model_size="llama-3.2-1b",
        training_sets=("original", "truth"),
        num_pairs=NUM_PAIRS,
    )
    campaign = start_campaign(
        base,
        evidence=load_profile("smoke").evidence.model_copy(update={"variants": asked}),
        release=StandInReleaseSettings(backend="stand_in", num_steps=3, batch_pairs=16),
    )
    campaign.run("curate_pool", selection=[dg.AssetKey("curation_variants")])
    found = campaign.ref("curation_variants")
    accuracy = campaign.frame(found["accuracy"]).query("variant != ''")
    assert dict(zip(accuracy["variant"], accuracy["num_pairs"], strict=True)) == {
        "longer_is_better": 0,
        "original": NUM_PAIRS,
        "truth": NUM_PAIRS,
    }
    assert {"original", "truth"} < {*campaign.frame(found["by_pair"]).columns}
    trained = [
        json.loads(file.read_text())
        for name in ("original", "truth")
        for file in (campaign.root / "models" / "curation_variants" / name).glob("*/training.json")
        if json.loads(file.read_text())["config"]["max_steps"] == 3
    ]
    assert len(trained) == 2
    assert len({each["config"]["seed"] for each in trained}) == 1
    assert [each["report"]["num_pairs"] for each in trained] == [NUM_PAIRS] * 2
    # What was compared before has another identity, and is still there.
    before = finished_campaign.frame(finished_campaign.ref("curation_variants")["accuracy"])
    assert np.isin(["filtered", "final"], before["variant"]).all()
