"""What training on a frozen backbone is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from synpref_dagster.reward.backbones import MAX_LENGTH_TOKENS
from synpref_dagster.reward.frozen.heads import HeadChoice, Pooling

PENALTIES = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)


@dataclass(frozen=True, kw_only=True, slots=True)
class FrozenConfig:
    """Settings of a head on a frozen backbone.

    Attributes:
        layers: Layers to choose from, counted from 1; None until the backbone's depth is known.
        poolings: Ways to pool to choose from.
        penalties: Strengths of the squared penalty to choose from, per pair.
        max_length_tokens: Longest sequence; longer ones lose their beginning.
        dtype: Of the backbone's weights and activations; features are float32 in any case.
    """

    layers: tuple[int, ...] | None = None
    poolings: tuple[Pooling, ...] = get_args(Pooling)
    penalties: tuple[float, ...] = PENALTIES
    max_length_tokens: int = MAX_LENGTH_TOKENS
    dtype: str = "float32"

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("layers", "poolings", "penalties"):
            if getattr(self, name) is None:
                continue
            values: Sequence[object] = tuple(getattr(self, name))
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} is {list(values)}: name at least one, each once")
            object.__setattr__(self, name, values)
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype is {self.dtype!r}, must be float32 or bfloat16")
        if min(self.penalties) <= 0:
            raise ValueError(f"penalties are {list(self.penalties)}, must be positive")

    def choices(self) -> list[HeadChoice]:
        """Every head that is tried.

        Raises:
            ValueError: the layers are not known yet.
        """
        if self.layers is None:
            raise ValueError("the layers are not known yet: prepare the backbone first")
        return [
            HeadChoice(layer=layer, pooling=pooling, penalty=penalty)
            for layer in self.layers
            for pooling in self.poolings
            for penalty in self.penalties
        ]
