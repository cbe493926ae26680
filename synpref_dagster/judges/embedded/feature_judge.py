"""The embedded judge on a frozen backbone: a head fitted on the exemplars that it is shown.

For every question it fits a ridge regression on the differences of features, preferred response
minus the other one, of this question's human-verified exemplars, and says which candidate the head
prefers. It knows nothing else: features are those of texts, their scale is that of the pool, and no
length, check or label enters. The judges of a panel look at other layers and poolings. Swapping the
candidates swaps the verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import shake_128
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from synpref_dagster.curation.judging.verdicts import Exemplar, JudgeQuestion, Verdict
from synpref_dagster.pairs.record import Turn, digest

if TYPE_CHECKING:
    from synpref_dagster.reward.frozen.reading import FeatureReader

VERSION = "1"  # changes whenever a judge says something else
SCALE_FILE = "scale.npz"
PENALTY = 3.0
"""Of the ridge, in mean squared lengths of a difference: few exemplars say little of a feature."""
DROPOUT = 0.35
"""Share of the exemplars that a sample goes without: how sure a vote is shows in its samples."""
SMALLEST_DEVIATION = 1e-6
TIE_BELOW = 1e-6
BYTES_PER_DRAW = 4
BLOCK_QUESTIONS = 2_000
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What one judge of a panel looks at."""

    name: str
    """Name in verdicts and votes."""
    layer: Literal["middle", "top"]
    """Of the layers that are read."""
    pooling: Literal["last", "mean", "both"]


FEATURE_PANEL = (
    Look(name="features_mean", layer="middle", pooling="mean"),
    Look(name="features_last", layer="middle", pooling="last"),
    Look(name="features_top", layer="top", pooling="both"),
)


@dataclass(frozen=True, slots=True)
class FeatureViews:
    """Features of responses on the scale of a pool; `mean` and `deviation` are float64 (F,)."""

    reader: "FeatureReader"
    mean: Matrix
    deviation: Matrix

    @classmethod
    def fit(
        cls, reader: "FeatureReader", asked: Sequence[Sequence[Turn]], responses: Sequence[str]
    ) -> "FeatureViews":
        """Learn the scale from responses to conversations; no label is seen.

        Raises:
            ValueError: there is none.
        """
        if not responses:
            raise ValueError("no response to learn the scale of features from")
        read = reader.features(asked, responses)
        deviation = read.std(axis=0, dtype=np.float64)
        return cls(
            reader, read.mean(axis=0, dtype=np.float64), np.maximum(deviation, SMALLEST_DEVIATION)
        )

    def save(self, folder: Path) -> None:
        """Keep the scale in a folder, its file written last and at once."""
        from synpref_dagster.storage.atomic import beside, put_in_place

        folder.mkdir(parents=True, exist_ok=True)
        part = beside(folder / SCALE_FILE)
        with part.open("wb") as stream:
            np.savez(stream, mean=self.mean, deviation=self.deviation)
        put_in_place(part, folder / SCALE_FILE)

    @classmethod
    def load(cls, reader: "FeatureReader", folder: Path) -> "FeatureViews":
        """The scale that `save` kept."""
        with np.load(folder / SCALE_FILE, allow_pickle=False) as kept:
            return cls(reader, kept["mean"], kept["deviation"])

    def columns(self, look: Look) -> npt.NDArray[np.int64]:
        """(K,) positions of the features that a judge looks at.

        Where only one layer is read, the judge of the top looks at both poolings of that one.
        """
        from synpref_dagster.reward.frozen.heads import columns_of
        from synpref_dagster.reward.frozen.places import middle_layer

        layers = self.reader.reading.layers
        middle = middle_layer(self.reader.folder, layers)
        layer = middle if look.layer == "middle" else max(layers)
        return columns_of(layer, look.pooling, layers=layers, width=self.reader.width)

    def differences(
        self, pairs: Sequence[tuple[Sequence[Turn], str, str]], columns: npt.NDArray[np.int64]
    ) -> Matrix:
        """float64 (n, K): features of the first response minus those of the second, scaled."""
        asked = [conversation for conversation, _, _ in pairs]
        sides = [first for _, first, _ in pairs] + [second for _, _, second in pairs]
        read = self.reader.features(asked * 2, sides)[:, columns].astype(np.float64)
        return (read[: len(pairs)] - read[len(pairs) :]) / self.deviation[columns]


