"""The reward engine on one GPU: Qwen3-0.6B and 1.7B shapes, random weights, bfloat16 autocast.

Training on HH pairs against `trl.RewardTrainer` with its defaults (micro-batch 8, checkpointing)
and the same engine with sharing off. What `reward/prediction` expects of our steps, time and
memory, is printed first and stands beside what was measured, with the utilisation that was reached.
Run `python bench/engine_gpu.py` on a machine with a CUDA device; it writes
`bench/results/engine_gpu.json`. Without one it prints what an H200 should do and writes nothing.
"""

import argparse
import copy
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from datasets import Dataset
from engine_parts.slices import (
    MAX_LENGTH_TOKENS,
    VOCABULARY_SIZE,
    Shape,
    bench_model,
    bench_tokenizer,
    hh_pairs,
)
from trl import RewardConfig, RewardTrainer

from synpref_dagster.reward.attention.batching import Pack, common_prefix
from synpref_dagster.reward.attention.forward import verified_forward
from synpref_dagster.reward.encoding import ChatEncoder, EncodedPair, encode_pairs
from synpref_dagster.reward.prediction.costs import Load, step_memory, step_work
from synpref_dagster.reward.prediction.machines import MACHINES, Machine, machine
from synpref_dagster.reward.prediction.shapes import Shape as PredictedShape
from synpref_dagster.reward.training.batch_step import pair_packs
from synpref_dagster.reward.training.config import TrainingConfig
from synpref_dagster.reward.training.loop import take_step
from synpref_dagster.reward.training.optimisation import build_optimizer
from synpref_dagster.reward.training.workers import Workers

RESULTS = Path(__file__).parent / "results" / "engine_gpu.json"
TOKENS_PER_PACK = 16_384
SHAPES = (
    Shape(
        name="Qwen3-0.6B shape",
        hidden_size=1_024,
        num_layers=28,
        num_heads=16,
        num_kv_heads=8,
        head_dim=128,
        intermediate_size=3_072,
    ),
    Shape(
        name="Qwen3-1.7B shape",
        hidden_size=2_048,
        num_layers=28,
        num_heads=16,
        num_kv_heads=8,
        head_dim=128,
        intermediate_size=6_144,
    ),
)
Batches = Sequence[Sequence[EncodedPair]]


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a number of our steps should take on a device."""

    machine: Machine
    flops: float
    seconds: float
    peak: float

    def utilisation(self, seconds: float) -> float:
        """Share of the device's peak that so many seconds come to."""
        return self.flops / seconds / self.machine.half_flops

    def __str__(self) -> str:
        return (
            f"{self.seconds:.2f} s at {self.machine.utilisation:.0%} of a {self.machine.name}, "
            f"{self.flops / 1e12:,.0f} TFLOP, peak {self.peak / 2**30:.1f} GiB"
        )


def expected(shape: Shape, batches: Batches) -> Expected:
    """What our steps on all batches but the first should take, on this card or on an H200."""
    name = torch.cuda.get_device_name().lower() if torch.cuda.is_available() else ""
    found = machine(next((each for each in MACHINES if each in name), "h200"))
    packs = [
        pack for batch in batches[1:] for pack in pair_packs(batch, tokens_per_pack=TOKENS_PER_PACK)
    ]
    load = Load(
        num_tokens=sum(pack.num_tokens for pack in packs),
        num_seen=sum(map(_num_seen, packs)),
        num_scored=sum(len(pack.segments) for pack in packs),
        seen_by_scored=sum(int(pack.scored_mask.sum()) for pack in packs),
    )
    own = predicted_shape(shape)
    flops = step_work(own, load, checkpointing=False).total
    largest = max(pack.num_tokens for pack in packs)
    memory = step_memory(own, largest, dtype="bfloat16", checkpointing=False)
    seconds = found.seconds(flops, dtype="bfloat16")
    return Expected(machine=found, flops=flops, seconds=seconds, peak=memory.total)


def _num_seen(pack: Pack) -> float:
    rows = ((b.query_stop - b.query_start, b.key_stop - b.key_start, b.causal) for b in pack.blocks)
    return sum(
        keys * (keys + 1) / 2 if causal else queries * keys for queries, keys, causal in rows
    )


def predicted_shape(shape: Shape) -> PredictedShape:
    """The shape as `reward/prediction` knows it."""
    about = {name: value for name, value in asdict(shape).items() if name != "name"}
    return PredictedShape(**about, vocabulary_size=VOCABULARY_SIZE, norms_heads=True)


def measured(run: Callable[[], Any]) -> tuple[float, int]:
    """Seconds by CUDA events and peak bytes of a call."""
    torch.cuda.reset_peak_memory_stats()
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    stop.record()
    torch.cuda.synchronize()
    return start.elapsed_time(stop) / 1_000, torch.cuda.max_memory_allocated()


