"""The second backend, for small real data: Bradley-Terry on differences of response features.

reward(x, y) = w . f(y), fitted by logistic regression on f(chosen) - f(rejected), both ways round,
without intercept. f is hashed TF-IDF beside 17 counts. Folders hold npz and JSON, never pickles.
The features see the response only: on an unseen topic this is mostly a length detector.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.preprocessing import normalize

from synpref_dagster.pairs.record import PreferencePair, Turn
from synpref_dagster.reward.encoding import identical_texts
from synpref_dagster.reward.evaluation import evaluate_margins
from synpref_dagster.reward.folders import (
    check_model,
    publish,
    published_training,
    unpublish,
    write_json,
)
from synpref_dagster.reward.linear.features import FloatMatrix, hand_features, hashed_words
from synpref_dagster.reward.training.config import TrainingReport, fitting_fingerprint
from synpref_dagster.storage.damage import keep_checksums

LINEAR_FILE = "linear.npz"
SETTINGS_FILE = "linear.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearConfig:
    """Settings of the linear reward model.

    Attributes:
        num_buckets: Hash buckets of the word n-grams; 0 uses the hand features alone.
        word_weight: Scale of the TF-IDF part against the standardised hand features.
        regularisation: Strength of the squared penalty, per pair.
        max_iterations: Most L-BFGS iterations.
    """

    num_buckets: int = 1 << 15
    word_weight: float = 1.0
    regularisation: float = 1e-2
    max_iterations: int = 200

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.num_buckets < 0:
            raise ValueError(f"num_buckets is {self.num_buckets}, must be at least 0")
        if self.regularisation <= 0:
            raise ValueError(f"regularisation is {self.regularisation}, must be positive")


class LinearRewardModel:
    """A fitted linear reward model.

    Attributes:
        num_truncated: Always 0: texts of any length are read whole.
    """

    num_truncated = 0

    def __init__(self, arrays: dict[str, FloatMatrix], config: LinearConfig) -> None:
        self.arrays = arrays
        self.config = config

    @classmethod
    def load(cls, path: str | Path) -> "LinearRewardModel":
        """Load a folder written by `train_linear_reward_model`."""
        check_model(Path(path))
        with np.load(Path(path) / LINEAR_FILE, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        settings = json.loads((Path(path) / SETTINGS_FILE).read_text(encoding="utf-8"))
        return cls(arrays, LinearConfig(**settings))

    def rewards(
        self, conversations: Sequence[Sequence[Turn]], responses: Sequence[str]
    ) -> npt.NDArray[np.float32]:
        """(n,) float32 rewards; the conversations are not looked at.

        Raises:
            ValueError: If the lengths differ.
        """
        if len(conversations) != len(responses):
            raise ValueError(f"{len(conversations)} conversations, {len(responses)} responses")
        if not responses:
            return np.zeros(0, dtype=np.float32)
        distinct = {text: row for row, text in enumerate(dict.fromkeys(responses))}
        reward = _features(list(distinct), self.arrays, config=self.config) @ self.arrays["weights"]
        return reward.astype(np.float32)[[distinct[text] for text in responses]]


def train_linear_reward_model(
    pairs: Sequence[PreferencePair],
    validation: Sequence[PreferencePair],
    *,
    config: LinearConfig,
    output_dir: Path,
) -> TrainingReport:
    """Fit and publish a linear reward model; a finished folder of the same data is reused.

    Args:
        pairs: Training pairs.
        validation: Gold pairs to evaluate on; nothing is selected on them.
        config: Settings.
        output_dir: Folder of the model.

    Raises:
        ValueError: If no pair is left to train on.
    """
    fingerprint = fitting_fingerprint(asdict(config), pairs, validation)
    finished = published_training(output_dir)
    if finished is not None and finished["report"]["fingerprint"] == fingerprint:
        keep_checksums(output_dir)
        return TrainingReport.from_json(finished["report"], reused=True)
    kept = [pair for pair in pairs if pair.chosen != pair.rejected]
    if not kept:
        raise ValueError(f"none of {len(pairs)} pairs can be trained on")
    arrays, loss, num_steps = _fit(kept, config=config)
    history = []
    if validation:
        model = LinearRewardModel(arrays, config)
        conversations = [pair.conversation for pair in validation]
        chosen = model.rewards(conversations, [pair.chosen for pair in validation])
        rejected = model.rewards(conversations, [pair.rejected for pair in validation])
        history = [evaluate_margins(chosen - rejected, step=num_steps)]
    report = TrainingReport(
        num_pairs=len(kept),
        dropped=identical_texts(pairs),
        num_steps=num_steps,
        best_step=num_steps,
        history=tuple(history),
        evaluation=history[-1] if history else None,
        losses=(loss,),
        fingerprint=fingerprint,
    )
    _publish(output_dir, arrays, config=config, report=report)
    return report


def _fit(
    pairs: Sequence[PreferencePair], *, config: LinearConfig
) -> tuple[dict[str, FloatMatrix], float, int]:
    texts = list(dict.fromkeys(text for pair in pairs for text in (pair.chosen, pair.rejected)))
    row_of = {text: row for row, text in enumerate(texts)}
    arrays = _feature_statistics(texts, config=config)
    features = _features(texts, arrays, config=config)
    difference = (
        features[[row_of[pair.chosen] for pair in pairs]]
        - features[[row_of[pair.rejected] for pair in pairs]]
    ).tocsr()

    def objective(weights: FloatMatrix) -> tuple[float, FloatMatrix]:
        margin_B = difference @ weights
        slope_B = -expit(-margin_B) / len(pairs)
        loss = float(np.logaddexp(0, -margin_B).mean())
        penalty = 0.5 * config.regularisation * float(weights @ weights)
        return loss + penalty, difference.T @ slope_B + config.regularisation * weights

    result: Any = minimize(
        objective,
        np.zeros(difference.shape[1]),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": config.max_iterations},
    )
    arrays["weights"] = result.x
    return arrays, float(result.fun), int(result.nit)


def _feature_statistics(texts: list[str], *, config: LinearConfig) -> dict[str, FloatMatrix]:
    hand = hand_features(texts)
    deviation = hand.std(axis=0)
    arrays = {"mean": hand.mean(axis=0), "deviation": np.where(deviation > 0, deviation, 1.0)}
    if config.num_buckets:
        counts = hashed_words(texts, num_buckets=config.num_buckets)
        document_counts = np.bincount(counts.indices, minlength=config.num_buckets)
        arrays["idf"] = np.log((1 + len(texts)) / (1 + document_counts)) + 1.0
    return arrays


def _features(
    texts: list[str], arrays: dict[str, FloatMatrix], *, config: LinearConfig
) -> sparse.csr_matrix:
    hand = (hand_features(texts) - arrays["mean"]) / arrays["deviation"]
    if not config.num_buckets:
        return sparse.csr_matrix(hand)
    counts = hashed_words(texts, num_buckets=config.num_buckets)
    weighted = normalize(counts @ sparse.diags_array(arrays["idf"]))
    return sparse.hstack([config.word_weight * weighted, sparse.csr_matrix(hand)], format="csr")


def _publish(
    folder: Path, arrays: dict[str, FloatMatrix], *, config: LinearConfig, report: TrainingReport
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    unpublish(folder)
    write_json(folder / SETTINGS_FILE, asdict(config))
    np.savez(folder / LINEAR_FILE, **arrays)  # type: ignore[arg-type]
    publish(folder, {"config": asdict(config), "report": report.to_json()})