class FeatureJudge:
    """One judge of the panel: what it looks at, and the scale of features."""

    max_exemplars: ClassVar[int] = 1000
    """It reads no prompt: more than a language model is shown help it."""

    def __init__(self, look: Look, views: FeatureViews, *, num_samples: int) -> None:
        self.name = look.name
        self.num_samples = num_samples
        self._views = views
        self._columns = views.columns(look)

    def verdicts(self, questions: Sequence[JudgeQuestion], seeds: Sequence[int]) -> list[Verdict]:
        """One verdict per question and seed, in order.

        Raises:
            ValueError: numbers of questions and seeds differ.
        """
        if len(questions) != len(seeds):
            raise ValueError(f"{len(questions)} questions need as many seeds, got {len(seeds)}")
        distinct = list({id(question): question for question in questions}.values())
        heads: dict[int, _Head] = {}
        for start in range(0, len(distinct), BLOCK_QUESTIONS):
            block = distinct[start : start + BLOCK_QUESTIONS]
            heads |= zip(map(id, block), self._heads(block), strict=True)
        return [
            _verdict(*heads[id(question)].score(self._shown(question, seed)))
            for question, seed in zip(questions, seeds, strict=True)
        ]

    def _heads(self, questions: Sequence[JudgeQuestion]) -> "list[_Head]":
        """What is fitted for each question, in order."""
        known = list({id(e): e for question in questions for e in question.exemplars}.values())
        row_of = {id(exemplar): row for row, exemplar in enumerate(known)}
        shown = self._views.differences([_preferred_first(each) for each in known], self._columns)
        asked = self._views.differences(
            [(q.conversation, q.candidate_1, q.candidate_2) for q in questions], self._columns
        )
        among = shown @ shown.T
        return [
            _Head(
                np.array([row_of[id(each)] for each in question.exemplars], dtype=np.int64),
                alike,
                among,
            )
            for question, alike in zip(questions, asked @ shown.T, strict=True)
        ]

    def _shown(self, question: JudgeQuestion, seed: int) -> npt.NDArray[np.bool_]:
        """(exemplars,) which of them this sample sees, drawn from seed, judge and question alone.

        The key sorts the candidates, so both orders of a question see the same.
        """
        turns = [turn["content"] for turn in question.conversation]
        key = digest(*turns, *sorted((question.candidate_1, question.candidate_2)))
        name = b"%d/%s/%s" % (seed, self.name.encode(), key)
        raw = shake_128(name).digest(max(1, len(question.exemplars)) * BYTES_PER_DRAW)
        draws = np.frombuffer(raw, dtype="<u4")[: len(question.exemplars)] / 2**32
        return np.asarray(draws >= DROPOUT)


def build_feature_panel(views: FeatureViews, *, num_samples: int) -> tuple[FeatureJudge, ...]:
    """The panel: one judge per look, all on one scale."""
    return tuple(FeatureJudge(look, views, num_samples=num_samples) for look in FEATURE_PANEL)


@dataclass(frozen=True, slots=True)
class _Head:
    """The ridge regression of one question, by products with the differences of E exemplars."""

    exemplars: npt.NDArray[np.int64]
    """Which of the E are this question's, in the order shown."""
    asked_E: Matrix
    among_EE: Matrix

    def score(self, shown: npt.NDArray[np.bool_]) -> tuple[float, int]:
        """How much the first candidate is preferred, and by how many exemplars it was learnt."""
        rows = self.exemplars[shown]
        if not len(rows):
            return 0.0, 0
        among = self.among_EE[np.ix_(rows, rows)]
        strength = PENALTY * max(float(np.trace(among)) / len(rows), SMALLEST_DEVIATION)
        weights = np.linalg.solve(among + strength * np.eye(len(rows)), np.ones(len(rows)))
        return float(self.asked_E[rows] @ weights), len(rows)


def _verdict(score: float, num_exemplars: int) -> Verdict:
    reason = f"score {score:+.3f}, learnt from {num_exemplars} exemplars"
    confidence = float(np.tanh(abs(score)))
    if abs(score) < TIE_BELOW:
        return Verdict(choice="tie", reason=reason, confidence=confidence)
    choice: Literal["candidate_1", "candidate_2"] = "candidate_1" if score > 0 else "candidate_2"
    return Verdict(choice=choice, reason=reason, confidence=confidence)


def _preferred_first(exemplar: Exemplar) -> tuple[Sequence[Turn], str, str]:
    first, second = exemplar.candidate_1, exemplar.candidate_2
    if exemplar.preferred == "candidate_2":
        first, second = second, first
    return exemplar.conversation, first, second
