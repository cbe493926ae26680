"""What is refused before a release is made."""

from types import SimpleNamespace

import dagster as dg
import pandas as pd
import pytest

from synpref_dagster.assets.release.benchmarks import SCORED
from synpref_dagster.assets.release.folder import (
    refuse_other_scores,
    refuse_other_weights,
)
from synpref_dagster.assets.release.lineage import DATA_VERSION
from synpref_dagster.reward.folders import folder_fingerprint
from synpref_dagster.storage import ModelRef


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
        campaign=SimpleNamespace(frame=lambda ref: scored, key=dg.AssetKey),
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
