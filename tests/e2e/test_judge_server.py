"""The judge layer against a real vLLM server with a model of random weights."""

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import judge_campaign
import pytest
import requests

from synpref_dagster.curation.judging.prompts import pairwise_messages
from synpref_dagster.curation.judging.verdicts import JudgeQuestion
from synpref_dagster.judges.batches.files import collect_batch, write_batch
from synpref_dagster.judges.budget import Prices
from synpref_dagster.judges.cache import Payer, ReplyCache

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "services" / "vllm_cpu.sh"
START_SECONDS = 420  # on a busy machine; some 80 on an idle one
NUM_BEFORE_KILL = 150
NUM_CALLS = judge_campaign.NUM_PAIRS * judge_campaign.NUM_SAMPLES * len(judge_campaign.NAMES)

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny model with random weights."""
    folder = tmp_path_factory.mktemp("model")
    writer = ROOT / "scripts" / "services" / "tiny_judge.py"
    subprocess.run([sys.executable, str(writer), str(folder)], check=True, cwd=ROOT)
    return folder


@pytest.fixture
def server(model, tmp_path):
    """The address of vLLM serving the model under two names."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(SCRIPT), "judge", str(model), str(port), *judge_campaign.NAMES]
    log = tmp_path / "vllm.log"
    with (
        log.open("wb") as out,
        subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True) as process,
    ):
        address = f"http://127.0.0.1:{port}"
        try:
            wait_until_healthy(address, process, log=log)
            yield address
        finally:
            process.terminate()
            process.wait(timeout=60)


def wait_until_healthy(address, process, *, log):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(f"{address}/health", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(1)
    pytest.fail(f"vLLM did not start:\n{log.read_text(errors='replace')[-3000:]}")


def num_served(address):
    """Completions that the server counts as done."""
    text = requests.get(f"{address}/metrics", timeout=30).text
    found = re.findall(r"^vllm:request_success_total\{.*\} ([0-9.e+]+)$", text, re.MULTILINE)
    return int(sum(float(value) for value in found))


def num_kept(path):
    if not path.exists():
        return 0
    with sqlite3.connect(path) as connection:
        try:
            return connection.execute("SELECT COUNT(*) FROM replies").fetchone()[0]
        except sqlite3.OperationalError:
            return 0


def kill_in_the_middle(url, path):
    """Start the campaign, kill -9 it after some 150 replies; returns how many were kept."""
    command = [sys.executable, judge_campaign.__file__, url, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment) as worker:
        deadline = time.monotonic() + START_SECONDS
        while num_kept(path) < NUM_BEFORE_KILL and time.monotonic() < deadline:
            assert worker.poll() is None, "the campaign ended before it could be killed"
            time.sleep(0.05)
        worker.send_signal(signal.SIGKILL)
    return num_kept(path)


def test_200_pairs_2_judges_3_samples_survive_kill_9_and_are_never_asked_twice(server, tmp_path):
    url, path = f"{server}/v1", tmp_path / "replies.sqlite"
    kept = kill_in_the_middle(url, path)
    assert NUM_BEFORE_KILL <= kept < NUM_CALLS
    while requests.get(f"{server}/load", timeout=30).json().get("server_load"):
        time.sleep(0.2)
    served = num_served(server)
    result, facts = judge_campaign.run(url, str(path))
    assert sum(each["num_calls"] for each in facts) == NUM_CALLS - kept
    assert sum(each["num_cached"] for each in facts) == kept
    assert num_served(server) - served == NUM_CALLS - kept
    assert len(result.verdicts) == NUM_CALLS
    assert set(result.verdicts["choice"]) <= {"candidate_1", "candidate_2", "tie"}
    assert {each["schema_mode"] for each in facts} == {"json_schema"}
    assert sum(each["readings"]["strict"] for each in facts) == NUM_CALLS

    again, facts = judge_campaign.run(url, str(path))
    assert num_served(server) - served == NUM_CALLS - kept
    assert [each["num_calls"] for each in facts] == [0, 0]
    assert again.labels.equals(result.labels)


def test_a_batch_answered_offline_enters_the_same_cache(model, tmp_path):
    cache = ReplyCache(tmp_path / "replies.sqlite")
    judge = judge_campaign.make_judges("http://127.0.0.1:9/v1", cache)[0]
    questions = [
        JudgeQuestion(
            conversation=pair.conversation, candidate_1=pair.chosen, candidate_2=pair.rejected
        )
        for pair in judge_campaign.make_pairs(20)
    ]
    asked = [
        judge.request(judge_campaign.PROMPT, pairwise_messages(question), sample=0)
        for question in questions
    ]
    path, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    payer = Payer(campaign="vllm", asset="test", judge=judge.name)
    assert write_batch(path, asked, batch="offline", cache=cache, payer=payer) == 20
    command = [str(SCRIPT), "batch", str(model), str(path), str(out), judge.name]
    subprocess.run(command, check=True, timeout=600, capture_output=True)
    prices = Prices(usd_per_million_input=1.0)
    found = collect_batch(out, batch="offline", cache=cache, prices=prices)
    assert (found.num_replies, found.num_failed, found.num_unknown) == (20, 0, 0)
    # Nobody listens at the endpoint: every verdict comes from the cache.
    verdicts = judge.verdicts(questions, [0] * 20)
    assert {each.choice for each in verdicts} <= {"candidate_1", "candidate_2", "tie"}
    assert cache.usd_by_judge("vllm")[judge.name] > 0
    cache.close()
