"""What the command line shows of a campaign while it runs."""

import json
import logging
from typing import get_args

import dagster as dg
import pytest
from rich.console import Console

from synpref_dagster.cli import campaign as runner
from synpref_dagster.cli.outcomes import CampaignWaitingError
from synpref_dagster.cli.progress import CHECKING, CampaignProgress, progress_logger
from synpref_dagster.pairs.progress import (
    ATTRIBUTE,
    BeforePeople,
    ChunksDone,
    FilesSkipped,
    JudgeReplies,
    ProgressFact,
    ResponsesRead,
    StepsTaken,
    TimeExpected,
    TrackerAway,
    tell,
)
from synpref_dagster.resources.sources import UNREAD
from synpref_dagster.settings.profile import load_profile


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


def test_columns_that_nobody_read_stand_below_their_asset():
    progress = CampaignProgress(Console(width=120, no_color=True, record=True))
    columns = [("web", f"c{number}") for number in range(14)] + [("chats", "stance")]

    @dg.asset
    def raw_pool():
        records = [
            dg.TableRecord({"source": source, "column": column, "num_rows": 3})
            for source, column in columns
        ]
        return dg.MaterializeResult(metadata={UNREAD: dg.MetadataValue.table(records)})

    defs = dg.Definitions(assets=[raw_pool], loggers={"progress": progress_logger(progress)})
    progress.begin("curate", 1)
    defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=dg.DagsterInstance.ephemeral(), run_config={"loggers": {"progress": {}}}
    )
    told = [line.strip() for line in progress.console.export_text().splitlines()[2:]]
    assert told == [
        f"source web: not read: {', '.join(f'c{n}' for n in range(12))} and 2 more",
        "source chats: not read: stance",
    ]


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
    monkeypatch.setattr(runner, "build_defs", asking_campaign)
    progress = CampaignProgress(Console(record=True, width=160))

    def run():
        with pytest.raises(CampaignWaitingError):
            runner.run_campaign(
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
    ResponsesRead: ResponsesRead(done=1, total=5, per_second=2.0),
    StepsTaken: StepsTaken(model="final", done=2, total=50, seconds_a_step=10.0),
    TimeExpected: TimeExpected(num_trainings=3, num_pairs=4_800, minutes=24.0),
    BeforePeople: BeforePeople(num_pairs=1200),
    FilesSkipped: FilesSkipped(num_files=2, some="LICENSE, README.md"),
    TrackerAway: TrackerAway(why="[no] reply", kept_in="store/waiting"),
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
        ResponsesRead: ([("backbone reads  2.0/s, 2 s left", 1, 5)], False),
        StepsTaken: ([("trains final  10.00 s a step, 480 s left", 2, 50)], False),
        TimeExpected: ([], False),
        BeforePeople: ([], True),
        FilesSkipped: ([], False),
        TrackerAway: ([], False),
    }[kind]
    away = "[no] reply: the run goes on, and what it logs is kept in store/waiting"
    assert (away in text) == (kind is TrackerAway)
    skipped = "2 files are no data by name and not read: LICENSE, README.md"
    assert (skipped in text) == (kind is FilesSkipped)
    expected = "3 trainings on 4,800 pairs: about 24 minutes on this machine (0.30 s a pair"
    assert (expected in text) == (kind is TimeExpected)
    assert ("1,200 pairs are before people" in text) == waits


@pytest.mark.parametrize("fact", FACTS.values())
def test_words_alone_move_no_bar(fact):
    progress = CampaignProgress(Console(force_terminal=True, record=True))
    progress.emit(logging.makeLogRecord({"msg": str(fact)}))
    assert (progress.bar.tasks, progress._asked) == ([], {})


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
