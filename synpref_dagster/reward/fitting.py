"""One training, whichever backend it is: the steps of a campaign and `synpref train` end here."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.reward.backbones import Backbone

if TYPE_CHECKING:
    from synpref_dagster.reward.frozen.config import FrozenConfig
    from synpref_dagster.reward.frozen.reading import FeatureReader
    from synpref_dagster.reward.linear.model import LinearConfig
    from synpref_dagster.reward.training.config import TrainingConfig, TrainingReport

    Config = TrainingConfig | LinearConfig | FrozenConfig


def fit(
    pairs: Sequence[PreferencePair],
    validation: Sequence[PreferencePair],
    *,
    config: "Config",
    reader: "Callable[[FrozenConfig], tuple[FeatureReader, FrozenConfig]]",
    fine_tune: "Callable[[TrainingConfig], TrainingReport]",
    output_dir: Path,
) -> "tuple[TrainingReport, Config]":
    """Train a model, or find the finished one.

    Args:
        pairs: training pairs, in the order of their ids.
        validation: pairs that choose a checkpoint or a head.
        config: from `from_profile.configuration`.
        reader: opens a frozen backbone, as `frozen_reader` does.
        fine_tune: takes the gradient steps on the same data, in this process or in others.
        output_dir: folder of the model.

    Returns:
        The report, and the configuration with the layers that were read.

    Raises:
        ValueError: no pair can be trained on.
    """
    from synpref_dagster.reward.frozen.config import FrozenConfig
    from synpref_dagster.reward.frozen.model import train_frozen_reward_model
    from synpref_dagster.reward.linear.model import LinearConfig, train_linear_reward_model

    if isinstance(config, FrozenConfig):
        opened, config = reader(config)
        report = train_frozen_reward_model(
            pairs, validation, reader=opened, config=config, output_dir=output_dir
        )
    elif isinstance(config, LinearConfig):
        report = train_linear_reward_model(pairs, validation, config=config, output_dir=output_dir)
    else:
        report = fine_tune(config)
    return report, config


def frozen_reader(
    row: Backbone, config: "FrozenConfig", *, home: Path
) -> "tuple[FeatureReader, FrozenConfig]":
    """The reader of a frozen backbone, and the configuration with the layers that it reads.

    Args:
        row: the backbone.
        config: how it is read.
        home: folder that keeps prepared backbones and what they said.
    """
    from synpref_dagster.reward.devices import best_device
    from synpref_dagster.reward.frozen.places import BACKBONES
    from synpref_dagster.reward.frozen.preparing import prepare_backbone
    from synpref_dagster.reward.frozen.reading import Reading, opened_reader

    prepared = prepare_backbone(row, home / BACKBONES, layers=config.layers)
    reading = Reading(
        backbone=prepared.folder.name,
        layers=prepared.layers,
        max_length_tokens=config.max_length_tokens,
        dtype=config.dtype,
    )
    reader = opened_reader(reading, home, keeps=True, device=best_device())
    return reader, replace(config, layers=prepared.layers)


def place_of(start: Backbone, home: Path) -> str:
    """Folder or hub id that a fine-tuning starts from; a GGUF file or a revision is made a folder.

    Args:
        start: the backbone.
        home: folder of prepared backbones.
    """
    if not start.origin():
        return start.hub_id
    from synpref_dagster.reward.frozen.preparing import prepare_backbone

    return str(prepare_backbone(start, home, reads_all=True).folder)
