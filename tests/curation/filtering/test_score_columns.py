"""The shard-wise filter decides as `decide` does, and its counts are the rows."""

from itertools import product
from math import nan

import numpy as np
import pyarrow as pa
import pytest

from synpref_dagster.curation.filtering.content_labels import LABELLED_SCHEMA, ContentLabels
from synpref_dagster.curation.filtering.decision import decide
from synpref_dagster.curation.filtering.flip_guard import FlipGuard
from synpref_dagster.curation.filtering.score_columns import (
    DECISION_COUNT_SCHEMA,
    SCORE_SCHEMA,
    decide_clean_shard,
    filter_shard,
    flipped_pairs,
    total_counts,
)
from synpref_dagster.curation.filtering.witnesses import Witnesses
from synpref_dagster.pairs.accuracy import Accuracy
from synpref_dagster.pairs.record import id_array
from synpref_dagster.storage import map_shards, read_table, write_dataset

MARGINS = [None, -5.0, -0.1, -0.0, 0.0, 0.1, 5.0, float("nan"), float("inf"), -float("inf")]
LABELS = [None, -1, 0, 1]


def scores(rows: list[tuple]) -> pa.Table:
    columns = list(zip(*rows, strict=True))
    ids = [place.to_bytes(16, "big") for place in range(len(rows))]
    arrays = [id_array(ids)] + [
        pa.array(list(column), SCORE_SCHEMA.field(place + 1).type)
        for place, column in enumerate(columns)
    ]
    return pa.Table.from_arrays(arrays, schema=SCORE_SCHEMA)


def every_state() -> pa.Table:
    cells = product(MARGINS, MARGINS, LABELS, LABELS)
    return scores([("s" if n % 3 else "t", "c", *cell) for n, cell in enumerate(cells)])


def by_rule(table: pa.Table, max_confidence: float, recycle: str) -> tuple[list, list]:
    human = table["human_label"]
    witnesses = Witnesses(
        gold_margin=table["gold_margin"].to_numpy(),
        best_margin=table["best_margin"].to_numpy(),
        judge_label=table["judge_label"].fill_null(0).to_numpy(),
        human_label=human.fill_null(0).to_numpy(),
        human_seen=human.is_valid().to_numpy(),
    )
    guard = FlipGuard(max_confidence=max_confidence, precision=Accuracy(nan, nan, nan, 0), floor=0)
    decision, reason = decide(witnesses, guard=guard, recycle=recycle)
    return decision.tolist(), reason.tolist()


@pytest.mark.parametrize("recycle", ["strict", "none", "all"])
@pytest.mark.parametrize("max_confidence", [0.0, 0.1, 0.475, 0.5, 1.0])
def test_every_state_is_decided_as_the_rule_decides_it(max_confidence, recycle):
    table = every_state()
    found = filter_shard(table, max_confidence=max_confidence, recycle=recycle)["decisions"]
    decision, reason = by_rule(table, max_confidence, recycle)
    assert found["decision"].to_pylist() == decision
    assert found["reason"].to_pylist() == reason
    assert found["pair_id"].equals(table["pair_id"])


def test_random_margins_are_decided_as_the_rule_decides_them():
    rng = np.random.default_rng(0)
    margins = rng.normal(0, 1, (2, 5_000)).astype(np.float32).tolist()
    labels = rng.integers(-1, 2, 5_000).tolist()
    rows = [("s", "c", *row, None) for row in zip(*margins, labels, strict=True)]
    table = scores(rows)
    found = filter_shard(table, max_confidence=0.3)["decisions"]
    assert found["reason"].to_pylist() == by_rule(table, 0.3, "strict")[1]


def test_counts_are_by_source_and_category_and_add_up_to_the_rows():
    table = scores(
        [
            ("web", "code", 1.0, 1.0, None, None),
            ("web", "code", 2.0, 1.0, None, None),
            ("web", None, -1.0, -1.0, -1, None),
            ("lab", "code", 1.0, 1.0, None, 0),
        ]
    )
    counts = filter_shard(table, max_confidence=0.5)["counts"].to_pylist()
    assert sorted(tuple(row.values()) for row in counts if row["task_category"]) == [
        ("lab", "code", "discarded", "human_undecided", 1),
        ("web", "code", "kept", "gold_and_best_agree", 2),
    ]
    assert [row["reason"] for row in counts if row["task_category"] is None] == ["all_disagree"]
    assert sum(row["num_pairs"] for row in counts) == 4


def test_an_empty_shard_has_no_counts():
    found = filter_shard(SCORE_SCHEMA.empty_table(), max_confidence=0.5)
    assert (found["decisions"].num_rows, found["counts"]) == (
        0,
        DECISION_COUNT_SCHEMA.empty_table(),
    )


