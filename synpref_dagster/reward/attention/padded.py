"""The padded reference: what every other path of the engine must equal.

Right-padded rows, one forward of the stock model, reward read at the last real token, score head
in at least float32. Works for any backbone that transformers can load as a sequence classifier.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from synpref_dagster.reward.encoding import TokenIds


def padded_rewards(model: Any, sequences: Sequence[TokenIds]) -> Tensor:
    """Rewards of token sequences in one padded batch.

    Args:
        model: Sequence classifier with one label.
        sequences: Token ids, each at least one long.

    Returns:
        (n,) rewards, float32 or wider, in order.
    """
    lengths = torch.tensor([len(ids) for ids in sequences])
    hidden = model.base_model(**padded_inputs(model, sequences)).last_hidden_state
    return score_head(model, hidden[torch.arange(len(lengths)), lengths - 1])


def padded_inputs(model: Any, sequences: Sequence[TokenIds]) -> dict[str, Any]:
    """What the stock model is called with for one right-padded batch."""
    device = model.score.weight.device
    width = max(len(ids) for ids in sequences)
    input_ids = torch.full((len(sequences), width), model.config.pad_token_id)
    mask = torch.zeros_like(input_ids)
    for row, ids in enumerate(sequences):
        input_ids[row, : len(ids)] = torch.from_numpy(ids)
        mask[row, : len(ids)] = 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return {
        "input_ids": input_ids.to(device),
        "attention_mask": mask.to(device),
        "position_ids": positions.to(device),
        "use_cache": False,
    }


def score_head(model: Any, hidden_nH: Tensor) -> Tensor:
    """Rewards (n,) of final hidden states (n, H); the head runs in at least float32.

    Also under autocast, which would round rewards to eight bits: neighbours would tie.
    """
    weight = model.score.weight
    wide = torch.promote_types(weight.dtype, torch.float32)
    with torch.autocast(weight.device.type, enabled=False):
        return linear(hidden_nH.to(wide), weight.to(wide)).squeeze(-1)
