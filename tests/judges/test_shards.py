"""What is done to one shard of pairs that judges are asked about, and what is refused."""

import pyarrow as pa
import pytest

from synpref_dagster.curation.filtering.content_labels import LABELLED_SCHEMA
from synpref_dagster.curation.filtering.shards import candidate_shard
from synpref_dagster.judges.shards import EXEMPLAR_SCHEMA, PANEL_SCHEMAS, judge_shard, leaked_shard
from synpref_dagster.pairs.record import id_array
from synpref_dagster.storage import write_dataset


def ids(*numbers):
    """Ids that end in a zero byte."""
    return id_array([number.to_bytes(15, "big") + b"\0" for number in numbers])


def numbers(table, column):
    return [int.from_bytes(each.bytes[:15], "big") for each in table[column].to_pylist()]


def exemplars(*rows):
    """(target, gold pair)."""
    columns = [ids(*(t for t, _ in rows)), ids(*(g for _, g in rows))]
    ranks = pa.array(range(len(rows)), pa.int64())
    return pa.Table.from_arrays([*columns, ranks], schema=EXEMPLAR_SCHEMA)


def targets(*rows):
    """(pair, conversation, whether it is gold)."""
    columns = [ids(*(p for p, *_ in rows)), ids(*(p for p, *_ in rows))]
    conversations = ids(*(c for _, c, _ in rows))
    gold = pa.array([is_gold for *_, is_gold in rows], pa.bool_())
    return pa.Table.from_arrays([*columns, conversations, gold], schema=PANEL_SCHEMAS["targets"])


ASKED = targets((1, 10, False), (2, 20, False), (3, 30, True), (4, 20, True))


@pytest.mark.parametrize(
    ("shown", "leaked"),
    [
        ([(1, 3), (1, 4), (2, 3)], []),
        ([(1, 3), (2, 4)], [2]),  # of one conversation
        ([(1, 1), (2, 3)], [1]),  # its own label
        ([(1, 9), (9, 3)], [1, 9]),  # nobody knows their conversations
        ([], []),
    ],
)
def test_exemplars_that_tell_a_target_its_answer_are_found(shown, leaked):
    found = leaked_shard(exemplars(*shown), ASKED)
    assert found.schema == EXEMPLAR_SCHEMA
    assert numbers(found, "pair_id") == leaked


def test_a_shard_without_questions_needs_no_judge_and_has_all_tables():
    def nobody():
        raise AssertionError

    asked = pa.table({"pair_id": ids()})
    found = judge_shard(asked, asked, work=nobody)
    assert {name: table.schema for name, table in found.items()} == PANEL_SCHEMAS


def test_pairs_whose_content_stage_one_labelled_are_not_asked_about(tmp_path):
    labels = pa.Table.from_arrays(
        [ids(7), ids(7), pa.array([0], pa.int8())], schema=LABELLED_SCHEMA
    )
    ref = write_dataset(str(tmp_path / "labels"), labels, step="s")
    clean = pa.table({"pair_id": ids(1, 2), "content_id": ids(7, 8)})
    rewards = pa.table({"pair_id": ids(1, 2), "best_margin": pa.array([-1.0, -1.0], pa.float32())})
    found = candidate_shard(clean, rewards, labelled=ref, unsure_band=0.0)
    assert numbers(found, "pair_id") == [2]
