"""Rows of pairs that a person can follow."""

import pytest

LONG = "tell me about the seven hills of rome and who lived on each of them"


@pytest.fixture
def rows():
    """Six rows: contaminated by `LONG`, twice the same, its contradiction, no pair, a sound one."""
    return [
        {"prompt": f"Please {LONG} today", "chosen": "Romulus", "rejected": "Remus"},
        {"prompt": "Hi", "chosen": "Hello to you", "rejected": "no"},
        {"prompt": "Hi", "chosen": "Hello to you", "rejected": "no"},
        {"prompt": "Hi", "chosen": "no", "rejected": "Hello to you"},
        {"prompt": "Hi", "chosen": "same", "rejected": "same"},
        {"prompt": "Other", "chosen": "a", "rejected": "b"},
    ]


@pytest.fixture
def looked_for():
    """A text of 14 words that the first row of `rows` holds."""
    return LONG
