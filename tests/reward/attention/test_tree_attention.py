import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoConfig, AutoModelForSequenceClassification

from synpref_dagster.reward.attention import tree_attention
from synpref_dagster.reward.attention.batching import pack_units
from synpref_dagster.reward.attention.cuda_attention import visibility
from synpref_dagster.reward.attention.tree_attention import TREE, attend, attend_scored

HEADS, KV_HEADS, HEAD_SIZE, SCALE = 6, 2, 8, 0.3


@pytest.fixture(scope="module")
def pack(random_units):
    units, sequences, keys = random_units
    return pack_units(units, sequences, keys=keys, tokens_per_pack=10_000)[0]


@pytest.fixture(scope="module")
def states(pack):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(heads, pack.num_tokens, HEAD_SIZE, dtype=torch.float64, generator=generator)
        for heads in (HEADS, KV_HEADS, KV_HEADS)
    ]


def token_mask(pack):
    mask = torch.zeros(pack.num_tokens, pack.num_tokens, dtype=torch.bool)
    for s in pack.segments:
        mask[s.start : s.stop, s.start : s.stop] = True
    mask &= torch.ones_like(mask).tril()
    for s in pack.segments:
        mask[s.start : s.stop, s.prefix_start : s.prefix_stop] = True
    return mask


def dense(query, key, value, *, mask):
    out = scaled_dot_product_attention(
        query[None], key[None], value[None], attn_mask=mask, scale=SCALE, enable_gqa=True
    )
    return out[0].transpose(0, 1)


def value_and_gradients(function, states):
    leaves = [state.clone().requires_grad_() for state in states]
    out = function(*leaves)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    return [out, *torch.autograd.grad((out * weights).sum(), leaves)]


@pytest.mark.parametrize("rows", [3, 128])
def test_plain_products_equal_a_dense_mask(pack, states, rows, monkeypatch):
    monkeypatch.setattr(tree_attention, "ROWS", rows)
    query, key, value = states
    grouped = query.unflatten(0, (KV_HEADS, -1))
    ours = tree_attention._by_products(grouped, key, value=value, pack=pack, scale=SCALE)
    assert (ours - dense(*states, mask=token_mask(pack))).abs().max() < 1e-12


def test_half_precision_without_gradients_goes_by_products(pack, states, monkeypatch):
    half = [state.bfloat16() for state in states]
    kept = attend(*half[:2], value=half[2], pack=pack, scale=SCALE)
    monkeypatch.setattr(tree_attention, "BlockAttention", None)
    with torch.no_grad():
        found = attend(*half[:2], value=half[2], pack=pack, scale=SCALE)
    assert (found - kept).abs().max() < 0.05


def test_output_and_gradients_equal_a_dense_mask_in_double_precision(pack, states):
    ours = value_and_gradients(
        lambda q, k, v: attend(q, k, value=v, pack=pack, scale=SCALE), states
    )
    expected = value_and_gradients(lambda q, k, v: dense(q, k, v, mask=token_mask(pack)), states)
    for one, other in zip(ours, expected, strict=True):
        assert (one - other).abs().max() < 1e-12


@pytest.mark.parametrize("dense_limit", [0, 1 << 20])
def test_scored_positions_get_what_they_get_among_all_tokens(
    pack, states, dense_limit, monkeypatch
):
    monkeypatch.setattr(tree_attention, "DENSE_LIMIT", dense_limit)
    ours = value_and_gradients(
        lambda q, k, v: attend_scored(q[:, pack.scored], k, value=v, pack=pack, scale=SCALE),
        states,
    )
    expected = value_and_gradients(
        lambda q, k, v: dense(q, k, v, mask=token_mask(pack))[pack.scored], states
    )
    for one, other in zip(ours, expected, strict=True):
        assert (one - other).abs().max() < 1e-12


def test_single_precision_is_close_to_double(pack, states):
    single = attend(*[s.float() for s in states[:2]], value=states[2].float(), pack=pack, scale=1.0)
    double = attend(states[0], states[1], value=states[2], pack=pack, scale=1.0)
    assert (single - double).abs().max() < 1e-5


def test_autocast_brings_the_states_to_one_dtype(pack, states):
    query, key, value = (state.float() for state in states)
    with torch.autocast("cpu", torch.bfloat16):
        out = attend(query, key, value=value.bfloat16(), pack=pack, scale=SCALE)
    expected = attend(query, key, value=value, pack=pack, scale=SCALE)
    assert out.dtype == torch.bfloat16
    assert (out.float() - expected).abs().max() < 5e-2


def test_the_block_mask_function_describes_the_same_attention(pack):
    padded = -(-pack.num_tokens // 128) * 128
    visible = visibility(pack, num_tokens=padded)
    token = torch.arange(padded)
    mask = visible(0, 0, token[:, None], token[None, :])
    assert torch.equal(mask[: pack.num_tokens, : pack.num_tokens], token_mask(pack))


def test_a_model_without_a_pack_says_how_to_run_it(qwen_stand_in):
    config = AutoConfig.from_pretrained(qwen_stand_in)
    model = AutoModelForSequenceClassification.from_config(config)
    model.set_attn_implementation(TREE)
    with pytest.raises(ValueError, match="pass tree=pack"):
        model(torch.tensor([[1, 2, 3]]))
