"""How pairs are spread over prompts."""

import numpy as np

from synpref_dagster.preview.prompts import Spread, spread


def test_a_few_prompts_may_hold_half_of_the_pairs():
    keys = np.repeat(np.arange(24), [40, 38, *[1] * 22])
    assert spread(keys) == Spread(num_pairs=100, num_prompts=24, largest=40, num_for_half=2)


def test_pairs_on_prompts_of_their_own_are_held_by_half_of_them():
    assert spread(np.arange(10)) == Spread(10, 10, 1, 5)


def test_no_pair_has_no_prompt():
    assert spread(np.zeros(0, np.uint64)) == Spread(0, 0, 0, 0)
