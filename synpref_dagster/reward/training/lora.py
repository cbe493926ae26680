"""LoRA without adapters on disk: low-rank updates are trained, then merged into a plain checkpoint.

A reward model's score head is new, so an adapter saved without it gives other rewards when loaded.
Here the head trains in full and the published folder is a whole model: nothing can be left behind.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

PARAMETRIZED = ".parametrizations.weight."


class LowRank(nn.Module):
    """weight + scale * up @ down, with `up` zero at first so that it starts as `weight`."""

    def __init__(self, weight: Tensor, *, rank: int, scale: float) -> None:
        super().__init__()
        num_out, num_in = weight.shape
        self.down = nn.Parameter(torch.randn(rank, num_in).to(weight) * num_in**-0.5)
        self.up = nn.Parameter(torch.zeros(num_out, rank, dtype=weight.dtype, device=weight.device))
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        """The updated (out, in) weight."""
        return weight + self.scale * (self.up @ self.down)


def add_lora(model: Any, *, rank: int, scale: float, seed: int) -> None:
    """Freeze a sequence classifier but for its head, and put low-rank updates on its layers.

    Args:
        model: Sequence classifier; changed in place.
        rank: Rank of each update.
        scale: Factor of each update.
        seed: Seed of the down projections.
    """
    model.base_model.requires_grad_(False)
    linear = [m for m in model.base_model.layers.modules() if isinstance(m, nn.Linear)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in linear:
            update = LowRank(module.weight, rank=rank, scale=scale)
            parametrize.register_parametrization(module, "weight", update)


def merged_weights(model: Any) -> dict[str, Tensor]:
    """The weights of the plain model: updates added in, names as without LoRA."""
    state: dict[str, Tensor] = dict(model.state_dict())
    merged = {name: weight for name, weight in state.items() if PARAMETRIZED not in name}
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            merged[f"{name}.weight"] = module.weight.detach()
    return merged
