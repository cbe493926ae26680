import numpy as np
import pytest

from synpref_dagster.reward.frozen.heads import (
    HeadChoice,
    PairFeatures,
    best_scale,
    columns_of,
    fit_best_head,
)

LAYERS = (1, 2)
WIDTH = 3
PENALTIES = (10.0, 1.0, 0.1)


def made(num_pairs, *, seed=0, turned=0.0, column=10):
    """Pairs of which one column of twelve says which response is better."""
    rng = np.random.default_rng(seed)
    chosen, rejected = rng.normal(size=(2, num_pairs, 2 * len(LAYERS) * WIDTH))
    wrong = chosen[:, column] < rejected[:, column]
    chosen[wrong, column], rejected[wrong, column] = (
        rejected[wrong, column], chosen[wrong, column],
    )  # fmt: skip
    swap = rng.random(num_pairs) < turned
    chosen[swap], rejected[swap] = rejected[swap], chosen[swap]
    return PairFeatures(chosen.astype(np.float32), rejected.astype(np.float32))


def choices(penalties=PENALTIES):
    return [
        HeadChoice(layer=layer, pooling=pooling, penalty=penalty)
        for layer in LAYERS
        for pooling in ("last", "mean", "both")
        for penalty in penalties
    ]


@pytest.mark.parametrize(
    ("layer", "pooling", "columns"),
    [(1, "last", [0, 1, 2]), (1, "both", [0, 1, 2, 3, 4, 5]), (2, "mean", [9, 10, 11])],
)
def test_columns_lie_by_layer_and_then_last_before_mean(layer, pooling, columns):
    assert columns_of(layer, pooling, layers=LAYERS, width=WIDTH).tolist() == columns


def test_the_reading_that_knows_is_chosen_on_the_validation_pairs():
    head = fit_best_head(made(300), made(100, seed=1), choices=choices(), layers=LAYERS)
    assert head.choice.layer == 2
    assert head.choice.pooling == "mean"  # column 10 is in it, and nothing else but noise
    assert head.evaluation.accuracy > 0.95
    assert len(head.tried) == len(choices())
    assert head.weights.dtype == np.float32


def test_noisy_labels_want_a_stronger_penalty_than_clean_ones():
    gold = made(400, seed=1)
    penalties = tuple(10.0**power for power in (1, 0, -1, -2, -3))
    clean, noisy = (
        fit_best_head(made(60, turned=share), gold, choices=choices(penalties), layers=LAYERS)
        for share in (0.0, 0.4)
    )
    assert noisy.choice.penalty > clean.choice.penalty


def test_margins_are_at_the_scale_that_the_validation_pairs_want():
    gold = made(300, seed=1)
    head = fit_best_head(made(300, turned=0.3), gold, choices=choices(), layers=LAYERS)
    columns = columns_of(head.choice.layer, head.choice.pooling, layers=LAYERS, width=WIDTH)
    seen = gold.columns(columns)
    assert best_scale((seen.chosen - seen.rejected) @ head.weights) == pytest.approx(1, rel=0.01)


def test_folded_weights_give_the_rewards_of_the_standardised_fit():
    scale = np.array([1, 10, 100, 1000] * 3, dtype=np.float32)
    pairs, [choice] = made(300), [HeadChoice(layer=2, pooling="mean", penalty=0.1)]
    wide = PairFeatures(pairs.chosen * scale, pairs.rejected * scale)
    plain, scaled = (fit_best_head(p, None, choices=[choice], layers=LAYERS) for p in (pairs, wide))
    assert scaled.weights * scale[9:] == pytest.approx(plain.weights, rel=1e-2, abs=1e-4)


def test_a_constant_feature_gets_no_weight():
    pairs = made(200)
    pairs.chosen[:, 9] = pairs.rejected[:, 9] = 7.0
    [choice] = [HeadChoice(layer=2, pooling="mean", penalty=0.1)]
    assert fit_best_head(pairs, None, choices=[choice], layers=LAYERS).weights[0] == 0


def test_without_validation_pairs_the_first_choice_is_taken():
    head = fit_best_head(made(100), None, choices=choices(), layers=LAYERS)
    assert head.choice == choices()[0]
    assert head.evaluation is None


def test_no_choice_is_refused():
    with pytest.raises(ValueError, match="no head to fit"):
        fit_best_head(made(10), None, choices=[], layers=LAYERS)


def test_pairs_that_all_come_out_right_ask_for_no_endless_scale():
    assert best_scale([1.0, 2.0]) <= np.exp(5)
