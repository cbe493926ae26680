"""The command line: what it prints, what it refuses, and how it ends when a step fails."""

import os
import pty
import socket
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from synpref_dagster.cli import app as cli, campaign
from synpref_dagster.cli.campaign import Stage, campaign_stages, end_dead_runs
from synpref_dagster.cli.instance import open_instance
from synpref_dagster.cli.outcomes import CampaignFailedError, CampaignWaitingError
from synpref_dagster.cli.progress import CampaignProgress, progress_logger
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.judges import WaitingForBatches
from synpref_dagster.settings.profile import load_profile


@pytest.fixture
def synpref(monkeypatch, tmp_path):
    """Runs `synpref ...` in an empty folder; gives exit code and output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "console", Console(width=200, no_color=True))

    def run(*arguments):
        result = CliRunner().invoke(cli.app, list(arguments))
        return result.exit_code, result.output

    return run


@pytest.fixture
def campaign_calls(monkeypatch):
    """Replaces the campaign by a list of what it was asked to run."""
    calls = []

    def record(profile, *, sizes, loggers, on_stage, take_over):
        calls.append((profile.name, profile.seed, list(sizes)))
        for stage in campaign_stages(sizes):
            on_stage(stage)

    monkeypatch.setattr(campaign, "run_campaign", record)
    monkeypatch.setattr(cli, "_print_report", lambda profile: None)
    return calls


def test_init_writes_a_profile_once_and_says_what_comes_next(synpref, tmp_path):
    rows = [f'{{"prompt": "a {n}", "chosen": "b", "rejected": "c"}}\n' for n in range(24)]
    (tmp_path / "pairs.jsonl").write_text("".join(rows))
    code, output = synpref("init")
    assert code == 0, output
    assert output.splitlines()[-3:] == [
        "synpref.toml is written. Next:",
        "  synpref check synpref.toml",
        "  synpref run --profile synpref.toml",
    ]
    written = (tmp_path / "synpref.toml").read_text()
    assert load_profile("synpref.toml").pool.sources[0].path == "pairs.jsonl"
    code, output = synpref("init")
    assert (code, output.count("\n")) == (2, 1)
    assert "synpref.toml is there already" in output
    assert (tmp_path / "synpref.toml").read_text() == written
    assert synpref("init", "--force")[0] == 0
    code, output = synpref("init", "nothing-here.csv", "--output", "other.toml")
    assert (code, output.count("\n")) == (2, 1)
    assert not (tmp_path / "other.toml").exists()


@pytest.mark.parametrize(
    ("given", "repeated"),
    [(["own.toml"], "own.toml"), (["own.toml", "--seed", "3"], "own.toml --seed 3")],
)
def test_advice_repeats_the_profile_as_it_was_given(synpref, tmp_path, given, repeated):
    (tmp_path / "own.toml").write_text('extends = "smoke"\nname = "e8"\n')
    for command in (["report"], ["explain", "abcdef"]):
        code, output = synpref(*command, "--profile", *given)
        assert code != 0
        assert f"run `synpref run --profile {repeated}` first" in output


def test_help_names_every_command_and_profile(synpref):
    code, output = synpref("--help")
    assert code == 0
    assert all(command in output for command in ("demo", "run", "report", "explain"))
    assert "smoke" in synpref("run", "--help")[1]


def test_demo_runs_the_demo_profile_with_all_sizes(synpref, campaign_calls):
    code, output = synpref("demo")
    assert code == 0
    [(name, seed, sizes)] = campaign_calls
    assert (name, seed, len(sizes)) == ("demo", 0, 8)
    assert "curate_pool" in output
    assert "release_models [qwen3-0.6b]" in output


def test_run_takes_profile_seed_and_sizes(synpref, campaign_calls):
    code, _ = synpref(
        "run", "--profile", "smoke", "--seed", "7", "--sizes", "qwen3-4b, llama-3.2-1b"
    )
    assert code == 0
    assert campaign_calls == [("smoke", 7, ["qwen3-4b", "llama-3.2-1b"])]


def test_no_sizes_means_no_release(synpref, campaign_calls):
    assert synpref("run", "--profile", "smoke", "--sizes", "none")[0] == 0
    assert campaign_calls == [("smoke", 0, [])]


def test_an_unknown_profile_ends_with_the_names_there_are(synpref):
    code, output = synpref("run", "--profile", "dmeo")
    assert code == 2
    assert "profile 'dmeo' is unknown; use one of demo" in output
    assert "Traceback" not in output


def test_an_unknown_size_ends_with_the_sizes_there_are(synpref):
    code, output = synpref("run", "--profile", "smoke", "--sizes", "qwen3-70b")
    assert code == 2
    assert "qwen3-70b" in output
    assert "llama-3.1-8b-40m" in output


def test_a_report_that_is_not_there_says_how_to_get_it(synpref):
    code, output = synpref("report", "--profile", "smoke")
    assert code == 2
    assert "synpref run --profile smoke" in output


def test_a_failed_campaign_says_why_and_that_it_continues(synpref, monkeypatch):
    def fail(*_, **__):
        raise CampaignFailedError("curate_pool failed in run 1234")

    monkeypatch.setattr(campaign, "run_campaign", fail)
    code, output = synpref("run", "--profile", "smoke")
    assert code == 1
    assert "curate_pool failed in run 1234" in output
    assert "Start the same command again" in output


def test_stages_are_curation_then_each_size_then_the_leaderboard():
    stages = campaign_stages(["qwen3-0.6b", "qwen3-8b"])
    assert [stage.title for stage in stages] == [
        "curate_pool",
        "release_models [qwen3-0.6b]",
        "release_models [qwen3-8b]",
        "refresh_leaderboard",
    ]
    assert Stage(job="curate_pool").partition is None


def test_runs_of_killed_processes_are_ended_and_others_left_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    gone = subprocess.Popen(["true"])
    gone.wait()
    host = socket.gethostname()

    @dg.asset
    def pool():
        pass

    job = dg.Definitions(assets=[pool]).resolve_implicit_global_asset_job_def()
    with open_instance() as instance:
        runs = {
            process: instance.create_run_for_job(
                job,
                status=dg.DagsterRunStatus.STARTED,
                tags={campaign.PROCESS_TAG: process} if process else {},
            ).run_id
            for process in (
                f"{host}:{gone.pid}",
                f"{host}:{os.getpid()}",
                f"elsewhere:{gone.pid}",
                "",
            )
        }
        assert end_dead_runs(instance) == 1
        status = {process: instance.get_run_by_id(run).status for process, run in runs.items()}
    assert status.pop(f"{host}:{gone.pid}") == dg.DagsterRunStatus.FAILURE
    assert set(status.values()) == {dg.DagsterRunStatus.STARTED}


def waiting_campaign(_profile, *, loggers):
    """A campaign whose first asset asks people and gets no answer."""

    @dg.asset(output_required=False)
    def human_verified_seed():
        if False:
            yield

    @dg.asset
    def silver_seed(human_verified_seed):
        raise AssertionError("must not run without verdicts")

    job = dg.define_asset_job("curate_pool")
    return dg.Definitions([human_verified_seed, silver_seed], jobs=[job], loggers=dict(loggers))


def test_a_campaign_that_waits_for_people_says_so_and_has_not_failed(
    synpref, monkeypatch, tmp_path
):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(campaign, "build_defs", waiting_campaign)
    stages = []
    with pytest.raises(CampaignWaitingError, match="synpref review serve"):
        campaign.run_campaign(
            load_profile("smoke"), sizes=["qwen3-0.6b"], loggers={}, on_stage=stages.append
        )
    assert [stage.job for stage in stages] == ["curate_pool"]
    with open_instance() as instance:
        [run] = instance.get_runs()
        assert run.status == dg.DagsterRunStatus.SUCCESS
        # By this the timeline and the failure sensor of the UI know it as one of theirs.
        origin = run.remote_job_origin
        assert origin.repository_origin.get_label() == "__repository__@synpref_dagster"
        assert origin.job_name == "curate_pool"
        of_location = dg.RunsFilter(tags={".dagster/repository": "__repository__@synpref_dagster"})
        assert [each.run_id for each in instance.get_runs(of_location)] == [run.run_id]

    def wait(*_, **__):
        raise CampaignWaitingError("curate_pool waits for people", advice="ask [ann] to hurry")

    monkeypatch.setattr(campaign, "run_campaign", wait)
    code, output = synpref("run", "--profile", "smoke")
    assert code == cli.WAITING
    assert output.splitlines()[-2:] == ["curate_pool waits for people", "ask [ann] to hurry"]


def test_a_second_campaign_in_an_instance_is_refused_until_it_takes_over(
    synpref, monkeypatch, tmp_path
):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(campaign, "build_defs", waiting_campaign)
    with open_instance() as instance:
        made = dg.AssetMaterialization("raw_pool", metadata={"profile": "demo", "seed": 0})
        instance.report_runless_asset_event(made)
    code, output = synpref("run", "--profile", "smoke")
    assert code == 1
    [line] = [each for each in output.splitlines() if "another campaign" in each]
    assert line.startswith(f"raw_pool in the Dagster instance {tmp_path / 'home'} was made by ")
    assert "Give smoke-seed-0 keys of its own (`key_prefix` in the profile" in line
    assert output.splitlines()[-1] == "Nothing was run."
    with open_instance() as instance:
        assert instance.get_runs_count() == 0
    monkeypatch.setenv("SYNPREF_KEY_PREFIX", "own")
    assert synpref("run", "--profile", "smoke", "--sizes", "none")[0] == cli.WAITING
    monkeypatch.delenv("SYNPREF_KEY_PREFIX")
    taken = synpref("run", "--profile", "smoke", "--sizes", "none", "--take-over")
    assert taken[0] == cli.WAITING
    with open_instance() as instance:
        after, before = instance.get_runs()
    assert after.tags["synpref/take_over"] == "true"
    assert before.tags["synpref/key_prefix"] == "own"
    origin = before.remote_job_origin.repository_origin
    assert origin.get_label() == "__repository__@own"


def test_runs_of_the_command_belong_to_the_code_location_that_the_ui_loads():
    text = Path(__file__).parents[2].joinpath("workspace.yaml").read_text()
    [place] = [each["python_module"] for each in yaml.safe_load(text)["load_from"]]
    assert (place["location_name"], place["module_name"]) == campaign.CODE_LOCATION


def batching_campaign(_profile, *, loggers):
    """A campaign whose judges answer in a batch that is under way."""

    @dg.asset
    def silver_seed():
        raise WaitingForBatches("4 replies of judge 'a' are made in batch b-1")

    job = dg.define_asset_job("curate_pool")
    return dg.Definitions([silver_seed], jobs=[job], loggers=dict(loggers))


def test_a_campaign_that_waits_for_batches_has_not_failed(monkeypatch, tmp_path):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(campaign, "build_defs", batching_campaign)
    progress = CampaignProgress(Console(record=True, width=160))
    with pytest.raises(CampaignWaitingError, match=r"waits for judges: 4 replies .* batch b-1"):
        campaign.run_campaign(
            load_profile("smoke"),
            sizes=[],
            loggers={"progress": progress_logger(progress)},
            on_stage=lambda stage: progress.begin(stage.title, 1),
        )
    assert progress.failures == []
    assert "waits  silver_seed" in progress.console.export_text()


CAPTURED_STEP = """
import os
import pty
from rich.console import Console
from synpref_dagster.cli.app import _steady
plain = Console()
steady = _steady(plain)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what Dagster does while a step runs
plain.print("captured")
steady.print("seen", steady.is_terminal)
steady.file.flush()
"""


def test_a_bar_is_seen_while_dagster_captures_the_output_of_a_step():
    terminal, its_end = pty.openpty()
    command = [sys.executable, "-c", CAPTURED_STEP]
    environment = {**os.environ, "TERM": "xterm"}
    subprocess.run(command, stdout=its_end, env=environment, check=True, timeout=60)
    shown = os.read(terminal, 10_000).decode()
    os.close(its_end)
    os.close(terminal)
    assert "seen" in shown
    assert "True" in shown
    assert "captured" not in shown


def test_prepare_makes_instance_and_mlflow_file_and_names_what_it_cannot_open(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert CliRunner().invoke(cli.app, ["prepare"]).exit_code == 0
    assert (tmp_path / "home" / "history" / "runs.db").is_file()
    assert (tmp_path / "mlflow.db").is_file()
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 400)
    refused = CliRunner().invoke(cli.app, ["prepare"])
    assert (refused.exit_code, refused.output.count("\n")) == (2, 1)
    assert "mlflow.db cannot be read: file is not a database" in refused.output
    (tmp_path / "home" / "history" / "runs.db").write_bytes(b"no database" * 400)
    refused = CliRunner().invoke(cli.app, ["prepare"])
    assert (refused.exit_code, refused.output.count("\n")) == (2, 2)
    assert "the Dagster instance" in refused.output


def test_a_store_that_another_campaign_writes_is_refused_in_one_line(
    synpref, monkeypatch, tmp_path
):
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    smoke = load_profile("smoke")
    other = smoke.model_copy(update={"next_steps": ("something else",)})
    with (
        dg.DagsterInstance.ephemeral() as instance,
        Campaign.of(other).writing(instance),
    ):
        code, said = synpref("run", "--profile", "smoke", "--sizes", "none")
    assert code == 2
    [line] = said.splitlines()
    assert line.startswith(f"the store {tmp_path}/store/smoke/seed-0 is being written by campaign ")
    assert f"delete {tmp_path}/store/smoke/seed-0/writers/" in line
