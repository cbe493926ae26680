"""Several processes under `torchrun`, through accelerate: DDP, or FSDP2 for large sizes.

All workers form the same packs of the global batch and take their share of them, so the loss and
its gradient are those of one process. Every worker runs equally many packs, repeats weighted 0,
because sharded weights are gathered in step.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from accelerate.utils import FullyShardedDataParallelPlugin
from torch import Tensor

from synpref_dagster.reward.attention.batching import Pack
from synpref_dagster.reward.attention.forward import PackForward
from synpref_dagster.reward.training.config import TrainingConfig
from synpref_dagster.reward.training.workers import SharedPack, Workers


def num_workers() -> int:
    """Processes that `torchrun` started, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def build_accelerator(config: TrainingConfig) -> Accelerator:
    """The process group, and this process's device."""
    plugin = None
    if config.sharded:
        plugin = FullyShardedDataParallelPlugin(
            fsdp_version=2,
            auto_wrap_policy="transformer_based_wrap",
            reshard_after_forward=True,
            state_dict_type="SHARDED_STATE_DICT",
        )
    return Accelerator(
        cpu=config.device == "cpu",
        mixed_precision="bf16" if config.dtype == "bfloat16" else "no",
        fsdp_plugin=plugin,
    )


def share_packs(packs: Sequence[Pack], *, rank: int, num_ranks: int) -> list[SharedPack]:
    """The packs of one rank: dealt out largest first, back and forth; equally many to each.

    A rank that would get one fewer repeats the first pack with weight 0.
    """
    order = sorted(range(len(packs)), key=lambda i: -packs[i].num_tokens)
    shared: list[SharedPack] = []
    for turn in range(-(-len(packs) // num_ranks)):
        seat = rank if turn % 2 == 0 else num_ranks - 1 - rank
        position = turn * num_ranks + seat
        shared.append(
            (packs[order[position]], 1.0) if position < len(order) else (packs[order[0]], 0.0)
        )
    return shared


class DistributedWorkers(Workers):
    """This process's part of a `torchrun` job."""

    def __init__(
        self,
        module: PackForward,
        optimizer: Any,
        *,
        config: TrainingConfig,
        accelerator: Accelerator,
    ) -> None:
        super().__init__(module, optimizer, config=config)
        self.accelerator = accelerator
        self.module, self.optimizer = accelerator.prepare(module, optimizer)
        self.is_main = accelerator.is_main_process
        self._sharded = config.sharded

    def share(self, packs: Sequence[Pack]) -> list[SharedPack]:
        """This worker's packs, with the weight of their loss."""
        accelerator = self.accelerator
        return share_packs(
            packs, rank=accelerator.process_index, num_ranks=accelerator.num_processes
        )

    @contextmanager
    def accumulating(self, *, last: bool) -> Iterator[None]:
        """Around one pack's forward and backward; gradients are exchanged with the last."""
        if last:
            yield
        else:
            with self.accelerator.no_sync(self.module):
                yield

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a loss; the exchange averages over workers, the loss is a sum."""
        self.accelerator.backward(loss * self.accelerator.num_processes)

    def clip(self, norm: float) -> float:
        """Scale the gradient down to a norm; returns the norm it had over all workers."""
        found = self.accelerator.clip_grad_norm_(self.module.parameters(), norm)
        return float(found.full_tensor() if hasattr(found, "full_tensor") else found)

    def sum(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Sum of the workers' arrays."""
        local = torch.from_numpy(values).to(self.accelerator.device)
        total: npt.NDArray[np.float64] = self.accelerator.reduce(local, "sum").cpu().numpy()
        return total

    def weights(self) -> dict[str, Tensor]:
        """The whole model's weights; gathered by all workers, complete on the main one."""
        if not self._sharded:
            return super().weights()
        gathered = self.accelerator.get_state_dict(self.module)
        prefix = "model."
        return {name.removeprefix(prefix): weight for name, weight in gathered.items()}

    def save_state(self, folder: Path) -> None:
        """Write all that the next step depends on; every worker its shards."""
        if self._sharded:
            self.accelerator.save_state(str(folder))
        elif self.is_main:
            super().save_state(folder)

    def load_state(self, folder: Path) -> None:
        """Read what `save_state` wrote."""
        if self._sharded:
            self.accelerator.load_state(str(folder))
        else:
            super().load_state(folder)

    def wait(self) -> None:
        """Until all workers are here."""
        self.accelerator.wait_for_everyone()
