"""Pairs as vectors for retrieval: what a frozen backbone says of their responses, and their task.

A response is the mean of a middle layer over its tokens, a pair the mean of its two responses: who
turns a pair round, or labels it, changes nothing. Features are standardised and reduced to their
main directions, both found on texts alone, and have length 1; beside them stands the task category.
Legend: n pairs, H hidden size, D directions.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from synpref_dagster.pairs.attributes import TASK_CATEGORIES
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.reward.devices import best_device
from synpref_dagster.reward.frozen.heads import SMALLEST_DEVIATION, columns_of
from synpref_dagster.reward.frozen.places import find_home
from synpref_dagster.reward.frozen.reading import FeatureReader, Reading, opened_reader
from synpref_dagster.storage.uris import write_bytes

KIND = "backbone"
DESCRIPTION = "embedder.json"  # the name that every kind of embedder has for it
NUM_DIRECTIONS = 256
MAX_FITTED = 8_000
"""Pairs on which an embedder is fitted at most, and whose features are in memory at one time."""
CATEGORY_SHARE = 0.1
"""Part of a vector's squared length that is its task category."""
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BackboneEmbedder:
    """Pairs to vectors; make one with `fit` or `load`.

    `mean` and `deviation` are float64 (H,), `directions` float64 (H, D).
    """

    reader: FeatureReader
    layer: int
    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]
    directions: npt.NDArray[np.float64]

    @classmethod
    def fit(
        cls, pairs: Sequence[PreferencePair], *, reader: FeatureReader, layer: int
    ) -> "BackboneEmbedder":
        """Learn the scale and the main directions of the features of some pairs; no label counts.

        Raises:
            ValueError: there is no pair.
        """
        if not pairs:
            raise ValueError("no pair to fit on; an embedder needs at least one")
        both = _means(pairs[:MAX_FITTED], reader=reader, layer=layer)
        mean, deviation = both.mean(axis=0), np.maximum(both.std(axis=0), SMALLEST_DEVIATION)
        standard = (both - mean) / deviation
        _, directions = np.linalg.eigh(standard.T @ standard)
        return cls(reader, layer, mean, deviation, directions[:, ::-1][:, :NUM_DIRECTIONS].copy())

    def embed(
        self, pairs: Sequence[PreferencePair], attributes: Sequence[Mapping[str, str]]
    ) -> Vectors:
        """float32 (n, D + categories), rows of length 1."""
        kinds = np.zeros((len(pairs), len(TASK_CATEGORIES)), dtype=np.float32)
        for row, each in enumerate(attributes):
            kinds[row, TASK_CATEGORIES.index(each["task_category"])] = np.sqrt(CATEGORY_SHARE)
        said = self.meaning(pairs) * np.float32(np.sqrt(1 - CATEGORY_SHARE))
        return np.concatenate([said, kinds], axis=1)

    def meaning(self, pairs: Sequence[PreferencePair]) -> Vectors:
        """float32 (n, D), rows of length 1: the responses alone, whatever their task is called."""
        parts = [
            # In float64, so that a vector, rounded, does not depend on what else is embedded.
            (_means(part, reader=self.reader, layer=self.layer) - self.mean) / self.deviation
            for start in range(0, len(pairs), MAX_FITTED)
            if (part := pairs[start : start + MAX_FITTED])
        ]
        if not parts:
            return np.zeros((0, self.directions.shape[1]), dtype=np.float32)
        vectors = np.concatenate(parts) @ self.directions
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.where(norms > 0, norms, 1.0), dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write `embedder.npz` and, last, `embedder.json` into a folder of the campaign."""
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(
            folder / "embedder.npz",
            mean=self.mean,
            deviation=self.deviation,
            directions=self.directions,
        )
        told = {"kind": KIND, "layer": self.layer, "reading": asdict(self.reader.reading)}
        write_bytes(folder / DESCRIPTION, json.dumps(told).encode())

    @classmethod
    def load(cls, folder: Path) -> "BackboneEmbedder":
        """The embedder that `save` wrote; its backbone lies above it, as that of a head does.

        Raises:
            ValueError: the backbone is not to be found.
        """
        told = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        about = told["reading"]
        reading = Reading(**{**about, "layers": tuple(about["layers"])})
        home, keeps = find_home(folder, reading.backbone)
        reader = opened_reader(reading, home, keeps=keeps, device=best_device())
        with np.load(folder / "embedder.npz", allow_pickle=False) as arrays:
            return cls(
                reader, told["layer"], arrays["mean"], arrays["deviation"], arrays["directions"]
            )


def _means(
    pairs: Sequence[PreferencePair], *, reader: FeatureReader, layer: int
) -> npt.NDArray[np.float64]:
    """(n, H) mean of what the backbone says of both responses, each read once."""
    columns = columns_of(layer, "mean", layers=reader.reading.layers, width=reader.width)
    conversations = [pair.conversation for pair in pairs]
    responses = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    read = reader.features(conversations * 2, responses)[:, columns].astype(np.float64)
    return (read[: len(pairs)] + read[len(pairs) :]) / 2
