"""`[reward_model]` and `[release]` as what trains: the configuration, the backbone, and their key.

Everything that a profile says about a model goes through here once, and the configuration that
comes out is what MLflow is told.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import blake2b
from typing import Any

from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.reward.backbones import (
    BACKBONES,
    STAND_IN_MAX_LENGTH_TOKENS,
    Backbone,
    backbone,
)
from synpref_dagster.reward.devices import best_device, reading_dtype, training_dtype
from synpref_dagster.reward.frozen.config import FrozenConfig
from synpref_dagster.reward.linear.model import LinearConfig
from synpref_dagster.reward.training.config import LoraUpdates, Schedule, TrainingConfig
from synpref_dagster.reward.training.losses import LossConfig
from synpref_dagster.settings.models import (
    FIRST_FORM,
    BackboneSettings,
    FrozenReleaseSettings,
    FrozenSettings,
    HubReleaseSettings,
    HubSettings,
    HubTrainingSettings,
    LinearSettings,
    StandInReleaseSettings,
    StandInSettings,
    TransformerSettings,
    key_material,
)
from synpref_dagster.settings.profile import Profile

ModelSettings = (
    StandInSettings
    | LinearSettings
    | HubSettings
    | FrozenSettings
    | StandInReleaseSettings
    | HubReleaseSettings
    | FrozenReleaseSettings
)


def configuration(
    settings: ModelSettings, row: Backbone, *, final: bool, seed: int
) -> TrainingConfig | LinearConfig | FrozenConfig:
    """What a model is trained with.

    Args:
        settings: section of the profile.
        row: the size's row of the paper.
        final: whether it is a release; the paper trains those otherwise than the stages' models.
        seed: seed of this model.
    """
    if isinstance(settings, LinearSettings):
        return LinearConfig()
    if isinstance(settings, FrozenReleaseSettings):
        return _frozen(settings, row)
    if isinstance(settings, HubTrainingSettings):
        brought = _from_the_paper(settings, row, final=final)
        told: dict[str, Any] = {
            "max_length_tokens": settings.max_length_tokens,
            "dtype": settings.dtype,
        }
    else:
        brought, told = {"max_length_tokens": STAND_IN_MAX_LENGTH_TOKENS}, {}
    told |= {
        "learning_rate": settings.learning_rate,
        "batch_pairs": settings.batch_pairs,
        "schedule": settings.schedule,
    }
    lora = settings.lora or row.lora
    return TrainingConfig(
        **{**brought, **{name: value for name, value in told.items() if value is not None}},
        max_steps=settings.num_steps,
        evaluate_every_steps=settings.evaluate_every_steps,
        loss=LossConfig(**settings.loss.model_dump()),
        lora=LoraUpdates(**lora.model_dump()) if lora else None,
        seed=seed,
    )


def start_of(settings: ModelSettings, row: Backbone) -> Backbone:
    """The backbone that a model starts from: the row's, or the one given to `hub` in its place."""
    if not isinstance(settings, HubSettings | HubReleaseSettings):
        return row
    given = settings.given_backbone(row.model_size)
    return replace(row, hub_id=given, revision=None, gguf_file=None) if given else row


def backbones_read(profile: Profile, sizes: Sequence[str]) -> list[Backbone]:
    """The pretrained backbones that a campaign begins with, each once.

    Args:
        profile: of the campaign.
        sizes: that will be released.
    """
    named = [(profile.reward_model, [stages_size(profile.reward_model)]), (profile.release, sizes)]
    starts = [
        start_of(settings, backbone(size, profile.backbones))
        for settings, wanted in named
        if isinstance(settings, HubTrainingSettings | FrozenReleaseSettings)
        for size in wanted
    ]
    return list(dict.fromkeys(starts))


def refuse_unfit_start(row: Backbone) -> None:
    """Refuse a backbone by what can be told before its weights are read.

    Args:
        row: the backbone, whose place is a local folder.

    Raises:
        ValueError: in one line; it has no usable tokenizer or template, pads with end-of-sequence,
            or its head has not one label.
    """
    from synpref_dagster.reward.checkpoints import refuse_other_head
    from synpref_dagster.reward.encoding import load_encoder

    load_encoder(
        row.hub_id,
        max_length_tokens=row.max_length_tokens,
        pad_token=row.pad_token,
        is_start=True,
        origin=row.origin(),
    )
    if row.gguf_file is None:
        refuse_other_head(row.hub_id)


