"""One thing that happened to a pair."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

POOL, ATTRIBUTES, SEED = "1 pool", "2 attributes", "3 seed"
FILTERING, RELEASE = "5 filtering", "6 release"


@dataclass(frozen=True, kw_only=True)
class Event:
    """What an asset did with a pair, in words and as facts."""

    box: str
    """The box of the figure."""
    step: str
    """The asset, as Dagster calls it."""
    what: str
    """A sentence for people."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The same for machines, and what there is more; JSON values, ids as hexadecimal digits."""
    decides: bool = False
    """Whether this settles what becomes of the pair."""


def iteration_box(number: int) -> str:
    """The box of an iteration; 0 is the seed's reward model."""
    return f"4 iteration {number}"
