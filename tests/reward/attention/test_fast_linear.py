import pytest
import torch
from torch import nn
from torch.nn.functional import linear

from synpref_dagster.reward.attention import fast_linear as module
from synpref_dagster.reward.attention.fast_linear import OneDnnLinear, fast_linear, is_available

pytestmark = pytest.mark.skipif(not is_available(), reason="no oneDNN in this build of PyTorch")


class Model:
    """The few things about a model that decide whether it applies."""

    def __init__(self, *, hidden=256, dtype=torch.float32, checkpointing=False):
        self.score = nn.Linear(hidden, 1, bias=False, dtype=dtype)
        self.is_activation_checkpointing = checkpointing


def test_outputs_and_gradients_are_those_of_the_plain_layer():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(1, 500, 256, generator=generator)
    weight = torch.randn(700, 256, generator=generator) / 16
    bias = torch.randn(700, generator=generator)
    results = []
    for context in (torch.no_grad(), fast_linear(Model(), num_tokens=500)):
        leaves = [part.clone().requires_grad_() for part in (rows, weight, bias)]
        with context, torch.enable_grad():
            out = linear(*leaves)
        results.append([out, *torch.autograd.grad(out.square().mean(), leaves)])
    assert type(results[1][0].grad_fn).__name__ == "AddBackward0"
    for plain, fast in zip(*results, strict=True):
        assert torch.allclose(plain, fast, atol=1e-5)


def test_large_layers_take_it_and_small_ones_do_not(monkeypatch):
    seen = []
    monkeypatch.setattr(
        module, "_product", lambda rows, weight: seen.append(1) or rows @ weight.t()
    )
    with fast_linear(Model(), num_tokens=1_000):
        linear(torch.randn(1_000, 256), torch.randn(512, 256))
        linear(torch.randn(10, 256), torch.randn(512, 256))
        linear(torch.randn(1_000, 256).double(), torch.randn(512, 256).double())
    linear(torch.randn(1_000, 256), torch.randn(512, 256))
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("settings", "num_tokens"),
    [({"hidden": 32}, 500), ({"dtype": torch.float64}, 5_000), ({"checkpointing": True}, 5_000)],
)
def test_models_it_does_not_suit_are_left_alone(settings, num_tokens):
    context = fast_linear(Model(**settings), num_tokens=num_tokens)
    assert type(context).__name__ == "nullcontext"


def test_a_frozen_weight_gets_no_gradient():
    rows = torch.randn(4, 8, requires_grad=True)
    weight = torch.randn(3, 8)
    OneDnnLinear.apply(rows, weight).sum().backward()
    assert torch.allclose(rows.grad, weight.sum(0).expand(4, 8), atol=1e-6)
    assert weight.grad is None
