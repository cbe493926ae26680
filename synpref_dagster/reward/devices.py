"""What this machine computes on, and in which numbers.

Every training, scoring and reading asks here. To keep a graphics card out of it, hide it from
PyTorch: `CUDA_VISIBLE_DEVICES=`.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from multiprocessing import parent_process


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


def on_all_cores(device: str) -> AbstractContextManager[None]:
    """While it is open torch computes on every core that this process may use, or OMP_NUM_THREADS.

    Where another device computes nothing changes, nor in a process that shares a map's work with
    others. The commands set that to 1, for everything small:
    two pools that spin on the same cores are several times slower than one. A number above it is
    somebody's wish.
    """
    if device != "cpu" or parent_process() is not None or _in_ray():
        return nullcontext()
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return on_cores(int(asked) if asked.isdigit() and int(asked) > 1 else num_cores())


@contextmanager
def on_cores(number: int) -> Iterator[None]:
    """While it is open torch computes in so many threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _in_ray() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())
