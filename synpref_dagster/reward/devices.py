"""What this machine computes on, and in which numbers.

Every training, scoring and reading asks here. To keep a graphics card out of it, hide it from
PyTorch: `CUDA_VISIBLE_DEVICES=`.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process


@contextmanager
def all_cores() -> Iterator[None]:
    """Every core of this machine for a big forward, where no other process shares the work.

    One thread per process is the rule (small models only wait for each other); a real backbone is
    large enough for threads. Workers of a map keep to their one.
    """
    import torch

    before = torch.get_num_threads()
    is_worker = parent_process() is not None or _in_ray()
    torch.set_num_threads(before if is_worker else max(before, num_cores()))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_ray() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def best_device() -> str:
    """`cuda`, else Apple's `mps`, else `cpu`: the best that is there."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def reading_dtype() -> str:
    """`bfloat16` where the best device multiplies it in hardware, else `float32`."""
    import torch

    device = best_device()
    if device == "cuda":
        has_it = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_it = device == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return "bfloat16" if has_it else "float32"


def training_dtype(usual: str, device: str) -> str:
    """The numbers that a device trains in: the usual ones, on `mps` float32.

    Apple's bfloat16 depends on the version of macOS, and where it is missing PyTorch only warns.

    Args:
        usual: The size's own.
        device: Torch device.

    >>> training_dtype("bfloat16", "mps"), training_dtype("bfloat16", "cuda")
    ('float32', 'bfloat16')
    """
    return "float32" if device == "mps" else usual
