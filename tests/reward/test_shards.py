"""Chunks of a score table are kept as they finish, and say how long each candidate is."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from synpref_dagster.benchmarks.candidates import build_candidates, full_score_table
from synpref_dagster.benchmarks.custom import load_custom
from synpref_dagster.benchmarks.suite import evaluate
from synpref_dagster.reward import shards
from synpref_dagster.reward.backbones import backbone
from synpref_dagster.reward.scoring import load_reward_model
from synpref_dagster.reward.shards import score_candidates
from synpref_dagster.reward.stand_ins import make_stand_in
from synpref_dagster.storage import ModelRef

MODEL = ModelRef(uri="somewhere", fingerprint="f0")


class LengthScorer:
    """Longer is better; counts what it was asked, and can be told to break."""

    def __init__(self, break_after=None):
        self.num_scored = 0
        self.break_after = break_after
        self.encoder = SimpleNamespace(
            max_length_tokens=12,
            encode=lambda conversations, responses: [r.split() for r in responses],
        )

    def rewards(self, conversations, responses):
        if self.break_after is not None and self.num_scored >= self.break_after:
            raise KeyboardInterrupt
        self.num_scored += len(responses)
        return np.array([len(text) for text in responses], dtype=np.float32)


def suite(path, num_items):
    lines = [
        {"prompt": f"question {n}", "chosen": "a b c " * (n % 7 + 1) + str(n), "rejected": "no"}
        for n in range(num_items)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in lines), encoding="utf-8")
    return load_custom("mine", path)


@pytest.fixture
def scorer(monkeypatch):
    def use(scorer):
        monkeypatch.setattr(shards, "opened_scorer", lambda model: scorer)
        return scorer

    return use


def test_a_killed_run_scores_no_finished_chunk_again(tmp_path, scorer):
    _, items = suite(tmp_path / "mine.jsonl", 50)
    candidates = build_candidates(items, uri=str(tmp_path / "c"), suite="s", chunk=10)
    assert candidates.num_rows == 100
    first = scorer(LengthScorer(break_after=40))
    with pytest.raises(KeyboardInterrupt):
        score_candidates(candidates, MODEL, uri=str(tmp_path / "s"))
    seen = []
    second = scorer(LengthScorer())
    result = score_candidates(
        candidates,
        MODEL,
        uri=str(tmp_path / "s"),
        on_chunk=lambda done, total: seen.append((done, total)),
    )
    assert (first.num_scored, second.num_scored) == (40, 60)
    assert (result.num_shards_computed, result.num_shards_reused) == (6, 4)
    assert seen == [(done, 10) for done in range(5, 11)]
    third = scorer(LengthScorer())
    again = score_candidates(candidates, MODEL, uri=str(tmp_path / "s"))
    assert third.num_scored == 0
    assert again.ref == result.ref
    other = ModelRef(uri="somewhere", fingerprint="f1")
    score_candidates(candidates, other, uri=str(tmp_path / "s1"))
    assert third.num_scored == 100


def test_tokens_and_truncation_stand_in_the_score_table_and_in_the_result(tmp_path, scorer):
    benchmark, items = suite(tmp_path / "mine.jsonl", 14)
    scorer(LengthScorer())
    candidates = build_candidates(items, uri=str(tmp_path / "c"), suite="s")
    scores = score_candidates(candidates, MODEL, uri=str(tmp_path / "s")).ref
    table = full_score_table(items, scores)
    chosen = table.query("candidate == 0")
    # "a b c" once to seven times and the number: 4, 7, 10, 13, ... tokens, 12 is the limit
    assert chosen["num_tokens"].tolist() == [3 * (n % 7 + 1) + 1 for n in range(14)]
    assert chosen["truncated"].sum() == 8
    result = evaluate(benchmark, items, table)
    assert result.headline == 1.0
    assert result.num_truncated == 8


def test_a_reward_that_is_not_finite_stops_the_run(tmp_path, scorer):
    _, items = suite(tmp_path / "mine.jsonl", 2)
    broken = scorer(LengthScorer())
    broken.rewards = lambda conversations, responses: np.full(len(responses), np.nan)
    candidates = build_candidates(items, uri=str(tmp_path / "c"), suite="s")
    with pytest.raises(ValueError, match="not finite"):
        score_candidates(candidates, MODEL, uri=str(tmp_path / "s"))


def test_chunks_give_the_rewards_of_one_call(tmp_path):
    _, items = suite(tmp_path / "mine.jsonl", 12)
    texts = [text for item in items for text in item.candidates]
    folder = make_stand_in(
        backbone("qwen3-0.6b"), output_dir=tmp_path / "m", seed=0, texts=[*texts, "question 1 2"]
    )
    model = ModelRef(uri=str(folder), fingerprint="f0")
    candidates = build_candidates(items, uri=str(tmp_path / "c"), suite="s", chunk=5)
    scores = score_candidates(candidates, model, uri=str(tmp_path / "s")).ref
    rewards = load_reward_model(folder).rewards(
        [item.conversation for item in items for _ in item.candidates], texts
    )
    table = full_score_table(items, scores)
    np.testing.assert_allclose(table["reward"], rewards, atol=1e-5)
    assert (table["num_tokens"] > 3).all()


SCRIPT = """
import json, sys
from pathlib import Path
from synpref_dagster.benchmarks.custom import load_custom
from synpref_dagster.benchmarks.candidates import *
from synpref_dagster.reward.shards import *
from synpref_dagster.storage import ModelRef
root = Path(sys.argv[1])
_, items = load_custom("mine", root / "mine.jsonl")
candidates = build_candidates(items, uri=str(root / "c"), suite="s")
model = ModelRef(uri=str(root / "model"), fingerprint="f0")
report = lambda done, total: print(f"{done}/{total} chunks", flush=True)
result = score_candidates(candidates, model, uri=str(root / "s"), on_chunk=report)
print(json.dumps([candidates.num_rows, result.num_shards_computed, result.num_shards_reused]))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_thousand_candidates_survive_kill_9(tmp_path):
    lines = [
        {
            "prompt": f"question {n}",
            "candidates": [f"answer {n} {k}" for k in range(20)],
            "labels": [1] + [0] * 19,
        }
        for n in range(5_000)
    ]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    make_stand_in(
        backbone("qwen3-0.6b"), output_dir=tmp_path / "model", seed=0, texts=["question answer 1"]
    )
    root = Path(__file__).resolve().parents[2]

    def start():
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
        )

    begin = time.monotonic()
    with start() as killed:
        for line in killed.stdout:
            if line.startswith("20/"):
                os.kill(killed.pid, signal.SIGKILL)
                break
    with start() as process:
        num_rows, computed, reused = json.loads(process.stdout.read().splitlines()[-1])
    print(
        f"{num_rows} candidates, {computed} chunks scored, {reused} reused, "
        f"{time.monotonic() - begin:.1f} s"
    )
    assert num_rows == 100_000
    assert computed + reused == 49
    assert reused >= 20
    with start() as process:
        assert json.loads(process.stdout.read().splitlines()[-1])[1] == 0
