"""Every row is decided by the rule of campaigns; machines flip only with evidence of people."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synpref_dagster.curation.filtering.decision import decide as rule
from synpref_dagster.curation.filtering.flip_guard import GuardConfig, estimate_flip_guard
from synpref_dagster.curation.filtering.witnesses import Witnesses
from synpref_dagster.tools.curating.deciding import NO_FLIPS, decide

FOUR = [
    {"best_margin": 1, "gold_margin": 2.0, "judge_label": 1},
    {"best_margin": -1, "gold_margin": -2.0, "judge_label": -1},
    {"best_margin": 0, "gold_margin": 2.0, "judge_label": None},
    {"best_margin": None, "gold_margin": 2.0, "judge_label": None},
]


def told(report):
    rows = report.table().to_pylist()
    return [(row["row"], row["decision"], row["reason"]) for row in rows]


def made_up(num=600, seed=0):
    """Rewards of which most contradict the label when it is wrong, and what people said."""
    rng = np.random.default_rng(seed)
    right = np.where(rng.random(num) < 0.7, 1, -1)
    frame = pd.DataFrame(
        {
            "best_margin": (right * 2 + rng.normal(0, 1, num)).astype(np.float32),
            "gold_margin": (right * 2 + rng.normal(0, 1, num)).astype(np.float32),
            "judge_label": np.where(rng.random(num) < 0.9, right, 0).astype(np.int8),
        }
    )
    frame["human_label"] = pd.array(np.where(rng.random(num) < 0.4, right, 2), dtype="Int8")
    frame.loc[frame["human_label"] == 2, "human_label"] = pd.NA
    frame.loc[::50, "gold_margin"] = np.nan
    return frame


def by_the_rule(frame, **how):
    """Decision and reason of each row, by the rule that box 5 is defined by."""
    human = frame["human_label"]
    witnesses = Witnesses(
        gold_margin=frame["gold_margin"].to_numpy(),
        best_margin=frame["best_margin"].to_numpy(),
        judge_label=frame["judge_label"].to_numpy(),
        human_label=human.fillna(0).to_numpy(dtype=np.int8),
        human_seen=human.notna().to_numpy(),
    )
    known = np.flatnonzero(witnesses.human_label)
    gold = Witnesses(**{name: getattr(witnesses, name)[known] for name in Witnesses.__slots__})
    guard = estimate_flip_guard(gold, config=GuardConfig())
    return guard, rule(witnesses, guard=guard, **how)


@pytest.mark.parametrize("recycle", ["strict", "all", "none"])
def test_decisions_and_guard_are_those_of_the_rule(recycle, tmp_path):
    frame = made_up()
    frame.to_parquet(tmp_path / "rewards.parquet")
    guard, (decision, reason) = by_the_rule(frame, recycle=recycle)
    report = decide(tmp_path / "rewards.parquet", tmp_path / "out.parquet", recycle=recycle)
    assert told(report) == [*zip(range(len(frame)), decision, reason, strict=True)]
    assert report.guard == guard
    assert report.guard.max_confidence > 0
    assert report.totals == {each: int((decision == each).sum()) for each in report.totals}
    assert sum(report.reasons.values()) == report.num_rows == len(frame)


def test_without_gold_nothing_is_flipped_and_that_is_said():
    report = decide(FOUR)
    assert told(report) == [
        (0, "kept", "all_agree"),
        (1, "discarded", "flip_guarded"),
        (2, "discarded", "reward_tie"),
        (3, "discarded", "missing_reward"),
    ]
    assert (report.guard, report.notes) == (None, (NO_FLIPS,))
    known = decide(FOUR, max_confidence=0.5)
    assert (told(known)[1], known.notes) == ((1, "flipped", "all_disagree"), ())


def test_evidence_may_lie_in_a_file_of_its_own(tmp_path):
    frame = made_up()
    gold = frame[frame["human_label"].notna()]
    gold.to_parquet(tmp_path / "gold.parquet")
    rest = frame[frame["human_label"].isna()].drop(columns=["human_label"])
    report = decide(rest, evidence=tmp_path / "gold.parquet")
    assert report.guard == by_the_rule(frame)[0]
    assert report.reasons["all_disagree"] > 0


def test_rows_of_any_file_are_read_and_broken_ones_are_told(write_lines, tmp_path):
    csv = write_lines("r.csv", ["best_margin,gold_margin,judge_label", "1,2,1", "-1,-2,-1", ",2,"])
    assert [reason for _, _, reason in told(decide(csv))] == [
        "all_agree", "flip_guarded", "missing_reward",
    ]  # fmt: skip
    file = write_lines("r.jsonl", [FOUR[0], '{"best_margin": ', FOUR[1]])
    report = decide(file, tmp_path / "out.jsonl")
    assert [row for row, _, _ in told(report)] == [0, 2]
    assert (report.num_rows, sum(report.quarantined.values())) == (3, 1)
    [line] = (tmp_path / "out.quarantine.jsonl").read_text().splitlines()
    assert (json.loads(line)["row"], json.loads(line)["file"]) == (1, "r.jsonl")


def test_margins_are_made_of_two_rewards_and_ids_and_places_travel(tmp_path):
    table = pa.table(
        {
            "file": ["a.jsonl", "b.jsonl"],
            "row": pa.array([7, 3], pa.int64()),
            "pair_id": ["aa", "bb"],
            "c": [2.0, 0.0],
            "r": [1.0, 4.0],
            "gold_margin": pa.array([1, -1], pa.int8()),
        }
    )
    rows = decide(table, best="c,r").table().to_pylist()
    assert [(row["file"], row["row"], row["pair_id"], row["best_margin"]) for row in rows] == [
        ("a.jsonl", 7, "aa", 1.0),
        ("b.jsonl", 3, "bb", -4.0),
    ]


def test_labels_of_nought_and_one_are_said_to_be_one_sided():
    rows = [{**row, "judge_label": label} for row, label in zip(FOUR, (1, 0, 0, 1), strict=True)]
    assert decide(rows, max_confidence=0).notes[0].startswith("judge_label holds 0 and 1 and never")


def test_two_models_score_the_pairs_first(rows, linear_model, write_lines, tmp_path):
    labelled = [{**row, "judge_label": 1} for row in rows]
    file = write_lines("pairs.jsonl", labelled)
    report = decide(file, tmp_path / "out.jsonl", models=(linear_model, linear_model))
    found = report.table().to_pylist()
    assert [row["row"] for row in found] == [0, 1, 2, 3, 5]
    assert all(row["best_margin"] == row["gold_margin"] for row in found)
    assert report.quarantined == {"identical_responses": 1}
    assert (report.num_rows, {row["judge_label"] for row in found}) == (6, {1})
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "out.jsonl", "out.quarantine.jsonl", "pairs.jsonl",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "named", "words"),
    [
        ({}, {"best": "x"}, "has no column 'x'; it has best_margin"),
        ({}, {"best": "x,y"}, "has no column 'x,y'"),
        ({}, {"judges": "nobody"}, "has no column 'nobody'"),
        ({"best_margin": "much"}, {}, "column 'best_margin' holds 'much', which is no reward"),
        ({"best_margin": True}, {}, "column 'best_margin' holds 'True', which is no reward"),
        ({"judge_label": 3}, {}, "column 'judge_label' holds 3.0, which is no label"),
        ({"judge_label": 0.5}, {}, "column 'judge_label' holds 0.5, which is no label"),
        ({"judge_label": "yes"}, {}, "column 'judge_label' holds 'yes', which is no label"),
        ({}, {"max_confidence": 0.7}, "max_confidence 0.7 must be"),
        ({}, {"max_confidence": 0.1, "evidence": "r.jsonl"}, "one or the other"),
        ({}, {"evidence": "r.jsonl"}, "r.jsonl holds no label of people"),
        ({}, {"floor": 2}, "floor is 2"),
        ({}, {"recycle": "some"}, "recycle is 'some'"),
        ({}, {"models": ("gone", "gone")}, "gone is no folder"),
        ({}, {"models": ("a", "b"), "best": "x"}, "take one of them out"),
        ({}, {"output": "r.jsonl"}, "is the input"),
        ({}, {"output": "r.csv"}, "decisions are written as"),
    ],
)
def test_what_cannot_be_decided_is_refused_in_a_line(
    change, named, words, write_lines, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_lines("r.jsonl", [{**row, **change} for row in FOUR])
    with pytest.raises(ValueError, match=r"(?s).") as refused:
        decide("r.jsonl", **named)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_ids_of_a_store_stay_what_they_are_in_parquet_and_are_digits_in_lines(tmp_path):
    storage = pa.array([bytes(range(16))], pa.binary(16))
    ids = pa.ExtensionArray.from_storage(pa.uuid(), storage)
    one = pa.array([1.0], pa.float32())
    pq.write_table(
        pa.table({"pair_id": ids, "best_margin": one, "gold_margin": one}), tmp_path / "r.parquet"
    )
    whole = decide(tmp_path / "r.parquet", tmp_path / "out.parquet").table()
    lines = decide(tmp_path / "r.parquet", tmp_path / "out.jsonl").table()
    assert whole["pair_id"].combine_chunks().storage.to_pylist() == [bytes(range(16))]
    assert lines["pair_id"].to_pylist() == [bytes(range(16)).hex()]


def test_ids_of_two_kinds_in_a_folder_are_refused_in_a_line(tmp_path):
    one = pa.array([1.0], pa.float32())
    margins = {"best_margin": one, "gold_margin": one}
    storage = pa.array([bytes(range(16))], pa.binary(16))
    (tmp_path / "r").mkdir()
    for name, ids in (("a", pa.ExtensionArray.from_storage(pa.uuid(), storage)), ("b", ["x"])):
        pq.write_table(pa.table({"pair_id": ids, **margins}), tmp_path / "r" / f"{name}.parquet")
    with pytest.raises(ValueError, match="pair_id is string in one file and"):
        decide(tmp_path / "r")
    assert decide(tmp_path / "r", tmp_path / "o.jsonl").table()["pair_id"].to_pylist()[1] == "x"


def test_columns_called_file_and_row_that_are_no_places_are_left_alone():
    rows = [{**FOUR[0], "file": "x", "row": 2.5, "pair_id": 7}, {**FOUR[1], "pair_id": 8}]
    found = decide(rows).table().to_pylist()
    assert [(row["file"], row["row"], row["pair_id"]) for row in found] == [
        ("input.jsonl", 0, "7"),
        ("input.jsonl", 1, "8"),
    ]
