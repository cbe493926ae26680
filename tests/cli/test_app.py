"""The command line: what it prints, what it refuses, and how it ends when a step fails."""

import json
import logging
import os
import pty
import socket
import subprocess
import sys
from typing import get_args

import dagster as dg
import pytest
from rich.console import Console
from typer.testing import CliRunner

from synpref_dagster.cli import app as cli, campaign
from synpref_dagster.cli.campaign import Stage, campaign_stages, end_dead_runs, open_instance
from synpref_dagster.cli.outcomes import CampaignFailedError, CampaignWaitingError
from synpref_dagster.cli.progress import CHECKING, CampaignProgress, progress_logger
from synpref_dagster.pairs.progress import (
    ATTRIBUTE,
    BeforePeople,
    ChunksDone,
    JudgeReplies,
    ProgressFact,
    tell,
)
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

    def record(profile, *, sizes, loggers, on_stage):
        calls.append((profile.name, profile.seed, list(sizes)))
        for stage in campaign_stages(sizes):
            on_stage(stage)

    monkeypatch.setattr(campaign, "run_campaign", record)
    monkeypatch.setattr(cli, "_print_report", lambda profile: None)
    return calls


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


def test_the_instance_is_made_on_first_use_and_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    with open_instance() as instance:
        assert instance.is_persistent
    assert (tmp_path / "home" / "dagster.yaml").read_text() == campaign.INSTANCE_SETTINGS


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


class Job:
    """A small job whose events are shown on a console."""

    def __init__(self, tmp_path):
        self.progress = CampaignProgress(
            Console(width=120, no_color=True, record=True, quiet=False)
        )
        self.instance = dg.DagsterInstance.ephemeral()

    def run(self, *, pool_size):
        @dg.asset
        def pool():
            if pool_size == 0:
                try:
                    {}["source"]
                except KeyError as error:
                    raise ValueError("the pool is [empty]: name a source") from error
            return dg.MaterializeResult(metadata={"num_pairs": pool_size})

        @dg.asset(deps=[pool])
        def labels():
            return dg.MaterializeResult(metadata={"gold_accuracy": 0.75})

        @dg.asset_check(asset=labels, blocking=True)
        def at_least_ten():
            return dg.AssetCheckResult(passed=pool_size >= 10, description=f"{pool_size} pairs")

        defs = dg.Definitions(
            assets=[pool, labels],
            asset_checks=[at_least_ten],
            loggers={"progress": progress_logger(self.progress)},
        )
        self.progress.begin("curate", 2)
        defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            run_config={"loggers": {"progress": {}}},
            raise_on_error=False,
        )
        return self.progress.console.export_text().splitlines()


@pytest.fixture
def job(tmp_path):
    return Job(tmp_path)


def test_progress_prints_a_header_and_one_line_per_asset(job):
    lines = job.run(pool_size=1234)
    assert lines[0] == "curate  2 assets"
    assert [line.split()[:2] for line in lines[1:]] == [["done", "pool"], ["done", "labels"]]
    assert lines[1].endswith("1,234 pairs")
    assert lines[2].endswith("0.750 accuracy on gold")
    assert job.progress.failures == []


def test_progress_shows_a_failure_by_its_message_without_a_stack(job):
    lines = job.run(pool_size=0)
    assert [line.split()[:2] for line in lines[1:]] == [["failed", "pool"]]
    # What our code said, not what led it to say so.
    assert job.progress.failures == ["pool: ValueError: the pool is [empty]: name a source"]


def test_progress_shows_a_check_that_failed_and_only_then(job):
    lines = job.run(pool_size=3)
    shown = [line for line in lines if "check" in line]
    assert shown[0].split() == ["check", "labels", "at_least_ten:", "3", "pairs"]


def test_progress_leaves_other_log_records_alone():
    progress = CampaignProgress(Console(record=True, quiet=False))
    progress.emit(logging.LogRecord("x", logging.INFO, __file__, 1, "hello", None, None))
    event = logging.LogRecord("x", logging.INFO, __file__, 1, "hello", None, None)
    event.dagster_event = json.dumps({"no": "event"})
    progress.emit(event)
    assert progress.console.export_text() == ""


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

    def wait(*_, **__):
        raise CampaignWaitingError("curate_pool waits for people", advice="ask [ann] to hurry")

    monkeypatch.setattr(campaign, "run_campaign", wait)
    code, output = synpref("run", "--profile", "smoke")
    assert code == cli.WAITING
    assert output.splitlines()[-2:] == ["curate_pool waits for people", "ask [ann] to hurry"]


def asking_campaign(profile, *, loggers):
    """A campaign that asks people; a check that is not answered gates each of two more steps."""

    @dg.asset(output_required=False)
    def human_verified_seed(context: dg.AssetExecutionContext):
        tell(context.log, BeforePeople(num_pairs=1200))
        if False:
            yield

    @dg.asset(check_specs=[dg.AssetCheckSpec("no_leak", asset="silver_seed", blocking=True)])
    def silver_seed(human_verified_seed):
        raise AssertionError("must not run without verdicts")

    @dg.asset
    def reward_model(silver_seed):
        raise AssertionError("must not run without silver")

    job = dg.define_asset_job("curate_pool")
    assets = [human_verified_seed, silver_seed, reward_model]
    return dg.Definitions(assets, jobs=[job], loggers=dict(loggers))


