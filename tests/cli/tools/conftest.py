"""Pairs of which the longer response is chosen."""

import pytest

from synpref_dagster.pairs.record import PreferencePair


@pytest.fixture(scope="session")
def pair_like():
    def make(num):
        return [
            PreferencePair(
                conversation=({"role": "user", "content": f"question {n}"},),
                chosen="many words " * (n % 4 + 2),
                rejected="few",
                source="world",
                origin="human",
            )
            for n in range(num)
        ]

    return make
