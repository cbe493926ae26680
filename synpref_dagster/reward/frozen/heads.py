"""Heads on frozen features: Bradley-Terry by logistic regression, its strength chosen on gold.

reward(x, y) = w . f(x, y). Features are standardised over the training responses, fitted with a
squared penalty on differences f(chosen) - f(rejected), and the standardisation is folded into w,
so that a head is one vector and a classifier's ordinary score layer. With noisy labels the penalty
matters more than anything else: it is chosen, like layer and pooling, on gold validation pairs, by
their loss at the best scale, since labels turned round only shrink the scale of a head. That scale
is folded in as well: margins are log-odds of a person's label.
Legend: n pairs, F features of a reading, K columns that a head reads.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit

from synpref_dagster.reward.evaluation import Evaluation, evaluate_margins

Pooling = Literal["last", "mean", "both"]
Matrix = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]
MAX_ITERATIONS = 500
SMALLEST_DEVIATION = 1e-6
LOG_SCALES = (-5.0, 5.0)  # a few pairs that all come out right would ask for an endless one


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadChoice:
    """One way to read the features, and how strongly its head is held down.

    Attributes:
        layer: Layer of the backbone, counted from 1.
        pooling: Last token, mean over the response, or both side by side.
        penalty: Strength of the squared penalty, per pair.
    """

    layer: int
    pooling: Pooling
    penalty: float


@dataclass(frozen=True, slots=True)
class FittedHead:
    """A head and what its choice was made by.

    Attributes:
        choice: What was chosen.
        weights: (K,) float32, for features as they come.
        loss: Mean training loss, in nats, without the penalty.
        num_iterations: Iterations of the optimiser.
        evaluation: On the validation pairs; None without any.
        tried: Every choice with its evaluation, in the order tried.
    """

    choice: HeadChoice
    weights: Matrix
    loss: float
    num_iterations: int
    evaluation: Evaluation | None
    tried: tuple[tuple[HeadChoice, Evaluation], ...] = ()


@dataclass(frozen=True, slots=True)
class PairFeatures:
    """Features of both sides of n pairs, each (n, F) float32."""

    chosen: Matrix
    rejected: Matrix

    def rows(self, rows: npt.NDArray[np.int64]) -> "PairFeatures":
        """Some of the pairs."""
        return PairFeatures(self.chosen[rows], self.rejected[rows])

    def columns(self, columns: npt.NDArray[np.int64]) -> "PairFeatures":
        """The same pairs, seen through some of the features."""
        return PairFeatures(self.chosen[:, columns], self.rejected[:, columns])


def columns_of(
    layer: int, pooling: Pooling, *, layers: Sequence[int], width: int
) -> npt.NDArray[np.int64]:
    """(K,) positions in a reading of `layers`: per layer `width` for last, `width` for mean.

    >>> columns_of(30, "mean", layers=(20, 30), width=2).tolist()
    [6, 7]
    """
    start = 2 * width * list(layers).index(layer)
    first, last = {"last": (0, 1), "mean": (1, 2), "both": (0, 2)}[pooling]
    return np.arange(start + first * width, start + last * width)


def fit_best_head(
    pairs: PairFeatures,
    validation: PairFeatures | None,
    *,
    choices: Sequence[HeadChoice],
    layers: Sequence[int],
) -> FittedHead:
    """The head with the lowest loss on the validation pairs, each at its best scale.

    Of equals what was named first wins. Without validation pairs there is nothing to choose by:
    the first choice is taken as it is.

    Args:
        pairs: Training pairs, (n, F).
        validation: Gold pairs that train nothing.
        choices: What to try.
        layers: Layers of the reading, in its order.

    Raises:
        ValueError: there is no choice.
    """
    width = pairs.chosen.shape[1] // (2 * len(layers))
    best: FittedHead | None = None
    tried = []
    for group in _by_reading(choices if validation is not None else choices[:1]):
        columns = columns_of(group[0].layer, group[0].pooling, layers=layers, width=width)
        seen = None if validation is None else validation.columns(columns)
        for fitted in _fit_path(pairs.columns(columns), seen, choices=group):
            if fitted.evaluation is not None:
                tried.append((fitted.choice, fitted.evaluation))
            if best is None or _loss(fitted) < _loss(best):
                best = fitted
    if best is None:
        raise ValueError("no head to fit: name at least one layer, pooling and penalty")
    return FittedHead(
        best.choice, best.weights, best.loss, best.num_iterations, best.evaluation, tuple(tried)
    )


def _by_reading(choices: Sequence[HeadChoice]) -> list[list[HeadChoice]]:
    """Choices that read the same features, strongest penalty first: each starts from the last."""
    groups: dict[tuple[int, str], list[HeadChoice]] = {}
    for choice in choices:
        groups.setdefault((choice.layer, choice.pooling), []).append(choice)
    return [sorted(group, key=lambda choice: -choice.penalty) for group in groups.values()]


def _loss(head: FittedHead) -> float:
    return head.evaluation.loss if head.evaluation else 0.0


def _fit_path(
    pairs: PairFeatures, validation: PairFeatures | None, *, choices: Sequence[HeadChoice]
) -> Iterator[FittedHead]:
    """A head per choice of one reading, each fit starting from the one before."""
    both = np.concatenate([pairs.chosen, pairs.rejected])
    deviation = np.maximum(both.std(axis=0, dtype=np.float64), SMALLEST_DEVIATION)
    difference = (pairs.chosen - pairs.rejected) / deviation.astype(np.float32)
    weights = np.zeros(difference.shape[1])
    for choice in choices:
        weights, loss, num_iterations = _fit(difference, weights, penalty=choice.penalty)
        folded = weights / deviation
        evaluation = None
        if validation is not None:
            margins = (validation.chosen - validation.rejected) @ folded
            folded = folded * best_scale(margins)
            margins = (validation.chosen - validation.rejected) @ folded.astype(np.float32)
            evaluation = evaluate_margins(margins, step=num_iterations)
        yield FittedHead(choice, folded.astype(np.float32), loss, num_iterations, evaluation)


def best_scale(margins: npt.ArrayLike) -> float:
    """What margins (n,) are multiplied by for the lowest loss; between e^-5 and e^5."""
    margin_n = np.asarray(margins, dtype=np.float64)

    def loss(log_scale: float) -> float:
        return float(np.logaddexp(0.0, -np.exp(log_scale) * margin_n).mean())

    return float(np.exp(minimize_scalar(loss, bounds=LOG_SCALES, method="bounded").x))


def _fit(difference_nK: Matrix, start: Vector, *, penalty: float) -> tuple[Vector, float, int]:
    num_pairs = len(difference_nK)

    def objective(weights: Vector) -> tuple[float, Vector]:
        margin_n = (difference_nK @ weights.astype(np.float32)).astype(np.float64)
        loss = float(np.logaddexp(0.0, -margin_n).mean())
        slope_n = (-expit(-margin_n) / num_pairs).astype(np.float32)
        gradient = (difference_nK.T @ slope_n).astype(np.float64) + penalty * weights
        return loss + 0.5 * penalty * float(weights @ weights), gradient

    found: Any = minimize(
        objective, start, jac=True, method="L-BFGS-B", options={"maxiter": MAX_ITERATIONS}
    )
    weights = np.asarray(found.x)
    return weights, float(found.fun) - 0.5 * penalty * float(weights @ weights), int(found.nit)
