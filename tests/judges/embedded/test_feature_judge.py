"""Heads fitted on the exemplars shown, on features a person can see: words that are counted."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from synpref_dagster.curation.judging.verdicts import Exemplar, JudgeQuestion, label_with_panel
from synpref_dagster.judges.embedded.feature_judge import (
    FEATURE_PANEL,
    FeatureJudge,
    FeatureViews,
    build_feature_panel,
)
from synpref_dagster.pairs.record import PreferencePair

WORDS = ("kind", "long", "loud")
ASKED = ({"role": "user", "content": "say something"},)


class Counting:
    """A backbone of two layers whose features are how often a text says each of three words."""

    width = len(WORDS)
    reading = SimpleNamespace(layers=(2, 3))

    def __init__(self, folder):
        self.folder = folder
        (folder / "prepared.json").write_text(json.dumps({"depth": 3}))

    def features(self, conversations, responses):
        counts = [[text.split().count(word) for word in WORDS] for text in responses]
        return np.tile(np.array(counts, dtype=np.float32).reshape(-1, 3), (1, 4))


@pytest.fixture
def views(tmp_path):
    texts = ["kind long", "loud", "kind loud", "long", ""]
    return FeatureViews.fit(Counting(tmp_path), [ASKED] * 5, texts)


@pytest.fixture
def judge(views):
    return FeatureJudge(FEATURE_PANEL[0], views, num_samples=4)


def exemplar(better, worse, *, better_first=True):
    first, second = (better, worse) if better_first else (worse, better)
    return Exemplar(
        conversation=ASKED,
        candidate_1=first,
        candidate_2=second,
        preferred="candidate_1" if better_first else "candidate_2",
    )


KIND_IS_BETTER = tuple(exemplar("kind", "loud", better_first=n % 2 == 0) for n in range(8))


def question(first, second, shown=KIND_IS_BETTER):
    return JudgeQuestion(
        conversation=ASKED, candidate_1=first, candidate_2=second, exemplars=tuple(shown)
    )


def choices(judge, *questions):
    return [each.choice for each in judge.verdicts(questions, range(len(questions)))]


def test_what_exemplars_prefer_is_preferred_in_either_order(judge):
    assert choices(judge, question("kind long", "loud long"), question("loud", "kind")) == [
        "candidate_1", "candidate_2",
    ]  # fmt: skip
    turned = [exemplar("loud", "kind")] * 8
    assert choices(judge, question("kind", "loud", turned)) == ["candidate_2"]


def test_a_word_that_no_exemplar_speaks_of_and_two_equal_texts_decide_nothing(judge):
    assert choices(judge, question("long", ""), question("kind", "kind")) == ["tie", "tie"]


def test_without_exemplars_it_knows_nothing(judge):
    [verdict] = judge.verdicts([question("kind", "loud", ())], [0])
    assert (verdict.choice, verdict.reason) == ("tie", "score +0.000, learnt from 0 exemplars")


def test_one_exemplar_says_less_than_eight_of_its_kind(judge):
    few, many = judge.verdicts(
        [question("kind", "loud", KIND_IS_BETTER[:2]), question("kind", "loud")], [1, 1]
    )
    assert 0 < few.confidence < many.confidence < 1


def test_a_swapped_question_sees_the_same_exemplars_and_gets_the_opposite_answer(judge):
    for seed in range(20):
        there, back = judge.verdicts(
            [question("kind long", "loud"), question("loud", "kind long")], [seed, seed]
        )
        assert {there.choice, back.choice} == {"candidate_1", "candidate_2"}
        assert there.confidence == pytest.approx(back.confidence, rel=1e-9)
        assert there.reason.split(", ")[1] == back.reason.split(", ")[1]


def test_the_same_seeds_give_the_same_verdicts_alone_and_together(judge):
    asked = [question("kind", "loud"), question("long loud", "kind"), question("kind", "long", ())]
    together = judge.verdicts(asked, [5, 6, 7])
    assert together == judge.verdicts(asked, [5, 6, 7])
    assert [v.choice for v in together] == [
        judge.verdicts([each], [seed])[0].choice
        for each, seed in zip(asked, [5, 6, 7], strict=True)
    ]
    with pytest.raises(ValueError, match="1 questions need as many seeds, got 2"):
        judge.verdicts(asked[:1], [1, 2])


def test_the_judges_of_a_panel_look_at_other_features(views):
    seen = {look.name: views.columns(look).tolist() for look in FEATURE_PANEL}
    assert len(seen) == len({tuple(columns) for columns in seen.values()}) == 3
    assert seen["features_mean"] == [3, 4, 5]
    assert seen["features_last"] == [0, 1, 2]


def test_a_panel_of_them_may_be_shown_more_exemplars_than_a_prompt_has_room_for(views):
    pair = PreferencePair(
        conversation=ASKED, chosen="loud", rejected="kind", source="s", origin="human"
    )
    panel = build_feature_panel(views, num_samples=4)
    found = label_with_panel([pair], panel, attributes=[{}], exemplars=[KIND_IS_BETTER * 4], seed=0)
    assert found.labels["label"].tolist() == [-1]
    assert len(found.verdicts) == 12


def test_a_kept_scale_is_read_as_it_was(views, tmp_path):
    views.save(tmp_path / "kept")
    loaded = FeatureViews.load(views.reader, tmp_path / "kept")
    np.testing.assert_array_equal(loaded.mean, views.mean)
    np.testing.assert_array_equal(loaded.deviation, views.deviation)
    with pytest.raises(ValueError, match="no response to learn the scale"):
        FeatureViews.fit(views.reader, [], [])
