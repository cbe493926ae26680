"""`synpref benchmark` against a loop as RewardBench's over the same responses, and a second run.

Two models, SmolLM2-135M under new heads of two seeds, on benchmarks in a folder. The loop scores
the first model's responses in the order of the benchmark, padded in batches of 8; CPU seconds of
both sides in one process, one thread, once. Rewards are compared one by one. A second model costs
itself alone, and the same command again scores nothing.
Run: python bench/benchmark_tool.py [--data FOLDER] [--only llmbar,...]; into results/.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import argparse
import json
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from engine_parts.real_weights import MAX_LENGTH_TOKENS, PAD, smollm2
from engine_parts.scoring import plain_rewards
from engine_parts.timing import MACHINE, timed

import synpref_dagster as sp
from synpref_dagster.benchmarks.items import BenchmarkItem
from synpref_dagster.reward.checkpoints import load_classifier
from synpref_dagster.reward.encoding import load_encoder
from synpref_dagster.tools.cached import cached_scores
from synpref_dagster.tools.models import named_model
from synpref_dagster.tools.suites import find_suites

RESULTS = Path(__file__).parent / "results" / "benchmark_tool.json"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
BATCH = 8


def headed(backbone: Path, folder: Path, seed: int) -> str:
    """A classifier on SmolLM2 with a new head, in a folder of its own."""
    encoder = load_encoder(
        str(backbone), max_length_tokens=MAX_LENGTH_TOKENS, pad_token=PAD, is_start=True
    )
    place = folder / f"head-{seed}"
    load_classifier(
        str(backbone), pad_token_id=encoder.pad_token_id, new_head_seed=seed
    ).save_pretrained(place)
    encoder.tokenizer.save_pretrained(place)
    return str(place)


@torch.no_grad()
def plain_loop(place: str, items: Sequence[BenchmarkItem]) -> np.ndarray:
    """Rewards of every candidate of every item, in order, by transformers alone."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(place)
    model = AutoModelForSequenceClassification.from_pretrained(place, dtype=torch.float32).eval()
    texts = [
        tokenizer.apply_chat_template(
            [*item.conversation, {"role": "assistant", "content": text}], tokenize=False
        )
        for item in items
        for text in item.candidates
    ]
    parts = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    return np.concatenate([plain_rewards(model, part, tokenizer=tokenizer) for part in parts])


def main() -> None:
    """Measures, compares, and says what it found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--only", default="llmbar")
    options = parser.parse_args()
    backbone = smollm2()
    if backbone is None:
        print("no SmolLM2: scripts/services/smollm2.sh install")
        return
    only = options.only.split(",")
    with tempfile.TemporaryDirectory() as work:
        models = [headed(backbone, Path(work), seed) for seed in (0, 1)]
        run = partial(sp.benchmark, data=options.data, only=only, cache=Path(work, "cache"))
        ours_cpu, ours_wall, first = timed(lambda: run(models[:1]))
        _, _, both = timed(lambda: run(models))
        items = [
            item
            for _, each in find_suites(data=options.data, named=None, only=only, hub=False).found
            for item in each
        ]
        loop_cpu, loop_wall, theirs = timed(lambda: plain_loop(models[0], items))
        told = compared(models[0], items, theirs, cache=Path(work, "cache"))
        rows = [
            {
                "name": f"synpref benchmark, {options.only}, {len(items)} items, SmolLM2-135M, "
                f"against the loop at batch {BATCH}",
                "ours": round(ours_cpu, 1),
                "baseline": round(loop_cpu, 1),
                "ratio_cpu": round(loop_cpu / ours_cpu, 2),
                "ratio_wall": round(loop_wall / ours_wall, 2),
                "exactness": told,
                "second_model": {
                    "scored": [model.num_scored for model in both.models],
                    "kept": [model.num_kept for model in both.models],
                },
                "scored_again": [model.num_scored for model in run(models).models],
                "headlines": {
                    model.name: {r.benchmark: round(r.headline, 4) for r in model.results}
                    for model in both.models
                },
                "repeats": 1,
                "machine": MACHINE,
            }
        ]
        assert first.models[0].num_scored > 0
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    print(json.dumps(rows, indent=1))


def compared(place: str, items: Sequence[BenchmarkItem], theirs: np.ndarray, *, cache: Path) -> str:
    """The largest difference of a reward, and how many items have another best candidate."""
    from synpref_dagster.benchmarks.items import distinct_candidates, spread_scores
    from synpref_dagster.settings.shards import ShardSettings

    rewards, scored = cached_scores(
        distinct_candidates(items), named_model(place), cache=cache, shards=ShardSettings()
    )
    assert scored == 0
    table = spread_scores(items, rewards)
    ours = table["reward"].to_numpy()
    ends = np.cumsum([len(item.candidates) for item in items])
    best = [[int(part.argmax()) for part in np.split(side, ends[:-1])] for side in (ours, theirs)]
    moved = sum(a != b for a, b in zip(*best, strict=True))
    return f"max |dreward| {np.abs(ours - theirs).max():.1e}, {moved} items with another best"


if __name__ == "__main__":
    main()
