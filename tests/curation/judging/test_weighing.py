"""Who votes and what a vote counts, by rules that a person can compute."""

from math import log

import numpy as np
import pytest

from synpref_dagster.curation.judging.labelling import EmbeddedPairs, Panel
from synpref_dagster.curation.judging.verdicts import Verdict
from synpref_dagster.curation.judging.weighing import (
    LOG_ODDS,
    NO_EVIDENCE,
    ONE_VOTE,
    WeighingRule,
    vote_weight,
    voting_panel,
    weigh_judges,
    weighed_panel,
)
from synpref_dagster.pairs.accuracy import accuracy_of, wilson_interval
from synpref_dagster.pairs.record import PreferencePair

NUM_GOLD = 40


class Scripted:
    """A judge that decides by a rule on (candidate_1, candidate_2)."""

    def __init__(self, name, rule, num_samples=4):
        self.name, self.rule, self.num_samples = name, rule, num_samples

    def verdicts(self, questions, seeds):
        return [Verdict(choice=self.rule(q.candidate_1, q.candidate_2)) for q in questions]


def number(text):
    return int(text.split()[1])


def right_below(limit):
    """A judge that people agree with about questions below a number, and never above."""

    def rule(first, second):
        sees_right = "right" in first
        return "candidate_1" if sees_right == (number(first) < limit) else "candidate_2"

    return rule


def always_first(first, second):
    return "candidate_1"


def weighing(*judges, **rule):
    """All gold pairs are asked about; people agree with every label."""
    pairs = [
        PreferencePair(
            conversation=({"role": "user", "content": f"question {n}"},),
            chosen=f"right {n}",
            rejected=f"wrong {n}",
            source="test",
            origin="human",
        )
        for n in range(NUM_GOLD)
    ]
    vectors = np.eye(NUM_GOLD, dtype=np.float32)
    gold = EmbeddedPairs(pairs=pairs, attributes=[{}] * NUM_GOLD, vectors=vectors)
    panel = Panel(judges=judges, num_exemplars=2, seed=1)
    table = weigh_judges(panel, gold, [1] * NUM_GOLD, rule=WeighingRule(num_pairs=NUM_GOLD, **rule))
    return voting_panel, panel, table.set_index("judge", drop=False)


def test_judges_below_the_floor_are_left_out_by_rule_with_their_numbers():
    keep, panel, rows = weighing(
        Scripted("good", right_below(36)),
        Scripted("poor", right_below(20)),
        Scripted("first", always_first),
        floor=0.9,
    )
    assert rows["value"].to_dict() == pytest.approx(
        {"good": 0.9, "poor": 0.5, "first": float("nan")}, nan_ok=True
    )
    assert rows["kept"].to_dict() == {"good": True, "poor": False, "first": False}
    assert rows["reason"].to_dict() == {
        "good": "agrees_with_gold",
        "poor": "below_floor",
        "first": "decided_nothing",
    }
    assert rows["weight"].to_dict() == {"good": 1.0, "poor": 0.0, "first": 0.0}
    left = keep(panel, rows)
    assert [judge.name for judge in left.judges] == ["good"]
    assert left.weights is None


def test_a_panel_without_anybody_above_the_floor_is_refused():
    keep, panel, rows = weighing(Scripted("first", always_first), floor=0.5)
    with pytest.raises(ValueError, match="no judge reaches the floor"):
        keep(panel, rows)


def test_without_floor_and_weights_nobody_is_asked_and_everybody_votes():
    def refuse(first, second):
        raise AssertionError("nothing has to be measured")

    keep, panel, rows = weighing(Scripted("a", refuse), Scripted("b", refuse))
    assert rows["reason"].tolist() == ["no_floor", "no_floor"]
    assert rows["weighting"].tolist() == [ONE_VOTE, ONE_VOTE]
    left = keep(panel, rows)
    assert [judge.name for judge in left.judges] == ["a", "b"]
    assert left.weights is None


def test_a_weight_is_the_log_odds_of_the_lower_end_of_agreement():
    keep, panel, rows = weighing(
        Scripted("good", right_below(36)),
        Scripted("coin", right_below(20)),
        Scripted("against", right_below(0)),
        voting="weighted",
    )
    low, _ = wilson_interval(36, NUM_GOLD)
    assert rows["weight"].to_dict() == pytest.approx(
        {"good": log(low / (1 - low)), "coin": 0.0, "against": 0.0}
    )
    assert set(rows["weighting"]) == {LOG_ODDS}
    assert rows["kept"].all()
    assert keep(panel, rows).weights == rows["weight"].to_dict()


def test_few_pairs_shrink_a_weight_to_nothing():
    shares = [vote_weight(accuracy_of(np.arange(n) < 0.8 * n)) for n in (5, 20, 80, 2000)]
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert shares[-1] == pytest.approx(log(0.8 / 0.2), abs=0.15)
    assert vote_weight(accuracy_of(np.ones(3, dtype=bool))) == 0.0
    assert vote_weight(accuracy_of(np.zeros(0, dtype=bool))) == 0.0


def test_where_nobody_is_surely_better_than_a_coin_all_count_the_same_and_the_table_says_so():
    keep, panel, rows = weighing(
        Scripted("a", right_below(20)), Scripted("b", right_below(18)), voting="weighted"
    )
    assert set(rows["weighting"]) == {NO_EVIDENCE}
    assert keep(panel, rows).weights == {"a": 1.0, "b": 1.0}


def test_an_audit_hears_everybody_but_counts_only_who_votes():
    _, panel, rows = weighing(
        Scripted("good", right_below(38)), Scripted("poor", right_below(20)), floor=0.9
    )
    heard = weighed_panel(panel, rows)
    assert [judge.name for judge in heard.judges] == ["good", "poor"]
    assert heard.weights == {"good": 1.0, "poor": 0.0}
    _, panel, rows = weighing(Scripted("a", right_below(38)), Scripted("b", right_below(20)))
    assert weighed_panel(panel, rows) == panel


def test_a_floor_and_weights_work_together():
    keep, panel, rows = weighing(
        Scripted("good", right_below(38)),
        Scripted("fair", right_below(32)),
        floor=0.9,
        voting="weighted",
    )
    assert rows["kept"].to_dict() == {"good": True, "fair": False}
    assert rows["weight"]["fair"] == 0.0
    assert set(keep(panel, rows).weights) == {"good"}
