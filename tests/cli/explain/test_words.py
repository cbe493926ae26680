"""Every reason that the pipeline gives has words of its own."""

import numpy as np
import pandas as pd

from synpref_dagster.cli.explain.words import DECISION_WORDS, DROP_WORDS, RISK_WORDS, risk_in_words
from synpref_dagster.curation.filtering.decision import REASONS
from synpref_dagster.curation.pool.marks import CONTRADICTION, CYCLE, LARGE_CYCLE
from synpref_dagster.curation.pool.selection import PERSONAL_DATA
from synpref_dagster.curation.verification.gold_silver import NO_VERDICT, UNDECIDED_REASONS
from synpref_dagster.curation.verification.people import mark_risk
from synpref_dagster.pairs.structure import STRUCTURAL_REASONS


def test_every_decision_has_words_and_no_other_has():
    assert set(DECISION_WORDS) == set(REASONS)


def test_every_reason_to_drop_a_pair_has_words():
    expected = {*STRUCTURAL_REASONS, *UNDECIDED_REASONS, NO_VERDICT, PERSONAL_DATA}
    assert expected - set(DROP_WORDS) == set()


def test_every_risk_has_words():
    assert {CONTRADICTION, CYCLE, LARGE_CYCLE} - set(RISK_WORDS) == set()


def test_both_reasons_to_look_twice_are_told_apart():
    pairs = pd.DataFrame({"risky": [True, True, False]})
    marked = mark_risk(pairs, np.array([0.0, 9.0, 9.0]), low_margin=0.1)
    assert [risk_in_words(risk) for risk in marked["risk"]] == [
        "the pool contradicts its label; the reward model can hardly tell",
        "the pool contradicts its label",
        "",
    ]
