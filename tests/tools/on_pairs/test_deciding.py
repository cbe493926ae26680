"""Pairs of a file are decided by the rule of campaigns, by tables that are about these pairs."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synpref_dagster.curation.filtering.decision import decide
from synpref_dagster.curation.filtering.flip_guard import FlipGuard, GuardConfig
from synpref_dagster.curation.filtering.witnesses import Witnesses
from synpref_dagster.pairs.accuracy import accuracy_of
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.tools.on_pairs.deciding import decide_pairs

# gold margin, best margin, judges' label -> what becomes of a pair that nobody knows
CASES = [
    (1.0, 1.0, 1, "kept", "all_agree"),
    (1.0, 1.0, -1, "kept", "gold_and_best_agree"),
    (1.0, -1.0, 1, "kept", "gold_and_judges_agree"),
    (1.0, -1.0, -1, "discarded", "split_evidence"),
    (-3.0, -3.0, -1, "discarded", "flip_guarded"),
    (-3.0, -3.0, 0, "discarded", "judges_undecided"),
    (0.0, -1.0, -1, "discarded", "reward_tie"),
]


def pair(number):
    return PreferencePair(
        conversation=({"role": "user", "content": f"question {number}"},),
        chosen=f"good {number}",
        rejected="bad",
        source="any",
        origin="human",
    )


@pytest.fixture
def tables(tmp_path):
    """Writes what `score` and `judge` wrote about pairs; gives the arguments of `decide_pairs`."""

    def write(pairs, gold, best, labels):
        ids = [each.pair_id.hex() for each in pairs]
        files = {}
        for name, column, values in (
            ("gold", "margin", pa.array(gold, pa.float32())),
            ("best", "margin", pa.array(best, pa.float32())),
            ("labels", "label", pa.array(labels, pa.int8())),
        ):
            files[name] = tmp_path / f"{name}.parquet"
            pq.write_table(pa.table({"pair_id": ids, column: values}), files[name])
        return {"margins": (files["gold"], files["best"]), "labels": files["labels"]}

    return write


def test_every_pair_is_decided_as_the_rule_says_and_counted(tables, tmp_path):
    pairs = [pair(n) for n in range(len(CASES))]
    gold, best, labels, decisions, reasons = zip(*CASES, strict=True)
    found = decide_pairs(pairs, tmp_path / "out.parquet", **tables(pairs, gold, best, labels))
    table = pq.read_table(tmp_path / "out.parquet").to_pydict()
    assert (table["decision"], table["reason"]) == (list(decisions), list(reasons))
    told = found.report
    assert told.totals == {"kept": 3, "flipped": 0, "discarded": 4}
    assert sum(told.totals.values()) == sum(told.reasons.values()) == told.num_rows
    assert list(found.curated) == pairs[:3]
    assert told.max_confidence == 0.0
    assert told.guard is None
    witnesses = Witnesses(
        gold_margin=np.array(gold, np.float32),
        best_margin=np.array(best, np.float32),
        judge_label=np.array(labels, np.int8),
        human_label=np.zeros(len(gold), np.int8),
        human_seen=np.zeros(len(gold), bool),
    )
    nothing = accuracy_of(np.zeros(0, dtype=bool))
    shut = FlipGuard(max_confidence=0.0, precision=nothing, floor=0.6)
    assert [list(each) for each in decide(witnesses, guard=shut)] == [
        table["decision"], table["reason"],
    ]  # fmt: skip


def test_without_judges_nothing_is_flipped_by_machines(tables, tmp_path):
    pairs = [pair(0)]
    told = tables(pairs, [-3.0], [-3.0], [-1])
    found = decide_pairs(pairs, tmp_path / "out.parquet", margins=told["margins"])
    assert found.report.reasons == {"judges_undecided": 1}


def test_gold_decides_what_it_knows_and_opens_the_guard(tables, tmp_path):
    pairs = [pair(n) for n in range(21)]
    told = tables(pairs, [-3.0] * 21, [-3.0] * 21, [-1] * 21)
    gold = [*[each.flipped() for each in pairs[:19]], pairs[19]]
    found = decide_pairs(
        pairs, tmp_path / "out.parquet", **told, gold=gold, guard=GuardConfig(min_flips=5)
    )
    assert found.report.reasons == {"all_disagree": 1, "human_agrees": 1, "human_disagrees": 19}
    assert (found.report.guard.precision.n, found.report.guard.precision.value) == (20, 0.95)
    assert found.curated[0] == pairs[0].flipped()
    assert found.curated[19] == pairs[19]
    assert found.curated[20] == pairs[20].flipped()


def test_gold_under_both_labels_knows_nothing(tables, tmp_path):
    pairs = [pair(0)]
    told = tables(pairs, [1.0], [1.0], [1])
    found = decide_pairs(
        pairs, tmp_path / "out.parquet", **told, gold=[pairs[0], pairs[0].flipped()]
    )
    assert found.report.reasons == {"all_agree": 1}


def test_tables_about_other_pairs_are_refused_in_a_line(tables, tmp_path):
    told = tables([pair(0), pair(1)], [1.0, 1.0], [1.0, 1.0], [1, 1])
    for pairs in ([pair(1), pair(0)], [pair(0)], [pair(0), pair(2)]):
        with pytest.raises(ValueError, match="is about other pairs") as refused:
            decide_pairs(pairs, tmp_path / "out.parquet", **told)
        assert "\n" not in str(refused.value)
    (tmp_path / "odd.parquet").write_text("no table")
    with pytest.raises(ValueError, match=r"odd\.parquet is no table"):
        decide_pairs([pair(0)], tmp_path / "out.parquet", margins=(tmp_path / "odd.parquet",) * 2)
    assert not (tmp_path / "out.parquet").exists()
