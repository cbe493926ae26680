"""The eight pairwise losses that Skywork-Reward compared, behind one enum; Bradley-Terry wins.

Pure functions of rewards. Legend: B pairs; `d` is the margin reward(chosen) - reward(rejected)
less the pair's required margin; p = sigmoid(d). Everything is computed in at least float32.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


class Loss(StrEnum):
    """Name of a pairwise loss."""

    BRADLEY_TERRY = "bradley_terry"
    TEMPERATURE = "temperature"
    FOCAL = "focal"
    FOCAL_PENALTY = "focal_penalty"
    HINGE = "hinge"
    TEMPERED_LOG = "tempered_log"
    MARGIN_MSE = "margin_mse"
    CROSS_ENTROPY = "cross_entropy"


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """Which loss, and the constants of the variants.

    Attributes:
        name: The loss.
        temperature: T of the temperature-adjusted Bradley-Terry loss.
        focal_gamma: Exponent of both focal losses.
        target_margin: m of the hinge and of the margin MSE loss.
        tempering: t of the tempered logarithm, in [0, 1); 0 is linear, towards 1 it is log.
        centre_coefficient: c of c * (reward(chosen) + reward(rejected))^2 added to each pair.
    """

    name: Loss = Loss.BRADLEY_TERRY
    temperature: float = 2.0
    focal_gamma: float = 2.0
    target_margin: float = 1.0
    tempering: float = 0.5
    centre_coefficient: float = 0.0

    def __post_init__(self) -> None:
        """Check the constants."""
        object.__setattr__(self, "name", Loss(self.name))
        if self.temperature <= 0:
            raise ValueError(f"temperature is {self.temperature}, must be positive")
        if not 0 <= self.tempering < 1:
            raise ValueError(f"tempering is {self.tempering}, must be in [0, 1)")
        if self.centre_coefficient < 0:
            raise ValueError(f"centre_coefficient is {self.centre_coefficient}, must be >= 0")


def pair_losses(
    chosen_B: Tensor, rejected_B: Tensor, *, config: LossConfig, margin_B: Tensor | None = None
) -> Tensor:
    """Loss of each pair, not reduced.

    Args:
        chosen_B: (B,) rewards of the chosen responses.
        rejected_B: (B,) rewards of the rejected responses.
        config: Loss and constants.
        margin_B: (B,) required margins, subtracted from the reward margin; None is zero.

    Returns:
        (B,) losses, float32 or float64.
    """
    chosen_B, rejected_B = _at_least_float32(chosen_B), _at_least_float32(rejected_B)
    if config.name is Loss.CROSS_ENTROPY:
        loss_B = -logsigmoid(chosen_B) - logsigmoid(-rejected_B)
    else:
        margin = chosen_B - rejected_B
        loss_B = _MARGIN_LOSSES[config.name](
            margin if margin_B is None else margin - margin_B, config
        )
    if config.centre_coefficient:
        loss_B = loss_B + config.centre_coefficient * (chosen_B + rejected_B).square()
    return loss_B


def _at_least_float32(reward: Tensor) -> Tensor:
    return reward if reward.dtype == torch.float64 else reward.float()


def _bradley_terry(d: Tensor, config: LossConfig) -> Tensor:
    return -logsigmoid(d)


def _temperature(d: Tensor, config: LossConfig) -> Tensor:
    return -logsigmoid(d / config.temperature)


def _focal(d: Tensor, config: LossConfig) -> Tensor:
    return -torch.sigmoid(-d).pow(config.focal_gamma) * logsigmoid(d)


def _focal_penalty(d: Tensor, config: LossConfig) -> Tensor:
    easy = (torch.sigmoid(d) - 0.5).clamp(min=0)
    return -(1 - 2 * easy).pow(config.focal_gamma) * logsigmoid(d)


def _hinge(d: Tensor, config: LossConfig) -> Tensor:
    return (config.target_margin - d).clamp(min=0)


def _tempered_log(d: Tensor, config: LossConfig) -> Tensor:
    power = 1 - config.tempering
    return -torch.expm1(power * logsigmoid(d)) / power


def _margin_mse(d: Tensor, config: LossConfig) -> Tensor:
    return (d - config.target_margin).square()


_MARGIN_LOSSES: dict[Loss, Callable[[Tensor, LossConfig], Tensor]] = {
    Loss.BRADLEY_TERRY: _bradley_terry,
    Loss.TEMPERATURE: _temperature,
    Loss.FOCAL: _focal,
    Loss.FOCAL_PENALTY: _focal_penalty,
    Loss.HINGE: _hinge,
    Loss.TEMPERED_LOG: _tempered_log,
    Loss.MARGIN_MSE: _margin_mse,
}
