"""Training and loading reward models, whichever backend the profile names.

`stand_in`: tiny randomly initialised backbones of the real architectures (demo, tests).
`linear`: Bradley-Terry on frozen features, for small real sets where transformers from scratch
lose to longer-is-better. `hub`: the real backbones, fine-tuned.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np

from synpref_dagster.pairs.record import PreferencePair, digest
from synpref_dagster.pairs.texts import pool_texts
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.tracking.step import TrackedStep
from synpref_dagster.reward.backbones import Backbone, backbone
from synpref_dagster.reward.folders import folder_fingerprint
from synpref_dagster.settings.models import RewardModelSettings
from synpref_dagster.storage import DatasetRef, ModelRef

if TYPE_CHECKING:
    from synpref_dagster.reward.scoring import Scorer
    from synpref_dagster.reward.training.config import TrainingConfig, TrainingReport

STAND_IN_MAX_LENGTH_TOKENS = 1_024
BUILT = "built.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedModel:
    """A finished checkpoint and what its training reported."""

    ref: ModelRef
    folder: Path
    report: "TrainingReport"
    settings: Mapping[str, Any]
    """What it was trained with, as MLflow lists it."""

    @property
    def accuracy(self) -> float:
        """Accuracy on the validation pairs; NaN without any."""
        return self.report.evaluation.accuracy if self.report.evaluation else float("nan")

    @property
    def losses(self) -> list[float]:
        """Mean training loss per step."""
        return list(self.report.losses)

    def metrics(self) -> dict[str, float]:
        """The numbers worth a curve: accuracy with interval, ties, steps, pairs."""
        numbers: dict[str, float] = {
            "num_train_pairs": self.report.num_pairs,
            "num_left_out": self.report.num_dropped,
            "num_steps": self.report.num_steps,
            "best_step": self.report.best_step,
        }
        if self.report.evaluation is not None:
            found = self.report.evaluation
            numbers |= {
                "gold_accuracy": found.accuracy,
                "gold_accuracy_low": found.low,
                "gold_accuracy_high": found.high,
                "gold_tie_rate": found.tie_rate,
                "num_validation_pairs": found.num_pairs,
            }
        return numbers

    def track(self, step: TrackedStep) -> None:
        """Log what it was trained with, and the loss of every step."""
        step.log_params(self.settings)
        step.log_curve("training/loss", self.losses)

    def left_out_by_reason(self) -> dict[str, int]:
        """Training pairs left out, by source and reason."""
        return {f"{group.source}: {group.reason}": group.count for group in self.report.dropped}


class RewardModels(dg.ConfigurableResource):
    """Trains, loads and applies reward models."""

    campaign: Campaign

    def train(
        self,
        name: str,
        pairs: Sequence[PreferencePair],
        validation: Sequence[PreferencePair],
        *,
        vocabulary: DatasetRef,
        model_size: str | None = None,
        context: dg.AssetExecutionContext | None = None,
    ) -> TrainedModel:
        """Train one model, or find the finished one of the same data and settings.

        Args:
            name: what it is for; part of its folder and of its seed.
            pairs: training pairs.
            validation: gold pairs that select the checkpoint.
            vocabulary: pool whose texts a stand-in's tokenizer is made from.
            model_size: a release size; None trains the pipeline's own model.
            context: the asset's context; needed by profiles that train in several processes.
        """
        profile = self.campaign.profile
        settings = profile.release if model_size else profile.reward_model
        row = backbone(model_size or settings.model_size)
        seed = _seed(self.campaign.seed, name)
        key = _data_key(pairs, validation, settings=settings, row=row, seed=seed)
        folder = self.campaign.local_folder("models", *name.split("/"), key)
        if settings.backend == "linear":
            from synpref_dagster.reward.linear.model import LinearConfig, train_linear_reward_model

            report = train_linear_reward_model(
                pairs, validation, config=LinearConfig(), output_dir=folder
            )
        else:
            report = _backbone_training(settings, context)(
                pairs,
                validation,
                backbone_path=self._backbone_path(settings, row, vocabulary),
                config=_training_config(settings, row, final=model_size is not None, seed=seed),
                output_dir=folder,
            )
        ref = ModelRef(uri=str(folder), fingerprint=folder_fingerprint(folder))
        known = {
            **settings.model_dump(exclude_none=True),
            "model_size": row.model_size,
            "architecture_of": row.hub_id,
            "seed": seed,
        }
        if settings.backend == "linear":  # on frozen features of its own
            del known["architecture_of"], known["model_size"]
        return TrainedModel(ref=ref, folder=folder, report=report, settings=known)

    def scorer(self, model: ModelRef) -> "Scorer":
        """The model, ready to give rewards."""
        from synpref_dagster.reward.scoring import load_reward_model

        return load_reward_model(model.uri)

    def margins(self, model: ModelRef, pairs: Sequence[PreferencePair]) -> np.ndarray:
        """float32 (n,): reward(chosen) - reward(rejected) of each pair, in order."""
        chosen, rejected = self.rewards(model, pairs)
        return chosen - rejected

    def rewards(
        self, model: ModelRef, pairs: Sequence[PreferencePair]
    ) -> tuple[np.ndarray, np.ndarray]:
        """float32 (n,) rewards of the chosen and of the rejected responses, in order.

        Each distinct (conversation, response) is scored once.
        """
        conversations = [pair.conversation for pair in pairs]
        responses = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
        rewards = self.scorer(model).rewards(conversations * 2, responses)
        return rewards[: len(pairs)], rewards[len(pairs) :]

    def _backbone_path(
        self, settings: RewardModelSettings, row: Backbone, vocabulary: DatasetRef
    ) -> str:
        if settings.backend == "hub":
            return row.hub_id
        texts = self.campaign.texts(vocabulary)
        folder = self.campaign.local_folder(
            "backbones", f"{row.model_size}-{texts.fingerprint[:16]}"
        )
        # The marker is written last: a folder that a killed run left half-made is made again.
        if not (folder / BUILT).exists():
            from synpref_dagster.reward.stand_ins import make_stand_in

            words = pool_texts(self.campaign.pairs(vocabulary))
            make_stand_in(row, output_dir=folder, seed=self.campaign.seed, texts=words)
            (folder / BUILT).write_text(json.dumps({"model_size": row.model_size}), "utf-8")
        return str(folder)


def _backbone_training(
    settings: RewardModelSettings, context: dg.AssetExecutionContext | None
) -> "Callable[..., TrainingReport]":
    import torch

    from synpref_dagster.reward.training.run import train_reward_model

    # A stand-in is too small for threads: they would only wait for each other.
    torch.set_num_threads(1 if settings.backend == "stand_in" else torch.get_num_threads())
    if context is None or settings.num_processes == 1:
        return train_reward_model
    from synpref_dagster.resources.torchrun.launch import train_with_torchrun

    return partial(train_with_torchrun, context, settings.num_processes)


def _training_config(
    settings: RewardModelSettings, row: Backbone, *, final: bool, seed: int
) -> "TrainingConfig":
    from synpref_dagster.reward.training.config import TrainingConfig

    if settings.backend == "hub":
        return _hub_config(settings, row, final=final, seed=seed)
    defaults = TrainingConfig()
    return TrainingConfig(
        learning_rate=settings.learning_rate or defaults.learning_rate,
        batch_pairs=settings.batch_pairs or defaults.batch_pairs,
        max_steps=settings.num_steps,
        evaluate_every_steps=settings.evaluate_every_steps,
        max_length_tokens=STAND_IN_MAX_LENGTH_TOKENS,
        seed=seed,
    )


def _hub_config(
    settings: RewardModelSettings, row: Backbone, *, final: bool, seed: int
) -> "TrainingConfig":
    """The paper's settings (Sec. 4.1): final runs for releases, development runs for the rest."""
    import torch

    from synpref_dagster.reward.training.config import Schedule, TrainingConfig

    return TrainingConfig(
        learning_rate=row.learning_rate_final if final else row.learning_rate_development,
        batch_pairs=row.batch_pairs_final if final else row.batch_pairs_development,
        schedule=Schedule.CONSTANT if final else Schedule.LINEAR,
        num_epochs=1,
        max_length_tokens=row.max_length_tokens,
        dtype=row.dtype,
        device="cuda" if torch.cuda.is_available() else "cpu",
        gradient_checkpointing=True,
        pad_token=row.pad_token,
        evaluate_every_steps=settings.evaluate_every_steps,
        save_every_steps=settings.evaluate_every_steps,
        sharded=settings.num_processes > 1,
        seed=seed,
    )


def _data_key(
    pairs: Sequence[PreferencePair],
    validation: Sequence[PreferencePair],
    *,
    settings: RewardModelSettings,
    row: Backbone,
    seed: int,
) -> str:
    hasher = blake2b(digest_size=8)
    about: dict[str, Any] = {**settings.model_dump(), "size": row.model_size, "seed": seed}
    hasher.update(json.dumps(about, sort_keys=True).encode())
    for part in (pairs, validation):
        hasher.update(b"".join(pair.pair_id for pair in part) + b"|")
    return hasher.hexdigest()


def _seed(seed: int, name: str) -> int:
    return int.from_bytes(digest(str(seed), name)[:4], "little") >> 1
