"""The steps of a training run: state in, state out, resumable after any of them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from torch import Tensor

from synpref_dagster.reward.attention.batching import Pack
from synpref_dagster.reward.encoding import EncodedPair
from synpref_dagster.reward.evaluation import Evaluation, evaluate_margins
from synpref_dagster.reward.training.batch_step import forward_backward, gold_margins, pair_packs
from synpref_dagster.reward.training.config import TrainingConfig
from synpref_dagster.reward.training.optimisation import learning_rate
from synpref_dagster.reward.training.resuming import Progress, ResumePoints
from synpref_dagster.reward.training.workers import Workers

OnStep = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """Everything a run needs besides how far it has come.

    Attributes:
        workers: Forward and optimizer.
        train: Training pairs.
        gold: Pairs the checkpoint is selected on; empty keeps the last step.
        config: Settings.
        points: Where resume points go.
        on_step: Called after each step, on the main process only, with its number, the metrics of
            its batch and `num_steps` of the whole run.
    """

    workers: Workers
    train: Sequence[EncodedPair]
    gold: Sequence[EncodedPair]
    config: TrainingConfig
    points: ResumePoints
    on_step: OnStep | None = None

    @cached_property
    def gold_packs(self) -> list[Pack]:
        """The gold pairs, packed once for all evaluations."""
        return pair_packs(self.gold, tokens_per_pack=self.config.pack_budget)

    def finish(self, progress: Progress) -> Progress:
        """Take all steps that are left, from the last resume point of this run on."""
        found = self.points.find(progress.fingerprint)
        if found is not None:
            progress, point = found
            self.points.restore(point, workers=self.workers)
        num_steps = self.config.num_steps(len(self.train))
        order = DataOrder(len(self.train), config=self.config)
        while progress.step < num_steps:
            step = progress.step + 1
            rate = learning_rate(step, config=self.config, num_steps=num_steps)
            batch = [self.train[i] for i in order.batch(step)]
            metrics = take_step(self.workers, batch, config=self.config, step=step, rate=rate)
            progress.step = step
            progress.losses.append(metrics["loss"])
            if self.on_step is not None and self.workers.is_main:
                self.on_step(step, {**metrics, "num_steps": num_steps})
            self._evaluate_and_save(progress, is_last=step == num_steps)
        if not self.gold:
            progress.best_step = progress.step
        return progress

    def best_weights(self, progress: Progress) -> dict[str, Tensor]:
        """The weights to publish; all workers take part, the main one gets them."""
        if progress.best_step == progress.step:
            return self.workers.weights()
        return self.points.load_best(progress.best_step) if self.workers.is_main else {}

    def _evaluate_and_save(self, progress: Progress, *, is_last: bool) -> None:
        """Evaluate and publish a resume point where they are due; the last step needs no point."""
        step = progress.step
        evaluate_every, save_every = self.config.evaluate_every_steps, self.config.save_every_steps
        evaluated = bool(self.gold) and (is_last or _is_due(step, evaluate_every))
        if evaluated:
            is_best = progress.record(self._evaluate(step))
            if is_best and not is_last:
                self.points.save_best(self.workers, step=step)
        due = _is_due(step, save_every) if save_every else evaluated
        if due and not is_last:
            self.points.save(self.workers, progress=progress)

    def _evaluate(self, step: int) -> Evaluation:
        self.workers.module.eval()
        margins = gold_margins(self.workers, self.gold_packs, num_pairs=len(self.gold))
        return evaluate_margins(margins, step=step)


def take_step(
    workers: Workers,
    batch: Sequence[EncodedPair],
    *,
    config: TrainingConfig,
    step: int,
    rate: float,
) -> dict[str, float]:
    """One optimizer step; returns the metrics of the batch before it.

    Raises:
        FloatingPointError: If a loss or the gradient is not finite; the weights stay as they were.
    """
    workers.module.train()
    result = forward_backward(workers, batch, config=config, step=step)
    norm = workers.clip(config.clip_norm)
    if not math.isfinite(norm):
        ids = ", ".join(pair.pair_id.hex() for pair in batch)
        raise FloatingPointError(f"step {step}: the gradient is not finite in the batch {ids}")
    for group in workers.optimizer.param_groups:
        group["lr"] = rate
    workers.optimizer.step()
    workers.optimizer.zero_grad(set_to_none=True)
    return {**result.metrics(), "gradient_norm": norm, "learning_rate": rate}


class DataOrder:
    """Which pairs make up the batch of a step: a function of seed and step."""

    def __init__(self, num_pairs: int, *, config: TrainingConfig) -> None:
        self.num_pairs = num_pairs
        self.batch_pairs = config.batch_pairs
        self.seed = config.seed
        self._epoch = -1
        self._order: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def batch(self, step: int) -> npt.NDArray[np.int64]:
        """Indices of the pairs of a step, from 1: slices of a fresh permutation per epoch."""
        steps_per_epoch = -(-self.num_pairs // self.batch_pairs)
        epoch, slot = divmod(step - 1, steps_per_epoch)
        if epoch != self._epoch:
            self._order = np.random.default_rng([self.seed, epoch]).permutation(self.num_pairs)
            self._epoch = epoch
        return self._order[slot * self.batch_pairs : (slot + 1) * self.batch_pairs]


def _is_due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0
