"""The reward engine against `trl.RewardTrainer` and a RewardBench-style scoring loop, on CPU.

One process, both sides in alternating order, one warm-up and three repeats, one thread. The gate is
the median ratio of CPU times; wall ratios are reported beside it. Same weights, same pairs, same
optimizer batch, float32. Lines marked [same GEMM library] send the engine's matrix products to MKL,
like the baseline's: what sharing, packing and the last-layer cut give by themselves. Run with
`make bench`, or `python bench/engine.py [--quick | --real]`; writes `bench/results/engine.json`.
Memory is measured in processes of its own. Rows on real weights need SmolLM2
(scripts/services/smollm2.sh install); `--real` measures them alone and leaves the others as they
are.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from datasets import disable_progress_bars as disable_dataset_bars
from engine_parts.real_weights import NAME as REAL, real_rows, smollm2
from engine_parts.scoring import scoring_rows, token_row
from engine_parts.slices import (
    MAX_LENGTH_TOKENS,
    SCORING_LENGTH_TOKENS,
    SMALL,
    TINY,
    bench_model,
    bench_tokenizer,
    hh_pairs,
    judgebench_pairs,
    rm_bench_pairs,
)
from engine_parts.timing import MACHINE
from engine_parts.training import loss_curve_row, our_training, training_rows, trl_training
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from synpref_dagster.reward.encoding import ChatEncoder, encode_pairs

RESULTS = Path(__file__).parent / "results" / "engine.json"


def memory_row(tokenizer: Any) -> dict[str, Any]:
    """Peak memory of two training steps above imports and model, each side in its own process."""
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)  # training a tokenizer would be the peak otherwise
        for side in ("ours", "trl", "nothing"):
            command = [sys.executable, __file__, "--memory", side, "--tokenizer", folder]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            peaks[side] = int(done.stdout.split()[-1])
    ours, theirs = (peaks[side] - peaks["nothing"] for side in ("ours", "trl"))
    return {
        "name": f"peak training memory above import, HH, {TINY.name}, batch 32, MB",
        "ours": round(ours / 1024),
        "baseline": round(theirs / 1024),
        "ratio_cpu": None,
        "ratio_wall": None,
        "exactness": f"{ours / theirs:.2f} x TRL micro-batch 8",
        "repeats": 1,
        "machine": MACHINE,
    }


def measure_memory(side: str, tokenizer_folder: str) -> int:
    """Peak resident kilobytes of this process after two steps of one side."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    encoder = ChatEncoder(tokenizer, max_length_tokens=MAX_LENGTH_TOKENS)
    pairs, _ = encode_pairs(hh_pairs()[:64], encoder)
    model = bench_model(TINY, tokenizer)
    batches = [pairs[32 * i : 32 * (i + 1)] for i in range(2)]
    if side == "ours":
        our_training(model, batches)
    elif side == "trl":
        trl_training(model, batches, tokenizer=tokenizer, micro_batch=8)
    # Not ru_maxrss: across fork and exec it keeps the parent's peak.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def all_rows(*, quick: bool) -> Iterator[dict[str, Any]]:
    """Every measurement, as it is made."""
    repeats = 1 if quick else 3
    sets = {"HH": hh_pairs(), "JudgeBench": judgebench_pairs(), "RM-Bench": rm_bench_pairs()}
    tokenizer = bench_tokenizer([pair for pairs in sets.values() for pair in pairs])
    scoring_encoder = ChatEncoder(tokenizer, max_length_tokens=SCORING_LENGTH_TOKENS)
    for name, pairs in sets.items():
        yield token_row(name, pairs, scoring_encoder)
    encoded, _ = encode_pairs(
        sets["HH"], ChatEncoder(tokenizer, max_length_tokens=MAX_LENGTH_TOKENS)
    )
    yield from training_rows(TINY, encoded, tokenizer=tokenizer, batch_pairs=32, repeats=repeats)
    for name, num_pairs in (("HH", 96), ("JudgeBench", 32), ("RM-Bench", 48)):
        part = sets[name][:num_pairs]
        yield from scoring_rows(name, part, tokenizer=tokenizer, shape=TINY, repeats=repeats)
    yield memory_row(tokenizer)
    if not quick:
        yield loss_curve_row(encoded, tokenizer=tokenizer)
        yield from training_rows(
            SMALL, encoded, tokenizer=tokenizer, batch_pairs=16, repeats=repeats
        )
        yield from rows_on_real_weights()


def rows_on_real_weights() -> Iterator[dict[str, Any]]:
    """Every measurement on SmolLM2; none, said in a line, where it is not installed."""
    folder = smollm2()
    if folder is None:
        print(f"no rows on {REAL}: scripts/services/smollm2.sh install")
        return
    for rows in real_rows(folder, hh_pairs()):
        yield from rows


def other_rows() -> list[dict[str, Any]]:
    """The rows of the last measurement that are not on real weights."""
    kept: list[dict[str, Any]] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return [line for line in kept if REAL not in line["name"]]


def main() -> None:
    """Run everything, print the table, save the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one repeat, small model only")
    parser.add_argument("--real", action="store_true", help="rows on real weights only")
    parser.add_argument("--memory", choices=["ours", "trl", "nothing"], help="used internally")
    parser.add_argument("--tokenizer", help="used internally")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    disable_dataset_bars()
    warnings.filterwarnings("ignore", category=FutureWarning)
    if arguments.memory:
        print(measure_memory(arguments.memory, arguments.tokenizer))
        return
    rows = other_rows() if arguments.real else []
    measured = rows_on_real_weights() if arguments.real else all_rows(quick=arguments.quick)
    for line in measured:
        rows.append(line)
        ratios = "  ".join(f"{line[f'ratio_{kind}'] or '-':>6} {kind}" for kind in ("cpu", "wall"))
        against = f"{line['ours']} against {line['baseline']}"
        print(f"{ratios}  {line['name']}: {against}, {line['exactness']}", flush=True)
    if not arguments.quick:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
