"""Tree attention on CUDA: flash-attn's varlen kernel when installed, else FlexAttention.

The same packs as on CPU. Varlen: each segment is a query span whose keys are its prefix and itself,
gathered, causal from the bottom right. Flex: a block mask from three numbers per token. How the
indices are built is tested on CPU against the block kernel.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from synpref_dagster.reward.attention.batching import Pack

FLEX_MULTIPLE = 128  # packs are padded to it, so that few shapes are compiled


@dataclass(frozen=True, slots=True)
class VarlenPlan:
    """Index tensors of the varlen kernel for S segments.

    Attributes:
        key_index: (sum of key lengths,) tokens whose keys and values are gathered.
        cu_query: (S + 1,) int32 offsets of the query spans.
        cu_key: (S + 1,) int32 offsets of the key spans.
        max_query: Longest query span.
        max_key: Longest key span.
    """

    key_index: Tensor
    cu_query: Tensor
    cu_key: Tensor
    max_query: int
    max_key: int


def varlen_plan(pack: Pack) -> VarlenPlan:
    """The varlen indices of a pack, on its device; built once per pack."""
    cached: VarlenPlan | None = pack.__dict__.get("varlen_plan")
    if cached is not None:
        return cached
    device = pack.input_ids.device
    spans = [
        torch.cat([torch.arange(s.prefix_start, s.prefix_stop), torch.arange(s.start, s.stop)])
        for s in pack.segments
    ]
    query_lengths = [0, *(s.stop - s.start for s in pack.segments)]
    key_lengths = [0, *map(len, spans)]
    plan = VarlenPlan(
        key_index=torch.cat(spans).to(device),
        cu_query=torch.tensor(query_lengths).cumsum(0).to(device, torch.int32),
        cu_key=torch.tensor(key_lengths).cumsum(0).to(device, torch.int32),
        max_query=max(query_lengths),
        max_key=max(key_lengths),
    )
    pack.__dict__["varlen_plan"] = plan
    return plan


def visibility(pack: Pack, *, num_tokens: int) -> Callable[[Any, Any, Any, Any], Any]:
    """FlexAttention's mask function of a pack that is padded to `num_tokens`.

    A token sees those before it from the start of its segment on, and the prefix of its segment.
    Padding sees itself only.
    """
    lengths = torch.tensor([s.stop - s.start for s in pack.segments])
    bounds = torch.tensor([[s.start, s.prefix_start, s.prefix_stop] for s in pack.segments])
    table = bounds.repeat_interleave(lengths, dim=0)
    filler = torch.arange(len(table), num_tokens)
    padding = torch.stack([filler, filler, filler], dim=1)
    table = torch.cat([table, padding]).to(pack.input_ids.device)
    start, prefix_start, prefix_stop = table.unbind(1)

    def visible(batch: Any, head: Any, query: Any, key: Any) -> Any:  # noqa: PLR0917
        own = (key <= query) & (key >= start[query])
        return own | ((key >= prefix_start[query]) & (key < prefix_stop[query]))

    return visible


def cuda_tree_attention(
    query: Tensor, key: Tensor, *, value: Tensor, pack: Pack, scale: float
) -> Tensor:
    """(H, T, D) queries over (K, T, D) keys and values give (T, H, D)."""
    if _has_flash_attention() and query.dtype in (torch.float16, torch.bfloat16):
        return _varlen(query, key, value=value, pack=pack, scale=scale)
    return _flex(query, key, value=value, pack=pack, scale=scale)


def _varlen(query: Tensor, key: Tensor, *, value: Tensor, pack: Pack, scale: float) -> Tensor:
    from flash_attn import flash_attn_varlen_func

    plan = varlen_plan(pack)
    out: Tensor = flash_attn_varlen_func(
        query.transpose(0, 1),
        key.transpose(0, 1).index_select(0, plan.key_index),
        value.transpose(0, 1).index_select(0, plan.key_index),
        cu_seqlens_q=plan.cu_query,
        cu_seqlens_k=plan.cu_key,
        max_seqlen_q=plan.max_query,
        max_seqlen_k=plan.max_key,
        softmax_scale=scale,
        causal=True,
    )
    return out


def _flex(query: Tensor, key: Tensor, *, value: Tensor, pack: Pack, scale: float) -> Tensor:
    from torch.nn.attention.flex_attention import create_block_mask

    num_tokens = query.shape[1]
    padded = -(-num_tokens // FLEX_MULTIPLE) * FLEX_MULTIPLE
    mask = pack.__dict__.get("flex_mask")
    if mask is None:
        visible = visibility(pack, num_tokens=padded)
        mask = create_block_mask(visible, None, None, padded, padded, device=str(query.device))
        pack.__dict__["flex_mask"] = mask
    query, key, value = (
        pad(states, (0, 0, 0, padded - num_tokens))[None] for states in (query, key, value)
    )
    out: Tensor = _compiled_flex()(
        query, key, value, block_mask=mask, scale=scale, enable_gqa=len(query[0]) != len(key[0])
    )
    return out[0, :, :num_tokens].transpose(0, 1)


@cache
def _compiled_flex() -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    compiled: Callable[..., Any] = torch.compile(flex_attention, dynamic=True)
    return compiled


@cache
def _has_flash_attention() -> bool:
    return find_spec("flash_attn") is not None
