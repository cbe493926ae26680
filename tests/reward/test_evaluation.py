import pytest

from synpref_dagster.reward.evaluation import evaluate_margins


def test_ties_are_wrong_and_counted():
    evaluation = evaluate_margins([1.0, 0.0, -1.0, 2.0], step=7)
    assert (evaluation.accuracy, evaluation.tie_rate, evaluation.num_pairs) == (0.5, 0.25, 4)
    assert evaluation.step == 7


def test_a_margin_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="1 margins are not finite"):
        evaluate_margins([1.0, float("nan")])


def test_an_empty_set_has_no_accuracy():
    with pytest.raises(ValueError, match="no margins"):
        evaluate_margins([])