def unfit_for_heads(place: str, pad_token: str | None) -> str:
    """Why heads cannot be put on the model in a folder, in one line; empty where they can.

    Args:
        place: the folder.
        pad_token: token to pad with, where the tokenizer names none.
    """
    row = BackboneSettings(name="survey", path=place, pad_token=pad_token)
    try:
        refuse_unfit_start(backbone(row.name, [row]))
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def stages_size(settings: ModelSettings) -> str:
    """Size of the stages' models; a linear one has none, and its key that of the first version."""
    if isinstance(settings, StandInSettings | HubSettings | FrozenSettings):
        return settings.model_size
    return str(FIRST_FORM["model_size"])


def logged(
    settings: ModelSettings, row: Backbone, config: TrainingConfig | LinearConfig | FrozenConfig
) -> dict[str, Any]:
    """What a model was trained with, as MLflow lists it: the configuration, and where it began.

    Left out is what this configuration does not use: constants of other losses, and the number of
    epochs where that of the steps is given.
    """
    told = _without_none(asdict(config))
    if isinstance(settings, FrozenReleaseSettings):
        about = {"model_size": row.model_size, "backbone": row.hub_id, **row.origin()}
        return {"backend": settings.backend, **about, **told}
    if not isinstance(settings, TransformerSettings):
        return {"backend": settings.backend, **told}
    if settings.num_steps is not None:
        del told["num_epochs"]
    if isinstance(settings, HubSettings | HubReleaseSettings):
        begun = start_of(settings, row)
        start = {"backbone": begun.hub_id, **begun.origin()}
    else:
        start = {"architecture_of": row.hub_id}
    return {
        "backend": settings.backend,
        "model_size": row.model_size,
        "num_processes": settings.num_processes,
        **start,
        **told,
        "loss": settings.loss.model_dump(),
    }


def checkpoint_key(
    pairs: Sequence[PreferencePair],
    validation: Sequence[PreferencePair],
    *,
    settings: ModelSettings,
    row: Backbone,
    seed: int,
) -> str:
    """Names the folder of a model: its data, and what its settings say (`key_material`)."""
    hasher = blake2b(digest_size=8)
    about = {**key_material(settings), "size": row.model_size, "seed": seed}
    if isinstance(settings, HubReleaseSettings) and about.pop("backbones", None):
        # That of this size only: a backbone for another one changes nothing here.
        about |= _without_none({"backbone": settings.given_backbone(row.model_size)})
    if row not in BACKBONES:
        about["row"] = row.material()
    hasher.update(json.dumps(about, sort_keys=True).encode())
    for part in (pairs, validation):
        hasher.update(b"".join(pair.pair_id for pair in part) + b"|")
    return hasher.hexdigest()


def _frozen(settings: FrozenReleaseSettings, row: Backbone) -> FrozenConfig:
    told = {"layers": settings.layers, "penalties": settings.penalties}
    dtype = settings.dtype if settings.dtype != "auto" else row.frozen_dtype or reading_dtype()
    return FrozenConfig(
        **_without_none(told),
        poolings=settings.poolings,
        max_length_tokens=settings.max_length_tokens or row.max_length_tokens,
        dtype=dtype,
    )


def _from_the_paper(settings: HubTrainingSettings, row: Backbone, *, final: bool) -> dict[str, Any]:
    """The paper's settings (Sec. 4.1): final runs for releases, development runs for the rest."""
    device = best_device()
    return {
        "learning_rate": row.learning_rate_final if final else row.learning_rate_development,
        "batch_pairs": row.batch_pairs_final if final else row.batch_pairs_development,
        "schedule": Schedule.CONSTANT if final else Schedule.LINEAR,
        "num_epochs": settings.num_epochs,
        "max_length_tokens": row.max_length_tokens,
        # A row of the profile that names one is obeyed.
        "dtype": row.frozen_dtype or training_dtype(row.dtype, device),
        "device": device,
        "gradient_checkpointing": settings.gradient_checkpointing,
        "pad_token": row.pad_token,
        "save_every_steps": settings.evaluate_every_steps,
        "sharded": settings.num_processes > 1 and not (settings.lora or row.lora),
    }


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_none(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if value is not None
    }
