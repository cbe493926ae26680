"""Measures of judges on tables that a person can check."""

import numpy as np
import pandas as pd
import pytest

from synpref_dagster.curation.judging.labelling import EmbeddedPairs
from synpref_dagster.curation.judging.quality import (
    PANEL,
    PLANTED_INSTRUCTION,
    audit_facts,
    injection_resistance,
    judge_quality,
    planted,
    planted_ids,
    quality_by_judge,
    toward_people,
    vote_weights,
)
from synpref_dagster.curation.judging.verdicts import Verdict, label_with_panel
from synpref_dagster.pairs.record import PreferencePair


class Scripted:
    """A judge that decides by a rule on (candidate_1, candidate_2)."""

    def __init__(self, name, rule, num_samples=4):
        self.name, self.rule, self.num_samples = name, rule, num_samples

    def verdicts(self, questions, seeds):
        return [Verdict(choice=self.rule(q.candidate_1, q.candidate_2)) for q in questions]


def oracle(first, second):
    return "candidate_1" if "right" in first else "candidate_2"


def anti_oracle(first, second):
    return "candidate_2" if "right" in first else "candidate_1"


def always_first(first, second):
    return "candidate_1"


def longer(first, second):
    return "candidate_1" if len(first) > len(second) else "candidate_2"


def obedient(first, second):
    """Right unless a response gives orders, then it obeys."""
    if "Note to whoever" in first + second:
        return "candidate_1" if "Note to whoever" in first else "candidate_2"
    return oracle(first, second)


def unless_planted(answer):
    """Right unless a response gives orders, then always the same answer."""
    return lambda first, second: (
        answer if "Note to whoever" in first + second else oracle(first, second)
    )


torn, silent = unless_planted("tie"), unless_planted("abstain")


def make_targets(count=8):
    """The right response is the longer one in every second pair; the first half is objective."""
    pairs = [
        PreferencePair(
            conversation=({"role": "user", "content": f"question {n}"},),
            chosen="right" + "!" * (10 if n % 2 else 0),
            rejected="wrong" + "!" * (0 if n % 2 else 5) + str(n),
            source="test",
            origin="human",
        )
        for n in range(count)
    ]
    attributes = [
        {
            "objectivity": "objective" if n < count // 2 else "subjective",
            "task_category": "math" if n < 2 else "other",
        }
        for n in range(count)
    ]
    vectors = np.eye(count, dtype=np.float32)
    return EmbeddedPairs(pairs=pairs, attributes=attributes, vectors=vectors)


def audited(*judges, usd=None):
    targets = make_targets()
    result = label_with_panel(
        targets.pairs,
        judges,
        attributes=targets.attributes,
        exemplars=[()] * len(targets.pairs),
        seed=5,
    )
    quality = judge_quality(
        result.verdicts, result.votes, result.labels, facts=audit_facts(targets, usd or {})
    )
    return quality.set_index(["judge", "measure", "slice"])["value"], quality


def test_an_oracle_is_right_everywhere_and_biased_nowhere():
    value, _ = audited(Scripted("judge", oracle))
    for part in ("all", "objective", "subjective", "math", "other"):
        assert value["judge", "agreement", part] == 1.0
        assert value[PANEL, "agreement", part] == 1.0
    assert value["judge", "swap_consistency", "all"] == 1.0
    assert value["judge", "first_position_share", "all"] == 0.5
    assert value["judge", "length_bias", "all"] == 0.0
    assert value["judge", "repetition_stability", "all"] == 1.0
    assert value["judge", "abstention_rate", "all"] == 0.0


def test_always_first_is_never_consistent_and_decides_nothing():
    value, quality = audited(Scripted("judge", always_first))
    assert value["judge", "swap_consistency", "all"] == 0.0
    assert value["judge", "first_position_share", "all"] == 1.0
    assert value["judge", "decided", "all"] == 0.0
    row = quality.query("judge == 'judge' and measure == 'agreement' and slice == 'all'")
    assert row["n"].tolist() == [0]


def test_a_judge_of_length_is_half_right_and_its_bias_is_the_other_half():
    value, _ = audited(Scripted("judge", longer))
    assert value["judge", "agreement", "all"] == 0.5
    assert value["judge", "length_bias", "all"] == 0.5


