import math

import pytest
import torch

from synpref_dagster.reward.training.losses import Loss, LossConfig, pair_losses


def loss_of(d, **settings):
    chosen = torch.tensor([float(d)], dtype=torch.float64)
    return pair_losses(chosen, torch.zeros_like(chosen), config=LossConfig(**settings)).item()


@pytest.mark.parametrize(
    ("name", "at_zero", "at_one", "at_minus_one"),
    [
        (Loss.BRADLEY_TERRY, 0.693147, 0.313262, 1.313262),
        (Loss.FOCAL, 0.173287, 0.022658, 0.701868),
        (Loss.FOCAL_PENALTY, 0.693147, 0.090632, 1.313262),
        (Loss.HINGE, 1.0, 0.0, 2.0),
        (Loss.MARGIN_MSE, 1.0, 0.0, 4.0),
        # chosen = d, rejected = 0: log(2) more than Bradley-Terry
        (Loss.CROSS_ENTROPY, 1.386294, 1.006409, 2.006409),
        # t = 1/2: 2 (1 - sqrt p)
        (Loss.TEMPERED_LOG, 0.585786, 0.289961, 0.962809),
        # T = 2: Bradley-Terry at d/2
        (Loss.TEMPERATURE, 0.693147, 0.474077, 0.974077),
    ],
)
def test_losses_have_their_reference_values(name, at_zero, at_one, at_minus_one):
    values = [loss_of(d, name=name) for d in (0, 1, -1)]
    assert values == pytest.approx([at_zero, at_one, at_minus_one], abs=1e-6)


def test_every_loss_has_a_reference_value():
    assert len(Loss) == 8


def test_extreme_margins_do_not_overflow():
    assert loss_of(-1e4) == pytest.approx(1e4)
    assert loss_of(1e4) == 0.0


def test_a_required_margin_shifts_the_reward_margin():
    reward_1 = torch.tensor([1.5])
    shifted = pair_losses(
        reward_1, torch.zeros(1), config=LossConfig(), margin_B=torch.tensor([0.5])
    )
    assert shifted.item() == pytest.approx(loss_of(1), abs=1e-6)


def test_the_centre_term_adds_the_squared_sum():
    reward_1 = torch.tensor([3.0])
    config = LossConfig(centre_coefficient=0.01)
    loss = pair_losses(reward_1, -reward_1 + 1, config=config).item()
    assert loss == pytest.approx(math.log1p(math.exp(-5)) + 0.01, abs=1e-6)


def test_half_precision_rewards_are_widened():
    reward_1 = torch.tensor([20.0], dtype=torch.bfloat16)
    assert pair_losses(reward_1, reward_1, config=LossConfig()).dtype == torch.float32


def test_bad_constants_are_refused():
    with pytest.raises(ValueError, match="tempering is 1"):
        LossConfig(tempering=1)
    with pytest.raises(ValueError, match="nonsense"):
        LossConfig(name="nonsense")