def test_labels_and_columns_that_are_not_known_are_refused():
    with pytest.raises(ValueError, match="label 3 is none of"):
        filter_shard(scores([("s", "c", 1.0, 1.0, 3, None)]), max_confidence=0.5)
    with pytest.raises(ValueError, match="score columns must be"):
        filter_shard(pa.table({"x": [1]}), max_confidence=0.5)


def test_shards_partition_the_pool_and_only_new_ones_are_decided_again(tmp_path):
    table = every_state()

    def run(num_shards: int):
        parts = [table.slice(start * 400, 400) for start in range(num_shards)]
        ref = write_dataset(str(tmp_path / "scores"), parts, step=f"s{num_shards}")
        return map_shards(
            filter_shard,
            ref,
            uri=str(tmp_path / "filter"),
            version="1",
            params={"max_confidence": 0.3, "recycle": "strict"},
            outputs=["decisions", "counts"],
        )

    first, second = run(3), run(4)
    assert (second.num_shards_computed, second.num_shards_reused) == (1, 3)
    old = read_table(first.outputs["decisions"])
    new = read_table(second.outputs["decisions"])
    assert new.slice(0, 1_200)["reason"].to_pylist() == old["reason"].to_pylist()
    assert sum(total_counts(read_table(second.outputs["counts"])).values()) == 1_600


GUARD = {"max_confidence": 0.3, "recycle": "strict"}


def clean_shard(*pairs: tuple[int, int, str]) -> pa.Table:
    """Clean pairs from (pair, content, source)."""
    numbers, contents, sources = zip(*pairs, strict=True)
    return pa.table(
        {
            "pair_id": id_array([n.to_bytes(16, "big") for n in numbers]),
            "content_id": id_array([n.to_bytes(16, "big") for n in contents]),
            "source": list(sources),
            "risky": [False] * len(pairs),
        }
    )


def labelled(*rows: tuple[int, int, int]) -> ContentLabels:
    """Labels from (content, pair, label)."""
    contents, pairs, labels = zip(*rows, strict=True) if rows else ((), (), ())
    ids = [id_array([n.to_bytes(16, "big") for n in column]) for column in (contents, pairs)]
    columns = [*ids, pa.array(labels, pa.int8())]
    return ContentLabels.from_table(pa.Table.from_arrays(columns, schema=LABELLED_SCHEMA))


def rewards_of(clean: pa.Table, best: list[float], gold: list[float]) -> pa.Table:
    margins = {
        "best_margin": pa.array(best, pa.float32()),
        "gold_margin": pa.array(gold, pa.float32()),
    }
    return pa.table({"pair_id": clean["pair_id"], **margins})


def test_a_clean_shard_is_decided_by_rewards_and_labels_also_of_twins():
    # Pairs 4 and 5 are twins; people labelled 4, judges labelled 3, and 2 could not be decided.
    clean = clean_shard((1, 1, "a"), (2, 2, "a"), (3, 3, "b"), (4, 4, "b"), (5, 4, "b"))
    attributes = pa.table({"pair_id": clean["pair_id"].slice(1, 2), "task_category": ["x", "y"]})
    found = decide_clean_shard(
        clean,
        rewards_of(clean, best=[2, 2, -2, 2, 2], gold=[2, 2, -2, 2, 2]),
        attributes,
        judged=labelled((3, 3, -1)),
        people=labelled((4, 4, -1), (2, 2, 0)),
        guard=GUARD,
    )
    kept, dropped = found["kept"], found["dropped"]
    assert [row["reason"] for row in kept.to_pylist()] == ["gold_and_best_agree", "human_agrees"]
    assert kept["pair_id"].combine_chunks() == clean["pair_id"].combine_chunks().take([0, 4])
    assert dropped["reason"].to_pylist() == ["human_undecided", "all_disagree", "human_disagrees"]
    assert dropped["decision"].to_pylist() == ["discarded", "flipped", "flipped"]
    assert dropped["judge_label"].to_pylist() == [0, -1, 0]
    recycled = flipped_pairs(dropped)
    assert recycled["reason"].to_pylist() == ["all_disagree", "human_disagrees"]
    assert recycled.schema == dropped.schema
    assert kept.schema == dropped.schema
    cells = {(row["source"], row["task_category"]): row for row in found["counts"].to_pylist()}
    assert cells["b", "y"]["reason"] == "all_disagree"
    assert sum(row["num_pairs"] for row in found["counts"].to_pylist()) == 5


def test_rewards_of_other_pairs_are_refused():
    clean, other = clean_shard((1, 1, "a")), clean_shard((2, 2, "a"))
    none = pa.table({"pair_id": other["pair_id"].slice(0, 0), "task_category": pa.array([], "str")})
    with pytest.raises(ValueError, match="rewards and pairs of a shard differ"):
        decide_clean_shard(
            clean,
            rewards_of(other, [1.0], [1.0]),
            none,
            judged=labelled(),
            people=labelled(),
            guard=GUARD,
        )
