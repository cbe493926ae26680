"""Verdict -> vote -> label: what judges know decides, where a candidate stands never does."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from synpref_dagster.curation.judging.verdicts import (
    VERDICT_COLUMNS,
    Exemplar,
    Verdict,
    chosen_comes_first,
    exemplar_from_gold,
    label_with_panel,
    sampling_seed,
)
from synpref_dagster.curation.judging.votes import (
    LABEL_COLUMNS,
    VOTE_COLUMNS,
    labels_from_votes,
    votes_from_verdicts,
)
from synpref_dagster.pairs.record import PreferencePair

seeds = st.integers(0, 2**31)
samples = st.integers(2, 7)


def pair(number, *, right=True):
    """A pair whose response with `good` in it is truly better."""
    good, bad = f"good {number}", f"bad {number}"
    return PreferencePair(
        conversation=({"role": "user", "content": f"question {number}"},),
        chosen=good if right else bad,
        rejected=bad if right else good,
        source="s",
        origin="human",
    )


@dataclass
class RuleJudge:
    """A judge that answers by a rule (question, seed) -> choice, and remembers what it saw."""

    rule: object
    num_samples: int = 2
    name: str = "judge"
    seen: list = field(default_factory=list)

    def verdicts(self, questions, seeds):
        self.seen += questions
        return [Verdict(choice=self.rule(q, s)) for q, s in zip(questions, seeds, strict=True)]


def oracle(question, seed):
    return "candidate_1" if "good" in question.candidate_1 else "candidate_2"


def anti_oracle(question, seed):
    return "candidate_2" if "good" in question.candidate_1 else "candidate_1"


def coin(question, seed):
    return ("candidate_1", "candidate_2")[seed % 2]


def ask(pairs, *judges, seed=0, exemplars=None):
    return label_with_panel(
        pairs,
        judges,
        attributes=[{}] * len(pairs),
        exemplars=exemplars or [()] * len(pairs),
        seed=seed,
    )


PAIRS = [pair(number, right=number % 3 > 0) for number in range(30)]
TRUTH = [1 if number % 3 > 0 else -1 for number in range(30)]


@given(seeds, samples)
@settings(max_examples=15, deadline=None)
def test_an_oracle_is_right_about_every_pair_under_every_order_seed(seed, num_samples):
    labels = ask(PAIRS, RuleJudge(oracle, num_samples), seed=seed).labels
    assert labels["label"].tolist() == TRUTH
    assert labels["pair_id"].tolist() == [each.pair_id for each in PAIRS]
    assert set(labels["confidence"]) == {1.0}


@given(seeds, samples)
@settings(max_examples=15, deadline=None)
def test_an_anti_oracle_is_wrong_about_every_pair_under_every_order_seed(seed, num_samples):
    labels = ask(PAIRS, RuleJudge(anti_oracle, num_samples), seed=seed).labels
    assert labels["label"].tolist() == [-right for right in TRUTH]


@pytest.mark.parametrize("choice", ["candidate_1", "candidate_2"])
@pytest.mark.parametrize("num_samples", range(2, 10))
@pytest.mark.parametrize("seed", [0, 7])
def test_a_judge_that_goes_by_position_gives_nothing_but_abstentions(choice, num_samples, seed):
    result = ask(PAIRS, RuleJudge(lambda q, s: choice, num_samples), seed=seed)
    assert set(result.votes["vote"]) == {0}
    assert set(result.labels["label"]) == {0}
    assert set(result.labels["reason"]) == {"all_abstained"}
    assert set(result.labels["confidence"]) == {0.0}


def test_a_random_judge_is_right_about_half_the_time():
    pairs = [pair(number) for number in range(600)]
    label = ask(pairs, RuleJudge(coin, 3)).labels["label"].to_numpy()
    decided = label != 0
    assert decided.mean() > 0.5
    assert 0.42 < (label[decided] > 0).mean() < 0.58


@pytest.mark.parametrize("choice", ["abstain", "tie"])
def test_abstentions_and_ties_never_become_labels(choice):
    result = ask(PAIRS, RuleJudge(lambda q, s: choice, 4))
    assert set(result.labels["label"]) == {0}
    assert set(result.labels["reason"]) == {"all_abstained"}
    assert set(result.votes["num_abstained"]) == {4 if choice == "abstain" else 0}


def test_a_failure_keeps_its_reason_and_is_no_evidence_for_anybody():
    class Failing(RuleJudge):
        def verdicts(self, questions, seeds):
            return [Verdict(choice="abstain", reason="timeout") for _ in questions]

    result = ask(PAIRS, RuleJudge(oracle, name="knows"), Failing(None, name="fails"))
    failed = result.verdicts[result.verdicts["judge"] == "fails"]
    assert set(failed["reason"]) == {"timeout"}
    assert result.labels["label"].tolist() == TRUTH
    assert set(result.labels["num_for"] + result.labels["num_against"]) == {1}


def test_a_judge_that_answers_in_one_order_only_abstains():
    def only_when_good_is_first(question, seed):
        return "candidate_1" if "good" in question.candidate_1 else "abstain"

    result = ask(PAIRS, RuleJudge(only_when_good_is_first, 5))
    assert set(result.votes["vote"]) == {0}
    assert (result.votes["num_abstained"] > 0).all()


@pytest.mark.parametrize("num_samples", [2, 3, 4, 5, 8])
def test_both_orders_are_seen_equally_often_up_to_one(num_samples):
    verdicts = ask(PAIRS, RuleJudge(oracle, num_samples)).verdicts
    first = verdicts.groupby("pair_id")["chosen_first"].sum()
    assert set(first) <= {num_samples // 2, -(-num_samples // 2)}


def test_the_first_order_is_a_fair_coin_that_knows_nothing_of_the_label():
    for right in (True, False):
        pairs = [pair(number, right=right) for number in range(1000)]
        first = [chosen_comes_first(p.pair_id, "judge", sample=0, seed=1) for p in pairs]
        assert 0.45 < np.mean(first) < 0.55
        good_first = [a == right for a in first]
        assert 0.45 < np.mean(good_first) < 0.55


def test_judges_and_seeds_draw_orders_of_their_own():
    ids = [pair(number).pair_id for number in range(200)]

    def orders(judge, seed):
        return [chosen_comes_first(i, judge, sample=0, seed=seed) for i in ids]

    assert orders("a", 0) == orders("a", 0)
    assert orders("a", 0) != orders("b", 0)
    assert orders("a", 0) != orders("a", 1)


def test_every_sample_has_a_seed_of_its_own():
    drawn = {
        sampling_seed(pair(number).pair_id, judge, sample=sample, seed=0)
        for number in range(20)
        for judge in ("a", "b")
        for sample in range(5)
    }
    assert len(drawn) == 200
    assert all(0 <= value < 2**31 for value in drawn)


def test_the_label_of_a_flipped_pair_is_the_negation_for_a_judge_that_reads():
    labels = ask(PAIRS, RuleJudge(oracle, 3)).labels["label"]
    flipped = ask([each.flipped() for each in PAIRS], RuleJudge(oracle, 3)).labels["label"]
    assert flipped.tolist() == [-label for label in labels]


def test_a_pair_of_one_response_with_itself_never_gets_a_label():
    same = PreferencePair(
        conversation=PAIRS[0].conversation, chosen="a", rejected="a", source="s", origin="human"
    )
    for rule in (oracle, anti_oracle):
        assert ask([same], RuleJudge(rule, 3)).labels["label"].tolist() == [0]
    with pytest.raises(ValueError, match="compares a response with itself"):
        exemplar_from_gold(same, 1, attributes={}, seed=0)


def test_a_judge_is_shown_neither_label_nor_source():
    judge = RuleJudge(oracle, 2)
    ask(PAIRS[:1], judge)
    [one, other] = judge.seen
    assert {one.candidate_1, one.candidate_2} == {PAIRS[0].chosen, PAIRS[0].rejected}
    assert (one.candidate_1, one.candidate_2) == (other.candidate_2, other.candidate_1)
    assert not {"chosen", "rejected", "label", "source", "meta"} & set(type(one).__slots__)


def test_the_majority_of_the_judges_decides_and_an_even_split_does_not():
    panel = [RuleJudge(oracle, name="a"), RuleJudge(oracle, name="b")]
    third = RuleJudge(anti_oracle, name="c")
    labels = ask(PAIRS, *panel, third).labels
    assert labels["label"].tolist() == TRUTH
    assert set(labels["reason"]) == {"majority"}
    assert labels["confidence"].tolist() == pytest.approx([1 / 3] * 30)
    tied = ask(PAIRS, panel[0], third).labels
    assert set(tied["label"]) == {0}
    assert set(tied["reason"]) == {"votes_tied"}


def verdict_rows(*rows):
    return pd.DataFrame(
        [
            (b"p" * 15 + b"\x00", "j", i, first, choice, "")
            for i, (first, choice) in enumerate(rows)
        ],
        columns=VERDICT_COLUMNS,
    )


@pytest.mark.parametrize(
    ("rows", "score", "vote"),
    [
        ([(True, "candidate_1"), (False, "candidate_2")], 1.0, 1),
        ([(True, "candidate_2"), (False, "candidate_1")], -1.0, -1),
        ([(True, "candidate_1"), (False, "candidate_1")], 0.0, 0),
        ([(True, "candidate_1"), (False, "tie")], 0.5, 1),
        ([(True, "tie"), (False, "tie")], 0.0, 0),
        ([(True, "candidate_1"), (False, "abstain")], 0.0, 0),
        # Three of one order against two of the other: the mean of each order counts once.
        ([(True, "candidate_1")] * 3 + [(False, "candidate_1")] * 2, 0.0, 0),
        ([(True, "candidate_1")] * 3 + [(False, "tie")] * 2, 0.5, 1),
        ([(True, "candidate_1"), (True, "abstain"), (False, "candidate_2")], 1.0, 1),
    ],
)
def test_a_vote_is_the_sign_of_the_mean_over_both_orders(rows, score, vote):
    votes = votes_from_verdicts(verdict_rows(*rows))
    assert list(votes.columns) == VOTE_COLUMNS
    assert votes["score"].tolist() == [score]
    assert votes["vote"].tolist() == [vote]
    assert votes["num_verdicts"][0] + votes["num_abstained"][0] == len(rows)


@given(st.permutations(range(12)))
@settings(max_examples=20, deadline=None)
def test_labels_do_not_depend_on_the_order_of_the_verdicts(order):
    result = ask(PAIRS[:3], RuleJudge(oracle, 2, "a"), RuleJudge(coin, 2, "b"))
    shuffled = result.verdicts.iloc[list(order)]
    labels = labels_from_votes(votes_from_verdicts(shuffled)).set_index("pair_id")
    assert labels.reindex(result.labels["pair_id"]).reset_index().equals(result.labels)


def test_no_pairs_give_empty_tables_with_the_same_columns_and_types():
    some, none = ask(PAIRS[:1], RuleJudge(oracle)), ask([], RuleJudge(oracle))
    for name, columns in (
        ("verdicts", VERDICT_COLUMNS),
        ("votes", VOTE_COLUMNS),
        ("labels", LABEL_COLUMNS),
    ):
        assert len(getattr(none, name)) == 0
        assert list(getattr(none, name).columns) == columns
        assert getattr(none, name).dtypes.equals(getattr(some, name).dtypes), name


def test_the_same_seed_gives_the_same_verdicts():
    one, again = (ask(PAIRS, RuleJudge(coin, 4), seed=5).verdicts for _ in range(2))
    assert one.equals(again)
    assert not one.equals(ask(PAIRS, RuleJudge(coin, 4), seed=6).verdicts)


@pytest.mark.parametrize("num_samples", [0, 1])
def test_one_sample_is_refused_because_position_could_decide(num_samples):
    with pytest.raises(ValueError, match="at least 2"):
        ask(PAIRS, RuleJudge(oracle, num_samples))


def test_two_judges_of_one_name_are_refused_because_they_would_share_a_vote():
    with pytest.raises(ValueError, match="each needs a name of its own"):
        ask(PAIRS, RuleJudge(oracle), RuleJudge(anti_oracle))


def test_a_panel_without_judges_is_refused():
    with pytest.raises(ValueError, match="no judge"):
        ask(PAIRS)


def test_a_missing_answer_is_refused():
    class Short(RuleJudge):
        def verdicts(self, questions, seeds):
            return [Verdict(choice="tie")]

    with pytest.raises(ValueError, match="answered 1 of 60 questions"):
        ask(PAIRS, Short(None))


def test_an_answer_that_is_no_choice_is_refused():
    with pytest.raises(ValueError, match="answered \\['Candidate 1'\\]"):
        ask(PAIRS, RuleJudge(lambda q, s: "Candidate 1"))


def test_lists_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="30 pairs need as many"):
        label_with_panel(PAIRS, [RuleJudge(oracle)], attributes=[], exemplars=[()] * 30, seed=0)


def test_a_ninth_exemplar_is_refused():
    nine = [(exemplar_from_gold(PAIRS[0], 1, attributes={}, seed=0),) * 9]
    with pytest.raises(ValueError, match="9 exemplars, at most 8"):
        ask(PAIRS[1:2], RuleJudge(oracle), exemplars=nine)


@pytest.mark.parametrize("right", [True, False])
def test_an_exemplar_says_what_people_said_whatever_the_source_label(right):
    for number in range(20):
        target = pair(number, right=right)
        exemplar = exemplar_from_gold(target, 1 if right else -1, attributes={"a": "b"}, seed=3)
        assert isinstance(exemplar, Exemplar)
        assert getattr(exemplar, exemplar.preferred) == f"good {number}"
        assert {exemplar.candidate_1, exemplar.candidate_2} == {target.chosen, target.rejected}
        assert exemplar.attributes == {"a": "b"}


def test_the_better_exemplar_response_stands_first_about_half_the_time():
    firsts = [
        exemplar_from_gold(pair(number), 1, attributes={}, seed=0).preferred == "candidate_1"
        for number in range(1000)
    ]
    assert 0.45 < np.mean(firsts) < 0.55


def test_an_undecided_pair_is_no_exemplar():
    with pytest.raises(ValueError, match="has label 0"):
        exemplar_from_gold(PAIRS[0], 0, attributes={}, seed=0)
