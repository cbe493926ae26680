"""Training by the engine and by `trl.RewardTrainer`: same weights, pairs and optimizer batch."""

import copy
import tempfile
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import RewardConfig, RewardTrainer

from engine_parts.slices import MAX_LENGTH_TOKENS, TINY, Shape, bench_model
from engine_parts.timing import Timed, alternate, both_rows, row, same_gemm, timed
from synpref_dagster.reward.attention.forward import verified_forward
from synpref_dagster.reward.encoding import EncodedPair
from synpref_dagster.reward.training.config import LoraUpdates, TrainingConfig
from synpref_dagster.reward.training.loop import take_step
from synpref_dagster.reward.training.lora import add_lora
from synpref_dagster.reward.training.optimisation import build_optimizer
from synpref_dagster.reward.training.workers import Workers

LEARNING_RATE = 3e-4


def our_training(
    model: Any,
    batches: Sequence[Sequence[EncodedPair]],
    *,
    budget: int = 2_048,
    rate: float = LEARNING_RATE,
    lora: LoraUpdates | None = None,
) -> Timed:
    """Steps on the batches from the given weights; returns the loss of each step."""
    model = copy.deepcopy(model)
    config = TrainingConfig(
        learning_rate=rate, weight_decay=0.0, beta2=0.999, tokens_per_pack=budget, lora=lora
    )
    forward = verified_forward(model)
    if lora is not None:
        add_lora(model, lora, seed=0)
    workers = Workers(forward, build_optimizer(model, config), config=config)

    def run() -> list[float]:
        return [
            take_step(workers, batch, config=config, step=i, rate=rate)["loss"]
            for i, batch in enumerate(batches, start=1)
        ]

    return timed(run)


class RecordingTrainer(RewardTrainer):
    """TRL's trainer, which also keeps each micro-batch's loss unrounded."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """The loss as TRL computes it."""
        outcome = super().compute_loss(*args, **kwargs)
        loss = outcome[0] if isinstance(outcome, tuple) else outcome
        self.__dict__.setdefault("micro_losses", []).append(loss.detach())
        return outcome


def trl_training(
    model: Any,
    batches: Sequence[Sequence[EncodedPair]],
    *,
    tokenizer: Any,
    micro_batch: int,
    rate: float = LEARNING_RATE,
    lora: LoraUpdates | None = None,
) -> Timed:
    """The same steps by TRL: sequential order, accumulation up to the same optimizer batch.

    Updates of low rank are put in by the same function and the same seed as ours.
    """
    model = copy.deepcopy(model)
    if lora is not None:
        add_lora(model, lora, seed=0)
    batch_pairs = len(batches[0])
    accumulation = batch_pairs // micro_batch
    rows = [
        {"chosen_ids": pair.chosen.tolist(), "rejected_ids": pair.rejected.tolist()}
        for batch in batches
        for pair in batch
    ]
    with tempfile.TemporaryDirectory() as folder:
        settings = RewardConfig(
            output_dir=folder,
            per_device_train_batch_size=micro_batch,
            gradient_accumulation_steps=accumulation,
            max_steps=len(batches),
            learning_rate=rate,
            lr_scheduler_type="constant",
            weight_decay=0.0,
            max_grad_norm=1.0,
            max_length=MAX_LENGTH_TOKENS,
            bf16=False,
            gradient_checkpointing=False,
            train_sampling_strategy="sequential",
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
        )
        trainer = RecordingTrainer(
            model=model,
            args=settings,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
        )
        trainer.remove_callback(PrinterCallback)
        cpu, wall, _ = timed(trainer.train)
    losses = torch.stack(trainer.micro_losses).view(len(batches), accumulation).mean(1)
    return cpu, wall, losses.tolist()


def training_rows(
    shape: Shape, pairs: Sequence[EncodedPair], *, tokenizer: Any, batch_pairs: int, repeats: int
) -> list[dict[str, Any]]:
    """Ratios to TRL at micro-batch 8 and at its best micro-batch, one optimizer step a repeat."""
    model = bench_model(shape, tokenizer)
    order = np.random.default_rng(0).permutation(len(pairs))
    batches = [
        [pairs[i] for i in order[r * batch_pairs : (r + 1) * batch_pairs]]
        for r in range(repeats + 1)
    ]
    sides: dict[str, Callable[[int], Timed]] = {
        "ours": lambda r: our_training(model, [batches[r]]),
        "ours_mkl": same_gemm(lambda r: our_training(model, [batches[r]])),
        **{
            f"trl_{size}": lambda r, size=size: trl_training(
                model, [batches[r]], tokenizer=tokenizer, micro_batch=size
            )
            for size in (8, 2, 1)
        },
    }
    results = alternate(sides, repeats=repeats)
    ours = np.array([t[2] for t in results["ours"]])
    best = min(("trl_1", "trl_2", "trl_8"), key=lambda side: median(t[0] for t in results[side]))
    rows = []
    for side, label in (("trl_8", "micro-batch 8"), (best, f"best micro-batch ({best[4:]})")):
        difference = np.abs(np.array([t[2] for t in results[side]]) - ours).max()
        name = f"training, HH, {shape.name}, batch {batch_pairs}, TRL {label}"
        rows += both_rows(name, results, side, exactness=f"max |dloss| {difference:.1e}")
    return rows


def loss_curve_row(pairs: Sequence[EncodedPair], *, tokenizer: Any) -> dict[str, Any]:
    """Twelve optimizer steps of 16 pairs, loss by loss."""
    model = bench_model(TINY, tokenizer)
    batches = [pairs[16 * i : 16 * (i + 1)] for i in range(12)]
    results = {
        "ours": [our_training(model, batches)],
        "trl_8": [trl_training(model, batches, tokenizer=tokenizer, micro_batch=8)],
    }
    ours, theirs = (np.array(results[side][0][2]) for side in ("ours", "trl_8"))
    return row(
        "loss curve, HH, 12 steps of 16 pairs, TRL micro-batch 8",
        results,
        "trl_8",
        exactness=f"max |dloss| {np.abs(ours - theirs).max():.1e}",
    )
