"""Several campaigns beside each other on a terminal: what is pooled, and what is missing."""

import io
import json

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from synpref_dagster.cli.app import app
from synpref_dagster.cli.compare import compare_campaigns
from synpref_dagster.curation.evidence.variants import variants_by_pair
from synpref_dagster.pairs.record import PreferencePair, table_from_frame
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.storage import build_dataset, step_key, to_json


def measured(profile, *, num_right):
    """Leave the evidence of a campaign: 20 prompts, the filtered model right about some."""
    pairs = [
        PreferencePair(
            conversation=({"role": "user", "content": f"prompt {number} of {profile.seed}"},),
            chosen="better and longer",
            rejected="bad",
            source="crowd",
            origin="human",
        )
        for number in range(20)
    ]
    filtered = np.where(np.arange(20) < num_right, 1.0, -1.0)
    table = variants_by_pair(pairs, {"original": -np.ones(20), "filtered": filtered})
    return build_dataset(
        f"{profile.store_root()}/data/curation_variants/by_pair",
        step=step_key(version="1", inputs=[str(num_right)], params={}),
        compute=lambda: table_from_frame(table),
    )


@pytest.fixture
def campaigns(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path / "store"))
    profiles = [load_profile("smoke", seed=seed) for seed in range(3)]
    for profile, num_right in zip(profiles[:2], (20, 10), strict=True):
        ref = measured(profile, num_right=num_right)
        place = "curation_variants.json"
        path = tmp_path / "store/smoke" / f"seed-{profile.seed}" / "refs"
        path.mkdir(parents=True)
        (path / place).write_text(to_json({"accuracy": ref, "by_pair": ref}, place=place))
    return profiles


def printed(campaigns, **kwargs):
    console = Console(file=io.StringIO(), width=160)
    missing = compare_campaigns(console, {"smoke": campaigns}, **kwargs)
    return missing, [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_the_campaigns_of_a_setting_are_pooled_and_a_gain_has_its_verdict(campaigns, tmp_path):
    output = tmp_path / "rows.jsonl"
    missing, lines = printed(campaigns[:2], output=output)
    assert missing == []
    [row] = [line for line in lines if line.startswith("curated: kept")][:1]
    assert row.startswith("curated: kept .750 [")
    assert row.endswith("] held")
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    [found] = [
        row
        for row in rows
        if (row["variant"], row["over"], row["slice"], row["source"])
        == ("filtered", "original", "all", "")
    ]
    assert (found["setting"], found["value"], found["n"]) == ("smoke", 0.75, 40)


def test_a_campaign_without_evidence_is_named(campaigns):
    missing, lines = printed(campaigns, output=None)
    assert missing == ["smoke-seed-2"]
    assert any("smoke: 2 splits pooled" in line for line in lines)


def test_the_command_says_what_to_do_about_missing_campaigns(campaigns):
    result = CliRunner().invoke(app, ["compare", "smoke", "--seeds", "2"])
    assert result.exit_code == 2
    assert "no evidence yet of smoke-seed-2: `synpref run` these campaigns" in " ".join(
        result.output.split()
    )


@pytest.mark.parametrize("seeds", ["one", "", "0;1"])
def test_seeds_are_whole_numbers(seeds):
    result = CliRunner().invoke(app, ["compare", "smoke", "--seeds", seeds])
    assert result.exit_code == 2
    assert "give whole numbers" in result.output
