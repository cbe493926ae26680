"""How pairs are spread over prompts: a pool of many pairs may be about a few questions."""

from dataclasses import dataclass

import numpy as np

HALF = 0.5


@dataclass(frozen=True, slots=True)
class Spread:
    """Pairs by conversation."""

    num_pairs: int
    num_prompts: int
    largest: int
    """Pairs of the prompt that has most."""
    num_for_half: int
    """The fewest prompts that hold half of the pairs."""


def spread(keys: np.ndarray) -> Spread:
    """How pairs are spread.

    Args:
        keys: (n,) one number per pair, the same for pairs of one conversation.

    >>> spread(np.array([7, 7, 7, 1, 2, 3]))
    Spread(num_pairs=6, num_prompts=4, largest=3, num_for_half=1)
    """
    if not len(keys):
        return Spread(0, 0, 0, 0)
    _, sizes = np.unique(keys, return_counts=True)
    held = np.cumsum(np.sort(sizes)[::-1])
    num_for_half = int(np.searchsorted(held, HALF * len(keys))) + 1
    return Spread(len(keys), len(sizes), int(sizes.max()), num_for_half)
