"""One optimizer batch: pack, forward, loss, backward; and the same without gradients for gold.

The loss is the sum over pairs divided by the batch size, so the gradient is that of one padded
batch, whatever the packs. Legend: B pairs of a pack, R sequences of a pack.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from synpref_dagster.reward.attention.batching import Pack, pack_units
from synpref_dagster.reward.encoding import EncodedPair
from synpref_dagster.reward.training.config import TrainingConfig
from synpref_dagster.reward.training.losses import pair_losses
from synpref_dagster.reward.training.workers import Workers


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchResult:
    """What the pairs of a batch gave, in batch order, float64.

    Attributes:
        loss: Loss of each pair.
        chosen: Reward of each chosen response.
        rejected: Reward of each rejected response.
    """

    loss: npt.NDArray[np.float64]
    chosen: npt.NDArray[np.float64]
    rejected: npt.NDArray[np.float64]

    def metrics(self) -> dict[str, float]:
        """Means over the batch."""
        return {
            "loss": float(self.loss.mean()),
            "accuracy": float((self.chosen > self.rejected).mean()),
            "margin": float((self.chosen - self.rejected).mean()),
            "chosen_reward": float(self.chosen.mean()),
            "rejected_reward": float(self.rejected.mean()),
        }


def pair_packs(batch: Sequence[EncodedPair], *, tokens_per_pack: int) -> list[Pack]:
    """Packs of a batch: unit i is pair i, its sequences are 2i (chosen) and 2i + 1 (rejected)."""
    return pack_units(
        [(2 * i, 2 * i + 1) for i in range(len(batch))],
        [ids for pair in batch for ids in (pair.chosen, pair.rejected)],
        keys=[pair.conversation_id for pair in batch],
        tokens_per_pack=tokens_per_pack,
    )


def forward_backward(
    workers: Workers, batch: Sequence[EncodedPair], *, config: TrainingConfig, step: int
) -> BatchResult:
    """Accumulate the gradient of the batch's mean loss and return what its pairs gave.

    Raises:
        FloatingPointError: If a loss is not finite, naming the step and the pairs.
    """
    packs = workers.share(pair_packs(batch, tokens_per_pack=config.pack_budget))
    margins = [pair.margin for pair in batch]
    tables = []
    for number, (pack, weight) in enumerate(packs, start=1):
        with workers.accumulating(last=number == len(packs)):
            reward_B2 = _pair_rewards(workers.forward(pack), pack)
            margin_B = None
            if any(margins):
                margin_B = reward_B2.new_tensor([margins[i] for i in pack.units])
            loss_B = pair_losses(
                reward_B2[:, 0], reward_B2[:, 1], config=config.loss, margin_B=margin_B
            )
            workers.backward(loss_B.sum() * (weight / len(batch)))
        tables.append((pack, weight, torch.cat([loss_B.detach()[:, None], reward_B2.detach()], 1)))
    result = _gather(workers, tables, num_pairs=len(batch))
    bad = np.flatnonzero(~np.isfinite(result.loss)).tolist()
    if bad:
        ids = ", ".join(batch[i].pair_id.hex() for i in bad)
        raise FloatingPointError(f"step {step}: the loss is not finite at pairs {ids}")
    return result


@torch.no_grad()
def gold_margins(
    workers: Workers, packs: Sequence[Pack], *, num_pairs: int
) -> npt.NDArray[np.float64]:
    """Margins (n,) of gold pairs, packed by `pair_packs`, under the current weights."""
    tables = []
    for pack, weight in workers.share(packs):
        reward_B2 = _pair_rewards(workers.forward(pack), pack)
        tables.append((pack, weight, torch.cat([torch.zeros_like(reward_B2[:, :1]), reward_B2], 1)))
    result = _gather(workers, tables, num_pairs=num_pairs)
    return result.chosen - result.rejected


def _pair_rewards(reward_R: Tensor, pack: Pack) -> Tensor:
    """Rewards (B, 2) of the pairs in a pack, chosen first."""
    rows = [[pack.row_of[2 * i], pack.row_of[2 * i + 1]] for i in pack.units]
    return reward_R[torch.tensor(rows, device=reward_R.device)]


def _gather(
    workers: Workers, tables: Sequence[tuple[Pack, float, Tensor]], *, num_pairs: int
) -> BatchResult:
    """The tables (B, 3) of loss and rewards of all packs of all workers, in batch order."""
    full = np.zeros((num_pairs, 3))
    values = (
        torch.cat([table for _, _, table in tables]).cpu().double().numpy()
    )  # mps has no float64
    start = 0
    for pack, weight, table in tables:
        if weight:
            full[list(pack.units)] = values[start : start + len(table)]
        start += len(table)
    full = workers.sum(full)
    return BatchResult(loss=full[:, 0], chosen=full[:, 1], rejected=full[:, 2])
