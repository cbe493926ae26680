"""What the models of a profile will take: every training by size, and scoring the pool.

Numbers of pairs come from the profile and from the pool, those that only a run can know are the
most that it can be: all clean pairs where the filter decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from synpref_dagster.reward.backbones import Backbone, backbone
from synpref_dagster.reward.prediction.costs import (
    FLOAT,
    HALF,
    Memory,
    forward_work,
    pair_load,
    step_memory,
    step_work,
)
from synpref_dagster.reward.prediction.machines import Machine
from synpref_dagster.reward.prediction.shapes import Shape, shape_of
from synpref_dagster.settings.models import (
    FrozenReleaseSettings,
    FrozenSettings,
    HubReleaseSettings,
    HubSettings,
)
from synpref_dagster.settings.profile import Profile

if TYPE_CHECKING:
    from synpref_dagster.reward.training.config import TrainingConfig

RELEASE = "skywork_reward_v2"
NUM_VARIANTS = 6  # models of the asset curation_variants
NUM_WITNESSES = 2  # the best model and the gold model score the pool
MARGIN = 1.1  # of what a step holds: what lies unused between its tensors
CONTEXT_BYTES = 1e9  # of CUDA itself


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """Models of one purpose and size.

    Attributes:
        what: The asset, or several, that train them.
        size: Their model size.
        num_parameters: Weights of one.
        num_models: How many.
        num_pairs: Pairs that the largest is trained on.
        num_steps: Optimizer steps of the largest.
        batch_pairs: Pairs per step.
        tokens_per_pack: Token budget of one forward.
        flops_per_step: Floating-point operations of a step.
        seconds_per_step: Wall time of a step, on all its devices.
        device_hours: Of all these models, over all devices.
        memory: Of each device where a pack is full.
        memory_of_longest: Of each device where a pair is as long as it may be.
    """

    what: str
    size: str
    num_parameters: int
    num_models: int
    num_pairs: int
    num_steps: int
    batch_pairs: int
    tokens_per_pack: int
    flops_per_step: float
    seconds_per_step: float
    device_hours: float
    memory: Memory
    memory_of_longest: Memory


@dataclass(frozen=True, kw_only=True, slots=True)
class Scoring:
    """Forwards over responses without a backward pass.

    Attributes:
        what: What is scored.
        size: Model size.
        num_pairs: Pairs, of which each response is read once.
        dtype: Weights and activations.
        flops_per_token: Floating-point operations per forwarded token.
        device_hours: Hours of one device.
        weight_bytes: Bytes of the weights.
    """

    what: str
    size: str
    num_pairs: int
    dtype: str
    flops_per_token: float
    device_hours: float
    weight_bytes: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Assumptions:
    """What a profile does not say.

    Attributes:
        num_pairs: Pairs of the clean pool.
        tokens_per_pair: Forwarded tokens of one, its prompt once.
        machine: The device.
    """

    num_pairs: int
    tokens_per_pair: float
    machine: Machine


def labelled_pairs(profile: Profile) -> int:
    """Pairs that people and judges label: the least that the pool has to hold."""
    seed, iterations = profile.seed_set, profile.iterations
    return seed.num_gold + seed.num_silver + iterations.num_iterations * iterations.max_retrieved


def forecast(profile: Profile, assumed: Assumptions) -> tuple[list[Training], list[Scoring]]:
    """All trainings of a campaign, and what is only read, in their order.

    Models without a real backbone (`stand_in`, `linear`) are left out: they take nothing.

    Raises:
        ValueError: The shape of a backbone is not known.
    """
    trainings, scorings = _stages(profile, assumed)
    for size in profile.sizes():
        row = backbone(size, profile.backbones)
        if isinstance(profile.release, HubReleaseSettings):
            numbers = [max(assumed.num_pairs, labelled_pairs(profile))]
            trainings.append(
                _training(profile.release, row, what=RELEASE, numbers=numbers, assumed=assumed)
            )
        elif isinstance(profile.release, FrozenReleaseSettings):
            scorings.append(_reading(profile.release, row, assumed))
    # Releases find what the stages' models have read.
    return trainings, list({(each.what, each.size): each for each in scorings}.values())


def _stages(profile: Profile, assumed: Assumptions) -> tuple[list[Training], list[Scoring]]:
    settings = profile.reward_model
    if not isinstance(settings, HubSettings | FrozenSettings):
        return [], []
    row = backbone(settings.model_size, profile.backbones)
    if isinstance(settings, FrozenSettings):
        return [], [_reading(settings, row, assumed)]
    trainings = [
        _training(settings, row, what=what, numbers=numbers, assumed=assumed)
        for what, numbers in training_sets(profile, assumed.num_pairs)
    ]
    shape = shape_of(row, settings.given_backbone(row.model_size))
    num_pairs = NUM_WITNESSES * assumed.num_pairs
    return trainings, [_scoring("pool_rewards", shape, row, num_pairs=num_pairs, assumed=assumed)]


def training_sets(profile: Profile, num_pairs: int) -> list[tuple[str, list[int]]]:
    """Who trains the stages' models, and on how many pairs each."""
    seed, iterations = profile.seed_set, profile.iterations
    by_judges = max(0, iterations.max_retrieved - iterations.num_human)
    silver = [seed.num_silver + k * by_judges for k in range(iterations.num_iterations + 1)]
    gold = seed.num_gold + iterations.num_iterations * iterations.num_human
    folds = profile.filtering.cross_fit_folds
    return [
        ("iterations", silver),
        ("gold_reward_model", [round((1 - seed.validation_share) * gold)]),
        ("flip_evidence", [round((1 - 1 / folds) * gold)] * folds),
        ("curation_variants", [num_pairs] * NUM_VARIANTS),
    ]


