"""Who reads the majority of crowd votes: the truth of held-out debates, and nobody without them."""

import pytest

from synpref_dagster.settings.pool import PoolSettings
from synpref_dagster.sources.held_out import held_out_debates, truth_columns

SOURCES = [
    {"name": "crowd", "path": "a.jsonl.gz", "format": "crowd_votes", "origin": "human"},
    {"name": "plain", "path": "b.jsonl", "origin": "human"},
]


@pytest.mark.parametrize(
    ("settings", "debates", "columns"),
    [
        ({}, (), set()),
        ({"test_debates": ["tea"]}, ("tea",), {("crowd", "gold")}),
        ({"test_splits": [["tea"], ["sea"]]}, ("sea",), {("crowd", "gold")}),
    ],
)
def test_gold_is_read_where_debates_are_held_out(settings, debates, columns):
    pool = PoolSettings.model_validate({"kind": "sources", "sources": SOURCES, **settings})
    assert held_out_debates(pool, seed=1) == debates
    assert truth_columns(pool, seed=1) == columns
