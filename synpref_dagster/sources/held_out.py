"""What a pool asks of its crowd-vote sources: leave a test set out, put noise into the labels."""

from typing import Any

from synpref_dagster.settings.pool import CROWD_VOTES, PoolSettings
from synpref_dagster.sources.majorities import TRUTH_COLUMN


def held_out_debates(pool: PoolSettings, seed: int) -> tuple[str, ...]:
    """Debates of the clean test set of one seed, which the pool does not read."""
    if pool.test_splits:
        return pool.test_splits[seed % len(pool.test_splits)]
    return pool.test_debates


def vote_options(pool: PoolSettings, seed: int) -> dict[str, Any]:
    """Options of every crowd-vote source, beside its own."""
    label_noise = pool.label_noise
    asked = {"flip_share": label_noise.flip_share, "longer_share": label_noise.longer_share}
    options: dict[str, Any] = {name: share for name, share in asked.items() if share}
    if held_out := held_out_debates(pool, seed):
        options["exclude_debates"] = list(held_out)
    return options


def truth_columns(pool: PoolSettings, seed: int) -> frozenset[tuple[str, str]]:
    """(source, column) that no reader of pairs reads, and the truth of held-out debates does."""
    if not held_out_debates(pool, seed):
        return frozenset()
    crowds = (each for each in pool.sources if each.path and each.format == CROWD_VOTES)
    return frozenset((each.name, TRUTH_COLUMN) for each in crowds)
