"""Bradley-Terry training of a reward model on preference pairs (Section 4.1).

Batch composition, order and loss are a function of the seed alone, never of how pairs are packed
or on how many devices. The weights with the best accuracy on the validation pairs are kept; ties
go to the later step. A killed run continues at its last resume point and ends with the same bits.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

import torch

from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.reward.attention.forward import verified_forward
from synpref_dagster.reward.checkpoints import (
    folder_fingerprint,
    load_classifier,
    publish_checkpoint,
    published_training,
    unpublish,
)
from synpref_dagster.reward.encoding import ChatEncoder, DroppedPairs, encode_pairs, load_encoder
from synpref_dagster.reward.training.config import (
    LoraUpdates,
    Schedule,
    TrainingConfig,
    TrainingReport,
)
from synpref_dagster.reward.training.distributed import (
    DistributedWorkers,
    build_accelerator,
    num_workers,
)
from synpref_dagster.reward.training.loop import TrainingRun
from synpref_dagster.reward.training.lora import add_lora
from synpref_dagster.reward.training.optimisation import build_optimizer
from synpref_dagster.reward.training.resuming import Progress, ResumePoints
from synpref_dagster.reward.training.workers import Workers
from synpref_dagster.storage.damage import keep_checksums

__all__ = ["LoraUpdates", "Schedule", "TrainingConfig", "TrainingReport", "train_reward_model"]

logger = logging.getLogger(__name__)

OnStep = Callable[[int, Mapping[str, float]], None]


def train_reward_model(
    pairs: Sequence[PreferencePair],
    validation: Sequence[PreferencePair],
    *,
    backbone_path: str,
    config: TrainingConfig,
    output_dir: Path,
    on_step: OnStep | None = None,
) -> TrainingReport:
    """Train a reward model and publish it as a Hugging Face folder.

    A finished folder of the same settings and data is reused, an unfinished one is continued; any
    other contents are replaced.

    Args:
        pairs: Training pairs.
        validation: Gold pairs the checkpoint is selected on; empty keeps the last step.
        backbone_path: Folder or hub id of the backbone.
        config: Settings.
        output_dir: Folder of the checkpoint.
        on_step: Called after each step with its number, from 1, its metrics and `num_steps`.

    Returns:
        The report, also stored in the folder's `training.json`.

    Raises:
        ValueError: If no pair can be trained on, or a guard of the encoder fails.
        FloatingPointError: If a loss is not finite, naming step and pairs.
    """
    encoder = load_encoder(
        backbone_path,
        max_length_tokens=config.max_length_tokens,
        pad_token=config.pad_token,
        is_start=True,
    )
    fingerprint = run_fingerprint(
        pairs, validation, backbone_path=backbone_path, config=config, encoder=encoder
    )
    if (finished := _finished(output_dir, fingerprint)) is not None:
        return finished
    unpublish(output_dir)
    train, dropped = encode_pairs(pairs, encoder, margin_key=config.margin_key)
    if not train:
        raise ValueError(_nothing_left(pairs, dropped, config))
    run = TrainingRun(
        workers=start_workers(backbone_path, encoder, config=config),
        train=train,
        gold=encode_pairs(validation, encoder)[0],
        config=config,
        points=ResumePoints(output_dir),
        on_step=on_step,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        progress = run.finish(Progress(fingerprint=fingerprint))
    report = _report(progress, num_pairs=len(train), dropped=dropped)
    _publish(run, progress, encoder=encoder, report=report, output_dir=output_dir)
    return report


def _finished(output_dir: Path, fingerprint: str) -> TrainingReport | None:
    """The report of the checkpoint that is there, if it is this run's."""
    finished = published_training(output_dir)
    if finished is None or finished["report"]["fingerprint"] != fingerprint:
        return None
    logger.info("reusing the finished checkpoint in %s", output_dir)
    ResumePoints(output_dir).clear()
    keep_checksums(output_dir)
    return TrainingReport.from_json(finished["report"], reused=True)


def _nothing_left(
    pairs: Sequence[PreferencePair], dropped: Sequence[DroppedPairs], config: TrainingConfig
) -> str:
    reasons: Counter[str] = Counter()
    for group in dropped:
        reasons[group.reason] += group.count
    return (
        f"none of {len(pairs)} pairs can be trained on; dropped: {dict(reasons)}, with "
        f"max_length_tokens = {config.max_length_tokens}"
    )


def _publish(
    run: TrainingRun,
    progress: Progress,
    *,
    encoder: ChatEncoder,
    report: TrainingReport,
    output_dir: Path,
) -> None:
    weights = run.best_weights(progress)
    if run.workers.is_main:
        publish_checkpoint(
            run.workers.model,
            encoder.tokenizer,
            weights=weights,
            folder=output_dir,
            training={"config": run.config.to_json(), "report": report.to_json()},
        )
        run.points.clear()
    run.workers.wait()


def _report(
    progress: Progress, *, num_pairs: int, dropped: Sequence[DroppedPairs]
) -> TrainingReport:
    best = (row for row in progress.history if row.step == progress.best_step)
    return TrainingReport(
        num_pairs=num_pairs,
        dropped=tuple(dropped),
        num_steps=progress.step,
        best_step=progress.best_step,
        history=tuple(progress.history),
        evaluation=next(best, None),
        losses=tuple(progress.losses),
        fingerprint=progress.fingerprint,
    )


def run_fingerprint(
    pairs: Sequence[PreferencePair],
    validation: Sequence[PreferencePair],
    *,
    backbone_path: str,
    config: TrainingConfig,
    encoder: ChatEncoder,
) -> str:
    """Hexadecimal hash of everything that decides the weights."""
    hasher = blake2b(digest_size=16)
    hasher.update(json.dumps(config.key_material(), sort_keys=True).encode())
    is_folder = Path(backbone_path).is_dir()
    hasher.update((folder_fingerprint(backbone_path) if is_folder else backbone_path).encode())
    hasher.update(encoder.template_fingerprint.encode())
    for part in (pairs, validation):
        hasher.update(len(part).to_bytes(8, "little"))
        for pair in part:
            margin = pair.meta.get(config.margin_key) if config.margin_key else None
            hasher.update(pair.pair_id + repr(margin).encode())
    return hasher.hexdigest()


def start_workers(backbone_path: str, encoder: ChatEncoder, *, config: TrainingConfig) -> Workers:
    """Forward, optimizer and processes of a run: one process, or those that `torchrun` started."""
    accelerator = build_accelerator(config) if num_workers() > 1 else None
    # bfloat16 trains float32 weights under autocast: a step of 1e-6 is lost in bfloat16 weights.
    model = load_classifier(
        backbone_path,
        pad_token_id=encoder.pad_token_id,
        dtype=torch.float64 if config.dtype == "float64" else torch.float32,
        new_head_seed=config.seed,
    ).to(config.device if accelerator is None else accelerator.device)
    forward = verified_forward(model, sharded=accelerator is not None and config.sharded)
    if config.lora is not None:
        add_lora(model, config.lora, seed=config.seed)
    if config.gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    optimizer = build_optimizer(model, config)
    if accelerator is None:
        return Workers(forward, optimizer, config=config)
    return DistributedWorkers(forward, optimizer, config=config, accelerator=accelerator)
