"""One call: find exemplars, ask, count (paper Sec. 3.2, steps 2b and 3).

Only the training part of
gold is ever shown to a judge, so that a validation label cannot reach a training set through it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Literal

import numpy as np
import pandas as pd

from synpref_dagster.curation.judging.verdicts import (
    AskAll,
    Exemplar,
    Judge,
    PanelResult,
    exemplar_from_gold,
    in_turn,
    label_with_panel,
)
from synpref_dagster.curation.judging.votes import labels_from_votes
from synpref_dagster.curation.retrieval.nearest import random_exemplars, retrieve_exemplars
from synpref_dagster.pairs.record import ID_BYTES, PreferencePair, oriented

ExemplarChoice = Literal["none", "random", "retrieved"]
EXEMPLAR_CHOICES: tuple[ExemplarChoice, ...] = ("none", "random", "retrieved")


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddedPairs:
    """Pairs with their attributes and their vectors of (x, a), all in one order."""

    pairs: Sequence[PreferencePair]
    attributes: Sequence[Mapping[str, str]]
    vectors: np.ndarray
    """float32 (n, dim), L2-normalised."""

    def __post_init__(self) -> None:
        if not len(self.pairs) == len(self.attributes) == len(self.vectors):
            raise ValueError(
                f"{len(self.pairs)} pairs, {len(self.attributes)} attributes and "
                f"{len(self.vectors)} vectors must be as many"
            )

    def ids(self) -> pd.DataFrame:
        """pair_id, content_id and conversation_id of the pairs, in order."""
        return pd.DataFrame(
            {
                "pair_id": [pair.pair_id for pair in self.pairs],
                "content_id": [pair.content_id for pair in self.pairs],
                "conversation_id": [pair.conversation_id for pair in self.pairs],
            },
            dtype=object,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """The judges and how they are shown exemplars."""

    judges: Sequence[Judge]
    num_exemplars: int
    seed: int
    weights: Mapping[str, float] | None = None
    """Judge -> what its vote counts; None is one judge, one vote."""
    ask_all: AskAll = in_turn
    """How the judges are called, one after the other or so that all have started."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledTargets:
    """What the panel said, and which gold pair was shown for which target."""

    panel: PanelResult
    exemplars: pd.DataFrame
    """pair_id, gold_pair_id, rank: one row per exemplar shown."""


def label_with_exemplars(
    targets: EmbeddedPairs,
    gold: EmbeddedPairs,
    gold_labels: Sequence[int],
    *,
    panel: Panel,
    choice: ExemplarChoice = "retrieved",
) -> LabelledTargets:
    """Ask the panel about every target with exemplars from gold.

    Args:
        targets: pairs to label.
        gold: gold pairs of the training part.
        gold_labels: human label of each, +1 or -1 relative to its source label.
        panel: judges, number of exemplars, seed.
        choice: nearest exemplars, random ones, or none (paper Tab. 14 compares them).

    Raises:
        ValueError: unknown `choice`.
    """
    rows = _exemplar_rows(targets, gold, panel=panel, choice=choice)
    shown = [
        exemplar_from_gold(pair, int(label), attributes=attributes, seed=panel.seed)
        for pair, label, attributes in zip(gold.pairs, gold_labels, gold.attributes, strict=True)
    ]
    exemplars: list[tuple[Exemplar, ...]] = [tuple(shown[i] for i in row) for row in rows]
    result = label_with_panel(
        targets.pairs,
        panel.judges,
        attributes=targets.attributes,
        exemplars=exemplars,
        seed=panel.seed,
        ask_all=panel.ask_all,
    )
    if panel.weights is not None:
        result = replace(result, labels=labels_from_votes(result.votes, panel.weights))
    return LabelledTargets(panel=result, exemplars=_shown_frame(targets, gold, rows))


def exemplar_fingerprint(gold: EmbeddedPairs, gold_labels: Sequence[int]) -> str:
    """Identity of all that judges can be shown: gold pairs, labels, attributes and vectors.

    A pair goes in under its label: a source label that turned shows judges nothing else.
    """
    shown = oriented(
        gold.pairs, {p.pair_id: s for p, s in zip(gold.pairs, gold_labels, strict=True)}
    )
    return _embedded_fingerprint(replace(gold, pairs=shown))


def target_fingerprint(targets: EmbeddedPairs) -> str:
    """Identity of all that judges are asked about: pairs, attributes and vectors, in order."""
    return _embedded_fingerprint(targets)


def leaked_exemplars(exemplars: pd.DataFrame, conversations: Mapping[bytes, bytes]) -> pd.DataFrame:
    """Rows of `exemplars` whose gold pair shares the target's conversation; must be empty.

    A row whose conversations are not both known counts as a leak: it cannot be ruled out.

    Args:
        exemplars: pair_id, gold_pair_id.
        conversations: pair_id -> conversation_id for targets and gold pairs.
    """
    target = exemplars["pair_id"].map(conversations.get)
    shown = exemplars["gold_pair_id"].map(conversations.get)
    same_pair = exemplars["pair_id"] == exemplars["gold_pair_id"]
    return exemplars[same_pair | (target == shown) | target.isna() | shown.isna()]


def _embedded_fingerprint(embedded: EmbeddedPairs) -> str:
    """Identity of embedded pairs, each under its label."""
    hasher = blake2b(embedded.vectors.astype("<f4").tobytes(), digest_size=ID_BYTES)
    for pair, attributes in zip(embedded.pairs, embedded.attributes, strict=True):
        about = [pair.pair_id.hex(), dict(attributes)]
        hasher.update(json.dumps(about, sort_keys=True).encode() + b"\n")
    return hasher.hexdigest()


def _exemplar_rows(
    targets: EmbeddedPairs, gold: EmbeddedPairs, *, panel: Panel, choice: ExemplarChoice
) -> list[np.ndarray]:
    if choice == "none":
        return [np.array([], dtype=np.int64)] * len(targets.pairs)
    if choice == "random":
        rng = np.random.default_rng(panel.seed)
        return random_exemplars(targets.ids(), gold=gold.ids(), k=panel.num_exemplars, rng=rng)
    if choice == "retrieved":
        return retrieve_exemplars(
            targets.ids(),
            targets.vectors,
            gold=gold.ids(),
            gold_vectors=gold.vectors,
            k=panel.num_exemplars,
        )
    raise ValueError(f"exemplar choice is {choice!r}, must be one of {EXEMPLAR_CHOICES}")


def _shown_frame(
    targets: EmbeddedPairs, gold: EmbeddedPairs, rows: Sequence[np.ndarray]
) -> pd.DataFrame:
    shown = pd.DataFrame(
        [
            (target.pair_id, gold.pairs[int(row)].pair_id, rank)
            for target, shown in zip(targets.pairs, rows, strict=True)
            for rank, row in enumerate(shown)
        ],
        columns=["pair_id", "gold_pair_id", "rank"],
    )
    return shown.astype({"pair_id": object, "gold_pair_id": object, "rank": "int64"})
