"""What a campaign does shard by shard, done at once in memory: what its results must equal."""

from collections import Counter

import numpy as np
import pandas as pd

from synpref_dagster.benchmarks.items import distinct_candidates, spread_scores
from synpref_dagster.curation.contamination.hits import find_hits
from synpref_dagster.curation.contamination.rules import build_index, by_benchmark
from synpref_dagster.curation.pool.marks import mark_table, marks_of, pool_keys
from synpref_dagster.curation.pool.screening import (
    contamination_config,
    screen_contamination,
    screen_structure,
)
from synpref_dagster.curation.pool.selection import select_clean
from synpref_dagster.pairs.texts import UNKNOWN_LENGTH


def clean(raw, prompts, *, ngram_words):
    """Kept and dropped pairs of a raw pool, as frames."""
    screened = screen(raw, contamination_indexes(prompts, ngram_words=ngram_words))
    clean_shard = select_clean(screened, marks_in_memory(screened))
    return clean_shard["kept"].to_pandas(), clean_shard["dropped"].to_pandas()


def screen(raw, indexes):
    """`SCREENED_SCHEMA`: structure and contamination of every pair."""
    return screen_contamination(screen_structure(raw), *find_hits(raw, indexes))


def contamination_indexes(prompts, *, ngram_words):
    """An index per benchmark, by name."""
    config = contamination_config(ngram_words)
    return [build_index(listed, config) for listed in by_benchmark(prompts).values()]


def marks_in_memory(screened):
    """`MARK_SCHEMA` of a whole pool that is screened as one shard."""
    keys = pool_keys(screened)
    rows = np.asarray(keys.column("row").combine_chunks())
    marks = marks_of(keys, rows.astype(np.int64))
    first = np.where(marks.first_places == rows, -1, marks.first_places)
    marked = (first >= 0) | (marks.risks > 0)
    return mark_table(rows[marked], first[marked], marks.risks[marked])


def score_table(items, rewards_fn):
    """The score table of the items under (conversations, responses) -> rewards."""
    distinct = distinct_candidates(items)
    rewards = rewards_fn([each for each, _ in distinct], [response for _, response in distinct])
    scores = pd.DataFrame({"reward": np.asarray(rewards, dtype=np.float32)})
    return spread_scores(items, scores.assign(num_tokens=UNKNOWN_LENGTH, truncated=False))


def check_counts(benchmark, items, *, expected=None):
    """The items are as many as expected by subset: as published, unless told otherwise."""
    counts = Counter(item.group for item in items)
    wanted = benchmark.expected_counts if expected is None else expected
    assert {subset: counts.get(subset, 0) for subset in wanted} == dict(wanted)
    total = benchmark.expected_total if expected is None else sum(expected.values())
    assert counts.total() == total
