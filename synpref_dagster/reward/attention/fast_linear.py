"""Float32 linear layers on CPU through oneDNN: the same sums, twice as fast where MKL is slow.

PyTorch sends float32 matrix products to MKL, which leaves AVX-512 of AMD processors unused. A
function mode around one forward catches the calls of linear layers; the model stays untouched and
so does everything outside. Small products stay with MKL: oneDNN builds a kernel for every new size.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

MIN_OPERATIONS = 1.5e8  # multiply-adds times two from which building a kernel pays

_onednn: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)


class OneDnnLinear(torch.autograd.Function):
    """x (n, in) times weight (out, in) transposed, forward and backward through oneDNN."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor) -> Tensor:
        """(n, out)."""
        ctx.save_for_backward(rows, weight)
        return _product(rows, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Gradients of rows and weight, where they are wanted."""
        rows, weight = ctx.saved_tensors
        wants_rows, wants_weight = ctx.needs_input_grad
        return (
            _product(grad, weight.t()) if wants_rows else None,
            _product(grad.t(), rows.t()) if wants_weight else None,
        )


class _LinearThroughOneDnn(TorchFunctionMode):
    """Sends the large float32 linear layers called inside to oneDNN."""

    def __torch_function__(  # noqa: PLR0917 - torch decides the arguments
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """One intercepted call."""
        if func is linear and not kwargs and len(args) >= 2 and _is_large(args[0], args[1]):
            rows, weight, bias = args[0], args[1], args[2] if len(args) > 2 else None
            flat = OneDnnLinear.apply(rows.flatten(0, -2), weight)
            out = flat.view(*rows.shape[:-1], -1)
            return out if bias is None else out + bias
        return func(*args, **(kwargs or {}))


def fast_linear(model: Any, *, num_tokens: int) -> AbstractContextManager[Any]:
    """Context in which a forward of so many tokens may use oneDNN; does nothing elsewhere.

    Recomputed activations must take the way they took first, so checkpointing models stay out.
    """
    weight = model.score.weight
    hidden = weight.shape[-1]
    if (
        weight.device.type != "cpu"
        or weight.dtype != torch.float32
        or 2 * num_tokens * hidden * hidden < MIN_OPERATIONS / 4
        or model.is_activation_checkpointing
        or not is_available()
    ):
        return nullcontext()
    return _LinearThroughOneDnn()


def is_available() -> bool:
    """Whether this build of PyTorch has both MKL, the default, and oneDNN."""
    return (
        _onednn is not None
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkl.is_available()
    )


def _is_large(rows: Tensor, weight: Tensor) -> bool:
    if rows.dtype != torch.float32 or weight.dtype != torch.float32 or rows.ndim < 2:
        return False
    if torch.is_autocast_enabled("cpu"):
        return False
    return 2 * rows.numel() * weight.shape[0] >= MIN_OPERATIONS


def _product(rows: Tensor, weight: Tensor) -> Tensor:
    result: Tensor = _onednn(rows, weight, None, "none", [], "")
    return result
