"""First starts: many at once on nothing, and ones that are killed within their first seconds."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

SCRIPT = Path(__file__).with_name("first_start.py")
NUM_AT_ONCE = 8
IMPORT_SECONDS = 25  # eight processes that load MLflow on two cores; they begin together afterwards
RETURN_SECONDS = 240

pytestmark = pytest.mark.timeout(1800)


def start(folder, *, at=0.0):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), str(at)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ended(process):
    output, _ = process.communicate(timeout=RETURN_SECONDS)
    return process.returncode, output


def check_all_work(folder):
    folder.mkdir()
    at = time.time() + IMPORT_SECONDS
    found = [ended(each) for each in [start(folder, at=at) for _ in range(NUM_AT_ONCE)]]
    assert [code for code, _ in found] == [0] * NUM_AT_ONCE, "\n".join(said for _, said in found)
    code, said = ended(start(folder))
    assert code == 0, said
    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("own").experiment_id
    runs = client.search_runs([experiment])
    assert len(runs) == 2 * (NUM_AT_ONCE + 1)  # each with its campaign's
    assert not list(folder.glob("**/*.part"))


PROFILE = """
name = "own"
[pool]
kind = "sources"
recorded_verdicts = "sources"
[[pool.sources]]
name = "chats"
path = "{folder}/not_there.jsonl"
origin = "human"
licence = "CC0-1.0"
[seed_set]
num_gold = 10
num_silver = 10
[iterations]
num_iterations = 1
max_retrieved = 10
num_human = 5
[people]
backend = "recorded"
[reward_model]
backend = "linear"
[release]
backend = "stand_in"
"""


def command(folder, *arguments):
    """An installed command at work in a folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SYNPREF")}
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("synpref")), *arguments],
        env={**kept, "DAGSTER_HOME": str(folder / "home"), "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def check_commands_work(folder):
    """Campaigns that open everything, and end in one line at a source that is not there."""
    folder.mkdir()
    (folder / "own.toml").write_text(PROFILE.format(folder=folder))
    campaign = ("run", "--profile", "own.toml", "--sizes", "none")
    found = [ended(each) for each in [command(folder, *campaign) for _ in range(NUM_AT_ONCE)]]
    for code, said in [*found, ended(command(folder, *campaign))]:
        assert code == 1, said
        assert "not_there.jsonl" in said
        assert "Traceback" not in said
    code, said = ended(command(folder, "review", "status"))
    assert (code, "nobody was asked anything" in said) == (0, True), said


def check_kill(folder, *, after):
    folder.mkdir()
    process = start(folder)
    time.sleep(after)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    code, said = ended(start(folder))
    assert code == 0, f"killed after {after:.2f} s: {said}"


@pytest.mark.servers
def test_eight_first_starts_at_once_work_and_so_does_every_later_one(tmp_path):
    check_all_work(tmp_path / "to_the_moment")
    for number in range(2):
        check_commands_work(tmp_path / f"commands_{number}")


@pytest.mark.slow
def test_eight_first_starts_at_once_work_twenty_times(tmp_path):
    for number in range(20):
        check_commands_work(tmp_path / f"commands_{number}")


@pytest.mark.servers
def test_a_first_start_that_is_killed_harms_no_later_one(tmp_path):
    moments = random.Random(0)
    for number in range(2):
        check_kill(tmp_path / f"killed_{number}", after=moments.uniform(4.0, 8.0))


@pytest.mark.slow
def test_first_starts_killed_at_any_moment_harm_no_later_one(tmp_path):
    moments = random.Random(1)
    for number in range(20):
        check_kill(tmp_path / f"killed_{number}", after=moments.uniform(0.5, 9.0))