def test_a_campaign_that_waits_shows_what_is_before_people_and_nothing_of_skipped_checks(
    monkeypatch, tmp_path, caplog
):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(campaign, "build_defs", asking_campaign)
    progress = CampaignProgress(Console(record=True, width=160))

    def run():
        with pytest.raises(CampaignWaitingError):
            campaign.run_campaign(
                load_profile("smoke"),
                sizes=[],
                loggers={"progress": progress_logger(progress)},
                on_stage=lambda stage: progress.begin(stage.title, 3),
            )
        warned = [each.getMessage() for each in caplog.records if each.name == CHECKING]
        caplog.clear()
        return warned

    with progress.without_skipped_checks():
        assert run() == []
    assert ["emitted no result" in each for each in run()] == [True]
    for line in progress.console.export_text().splitlines()[1::2]:
        mark, asset, _, _, *asked = line.split()
        assert (mark, asset) == ("waits", "human_verified_seed")
        assert " ".join(asked) == "1,200 pairs are before people"


def test_a_check_that_a_step_forgot_to_answer_is_still_warned_of(caplog):
    progress = CampaignProgress(Console(record=True))
    progress._facts["gold"] = "3 pairs"
    with progress.without_skipped_checks():
        for step in ("gold", "silver"):
            said = f"Blocking asset check '{step}:conservation' emitted no result in step '{step}'"
            logging.getLogger(CHECKING).warning(said)
    assert ["step 'gold'" in each.getMessage() for each in caplog.records] == [True]


def judge_line(done, total=1200):
    said = JudgeReplies(
        judge="gpt [x]", done=done, total=total, per_second=12.5, usd=0.0042, seconds_left=88.0
    )
    # What the line says, and what Dagster puts before it, is nothing to go by.
    return logging.makeLogRecord({"msg": "in other words", ATTRIBUTE: said})


FACTS = {
    ChunksDone: ChunksDone(what="candidates", done=3, total=49),
    JudgeReplies: JudgeReplies(
        judge="gpt", done=1, total=4, per_second=2.0, usd=0.0, seconds_left=None
    ),
    BeforePeople: BeforePeople(num_pairs=1200),
}


@pytest.mark.parametrize("kind", get_args(ProgressFact))
@pytest.mark.parametrize("by_the_step", [True, False])
def test_every_fact_about_progress_is_shown_whatever_its_line_says(kind, by_the_step):
    progress = CampaignProgress(Console(force_terminal=True, width=160, record=True))

    @dg.asset(output_required=False)
    def asking(context: dg.AssetExecutionContext):
        logger = context.log if by_the_step else dg.get_dagster_logger("judges")
        logger.info("in other words", extra={ATTRIBUTE: FACTS[kind]})
        if False:
            yield

    dg.Definitions(
        assets=[asking], loggers={"progress": progress_logger(progress)}
    ).resolve_implicit_global_asset_job_def().execute_in_process(
        instance=dg.DagsterInstance.ephemeral(), run_config={"loggers": {"progress": {}}}
    )
    bars = [(task.description, task.completed, task.total) for task in progress.bar.tasks]
    waits = "waits  asking" in (text := progress.console.export_text())
    assert (bars, waits) == {
        ChunksDone: ([("chunks", 3, 49)], False),
        JudgeReplies: ([("judge gpt  2.0/s, $0.0000 spent, unknown time left", 1, 4)], False),
        BeforePeople: ([], True),
    }[kind]
    assert ("1,200 pairs are before people" in text) == waits


@pytest.mark.parametrize("fact", FACTS.values())
def test_words_alone_move_no_bar(fact):
    progress = CampaignProgress(Console(force_terminal=True, record=True))
    progress.emit(logging.makeLogRecord({"msg": str(fact)}))
    assert (progress.bar.tasks, progress._asked) == ([], {})


@pytest.mark.parametrize("fact", FACTS.values())
def test_a_logger_that_writes_json_can_write_the_facts(fact):
    assert json.loads(json.dumps({ATTRIBUTE: fact})) == {ATTRIBUTE: list(fact)}


def test_a_terminal_gets_a_bar_per_judge_with_rate_cost_and_time_left():
    progress = CampaignProgress(Console(force_terminal=True, width=160, record=True))
    progress.emit(judge_line(600))
    [task] = progress.bar.tasks
    assert (task.completed, task.total) == (600, 1200)
    shown = "judge gpt \\[x]  12.5/s, $0.0042 spent, 88 s left"
    assert task.description == shown
    progress.emit(judge_line(1100))
    assert [task.completed for task in progress.bar.tasks] == [1100]
    progress.emit(judge_line(1200))
    assert progress.bar.tasks == []


def test_a_pipe_gets_a_line_per_judge():
    progress = CampaignProgress(Console(force_terminal=False, width=160, record=True))
    progress.emit(judge_line(600))
    assert progress.console.export_text().strip() == (
        "judge gpt [x]: 600 of 1,200 replies, 12.5/s, $0.0042 spent, 88 s left"
    )


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
