"""What this machine computes on."""


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