def our_steps(model: Any, batches: Batches, *, shared: bool) -> tuple[float, int, int]:
    """Seconds, peak bytes and forwarded tokens of steps on all batches but the first."""
    config = TrainingConfig(dtype="bfloat16", device="cuda", tokens_per_pack=TOKENS_PER_PACK)
    own = copy.deepcopy(model).cuda()
    workers = Workers(verified_forward(own), build_optimizer(own, config), config=config)

    def steps(part: Batches) -> None:
        for number, batch in enumerate(part, start=1):
            take_step(workers, batch, config=config, step=number, rate=1e-6)

    behaviour = {"wraps": common_prefix} if shared else {"return_value": 0}
    with patch("synpref_dagster.reward.attention.batching.common_prefix", **behaviour):
        steps(batches[:1])
        seconds, peak = measured(lambda: steps(batches[1:]))
        tokens = sum(
            pack.num_tokens
            for batch in batches[1:]
            for pack in pair_packs(batch, tokens_per_pack=TOKENS_PER_PACK)
        )
    return seconds, peak, tokens


def trl_steps(model: Any, batches: Batches, *, tokenizer: Any) -> tuple[float, int]:
    """Seconds and peak bytes of the same steps by TRL with its defaults."""
    rows = [
        {"chosen_ids": pair.chosen.tolist(), "rejected_ids": pair.rejected.tolist()}
        for batch in batches[1:]
        for pair in batch
    ]
    with tempfile.TemporaryDirectory() as folder:
        settings = RewardConfig(
            output_dir=folder,
            per_device_train_batch_size=8,
            gradient_accumulation_steps=len(batches[0]) // 8,
            max_steps=len(batches) - 1,
            learning_rate=1e-6,
            max_length=MAX_LENGTH_TOKENS,
            train_sampling_strategy="sequential",
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        trainer = RewardTrainer(
            model=copy.deepcopy(model),
            args=settings,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
        )
        return measured(trainer.train)


def shape_rows(shape: Shape, batches: Batches, *, tokenizer: Any, repeats: int) -> list[dict]:
    """Rows of one shape: against TRL's defaults, and against the engine without sharing."""
    model = bench_model(shape, tokenizer)
    hoped = expected(shape, batches)
    ours, packed, trl = [], [], []
    for _ in range(repeats):
        ours.append(our_steps(model, batches, shared=True))
        packed.append(our_steps(model, batches, shared=False))
        trl.append(trl_steps(model, batches, tokenizer=tokenizer))
    seconds = median(run[0] for run in ours)
    peak = f"{ours[0][1] / 2**30:.1f} GiB (expected {hoped.peak / 2**30:.1f})"
    notes = f"utilisation {hoped.utilisation(seconds):.0%}, peak {peak}"
    rows = []
    for label, theirs in (("TRL defaults", trl), ("sharing off", packed)):
        baseline = median(run[0] for run in theirs)
        rows.append(
            {
                "name": f"training, HH, {shape.name}, {label}",
                "ours": seconds,
                "predicted": hoped.seconds,
                "baseline": baseline,
                "ratio_cpu": None,
                "ratio_wall": baseline / seconds,
                "exactness": f"{notes} against {theirs[0][1] / 2**30:.1f} GiB",
                "repeats": repeats,
                "machine": f"{torch.cuda.get_device_name()}, torch {torch.__version__}",
            }
        )
    return rows


def main() -> None:
    """Run both shapes, print and save the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-pairs", type=int, default=256)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    started = time.perf_counter()
    pairs = hh_pairs()
    tokenizer = bench_tokenizer(pairs)
    encoder = ChatEncoder(tokenizer, max_length_tokens=MAX_LENGTH_TOKENS)
    encoded, _ = encode_pairs(pairs, encoder)
    size = arguments.batch_pairs
    batches = [encoded[i * size : (i + 1) * size] for i in range(arguments.steps + 1)]
    for shape in SHAPES:
        print(f"expected of {arguments.steps} steps, {shape.name}: {expected(shape, batches)}")
    if not torch.cuda.is_available():
        print("no CUDA device here: nothing measured", file=sys.stderr)
        return
    rows = []
    for shape in SHAPES:
        rows += shape_rows(shape, batches, tokenizer=tokenizer, repeats=arguments.repeats)
    for line in rows:
        times = f"{line['ours']:.2f} s, {line['predicted']:.2f} expected"
        print(f"{line['ratio_wall']:.2f} wall  {line['name']}: {times}; {line['exactness']}")
    print(f"{time.perf_counter() - started:.0f} s")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
