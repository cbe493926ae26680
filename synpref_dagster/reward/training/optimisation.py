"""AdamW and its learning rate as a function of the step: state in, numbers out."""

import math
from typing import Any

import torch

from synpref_dagster.reward.training.config import Schedule, TrainingConfig


def build_optimizer(model: Any, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only; norms and biases are left alone."""
    parameters = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [w for w in parameters if w.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [w for w in parameters if w.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        fused=True,
    )


def learning_rate(step: int, *, config: TrainingConfig, num_steps: int) -> float:
    """Learning rate of one step.

    Args:
        step: The step about to be taken, from 1.
        config: Peak rate, warm-up share and schedule.
        num_steps: Steps of the whole run.
    """
    num_warmup = round(config.warmup_share * num_steps)
    if step <= num_warmup:
        return config.learning_rate * step / num_warmup
    if config.schedule is Schedule.CONSTANT:
        return config.learning_rate
    left = (num_steps - step + 1) / max(num_steps - num_warmup, 1)
    if config.schedule is Schedule.COSINE:
        left = 0.5 * (1 - math.cos(math.pi * left))
    return config.learning_rate * left