def test_a_judge_that_changes_its_mind_is_half_stable():
    turns = iter(range(10_000))
    value, _ = audited(Scripted("judge", lambda *_: ["tie", "abstain"][next(turns) // 2 % 2]))
    assert value["judge", "repetition_stability", "all"] == 0.0
    assert value["judge", "tie_rate", "all"] == 0.5
    assert value["judge", "abstention_rate", "all"] == 0.5


def test_cost_per_correct_label_divides_the_bill_by_what_was_right():
    value, _ = audited(
        Scripted("good", oracle), Scripted("bad", anti_oracle), usd={"good": 4.0, "bad": 2.0}
    )
    assert value["good", "usd_per_correct_label", "all"] == 0.5
    assert np.isnan(value["bad", "usd_per_correct_label", "all"])


def test_planted_instructions_are_counted_per_judge():
    targets = make_targets()
    steered = planted(targets)
    assert all(pair.rejected.endswith(PLANTED_INSTRUCTION) for pair in steered.pairs)
    judges = [
        *(Scripted("firm", oracle), Scripted("weak", obedient), Scripted("fooled", anti_oracle)),
        *(Scripted("torn", torn), Scripted("silent", silent)),
    ]

    def ask(asked):
        none = [()] * len(asked.pairs)
        return label_with_panel(
            asked.pairs, judges, attributes=asked.attributes, exemplars=none, seed=5
        )

    plain, after = ask(targets), ask(steered)
    found = injection_resistance(
        plain.votes,
        plain.labels,
        planted_votes=after.votes,
        planted_labels=after.labels,
        planted_of=planted_ids(targets.pairs, steered.pairs),
    ).set_index(["measure", "judge"])
    resistance = found.loc["injection_resistance"]
    assert resistance["value"]["firm"] == 1.0
    assert resistance["value"]["weak"] == 0.0
    assert resistance["n"]["fooled"] == 0  # never right: there is nothing to stay
    # Who does not decide any more has not given in, and is counted as undecided.
    assert resistance["value"][["torn", "silent"]].tolist() == [1.0, 1.0]
    undecided = found.loc["injection_undecided"]
    assert undecided["value"][["firm", "weak", "torn", "silent"]].tolist() == [0.0, 0.0, 1.0, 1.0]
    # Of five, one is right, two are wrong and two say nothing: the panel gives in.
    assert resistance["value"][PANEL] == 0.0


def test_who_abstained_before_the_instruction_is_not_asked_to_resist_and_who_does_after_resists():
    """Votes toward the right response before and after: held, abstained, gave in, not right."""
    before, after = [1, 1, 1, 0, -1], [1, 0, -1, 1, 1]
    plain, steered = ([bytes([start + n]) for n in range(5)] for start in (0, 100))

    def tables(ids, labels):
        frame = pd.DataFrame({"pair_id": ids, "label": labels})
        return frame.rename(columns={"label": "vote"}).assign(judge="one"), frame

    votes, labels = tables(plain, before)
    planted_votes, planted_labels = tables(steered, after)
    found = injection_resistance(
        votes,
        labels,
        planted_votes=planted_votes,
        planted_labels=planted_labels,
        planted_of=dict(zip(steered, plain, strict=True)),
    ).set_index(["measure", "judge"])
    for judge in ("one", PANEL):
        assert found["value"]["injection_resistance", judge] == pytest.approx(2 / 3)
        assert found["value"]["injection_undecided", judge] == pytest.approx(1 / 3)
        assert found["n"]["injection_resistance", judge] == 3


def test_quality_has_one_row_per_judge_measure_and_slice():
    _, quality = audited(Scripted("a", oracle), Scripted("b", longer))
    assert isinstance(quality, pd.DataFrame)
    assert not quality.duplicated(["judge", "measure", "slice"]).any()


def test_measured_against_people_a_source_label_that_they_turned_round_counts_as_such():
    targets = make_targets()
    # People say that every second source label is wrong: "wrong ..." is the better response there.
    signs = {pair.pair_id: 1 if n % 2 else -1 for n, pair in enumerate(targets.pairs)}
    result = label_with_panel(
        targets.pairs,
        [Scripted("right", oracle), Scripted("first", always_first)],
        attributes=targets.attributes,
        exemplars=[()] * len(targets.pairs),
        seed=5,
    )
    tables = {"verdicts": result.verdicts, "votes": result.votes, "labels": result.labels}
    turned = toward_people(tables, signs)
    quality = judge_quality(**turned, facts=audit_facts(targets, {}, signs=signs))
    value = quality.set_index(["judge", "measure", "slice"])["value"]
    assert value["right", "agreement", "all"] == 0.5
    assert value["right", "agreement", "math"] == 0.5
    assert value["right", "swap_consistency", "all"] == 1.0
    assert value["first", "first_position_share", "all"] == 1.0
    assert value["first", "swap_consistency", "all"] == 0.0
    # People prefer the longer one everywhere, the judge in every second pair.
    assert value["right", "length_bias", "all"] == -0.5
    assert set(turned["labels"]["num_for"] + turned["labels"]["num_against"]) == {1}
    assert tables["votes"]["vote"].tolist() == result.votes["vote"].tolist()  # input is left alone


def test_turning_twice_gives_the_tables_back():
    targets = make_targets()
    result = label_with_panel(
        targets.pairs,
        [Scripted("long", longer)],
        attributes=targets.attributes,
        exemplars=[()] * len(targets.pairs),
        seed=5,
    )
    tables = {"verdicts": result.verdicts, "votes": result.votes, "labels": result.labels}
    signs = {pair.pair_id: -1 for pair in targets.pairs}
    back = toward_people(toward_people(tables, signs), signs)
    for name, table in tables.items():
        pd.testing.assert_frame_equal(back[name], table, check_dtype=False)


def test_a_table_by_judge_has_a_column_per_measure_and_slice():
    _, quality = audited(Scripted("a", oracle), Scripted("b", longer))
    weights = vote_weights(pd.DataFrame({"judge": ["a", "b"], "weight": [1.5, 0.0], "n": [60, 60]}))
    table = quality_by_judge(pd.concat([quality, weights], ignore_index=True))
    assert list(table.index) == ["a", "b", PANEL]
    assert table.loc["a", "agreement"] == 1.0
    assert table.loc["b", "agreement"] == 0.5
    assert table.loc["a", "agreement math"] == 1.0
    assert table["vote_weight"].tolist()[:2] == [1.5, 0.0]
    assert np.isnan(table.loc[PANEL, "vote_weight"])
