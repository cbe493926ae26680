"""Training and loading reward models, whichever backend the profile names.

`stand_in`: tiny randomly initialised backbones of the real architectures (demo, tests).
`linear`: Bradley-Terry on counts of words, for small real sets where transformers from scratch
lose to longer-is-better. `frozen`: heads on real backbones that are only read. `hub`: the real
backbones, fine-tuned.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np

from synpref_dagster.pairs.ids import in_id_order
from synpref_dagster.pairs.progress import StepsTaken, TimeExpected, steps_heard, tell
from synpref_dagster.pairs.record import PreferencePair, digest
from synpref_dagster.pairs.texts import pool_texts
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.tracking.step import TrackedStep
from synpref_dagster.reward.backbones import Backbone, backbone
from synpref_dagster.reward.folders import folder_fingerprint, published_training, unpublish
from synpref_dagster.settings.models import (
    HubReleaseSettings,
    HubSettings,
    HubTrainingSettings,
    LinearSettings,
    StandInReleaseSettings,
    TransformerSettings,
)
from synpref_dagster.storage import DatasetRef, ModelRef
from synpref_dagster.storage.damage import made_whole
from synpref_dagster.storage.uris import write_bytes

if TYPE_CHECKING:
    from synpref_dagster.reward.from_profile import ModelSettings
    from synpref_dagster.reward.frozen.config import FrozenConfig
    from synpref_dagster.reward.frozen.reading import FeatureReader
    from synpref_dagster.reward.linear.model import LinearConfig
    from synpref_dagster.reward.scoring import Scorer
    from synpref_dagster.reward.training.config import TrainingConfig, TrainingReport

BUILT = "built.json"
SECONDS_A_LINE = 10.0  # of a training's progress


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

    @property
    def reused(self) -> bool:
        """Whether it was there already, trained on the same pairs under the same settings."""
        return self.report.reused

    def origin(self) -> dict[str, Any]:
        """The backend, what it started from or imitates, and whether it was there already."""
        told = ("backend", "backbone", "architecture_of")
        known = {name: self.settings[name] for name in told if name in self.settings}
        return {**known, "reused": self.reused}

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

    def train(  # noqa: PLR0913 - what is trained, on what, and whether again
        self,
        name: str,
        pairs: Sequence[PreferencePair],
        validation: Sequence[PreferencePair],
        *,
        vocabulary: DatasetRef,
        context: dg.AssetExecutionContext,
        model_size: str | None = None,
        alike: str | None = None,
        retrain: bool = False,
    ) -> TrainedModel:
        """Train one model, or find the finished one; pairs are taken in the order of their ids.

        Args:
            name: what it is for; part of its folder and of its seed.
            pairs: training pairs.
            validation: gold pairs that select the checkpoint.
            vocabulary: pool whose texts a stand-in's tokenizer is made from.
            context: the asset's context; how far it is goes to its log.
            model_size: a release size; None trains the pipeline's own model.
            alike: what models that differ in their pairs alone have in common: their seed.
            retrain: train anew what is finished.
        """
        from synpref_dagster.reward.fitting import fit
        from synpref_dagster.reward.from_profile import logged

        planned = self._plan(name, pairs, validation, model_size=model_size, alike=alike)
        settings, row, folder = planned.settings, planned.row, planned.folder
        if retrain:
            unpublish(folder)

        def fine_tune(config: "TrainingConfig") -> "TrainingReport":
            assert isinstance(settings, TransformerSettings)
            path = self._backbone_path(settings, row, vocabulary)
            with _threads(settings, config):
                return _backbone_training(settings, context, name)(
                    *planned.data, backbone_path=path, config=config, output_dir=folder
                )

        report, config = fit(
            *planned.data,
            config=planned.config,
            reader=partial(self._frozen, row),
            fine_tune=fine_tune,
            output_dir=folder,
        )
        ref = ModelRef(uri=str(folder), fingerprint=folder_fingerprint(folder))
        known = logged(settings, row, config)
        return TrainedModel(ref=ref, folder=folder, report=report, settings=known)

    def tell_expected_time(
        self,
        wanted: Mapping[str, Sequence[PreferencePair]],
        validation: Sequence[PreferencePair],
        *,
        context: dg.AssetExecutionContext,
        model_size: str | None,
        alike: str | None = None,
    ) -> None:
        """Say how long fine-tunings will take that are not finished yet; others take no time.

        Args:
            wanted: name -> training pairs, as they will be given to `train`.
            validation: gold pairs that select the checkpoints.
            context: the asset's context, to whose log it goes.
            model_size: as for `train`.
            alike: as for `train`.
        """
        profile = self.campaign.profile
        settings = profile.release if model_size else profile.reward_model
        if not isinstance(settings, HubTrainingSettings) or settings.num_processes > 1:
            return
        from synpref_dagster.reward.training.config import TrainingConfig
        from synpref_dagster.reward.training.forecast import num_trained_on, seconds_per_pair

        plans = [
            self._plan(name, pairs, validation, model_size=model_size, alike=alike)
            for name, pairs in wanted.items()
        ]
        left = [plan for plan in plans if published_training(plan.folder) is None]
        if not left:
            return
        config = left[0].config
        assert isinstance(config, TrainingConfig)
        path = self._backbone_path(settings, left[0].row, None)
        with _threads(settings, config):
            seconds = seconds_per_pair(left[0].data[0], backbone_path=path, config=config)
        num_pairs = sum(num_trained_on(len(plan.data[0]), config) for plan in left)
        tell(context.log, TimeExpected(len(left), num_pairs, seconds * num_pairs / 60))

    def _plan(
        self,
        name: str,
        pairs: Sequence[PreferencePair],
        validation: Sequence[PreferencePair],
        *,
        model_size: str | None,
        alike: str | None,
    ) -> "_Plan":
        from synpref_dagster.reward.from_profile import checkpoint_key, configuration, stages_size

        pairs, validation = in_id_order(pairs), in_id_order(validation)
        profile = self.campaign.profile
        settings = profile.release if model_size else profile.reward_model
        # A linear model has none; its key has that of the first version, whatever rows there are.
        rows = () if isinstance(settings, LinearSettings) else profile.backbones
        row = backbone(model_size or stages_size(settings), rows)
        seed = _seed(self.campaign.seed, alike or name)
        key = checkpoint_key(pairs, validation, settings=settings, row=row, seed=seed)
        return _Plan(
            settings=settings,
            row=row,
            config=configuration(settings, row, final=model_size is not None, seed=seed),
            data=(pairs, validation),
            folder=self.campaign.local_folder("models", *name.split("/"), key),
        )

    def scorer(self, model: ModelRef) -> "Scorer":
        """The model, ready to give rewards."""
        from synpref_dagster.reward.shards import opened_scorer

        return opened_scorer(model)

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

    def stages_reader(self) -> "FeatureReader":
        """Reads with the campaign's frozen backbone, as everybody does who reads one.

        Raises:
            ValueError: there is none.
        """
        from synpref_dagster.reward.from_profile import configuration
        from synpref_dagster.reward.frozen.config import FrozenConfig

        profile = self.campaign.profile
        settings = profile.frozen_settings()
        if settings is None:
            backend = profile.reward_model.backend
            raise ValueError(f"reward_model.backend is {backend!r}: no backbone is frozen")
        row = backbone(settings.model_size, profile.backbones)
        config = configuration(settings, row, final=False, seed=0)
        assert isinstance(config, FrozenConfig)
        return self._frozen(row, config)[0]

    def _frozen(
        self, row: Backbone, config: "FrozenConfig"
    ) -> "tuple[FeatureReader, FrozenConfig]":
        """The reader of a frozen backbone, and the configuration with the layers that it reads."""
        from synpref_dagster.reward.fitting import frozen_reader

        return frozen_reader(row, config, home=self.campaign.shared_folder())

    def _backbone_path(
        self, settings: "ModelSettings", row: Backbone, vocabulary: DatasetRef | None
    ) -> str:
        if isinstance(settings, HubSettings | HubReleaseSettings):
            from synpref_dagster.reward.fitting import place_of
            from synpref_dagster.reward.from_profile import start_of

            return place_of(start_of(settings, row), self.campaign.local_folder("backbones"))
        assert vocabulary is not None, "a stand-in has a tokenizer of its own"
        texts = self.campaign.texts(vocabulary)
        folder = self.campaign.local_folder(
            "backbones", f"{row.model_size}-{texts.fingerprint[:16]}"
        )

        def make() -> None:
            from synpref_dagster.reward.stand_ins import make_stand_in

            words = pool_texts(self.campaign.pairs(vocabulary))
            make_stand_in(row, output_dir=folder, seed=self.campaign.seed, texts=words)
            write_bytes(folder / BUILT, json.dumps({"model_size": row.model_size}).encode())

        # The marker is written last: a folder that a killed run left half-made is made again.
        made_whole(folder, is_made=(folder / BUILT).exists(), make=make)
        return str(folder)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """What one training is: its settings, its data in order, and where its checkpoint goes."""

    settings: "ModelSettings"
    row: Backbone
    config: "TrainingConfig | LinearConfig | FrozenConfig"
    data: tuple[Sequence[PreferencePair], Sequence[PreferencePair]]
    folder: Path


def _threads(
    settings: TransformerSettings, config: "TrainingConfig"
) -> AbstractContextManager[None]:
    """All cores for a real backbone on a processor; a stand-in is too small for threads."""
    import torch

    from synpref_dagster.reward.devices import on_all_cores

    if isinstance(settings, StandInReleaseSettings):
        torch.set_num_threads(1)  # they would only wait for each other, here and in its scoring
        return nullcontext()
    return on_all_cores(config.device)


def _backbone_training(
    settings: TransformerSettings, context: dg.AssetExecutionContext, name: str
) -> "Callable[..., TrainingReport]":
    from synpref_dagster.reward.training.run import train_reward_model

    if settings.num_processes == 1:
        return partial(train_reward_model, on_step=_telling(context.log, name))
    from synpref_dagster.resources.torchrun.launch import train_with_torchrun

    return partial(train_with_torchrun, context, settings.num_processes)


def _telling(logger: logging.Logger, name: str) -> Callable[[int, Mapping[str, float]], None]:
    """Tells a log how far a training is, now and then; one of a few seconds tells nothing."""
    began = told = time.monotonic()

    def hear(fact: StepsTaken) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told < SECONDS_A_LINE and not (fact.done == fact.total and told > began):
            return
        told = now
        tell(logger, fact)

    return steps_heard(name, hear)


def _seed(seed: int, name: str) -> int:
    return int.from_bytes(digest(str(seed), name)[:4], "little") >> 1
