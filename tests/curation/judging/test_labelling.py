"""Labelling with exemplars: who is shown to whom, and what a leak is."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from synpref_dagster.curation.judging.labelling import (
    EXEMPLAR_CHOICES,
    EmbeddedPairs,
    Panel,
    exemplar_fingerprint,
    label_with_exemplars,
    leaked_exemplars,
    target_fingerprint,
)
from synpref_dagster.curation.judging.verdicts import Verdict
from synpref_dagster.pairs.record import PreferencePair, id_index


class Recorder:
    """Prefers the response with `good` in it and remembers all questions."""

    name = "recorder"
    num_samples = 2

    def __init__(self):
        self.questions = []

    def verdicts(self, questions, seeds):
        self.questions += questions
        return [
            Verdict(choice="candidate_1" if "good" in q.candidate_1 else "candidate_2")
            for q in questions
        ]


def pair(ask, note="", *, right=True):
    good, bad = f"good {note}", f"bad {note}"
    return PreferencePair(
        conversation=({"role": "user", "content": ask},),
        chosen=good if right else bad,
        rejected=bad if right else good,
        source="s",
        origin="human",
    )


def embedded(*pairs):
    vectors = np.random.default_rng(len(pairs)).normal(size=(len(pairs), 4)).astype(np.float32)
    return EmbeddedPairs(
        pairs=pairs, attributes=[{"n": str(i)} for i in range(len(pairs))], vectors=vectors
    )


GOLD = embedded(*(pair(f"q{i % 6}", f"n{i}", right=i % 2 == 0) for i in range(12)))
GOLD_LABELS = [1 if i % 2 == 0 else -1 for i in range(12)]
TARGETS = embedded(
    pair("q0", "new"),  # shares its conversation with gold 0 and 6
    GOLD.pairs[1].flipped(),  # the twin of a gold pair
    GOLD.pairs[2],  # a gold pair itself
    pair("elsewhere", "x", right=False),
)


def run(choice, num_exemplars=8):
    judge = Recorder()
    panel = Panel(judges=[judge], num_exemplars=num_exemplars, seed=0)
    return judge, label_with_exemplars(TARGETS, GOLD, GOLD_LABELS, panel=panel, choice=choice)


@pytest.mark.parametrize("choice", EXEMPLAR_CHOICES)
def test_no_exemplar_shares_content_or_conversation_with_its_target(choice):
    judge, result = run(choice)
    for question in judge.questions:
        for exemplar in question.exemplars:
            assert exemplar.conversation != question.conversation
    everybody = [*TARGETS.pairs, *GOLD.pairs]
    conversations = {each.pair_id: each.conversation_id for each in everybody}
    assert leaked_exemplars(result.exemplars, conversations).empty
    assert result.panel.labels["label"].tolist() == [1, 1, 1, -1]


@pytest.mark.parametrize(("choice", "shown"), [("none", 0), ("random", 8), ("retrieved", 8)])
def test_every_target_is_shown_as_many_as_asked_and_all_are_on_record(choice, shown):
    judge, result = run(choice)
    assert {len(question.exemplars) for question in judge.questions} == {shown}
    assert len(result.exemplars) == 4 * shown
    assert list(result.exemplars.columns) == ["pair_id", "gold_pair_id", "rank"]
    if shown:
        ranks = result.exemplars.groupby("pair_id", sort=False)["rank"].apply(list)
        assert ranks.tolist() == [list(range(shown))] * 4


def test_a_record_of_no_exemplars_has_the_types_of_one_with_some():
    assert run("none")[1].exemplars.dtypes.equals(run("random")[1].exemplars.dtypes)


def test_exemplars_carry_what_people_said_whatever_the_source_label():
    judge, _ = run("retrieved")
    for question in judge.questions:
        for exemplar in question.exemplars:
            assert "good" in getattr(exemplar, exemplar.preferred)


def test_only_the_gold_that_was_passed_is_shown():
    judge, result = run("random", num_exemplars=3)
    assert set(result.exemplars["gold_pair_id"]) <= {each.pair_id for each in GOLD.pairs}
    assert {len(question.exemplars) for question in judge.questions} == {3}


def test_random_exemplars_are_the_same_for_the_same_seed():
    assert run("random")[1].exemplars.equals(run("random")[1].exemplars)


def test_a_ninth_exemplar_is_refused():
    with pytest.raises(ValueError, match="at most 8"):
        run("random", num_exemplars=9)


def test_an_unknown_choice_is_refused():
    with pytest.raises(ValueError, match="'best', must be one of"):
        run("best")


def test_a_gold_pair_without_label_is_refused():
    panel = Panel(judges=[Recorder()], num_exemplars=2, seed=0)
    with pytest.raises(ValueError, match="has label 0"):
        label_with_exemplars(TARGETS, GOLD, [0] * 12, panel=panel)


def test_pairs_attributes_and_vectors_must_be_as_many():
    with pytest.raises(ValueError, match="2 pairs, 1 attributes and 2 vectors"):
        EmbeddedPairs(pairs=GOLD.pairs[:2], attributes=[{}], vectors=GOLD.vectors[:2])


def test_a_leak_is_the_pair_itself_or_its_conversation_or_one_that_is_unknown():
    ids = [bytes([n]) * 14 + b"\x00\x00" for n in range(1, 6)]
    [a, b, c, d, unknown] = ids
    conversations = {a: b"x", b: b"y", c: b"x", d: b"z"}
    shown = pd.DataFrame(
        {
            "pair_id": id_index([a, a, a, unknown, a]),
            "gold_pair_id": id_index([b, a, c, d, unknown]),
        }
    )
    assert leaked_exemplars(shown, conversations).index.tolist() == [1, 2, 3, 4]


def test_targets_are_the_same_question_until_a_pair_an_attribute_or_a_vector_changes():
    same = EmbeddedPairs(
        pairs=list(GOLD.pairs),
        attributes=[dict(each) for each in GOLD.attributes],
        vectors=GOLD.vectors.copy(),
    )
    assert target_fingerprint(same) == target_fingerprint(GOLD)
    moved = GOLD.vectors.copy()
    moved[3, 0] += 0.5
    others = [
        replace(GOLD, pairs=[GOLD.pairs[0].flipped(), *GOLD.pairs[1:]]),
        replace(GOLD, attributes=[{"n": "other"}, *GOLD.attributes[1:]]),
        replace(GOLD, vectors=moved),
        EmbeddedPairs(
            pairs=GOLD.pairs[1:], attributes=GOLD.attributes[1:], vectors=GOLD.vectors[1:]
        ),
    ]
    assert len({target_fingerprint(each) for each in (GOLD, *others)}) == len(others) + 1


def test_a_label_is_part_of_what_judges_are_shown_and_not_of_what_they_are_asked():
    turned = [-label for label in GOLD_LABELS]
    shown = {exemplar_fingerprint(GOLD, labels) for labels in (GOLD_LABELS, turned)}
    assert len(shown | {target_fingerprint(GOLD)}) == 3


def test_a_source_label_that_turned_shows_judges_nothing_else():
    turned = replace(GOLD, pairs=[pair.flipped() for pair in GOLD.pairs])
    labels = [-label for label in GOLD_LABELS]
    assert exemplar_fingerprint(turned, labels) == exemplar_fingerprint(GOLD, GOLD_LABELS)
