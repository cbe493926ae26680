"""How right a source is, from people's verdicts on pairs that were not drawn at random."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from synpref_dagster.curation.evidence.source_accuracy import (
    UNKNOWN,
    accuracy_by_source,
    drawn,
    gold_beside,
    gold_pairs,
    said_by_model,
    said_by_people,
)
from synpref_dagster.curation.evidence.source_counts import response_signs, vote_majorities
from synpref_dagster.curation.filtering.content_labels import ContentLabels
from synpref_dagster.pairs.accuracy import wilson_interval
from synpref_dagster.pairs.record import PreferencePair, id_array, pairs_to_table


def gold(*cells, source="crowd"):
    """Gold of several cells: (cell, iteration, right, wrong) each."""
    rows = [
        {"source": source, "cell": cell, "iteration": iteration, "label": label}
        for cell, iteration, right, wrong in cells
        for label in [1] * right + [-1] * wrong
    ]
    frame = pd.DataFrame(rows, columns=["source", "cell", "iteration", "label"])
    return frame.assign(content_id=[f"{source}-{number}" for number in range(len(frame))])


def test_one_cell_is_a_plain_share_with_its_wilson_interval():
    found = said_by_people(gold(("a", 0, 80, 20)), {"a": 1_000})
    assert (found.value, found.n, found.by, found.covers) == (0.8, 100, "people", 1.0)
    assert (found.low, found.high) == pytest.approx(wilson_interval(80, 100))


def test_each_cell_counts_for_as_many_pairs_as_it_has():
    # People saw 50 easy pairs, all right, and 50 hard ones, half right; three in four are hard.
    found = said_by_people(
        gold(("easy", 0, 50, 0), ("hard", 0, 25, 25)), {"easy": 250, "hard": 750}
    )
    assert found.value == pytest.approx(0.25 * 1.0 + 0.75 * 0.5)
    # 100 unequal draws are worth 80 equal ones: weights are 5 and 15.
    assert (found.low, found.high) == pytest.approx(wilson_interval(0.625 * 80, 80))


def test_later_pairs_speak_only_where_the_seed_drew_too_few():
    asked = gold(("a", 0, 5, 0), ("a", 1, 0, 30), ("b", 0, 4, 0), ("b", 1, 0, 4))
    assert drawn(asked).groupby("cell").size().to_dict() == {"a": 5, "b": 8}
    assert said_by_people(asked, {"a": 100, "b": 100}).value == pytest.approx(0.75)


def test_a_cell_that_people_saw_none_of_is_not_covered():
    found = said_by_people(gold(("a", 0, 9, 1)), {"a": 600, "b": 400})
    assert (found.value, found.covers) == (0.9, 0.6)


def test_a_content_under_both_labels_is_one_draw():
    both = gold(("a", 0, 10, 10)).assign(content_id=list(range(10)) * 2)
    found = said_by_people(both, {"a": 20})
    assert (found.value, found.n) == (0.5, 10)
    assert (found.low, found.high) == pytest.approx(wilson_interval(5, 10))


def evidence(right, wrong):
    """Gold that a model spoke about: (agrees, disagrees) with right labels and with wrong ones."""
    rows = [
        {"cell": "a", "iteration": 0, "label": label, "agrees": agrees}
        for label, (agree, disagree) in ((1, right), (-1, wrong))
        for agrees in [True] * agree + [False] * disagree
    ]
    return pd.DataFrame(rows).assign(content_id=range(len(rows)))


def test_a_model_of_known_errors_tells_how_right_a_source_is_that_nobody_saw():
    # Right labels: it agrees with 90%; wrong ones: with 20%. 62% agreement are 60% right labels.
    found = said_by_model((620, 380), evidence((450, 50), (100, 400)), {"a": 1_000})
    assert found.value == pytest.approx(0.6)
    assert (found.n, found.by, found.covers) == (1_000, "reward model", 1.0)
    assert found.low == pytest.approx(0.544, abs=0.005)
    assert found.high == pytest.approx(0.656, abs=0.005)


@pytest.mark.parametrize(
    ("agreement", "right", "wrong"),
    [
        ((62, 38), (50, 50), (50, 50)),  # it says the same of right and of wrong labels
        ((62, 38), (6, 4), (5, 5)),  # too few to tell them apart
        ((0, 0), (90, 10), (10, 90)),  # it never saw the source
        ((62, 38), (90, 10), (0, 0)),  # gold without a wrong label
    ],
)
def test_a_model_that_tells_nothing_says_nothing(agreement, right, wrong):
    assert said_by_model(agreement, evidence(right, wrong), {"a": 100}) is UNKNOWN


def test_an_estimate_is_a_share():
    found = said_by_model((990, 10), evidence((90, 10), (10, 90)), {"a": 1_000})
    assert (found.value, found.high) == (1.0, 1.0)


def test_people_speak_for_sources_that_they_saw_and_the_model_for_the_others():
    seen = gold(("a", 0, 80, 20))
    found = accuracy_by_source(
        seen,
        {("crowd", "a"): 500, ("llm", "unseen"): 900, ("mixed", "a"): 10, ("mixed", "unseen"): 90},
        agreement={"crowd": (300, 200), "llm": (620, 380), "mixed": (50, 50)},
        evidence=evidence((450, 50), (100, 400)),
    )
    assert {name: each.by for name, each in found.items()} == {
        "crowd": "people", "llm": "reward model", "mixed": "reward model",
    }  # fmt: skip
    assert found["llm"].value == pytest.approx(0.6)


ASKED = ({"role": "user", "content": "Which?"},)
YES = PreferencePair(
    conversation=ASKED, chosen="yes, surely", rejected="no", source="crowd", origin="human"
)
NO = PreferencePair(
    conversation=ASKED, chosen="no", rejected="yes, surely", source="llm", origin="synthetic"
)
BOTH = pairs_to_table([YES, NO])
ATTRIBUTES = pa.table(
    {"pair_id": id_array([YES.pair_id]), "objectivity": ["objective"], "controversiality": ["low"]}
)


def test_a_verdict_is_about_every_pair_of_its_content_under_the_label_it_has_there():
    verified = pd.DataFrame(
        {
            "pair_id": [YES.pair_id],
            "content_id": [YES.content_id],
            "label": np.array([1], dtype=np.int8),
            "iteration": np.array([2], dtype=np.int16),
        }
    )
    found = gold_pairs(BOTH.append_column("risky", [[False, True]]), ATTRIBUTES, verified)
    assert found[["source", "cell", "label", "iteration"]].to_dict("records") == [
        {"source": "crowd", "cell": "plain objective low", "label": 1, "iteration": 2},
        {"source": "llm", "cell": "unseen", "label": -1, "iteration": 2},
    ]


def test_gold_is_shown_beside_length_and_votes():
    votes = pa.table(
        {"content_id": id_array([YES.content_id]), "verdict": pa.array([1], pa.int8())}
    )
    found = gold_beside(
        pd.DataFrame({"pair_id": [NO.pair_id, YES.pair_id, bytes(16)], "human_label": [-1, 1, 1]}),
        BOTH,
        signs=response_signs(BOTH),
        votes=ContentLabels.from_table(vote_majorities([votes])),
        splits={NO.content_id: "validation"},
    )
    assert found["split"].tolist() == ["validation", "validation"]  # one content, both labels
    assert found["source"].tolist() == [NO.source, YES.source]
    # "no" sorts first and has the vote; the last pair has left the pool.
    assert found["longer"].tolist() == [-1, 1]
    assert found["vote"].tolist() == [1.0, -1.0]
    silent = gold_beside(
        pd.DataFrame({"pair_id": [YES.pair_id]}),
        BOTH,
        signs=response_signs(BOTH),
        votes=ContentLabels.from_table(vote_majorities([])),
        splits={},
    )
    assert silent["vote"].isna().all()
