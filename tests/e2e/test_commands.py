"""The commands of the README, as a user types them, in processes of their own."""

import json
import re

import pytest

OTHER_SIZE = "qwen3-1.7b"
PLACES = (
    "backbones/",
    "models/skywork_reward_v2/",
    "data/skywork_reward_v2/",
    "data/benchmark_scores/",
    "releases/",
    "refs/",
)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_definitions_are_valid(finished):
    assert "Validation successful" in finished.run(
        "dagster", "definitions", "validate", "-m", "synpref_dagster.definitions"
    )
    finished.run("dagster", "definitions", "validate", "-w", "workspace.yaml")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_size_is_materialised_by_the_command_of_the_readme(finished):
    before = finished.written()
    finished.run(
        *("dagster", "asset", "materialize", "-m", "synpref_dagster.definitions"),
        *("--select", "skywork_reward_v2,benchmark_scores,model_release,leaderboard"),
        *("--partition", OTHER_SIZE),
    )
    after = finished.written()
    changed = {name for name in after if before.get(name) != after[name]}
    assert changed
    assert before.keys() <= after.keys()
    board = {name for name in changed if "leaderboard" in name}
    assert board
    changed -= board
    assert {name for name in changed if OTHER_SIZE not in name} == set()
    assert all(name.startswith(PLACES) for name in changed)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_campaign_prints_its_report_and_where_it_lies(finished):
    output = finished.run("synpref", "report", "--profile", "smoke")
    paths = [str(finished.root / name) for name in ("report.json", "report.html")]
    assert output.split()[-2:] == paths
    report = json.loads((finished.root / "report.json").read_text())
    assert f"{report['label_accuracy']['before']['value']:.3f}".lstrip("0") in output
    for words in ("simulated:", "discarded", "Leaderboard", "What held, and what did not"):
        assert words in output
    page = (finished.root / "report.html").read_text()
    assert "https://" not in page.split("<body")[0]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_campaign_prints_one_line_per_asset_and_no_noise(finished):
    output = finished.campaign()
    progress = output.split("profile smoke")[0].splitlines()
    done = [line for line in progress if line.startswith("  done ")]
    # A smoke model is too weak for its promotion gate, and the report warns of it; a check that
    # fails is always shown.
    shown_checks = {line.split(":")[0] for line in progress if line.startswith("  check ")}
    assert shown_checks == {
        "  check  model_release promotion_gates", "  check  campaign_report no_warnings",
    }  # fmt: skip
    known = (
        "  done ",
        "  check ",
        "─",
        "MLflow: mlflow server ",
    )  # the last: how to open its pages
    headers = [line for line in progress if line and not line.startswith(known)]
    shape = r"(curate_pool|release_models \[qwen3-0.6b\]|refresh_leaderboard)  (\d+) assets"
    found = [re.fullmatch(shape, line) for line in headers]
    assert None not in found, headers
    assert [match[1] for match in found] == [
        "curate_pool",
        "release_models [qwen3-0.6b]",
        "refresh_leaderboard",
    ]
    assert len(done) == sum(int(match[2]) for match in found)