def _training(
    settings: HubSettings | HubReleaseSettings,
    row: Backbone,
    *,
    what: str,
    numbers: Sequence[int],
    assumed: Assumptions,
) -> Training:
    """Models of one purpose, on so many pairs each."""
    from synpref_dagster.reward.from_profile import configuration
    from synpref_dagster.reward.training.config import TrainingConfig

    config = configuration(settings, row, final=what == RELEASE, seed=0)
    assert isinstance(config, TrainingConfig)
    # Chosen for the device that is asked about, not for the one that asks.
    config = replace(config, device=assumed.machine.device, dtype=row.dtype)
    predicted = predict_training(
        shape_of(row, settings.given_backbone(row.model_size)),
        config,
        num_pairs=max(numbers),
        num_devices=settings.num_processes,
        assumed=assumed,
    )
    share = sum(config.num_steps(number) for number in numbers) / predicted.num_steps
    return replace(
        predicted,
        what=what,
        size=row.model_size,
        num_models=len(numbers),
        device_hours=share * predicted.device_hours,
    )


def predict_training(
    shape: Shape,
    config: "TrainingConfig",
    *,
    num_pairs: int,
    assumed: Assumptions,
    num_devices: int = 1,
) -> Training:
    """What training one model takes.

    Args:
        shape: The model.
        config: Settings, with the device that it is for.
        num_pairs: Training pairs.
        assumed: Tokens of a pair, and the device.
        num_devices: Processes, one per device.
    """
    batch, num_steps = min(config.batch_pairs, num_pairs), config.num_steps(num_pairs)
    lora, updates = config.lora, None
    if lora is not None:
        updates = shape.num_updates(lora.rank, lora.target_modules)
    load = pair_load(assumed.tokens_per_pair).times(batch)
    checkpointing = config.gradient_checkpointing
    flops = step_work(shape, load, checkpointing=checkpointing, lora_weights=updates).total
    seconds = assumed.machine.seconds(flops, dtype=config.dtype) / num_devices

    def memory(num_tokens: float) -> Memory:
        whole = step_memory(
            shape,
            num_tokens,
            dtype=config.dtype,
            checkpointing=checkpointing,
            lora_weights=updates,
        )
        return _sharded(whole, num_devices if config.sharded else 1)

    budget = config.pack_budget
    return Training(
        what="training",
        size="",
        num_parameters=shape.num_parameters,
        num_models=1,
        num_pairs=num_pairs,
        num_steps=num_steps,
        batch_pairs=batch,
        tokens_per_pack=budget,
        flops_per_step=flops,
        seconds_per_step=seconds,
        device_hours=num_steps * seconds * num_devices / 3600,
        memory=memory(min(budget, load.num_tokens)),
        # A pair is never cut in two, and both its sides may be as long as one may be.
        memory_of_longest=memory(max(budget, 2 * config.max_length_tokens)),
    )


def needed_bytes(memory: Memory) -> float:
    """What a device has to have for a step: what it holds, what lies unused between, and CUDA."""
    return MARGIN * memory.total + CONTEXT_BYTES


def _sharded(memory: Memory, num_shards: int) -> Memory:
    return replace(
        memory,
        weights=memory.weights / num_shards,
        gradients=memory.gradients / num_shards,
        optimizer=memory.optimizer / num_shards,
    )


def _reading(settings: FrozenReleaseSettings, row: Backbone, assumed: Assumptions) -> Scoring:
    """One reading of the pool by a frozen backbone, up to the last layer that is wanted."""
    from synpref_dagster.reward.from_profile import configuration
    from synpref_dagster.reward.frozen.config import FrozenConfig

    config = configuration(settings, row, final=False, seed=0)
    assert isinstance(config, FrozenConfig)
    dtype = row.frozen_dtype or "bfloat16" if settings.dtype == "auto" else settings.dtype
    shape = shape_of(row)
    if config.layers:
        shape = replace(shape, num_layers=max(config.layers))
    return _scoring(
        "features", shape, row, num_pairs=assumed.num_pairs, assumed=assumed, dtype=dtype
    )


def _scoring(
    what: str,
    shape: Shape,
    row: Backbone,
    *,
    num_pairs: int,
    assumed: Assumptions,
    dtype: str = "float32",
) -> Scoring:
    work = forward_work(shape, pair_load(assumed.tokens_per_pair)).total
    return Scoring(
        what=what,
        size=row.model_size,
        num_pairs=num_pairs,
        dtype=dtype,
        flops_per_token=work / assumed.tokens_per_pair,
        device_hours=assumed.machine.seconds(num_pairs * work, dtype=dtype) / 3600,
        weight_bytes=(HALF if dtype == "bfloat16" else FLOAT) * shape.num_parameters,
    )
