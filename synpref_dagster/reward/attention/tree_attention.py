"""Tree attention: each token sees its own segment causally and the prefix its segment continues.

Registered with transformers as an attention function, so model code stays untouched. On CPU every
block (segment with itself, later segments with their prefix) is one call of torch's flash kernel;
blocks of the same queries are merged by log-sum-exp, and the backward of each block uses the merged
output and log-sum-exp, which makes it exact. Where nothing is kept for a backward pass, half
precision goes by plain products: on sequences of a few hundred tokens torch's kernel takes twice as
long for it. CUDA kernels live in `cuda_attention`.
Legend: T tokens, R queries, K key/value heads, G query heads per key/value head, D head size.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from synpref_dagster.reward.attention.batching import Block, Pack
from synpref_dagster.reward.attention.cuda_attention import cuda_tree_attention

TREE = "synpref_tree"
DENSE_LIMIT = 1 << 18  # queries x keys up to which one masked call beats many small ones
ROWS = 128  # queries of one product: their scores stay in the cache, and few are computed in vain

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default


class BlockAttention(torch.autograd.Function):
    """Exact attention over a union of blocks, on CPU, without building a mask."""

    @staticmethod
    def forward(  # noqa: PLR0917
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, blocks: Sequence[Block], scale: float
    ) -> Tensor:
        """Output (K, G, R, D) of query (K, G, R, D) over key, value (K, T, D)."""
        num_kv, num_groups, num_queries, head_size = query.shape
        # Memory order (R, K, G, D): the model reshapes it to (R, heads * D) without a copy.
        out = query.new_empty(num_queries, num_kv, num_groups, head_size).permute(1, 2, 0, 3)
        wide = torch.promote_types(query.dtype, torch.float32)
        lse = query.new_empty(num_kv, num_queries, num_groups, dtype=wide).transpose(1, 2)
        keys = key.unsqueeze(1).expand(-1, num_groups, -1, -1)
        values = value.unsqueeze(1).expand(-1, num_groups, -1, -1)
        written = [False] * num_queries
        for b in blocks:
            rows, columns = slice(b.query_start, b.query_stop), slice(b.key_start, b.key_stop)
            part, part_lse = _flash(
                query[:, :, rows],
                keys[:, :, columns],
                values[:, :, columns],
                0.0,
                b.causal,
                scale=scale,
            )
            if written[b.query_start]:
                _merge(out[:, :, rows], lse[:, :, rows], part=part, part_lse=part_lse)
            else:
                out[:, :, rows] = part
                lse[:, :, rows] = part_lse
                written[rows] = [True] * (b.query_stop - b.query_start)
        ctx.save_for_backward(query, key, value, out, lse)
        ctx.blocks, ctx.scale = blocks, scale
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Gradients of query, key and value: the sum over blocks with merged statistics."""
        query, key, value, out, lse = ctx.saved_tensors
        num_groups = query.shape[1]
        grad_query = torch.zeros_like(query)
        grad_key, grad_value = torch.zeros_like(key), torch.zeros_like(value)
        keys = key.unsqueeze(1).expand(-1, num_groups, -1, -1)
        values = value.unsqueeze(1).expand(-1, num_groups, -1, -1)
        for b in ctx.blocks:
            rows, columns = slice(b.query_start, b.query_stop), slice(b.key_start, b.key_stop)
            part_query, part_key, part_value = _flash_backward(
                grad[:, :, rows],
                query[:, :, rows],
                keys[:, :, columns],
                values[:, :, columns],
                out[:, :, rows],
                lse[:, :, rows],
                0.0,
                b.causal,
                scale=ctx.scale,
            )
            grad_query[:, :, rows] += part_query
            grad_key[:, columns] += part_key.sum(1) if num_groups > 1 else part_key[:, 0]
            grad_value[:, columns] += part_value.sum(1) if num_groups > 1 else part_value[:, 0]
        return grad_query, grad_key, grad_value, None, None


def _merge(out: Tensor, lse: Tensor, *, part: Tensor, part_lse: Tensor) -> None:
    """Merge attention over further keys into `out` and `lse`, in place."""
    merged = torch.logaddexp(lse, part_lse)
    out.mul_((lse - merged).exp_().unsqueeze(-1).to(out.dtype))
    out.addcmul_(part, (part_lse - merged).exp_().unsqueeze(-1).to(out.dtype))
    lse.copy_(merged)


