"""Who computes what: here one process; several under `torchrun` are in `distributed`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from synpref_dagster.reward.attention.batching import Pack
from synpref_dagster.reward.attention.forward import PackForward
from synpref_dagster.reward.training.config import TrainingConfig
from synpref_dagster.reward.training.lora import merged_weights

STATE_FILE = "state.pt"
SharedPack = tuple[Pack, float]


class Workers:
    """One process: every pack is its own.

    Attributes:
        module: The forward whose weights are trained.
        optimizer: Its optimizer.
        model: The transformers model inside.
        is_main: Whether this process writes files and reports.
    """

    is_main = True

    def __init__(self, module: PackForward, optimizer: Any, *, config: TrainingConfig) -> None:
        self.module: Any = module
        self.optimizer = optimizer
        self.model = module.model
        self._device = torch.device(config.device)
        self._half = config.dtype == "bfloat16"

    def share(self, packs: Sequence[Pack]) -> list[SharedPack]:
        """This worker's packs, with the weight of their loss."""
        return [(pack, 1.0) for pack in packs]

    def forward(self, pack: Pack) -> Tensor:
        """(R,) rewards of a pack."""
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            rewards: Tensor = self.module(pack)
        return rewards

    @contextmanager
    def accumulating(self, *, last: bool) -> Iterator[None]:
        """Around one pack's forward and backward; gradients are exchanged with the last."""
        yield

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a loss."""
        loss.backward()

    def clip(self, norm: float) -> float:
        """Scale the gradient down to a norm; returns the norm it had."""
        return float(torch.nn.utils.clip_grad_norm_(self.module.parameters(), norm))

    def sum(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Sum of the workers' arrays."""
        return values

    def weights(self) -> dict[str, Tensor]:
        """The whole model's weights, on every worker that writes."""
        return merged_weights(self.model)

    def save_state(self, folder: Path) -> None:
        """Write all that the next step depends on: weights, optimizer and random state."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }
        torch.save(state, folder / STATE_FILE)

    def load_state(self, folder: Path) -> None:
        """Read what `save_state` wrote."""
        state = torch.load(folder / STATE_FILE, weights_only=True, map_location="cpu")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])

    def wait(self) -> None:
        """Until all workers are here."""
