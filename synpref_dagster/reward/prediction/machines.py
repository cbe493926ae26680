"""Devices by name: how fast and how large they are, and how much of it is expected to be used."""

from dataclasses import dataclass

GIGABYTE = 1e9


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """One device.

    Attributes:
        name: How it is asked for.
        device: Torch device.
        half_flops: Dense bfloat16 operations per second, as its maker says.
        float_flops: The same in float32, without TF32, which PyTorch leaves off.
        memory_bytes: Its memory; 0 where it is that of the computer.
        utilisation: Share of those operations that is expected to be reached.
        source: Where the numbers are from.
    """

    name: str
    device: str
    half_flops: float
    float_flops: float
    memory_bytes: float
    utilisation: float
    source: str

    def seconds(self, flops: float, *, dtype: str) -> float:
        """How long so many operations take."""
        peak = self.half_flops if dtype == "bfloat16" else self.float_flops
        return flops / (peak * self.utilisation)


ASSUMED = 0.4
"""Utilisation of a GPU: nobody has measured this engine on one; see docs/performance.md."""
_GPUS = {  # dense bfloat16 TFLOP/s, float32 TFLOP/s, GB: data sheets of their makers
    "h200": (989.0, 67.0, 141.0),
    "h100": (989.0, 67.0, 80.0),
    "a100": (312.0, 19.5, 80.0),
    "l40s": (362.0, 91.6, 48.0),
    "rtx4090": (165.2, 82.6, 24.0),
    "l4": (121.0, 30.3, 24.0),
    "mi300x": (1_307.0, 163.4, 192.0),
}
MACHINES: dict[str, Machine] = {
    name: Machine(
        name=name,
        device="cuda",
        half_flops=half * 1e12,
        float_flops=single * 1e12,
        memory_bytes=gigabytes * GIGABYTE,
        utilisation=ASSUMED,
        source="data sheet",
    )
    for name, (half, single, gigabytes) in _GPUS.items()
}
MACHINES["cpu"] = Machine(
    name="cpu",
    device="cpu",
    half_flops=0.41e12,
    float_flops=0.23e12,
    memory_bytes=0,
    utilisation=1.0,
    source="measured on SmolLM2-135M with AVX512-BF16: bfloat16 by two threads, float32 by one",
)


def machine(name: str, *, utilisation: float | None = None) -> Machine:
    """A device by its name.

    Args:
        name: One of `MACHINES`.
        utilisation: What to expect instead of the device's own share.

    Raises:
        ValueError: No such device is known; the message names those that are.
    """
    from dataclasses import replace

    found = MACHINES.get(name.lower())
    if found is None:
        raise ValueError(f"device {name!r} is unknown: choose {', '.join(MACHINES)}")
    return found if utilisation is None else replace(found, utilisation=utilisation)