def attend(query: Tensor, key: Tensor, *, value: Tensor, pack: Pack, scale: float) -> Tensor:
    """Tree attention of all tokens: (H, T, D) queries over (K, T, D) keys give (T, H, D)."""
    query, key, value = _one_dtype(query, key, value)
    if query.is_cuda:
        return cuda_tree_attention(query, key, value=value, pack=pack, scale=scale)
    if query.dtype is torch.bfloat16 and not torch.is_grad_enabled():
        return _by_products(_grouped(query, key), key, value=value, pack=pack, scale=scale)
    out = BlockAttention.apply(_grouped(query, key), key, value, pack.blocks, scale)
    return out.permute(2, 0, 1, 3).flatten(1, 2)


def _by_products(query: Tensor, key: Tensor, *, value: Tensor, pack: Pack, scale: float) -> Tensor:
    """`attend` without a backward pass: (K, G, T, D) queries give (T, H, D), segment by segment."""
    num_kv, num_groups, num_tokens, head_size = query.shape
    out = query.new_empty(num_tokens, num_kv, num_groups, head_size)
    later = torch.ones(ROWS, ROWS, dtype=torch.bool).triu(1)
    wide = torch.promote_types(query.dtype, torch.float32)
    for s in pack.segments:
        prefix, own = slice(s.prefix_start, s.prefix_stop), slice(s.start, s.stop)
        keys, values = (
            torch.cat([states[:, prefix], states[:, own]], 1) for states in (key, value)
        )
        keys, before = keys.transpose(1, 2), s.prefix_stop - s.prefix_start
        for start in range(s.start, s.stop, ROWS):
            stop = min(start + ROWS, s.stop)
            seen, num_rows = before + stop - s.start, stop - start
            part = query[:, :, start:stop].flatten(1, 2)
            scores = torch.bmm(part, keys[:, :, :seen]).to(wide).mul_(scale)
            own_scores = scores.view(num_kv, num_groups, num_rows, seen)[..., seen - num_rows :]
            own_scores.masked_fill_(later[:num_rows, :num_rows], -torch.inf)
            weights = scores.softmax(-1).to(value.dtype)
            attended = torch.bmm(weights, values[:, :seen]).unflatten(1, (num_groups, num_rows))
            out[start:stop] = attended.permute(2, 0, 1, 3)
    return out.flatten(1, 2)


def attend_scored(query: Tensor, key: Tensor, *, value: Tensor, pack: Pack, scale: float) -> Tensor:
    """Attention of the scored positions: (H, R, D) over (K, T, D) gives (R, H, D).

    There are few of them, so that one masked call is cheap; a long pack on CPU goes by blocks.
    """
    query, key, value = _one_dtype(query, key, value)
    grouped = _grouped(query, key)
    num_groups, num_scored = grouped.shape[1:3]
    if query.is_cuda or num_scored * pack.num_tokens <= DENSE_LIMIT:
        mask = pack.scored_mask.repeat(num_groups, 1)
        out = scaled_dot_product_attention(
            grouped.flatten(1, 2)[None], key[None], value[None], attn_mask=mask, scale=scale
        )
        out = out[0].unflatten(1, (num_groups, num_scored))
    else:
        out = BlockAttention.apply(grouped, key, value, pack.scored_blocks, scale)
    return out.permute(2, 0, 1, 3).flatten(1, 2)


def _one_dtype(*states: Tensor) -> tuple[Tensor, ...]:
    """The states in autocast's dtype, when it is on: norms leave queries and keys wider."""
    device = states[0].device.type
    if not torch.is_autocast_enabled(device):
        return states
    dtype = torch.get_autocast_dtype(device)
    return tuple(state.to(dtype) for state in states)


def _grouped(query: Tensor, key: Tensor) -> Tensor:
    """(H, R, D) as (K, G, R, D): the query heads of each key/value head."""
    return query.unflatten(0, (len(key), -1))


def _tree_attention(  # noqa: PLR0913, PLR0917 - transformers decides the arguments
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    tree: Pack | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The function that transformers calls in each layer: (1, H, T, D) in, (1, T, H, D) out."""
    if tree is None:
        raise ValueError("this model runs packs: pass tree=pack, or score through RewardModel")
    if dropout or sliding_window:
        raise ValueError(
            f"tree attention has no dropout ({dropout}) and no sliding window ({sliding_window})"
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return attend(query[0], key[0], value=value[0], pack=tree, scale=scale)[None], None


def _no_mask(*args: Any, **kwargs: Any) -> None:
    """The pack says who sees whom; no mask is built."""


AttentionInterface.register(TREE, _tree_attention)
AttentionMaskInterface.register(TREE, _no_mask)
