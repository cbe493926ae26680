import time
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from synpref_dagster.curation.judging.verdicts import (
    Exemplar,
    JudgeQuestion,
    exemplar_from_gold,
    label_with_panel,
)
from synpref_dagster.curation.retrieval.embedder import TfidfSvdEmbedder
from synpref_dagster.judges.embedded import exemplar_judge
from synpref_dagster.judges.embedded.exemplar_judge import EMBEDDED_PANEL, build_panel
from synpref_dagster.judges.embedded.views import fit_views
from synpref_dagster.pairs.attributes import embedding_text
from synpref_dagster.synthetic.draws import iter_examples

NUM_GOLD, NUM_TARGETS, NUM_EXEMPLARS = 400, 300, 8
SWAPPED = {
    "candidate_1": "candidate_2",
    "candidate_2": "candidate_1",
    "tie": "tie",
    "abstain": "abstain",
}


def asked(prompt):
    return ({"role": "user", "content": prompt},)


@pytest.fixture(scope="module")
def pool():
    return list(islice(iter_examples("pool", seed=0), NUM_GOLD + NUM_TARGETS))


@pytest.fixture(scope="module")
def panel(pool):
    texts = [
        text
        for example in pool
        for text in (example.conversation[0]["content"], example.right, example.wrong)
    ]
    return build_panel(fit_views(texts))


@pytest.fixture(scope="module")
def setting(pool):
    """Right-labelled pairs, their attributes, and exemplars by similarity and at random."""
    pairs = [item.labelled(label_right=True, source="s", origin="human") for item in pool]
    attributes = [{"task_category": item.task.category} for item in pool]
    gold, targets = pairs[:NUM_GOLD], pairs[NUM_GOLD:]
    shown = [
        exemplar_from_gold(pair, 1, attributes=attribute, seed=0)
        for pair, attribute in zip(gold, attributes, strict=False)
    ]
    texts = [
        embedding_text(pair, attribute) for pair, attribute in zip(pairs, attributes, strict=True)
    ]
    vectors = TfidfSvdEmbedder.fit(texts, 0).embed(texts)
    order = np.argsort(-vectors[NUM_GOLD:] @ vectors[:NUM_GOLD].T, axis=1)[:, :NUM_EXEMPLARS]
    rng = np.random.default_rng(0)
    return {
        "pairs": targets,
        "attributes": attributes[NUM_GOLD:],
        "retrieved": [tuple(shown[i] for i in row) for row in order],
        "random": [
            tuple(shown[i] for i in rng.permutation(NUM_GOLD)[:NUM_EXEMPLARS]) for _ in targets
        ],
        "none": [() for _ in targets],
    }


@pytest.fixture(scope="module")
def questions(setting):
    return [
        JudgeQuestion(
            conversation=pair.conversation,
            candidate_1=pair.chosen,
            candidate_2=pair.rejected,
            attributes=attributes,
            exemplars=exemplars,
        )
        for pair, attributes, exemplars in zip(
            setting["pairs"], setting["attributes"], setting["retrieved"], strict=True
        )
    ]


def accuracy(setting, panel, exemplars):
    result = label_with_panel(
        setting["pairs"],
        panel,
        attributes=setting["attributes"],
        exemplars=setting[exemplars],
        seed=0,
    )
    return float((result.labels["label"] > 0).mean())


def test_swapping_the_candidates_swaps_the_verdict(panel, questions):
    seeds = list(range(len(questions)))
    swapped = [replace(q, candidate_1=q.candidate_2, candidate_2=q.candidate_1) for q in questions]
    for judge in panel:
        verdicts = judge.verdicts(questions, seeds)
        assert [SWAPPED[verdict.choice] for verdict in verdicts] == [
            verdict.choice for verdict in judge.verdicts(swapped, seeds)
        ]


def test_one_by_one_and_all_at_once_agree_exactly(panel, questions):
    seeds = list(range(len(questions)))
    for judge in panel:
        together = judge.verdicts(questions, seeds)
        alone = [
            judge.verdict(question, seed=seed)
            for question, seed in zip(questions[:60], seeds, strict=False)
        ]
        assert together[:60] == alone


def test_which_exemplars_others_are_shown_does_not_matter(panel, questions):
    bare = replace(questions[0], exemplars=())
    assert panel[0].verdicts([questions[1], bare], [1, 2])[1] == panel[0].verdict(bare, seed=2)


def test_samples_differ_by_seed_and_repeat_with_it(panel, questions):
    judge = panel[0]
    first = judge.verdicts(questions, [1] * len(questions))
    assert first == judge.verdicts(questions, [1] * len(questions))
    assert first != judge.verdicts(questions, [2] * len(questions))


def test_reversing_what_people_said_reverses_the_judge(panel):
    question = JudgeQuestion(
        conversation=asked("what is the capital of peru for a bet"),
        candidate_1="it is lima.",
        candidate_2="it is cusco.",
    )
    exemplar = Exemplar(
        conversation=asked("hello, what is the capital of peru?"),
        candidate_1="that is cusco.",
        candidate_2="that is lima.",
        preferred="candidate_2",
    )
    told = replace(question, exemplars=(exemplar,) * NUM_EXEMPLARS)
    lied = replace(
        question, exemplars=(replace(exemplar, preferred="candidate_1"),) * NUM_EXEMPLARS
    )
    assert [judge.verdict(told, seed=0).choice for judge in panel[:2]] == ["candidate_1"] * 2
    assert [judge.verdict(lied, seed=0).choice for judge in panel[:2]] == ["candidate_2"] * 2


def test_identical_candidates_are_a_tie_without_noise_to_decide(panel):
    question = JudgeQuestion(conversation=asked("hello"), candidate_1="a b", candidate_2="a b")
    verdict = panel[0].verdict(question, seed=0)
    assert verdict.choice in {"tie", "candidate_1", "candidate_2"}
    assert verdict.confidence < 0.5


def test_retrieved_exemplars_help_far_more_than_random_ones(setting, panel):
    none, random, retrieved = (
        accuracy(setting, panel, exemplars) for exemplars in ("none", "random", "retrieved")
    )
    assert retrieved - random >= 0.15
    assert random - none > -0.05
    assert retrieved >= 0.8


def test_the_panel_is_fast(setting, panel):
    started = time.process_time()
    accuracy(setting, panel, "retrieved")
    # 300 pairs x 3 judges x 5 samples; the campaign's 3,000 pairs then stay far below 15 s.
    assert time.process_time() - started < 1.5


def test_judges_have_different_names_views_and_checks():
    assert len({profile.name for profile in EMBEDDED_PANEL}) == len(EMBEDDED_PANEL) == 3
    assert len({profile.view for profile in EMBEDDED_PANEL}) == 3
    assert all(profile.num_samples == 5 for profile in EMBEDDED_PANEL)


def test_wrong_numbers_of_seeds_and_empty_fits_are_refused(panel, questions):
    with pytest.raises(ValueError, match="seeds"):
        panel[0].verdicts(questions[:2], [1])
    with pytest.raises(ValueError, match="empty"):
        fit_views([])
    assert panel[0].verdicts([], []) == []


def test_questions_are_answered_alike_in_one_block_or_in_many(panel, questions, monkeypatch):
    asked, seeds = questions[:7], list(range(7))
    whole = panel[0].verdicts(asked, seeds)
    monkeypatch.setattr(exemplar_judge, "BLOCK_QUESTIONS", 2)
    assert panel[0].verdicts(asked, seeds) == whole
