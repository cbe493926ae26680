"""One forward of a pack: rewards of its R sequences, the way the backbone allows.

`tree`: shared prefixes, and the last layer at scored positions only where the architecture is a
known one. Both are tried on a probe when the model is loaded and must give the rewards of the
padded reference, else the next simpler way is taken: tree without the last-layer cut, then padded.
Legend: T tokens, R scored positions, H hidden size, D head size.
"""

import logging
import sys
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from synpref_dagster.reward.attention.batching import Pack, pack_units
from synpref_dagster.reward.attention.fast_linear import fast_linear
from synpref_dagster.reward.attention.padded import padded_rewards, score_head
from synpref_dagster.reward.attention.tree_attention import TREE, attend_scored

logger = logging.getLogger(__name__)

PROBE_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4}  # relative to the largest reward
PROBE_TOLERANCE_HALF = 0.25  # a wrong forward is off by more than half precision is


class Mode(StrEnum):
    """How packs are forwarded."""

    TREE_LAST_LAYER = "tree_last_layer"
    TREE = "tree"
    PADDED = "padded"


class PackForward(nn.Module):
    """A sequence classifier that maps packs to rewards.

    Attributes:
        model: The stock transformers model; its weights are trained and saved.
        mode: How packs are forwarded; decided by `verified_forward`.
    """

    def __init__(self, model: Any, *, mode: Mode) -> None:
        super().__init__()
        self.model = model
        self.mode = mode
        # accelerate shards by the classes that the model says must stay whole.
        self._no_split_modules = list(getattr(model, "_no_split_modules", None) or [])

    def forward(self, pack: Pack) -> Tensor:
        """(R,) rewards of a pack's sequences in row order, float32 or wider."""
        if self.mode is Mode.PADDED:
            return padded_rewards(self.model, pack_sequences(pack))
        pack = pack.to(self.model.score.weight.device)
        with fast_linear(self.model, num_tokens=pack.num_tokens):
            return self._tree(pack)

    def _tree(self, pack: Pack) -> Tensor:
        if self.mode is Mode.TREE_LAST_LAYER:
            return score_head(self.model, scored_hidden(self.model.base_model, pack))
        hidden_TH = self.model.base_model(**tree_inputs(pack)).last_hidden_state[0]
        return score_head(self.model, hidden_TH[pack.scored])


def tree_inputs(pack: Pack) -> dict[str, Any]:
    """What the stock model is called with for one pack, under tree attention."""
    return {
        "input_ids": pack.input_ids[None],
        "position_ids": pack.position_ids[None],
        "attention_mask": None,
        "use_cache": False,
        "tree": pack,
    }


def scored_hidden(base: Any, pack: Pack) -> Tensor:
    """(R, H) final hidden states at the scored positions.

    All layers but the last run on all tokens. The last one computes keys and values of all tokens,
    but queries, attention, output and MLP at the scored positions only: nothing else is read.
    """
    hidden = base.embed_tokens(pack.input_ids[None])
    positions = pack.position_ids[None]
    rotary = base.rotary_emb(hidden, positions)
    for layer in base.layers[:-1]:
        hidden = layer(
            hidden,
            attention_mask=None,
            position_embeddings=rotary,
            position_ids=positions,
            use_cache=False,
            tree=pack,
        )
    last = base.layers[-1]
    attention = last.self_attn
    states = last.input_layernorm(hidden)
    shape = (1, -1, attention.head_dim)
    query = _heads(
        attention.q_proj(states[:, pack.scored]), shape, getattr(attention, "q_norm", None)
    )
    key = _heads(attention.k_proj(states), shape, getattr(attention, "k_norm", None))
    value = _heads(attention.v_proj(states), shape, None)
    query = _rotate(attention, query, rotary=[part[:, pack.scored] for part in rotary])
    key = _rotate(attention, key, rotary=rotary)
    attended = attend_scored(query[0], key[0], value=value[0], pack=pack, scale=attention.scaling)
    scored = hidden[:, pack.scored] + attention.o_proj(attended.flatten(1)[None])
    scored = scored + last.mlp(last.post_attention_layernorm(scored))
    return base.norm(scored)[0]


def _heads(projected: Tensor, shape: tuple[int, ...], norm: Any) -> Tensor:
    """(1, n, heads * D) as (1, heads, n, D), normalised per head where the model does so."""
    states = projected.unflatten(-1, shape[1:])
    return (states if norm is None else norm(states)).transpose(1, 2)


def _rotate(attention: Any, states: Tensor, *, rotary: Any) -> Tensor:
    """Rotary embedding by the model's own function, given no second tensor to rotate."""
    rotate = sys.modules[type(attention).__module__].apply_rotary_pos_emb
    return rotate(states, states[:, :0], *rotary)[0]


def pack_sequences(pack: Pack) -> list[np.ndarray]:
    """The token ids of each row's whole sequence, prefix included."""
    ids = pack.input_ids.cpu().numpy()
    return [
        np.concatenate([ids[s.prefix_start : s.prefix_stop], ids[s.start : s.stop]])
        for s in pack.segments
    ]


def verified_forward(model: Any, *, sharded: bool = False) -> PackForward:
    """The fastest forward of a model that gives the rewards of the padded reference on a probe.

    Args:
        model: Sequence classifier on its device.
        sharded: Weights will be sharded by layer (FSDP), which rules out the last-layer cut.
    """
    modes = [Mode.TREE, Mode.PADDED] if sharded else list(Mode)
    was_training = model.training
    model.eval()
    pack = _probe(model.config.get_text_config().vocab_size)
    plain = model.config._attn_implementation
    if plain == TREE:
        plain = "sdpa"
        model.set_attn_implementation(plain)
    with torch.no_grad():
        reference = padded_rewards(model, pack_sequences(pack))
    for mode in modes:
        if mode is Mode.PADDED:
            logger.warning("%s cannot run packs; its batches are padded", type(model).__name__)
            model.set_attn_implementation(plain)
            break
        if _agrees(model, mode, pack=pack, reference=reference):
            break
    model.train(was_training)
    return PackForward(model, mode=mode)


def _agrees(model: Any, mode: Mode, *, pack: Pack, reference: Tensor) -> bool:
    model.set_attn_implementation(TREE)
    try:
        with torch.no_grad():
            rewards = PackForward(model, mode=mode)(pack)
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        logger.info("%s: no %s forward: %s", type(model).__name__, mode, error)
        return False
    tolerance = PROBE_TOLERANCE.get(model.score.weight.dtype, PROBE_TOLERANCE_HALF)
    scale = float(reference.abs().max().clamp(min=1e-3))
    return bool((rewards - reference).abs().max() <= tolerance * scale)


def _probe(vocabulary_size: int) -> Pack:
    """Two conversations, of two and three responses, of random tokens."""
    rng = np.random.default_rng(0)
    sequences: list[np.ndarray] = []
    units: list[tuple[int, ...]] = []
    keys: list[int] = []
    for key, num_responses in enumerate((2, 3)):
        prefix = rng.integers(1, vocabulary_size, 7)
        for _ in range(num_responses):
            response = rng.integers(1, vocabulary_size, rng.integers(2, 9))
            units.append((len(sequences),))
            keys.append(key)
            sequences.append(np.concatenate([prefix, response]))
    return pack_units(units, sequences, keys=keys, tokens_per_pack=1 << 20)[0]
