"""What a training run is told and what it tells: `TrainingConfig` and `TrainingReport`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import Any

from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.reward.attention.batching import pack_budget
from synpref_dagster.reward.backbones import MAX_LENGTH_TOKENS
from synpref_dagster.reward.encoding import DroppedPairs
from synpref_dagster.reward.evaluation import Evaluation
from synpref_dagster.reward.training.losses import LossConfig

NOT_IN_KEY = ("save_every_steps",)  # decides what a crash costs, not what comes out
ADDED_LATER = ("lora",)
NO_LONGER_SETTINGS = {"lora_rank": None, "lora_scale": 2.0}  # as they were without LoRA


class Schedule(StrEnum):
    """How the learning rate goes after the warm-up."""

    CONSTANT = "constant"
    LINEAR = "linear"
    COSINE = "cosine"


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraUpdates:
    """Low-rank updates in place of training every weight.

    Attributes:
        rank: Rank of each update.
        alpha: Each update is scaled by alpha / rank; None is twice the rank.
        target_modules: Names of the layers that are updated; None is every linear layer.
    """

    rank: int
    alpha: int | None = None
    target_modules: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.rank < 1:
            raise ValueError(f"lora.rank is {self.rank}, must be at least 1")
        if self.alpha is None:
            object.__setattr__(self, "alpha", 2 * self.rank)
        if self.target_modules is not None:
            object.__setattr__(self, "target_modules", tuple(self.target_modules))


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """Settings of one training run; the defaults suit the stand-ins.

    Attributes:
        learning_rate: Peak learning rate.
        batch_pairs: Pairs per optimizer step.
        num_epochs: Passes over the data when `max_steps` is None.
        max_steps: Optimizer steps; passes are repeated until they are done.
        schedule: Learning rate after the warm-up; linear and cosine end at zero.
        warmup_share: Share of the steps with rising learning rate.
        weight_decay: AdamW's decay, on matrices only.
        beta1: AdamW's first moment decay.
        beta2: AdamW's second moment decay.
        epsilon: AdamW's epsilon.
        clip_norm: Largest gradient norm; larger gradients are scaled down.
        max_length_tokens: Pairs with a longer side are left out and counted.
        evaluate_every_steps: Steps between evaluations; None evaluates at the end only.
        save_every_steps: Steps between resume points; None saves none but with evaluations.
        loss: Loss and its constants.
        margin_key: Field of a pair's meta with the margin its loss requires.
        seed: Seed of data order and of a new score head.
        tokens_per_pack: Token budget of one forward; None suits the device.
        dtype: Weights: float32, bfloat16 or float64; bfloat16 keeps float32 master weights.
        device: Torch device, such as cpu or cuda.
        gradient_checkpointing: Recompute activations in the backward pass.
        sharded: Under `torchrun`, shard the weights (FSDP2) instead of replicating them (DDP).
        lora: Train low-rank updates and the head only; None trains everything.
        pad_token: Pad token for tokenizers that have none.
    """

    learning_rate: float = 1.5e-3
    batch_pairs: int = 32
    num_epochs: int = 1
    max_steps: int | None = None
    schedule: Schedule = Schedule.LINEAR
    warmup_share: float = 0.08
    weight_decay: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.98
    epsilon: float = 1e-8
    clip_norm: float = 1.0
    max_length_tokens: int = MAX_LENGTH_TOKENS
    evaluate_every_steps: int | None = None
    save_every_steps: int | None = None
    loss: LossConfig = field(default_factory=LossConfig)
    margin_key: str | None = None
    seed: int = 0
    tokens_per_pack: int | None = None
    dtype: str = "float32"
    device: str = "cpu"
    gradient_checkpointing: bool = False
    sharded: bool = False
    lora: LoraUpdates | None = None
    pad_token: str | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        object.__setattr__(self, "schedule", Schedule(self.schedule))
        if isinstance(self.loss, Mapping):
            object.__setattr__(self, "loss", LossConfig(**self.loss))
        if isinstance(self.lora, Mapping):
            object.__setattr__(self, "lora", LoraUpdates(**self.lora))
        for name in ("learning_rate", "clip_norm", "batch_pairs", "num_epochs"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, must be positive")
        for name in ("max_steps", "evaluate_every_steps", "save_every_steps", "tokens_per_pack"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, must be at least 1 or None")
        if not 0 <= self.warmup_share <= 1:
            raise ValueError(f"warmup_share is {self.warmup_share}, must be in [0, 1]")
        if self.sharded and self.lora is not None:
            raise ValueError("sharded and lora exclude each other: LoRA fits without shards")
        if self.dtype not in ("float32", "bfloat16", "float64"):
            raise ValueError(f"dtype is {self.dtype!r}, must be float32, bfloat16 or float64")

    @property
    def pack_budget(self) -> int:
        """Token budget of one forward on the device."""
        return self.tokens_per_pack or pack_budget(self.device)

    def num_steps(self, num_pairs: int) -> int:
        """Optimizer steps for a number of pairs; an epoch's last batch may be short."""
        if self.max_steps is not None:
            return self.max_steps
        return self.num_epochs * -(-num_pairs // self.batch_pairs)

    def to_json(self) -> dict[str, Any]:
        """The settings as a plain dictionary."""
        return asdict(self)

    def key_material(self) -> dict[str, Any]:
        """What a run's fingerprint hashes: all settings that decide the weights.

        The form is that of the first version. A field of `ADDED_LATER` enters only where it is not
        at its default, so that checkpoints from before it keep their fingerprint.
        """
        default = TrainingConfig().to_json()
        told = {
            name: value
            for name, value in self.to_json().items()
            if name not in NOT_IN_KEY and (name not in ADDED_LATER or value != default[name])
        }
        return {**NO_LONGER_SETTINGS, **told}


def fitting_fingerprint(
    settings: Mapping[str, Any],
    pairs: Sequence[PreferencePair],
    validation: Sequence[PreferencePair],
) -> str:
    """Hexadecimal hash of what decides a model that is fitted without gradient steps."""
    hasher = blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=16)
    for part in (pairs, validation):
        hasher.update(len(part).to_bytes(8, "little"))
        for pair in part:
            hasher.update(pair.pair_id)
    return hasher.hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingReport:
    """What one training run did.

    Attributes:
        num_pairs: Pairs trained on, after drops.
        dropped: Pairs left out, by source and reason.
        num_steps: Optimizer steps.
        best_step: Step whose weights were kept.
        history: Evaluations on the validation pairs, in order; empty without validation pairs.
        evaluation: The evaluation of the kept weights; None without validation pairs.
        losses: Mean training loss of each step.
        fingerprint: Hash of settings, backbone, data and template.
        reused: Whether a finished folder was found and nothing was trained.
    """

    num_pairs: int
    dropped: tuple[DroppedPairs, ...]
    num_steps: int
    best_step: int
    history: tuple[Evaluation, ...]
    evaluation: Evaluation | None
    losses: tuple[float, ...]
    fingerprint: str
    reused: bool = False

    @property
    def num_dropped(self) -> int:
        """Pairs left out, all reasons together."""
        return sum(group.count for group in self.dropped)

    def to_json(self) -> dict[str, Any]:
        """The report as a plain dictionary."""
        return asdict(self)

    @classmethod
    def from_json(cls, contents: Mapping[str, Any], *, reused: bool = False) -> "TrainingReport":
        """The report written by `to_json`."""
        fields = dict(contents)
        fields["dropped"] = tuple(
            DroppedPairs(**{**group, "pair_ids": tuple(group["pair_ids"])})
            for group in fields["dropped"]
        )
        fields["history"] = tuple(Evaluation(**row) for row in fields["history"])
        if fields["evaluation"] is not None:
            fields["evaluation"] = Evaluation(**fields["evaluation"])
        fields["losses"] = tuple(fields["losses"])
        return cls(**{**fields, "reused": reused})
