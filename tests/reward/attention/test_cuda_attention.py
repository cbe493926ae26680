"""The CUDA paths on CPU: index tensors, layouts and padding, with stand-ins for the kernels."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch.nn.attention.flex_attention import flex_attention
from torch.nn.functional import scaled_dot_product_attention

from synpref_dagster.reward.attention import cuda_attention
from synpref_dagster.reward.attention.batching import pack_units
from synpref_dagster.reward.attention.cuda_attention import (
    cuda_tree_attention,
    varlen_plan,
    visibility,
)
from synpref_dagster.reward.attention.tree_attention import attend

SCALE = 0.3


@pytest.fixture(scope="module")
def pack(random_units):
    units, sequences, keys = random_units
    return pack_units(units, sequences, keys=keys, tokens_per_pack=10_000)[0]


@pytest.fixture(scope="module")
def states(pack):
    generator = torch.Generator().manual_seed(0)
    shapes = [(heads, pack.num_tokens, 16) for heads in (6, 2, 2)]
    return [torch.randn(shape, generator=generator) for shape in shapes]


def varlen_reference(query, key, value, **settings):
    """What flash-attn's varlen kernel does, (tokens, heads, size) in and out."""
    assert settings["causal"]
    cu_query, cu_key = settings["cu_seqlens_q"], settings["cu_seqlens_k"]
    assert cu_query.dtype == cu_key.dtype == torch.int32
    parts = []
    for i in range(len(cu_query) - 1):
        rows = slice(int(cu_query[i]), int(cu_query[i + 1]))
        columns = slice(int(cu_key[i]), int(cu_key[i + 1]))
        num_queries, num_keys = rows.stop - rows.start, columns.stop - columns.start
        assert num_queries <= settings["max_seqlen_q"]
        assert num_keys <= settings["max_seqlen_k"]
        mask = torch.ones(num_queries, num_keys, dtype=torch.bool).tril(num_keys - num_queries)
        out = scaled_dot_product_attention(
            query[rows].transpose(0, 1)[None],
            key[columns].transpose(0, 1)[None],
            value[columns].transpose(0, 1)[None],
            attn_mask=mask,
            scale=settings["softmax_scale"],
            enable_gqa=True,
        )
        parts.append(out[0].transpose(0, 1))
    return torch.cat(parts)


def test_the_varlen_path_equals_the_block_kernel(pack, states, monkeypatch):
    module = SimpleNamespace(flash_attn_varlen_func=varlen_reference)
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    query, key, value = states
    out = cuda_attention._varlen(query, key, value=value, pack=pack, scale=SCALE)
    expected = attend(query, key, value=value, pack=pack, scale=SCALE)
    assert (out - expected).abs().max() < 1e-5


@pytest.mark.filterwarnings("ignore")
def test_the_flex_path_equals_the_block_kernel(pack, states, monkeypatch):
    monkeypatch.setattr(cuda_attention, "_compiled_flex", lambda: flex_attention)
    query, key, value = states
    with torch.no_grad():
        out = cuda_attention._flex(query, key, value=value, pack=pack, scale=SCALE)
    expected = attend(query, key, value=value, pack=pack, scale=SCALE)
    assert (out - expected).abs().max() < 1e-5


def test_flash_attention_is_taken_for_half_precision_where_installed(pack, states, monkeypatch):
    taken = []
    monkeypatch.setattr(cuda_attention, "_has_flash_attention", lambda: True)
    monkeypatch.setattr(cuda_attention, "_varlen", lambda *_, **__: taken.append("varlen"))
    monkeypatch.setattr(cuda_attention, "_flex", lambda *_, **__: taken.append("flex"))
    for dtype in (torch.bfloat16, torch.float32):
        query, key, value = (state.to(dtype) for state in states)
        cuda_tree_attention(query, key, value=value, pack=pack, scale=SCALE)
    monkeypatch.setattr(cuda_attention, "_has_flash_attention", lambda: False)
    cuda_tree_attention(*states[:2], value=states[2], pack=pack, scale=SCALE)
    assert taken == ["varlen", "flex", "flex"]


def test_indices_are_built_once_per_pack(pack):
    assert varlen_plan(pack) is varlen_plan(pack)


def test_the_block_mask_shows_each_scored_position_what_it_sees(pack):
    padded = -(-pack.num_tokens // 128) * 128
    visible = visibility(pack, num_tokens=padded)
    token = torch.arange(padded)
    mask = visible(0, 0, token[:, None], token[None, :])
    assert torch.equal(mask[pack.scored, : pack.num_tokens], pack.scored_mask)
    assert torch.equal(mask[pack.num_tokens :].nonzero()[:, 1], token[pack.num_tokens :])
