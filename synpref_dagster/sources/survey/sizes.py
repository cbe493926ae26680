"""How large a first campaign is: seed, iterations and people, chosen from what there is.

Small on purpose: minutes on a laptop, and few enough pairs for one person where people are asked.
Whoever has seen the first report knows what to raise.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from synpref_dagster.sources.majorities import majority_gold
from synpref_dagster.sources.survey.found import FoundSource

FEW_VOTED = 60
"""Pairs with votes from which on recorded votes play the people."""
FEWEST_PAIRS = 24
"""Different pairs of people from which on a campaign comes to its report."""
FEWEST_PROMPTS = LEAST_GOLD = 10
"""Gold is divided by prompt: of so many some validate and some train, of fewer all may do one."""
FEW_PAIRS = 200
"""Pairs below which nothing that is measured means much."""
UNCOUNTED = 10_000  # pairs that a data set of the hub is taken to have
TEST_SHARE = 0.15
MIN_DEBATES = 4
MANY_PAIRS = 20_000


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Numbers of a profile."""

    is_recorded: bool
    """Whether votes in the sources play the people."""
    has_votes: bool
    """Whether there are some, of which people need not be asked."""
    num_gold: int
    num_silver: int
    num_iterations: int
    max_retrieved: int
    num_human: int
    num_judged: int
    test_debates: tuple[str, ...]
    """Held out as a clean test set."""
    num_held_out: int
    """Pairs in them."""


def chosen_sizes(sources: Sequence[FoundSource]) -> Sizes:
    """Sizes for a pool of some sources."""
    pairs = sum(each.num_pairs or UNCOUNTED * each.is_on_hub for each in sources)
    held_out = _test_debates(sources)
    num_held_out = sum(each.debates[name] for each in sources for name in held_out)
    # Only pairs that people labelled come into stage 1, where people and judges work.
    first = max(0, num_for_people(sources) - num_held_out)
    voted = sum(each.num_voted for each in sources if each.origin == "human")
    voted = min(first, max(0, voted - num_held_out))
    is_recorded = voted >= FEW_VOTED
    num_gold = min(1200, voted // 2) if is_recorded else min(120, max(LEAST_GOLD, first // 4))
    num_human = min(300, voted // 8) if is_recorded else min(40, max(1, first // 12))
    return Sizes(
        is_recorded=is_recorded,
        has_votes=voted > 0,
        num_gold=num_gold,
        num_silver=min(800, max(1, first // 5)),
        num_iterations=2 if pairs > MANY_PAIRS and is_recorded else 1,
        max_retrieved=min(1000, max(1, first // 4)),
        num_human=num_human,
        num_judged=min(500, max(20, num_gold)),
        test_debates=held_out,
        num_held_out=num_held_out,
    )


def num_for_people(sources: Sequence[FoundSource]) -> int:
    """Different pairs that people labelled, whatever their labels; those of the hub are assumed."""
    hub = sum(UNCOUNTED for each in sources if each.origin == "human" and each.is_on_hub)
    return hub + _num_different(each.contents for each in sources if each.origin == "human")


def num_prompts(sources: Sequence[FoundSource]) -> int:
    """Different prompts of the pairs that people labelled, without those of the hub."""
    return _num_different(each.prompts for each in sources if each.origin == "human")


def _num_different(parts: Iterable[np.ndarray]) -> int:
    return len(reduce(np.union1d, parts, np.zeros(0, np.uint64)))


def _test_debates(sources: Sequence[FoundSource]) -> tuple[str, ...]:
    """Parts of sources with votes that make a test set, the small ones first; none where few."""
    crowds = [each for each in sources if each.format == "crowd_votes"]
    held_out: list[str] = []
    for source in crowds:
        if len(source.debates) < MIN_DEBATES:
            continue
        wanted, taken = TEST_SHARE * source.debates.total(), 0
        for name, count in sorted(source.debates.items(), key=lambda each: (each[1], each[0])):
            if taken + count > wanted:
                break
            held_out.append(name)
            taken += count
    # Who says what the majority of a test set is reads every such source, or none.
    return tuple(dict.fromkeys(held_out)) if held_out and _know_their_majority(crowds) else ()


def _know_their_majority(crowds: Sequence[FoundSource]) -> bool:
    try:
        majority_gold({each.place: each.name for each in crowds}, test_debates=set())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False
    return True


def is_unverified(source: FoundSource, sizes: Sizes) -> bool:
    """Whether no person sees a pair of a source: judges and models alone decide about it."""
    return source.origin != "human" or (sizes.is_recorded and not source.num_voted)
