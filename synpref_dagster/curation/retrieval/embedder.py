"""Embeds (x, a) for the two retrievals (paper Sec. 3.2, step 2) without any downloaded model.

Hashed TF-IDF over words and word pairs, reduced by a truncated SVD. Fitted on texts alone, so no
label can reach the vectors; the same texts and seed give the same vectors, sign included.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from synpref_dagster.curation.texts.tokens import TOKEN_PATTERN
from synpref_dagster.pairs.attributes import answered_texts, embedding_text, task_text
from synpref_dagster.pairs.record import PreferencePair

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

NUM_DIMENSIONS = 128
NUM_BUCKETS = 2**16
NUM_POWER_ITERATIONS = 4
DESCRIPTION = "embedder.json"


class Embedder(Protocol):
    """Gives pairs vectors of length 1, whose dot products say how alike they are."""

    def embed(
        self, pairs: Sequence[PreferencePair], attributes: Sequence[Mapping[str, str]]
    ) -> np.ndarray:
        """float32 (n, dim): vectors of (x, a), by which pairs of one task are found."""
        ...

    def meaning(self, pairs: Sequence[PreferencePair]) -> np.ndarray:
        """float32 (n, dim): vectors of prompt and responses, in whatever order these stand."""
        ...


@dataclass(frozen=True, slots=True)
class TextEmbedder:
    """An embedder made of one that knows texts only."""

    embed_texts: Callable[[Sequence[str]], np.ndarray]
    """Gives each text a vector of length 1, float32 (n, dim)."""

    def embed(
        self, pairs: Sequence[PreferencePair], attributes: Sequence[Mapping[str, str]]
    ) -> np.ndarray:
        """float32 (n, dim) of the task alone: the responses stay out."""
        return self.embed_texts(list(map(task_text, pairs, attributes)))

    def meaning(self, pairs: Sequence[PreferencePair]) -> np.ndarray:
        """float32 (n, dim): the mean of the conversation with either response."""
        both = self.embed_texts([text for pair in pairs for text in answered_texts(pair)])
        summed = both[0::2] + both[1::2]
        norms = np.linalg.norm(summed, axis=1, keepdims=True)
        return np.asarray(summed / np.where(norms > 0, norms, 1.0), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class WordEmbedder(TextEmbedder):
    """TF-IDF with SVD as an embedder of pairs; their task stands behind their prompt."""

    def embed(
        self, pairs: Sequence[PreferencePair], attributes: Sequence[Mapping[str, str]]
    ) -> np.ndarray:
        """float32 (n, dim) of the task alone: the responses stay out."""
        return self.embed_texts(list(map(embedding_text, pairs, attributes)))


@dataclass(frozen=True, slots=True)
class TfidfSvdEmbedder:
    """Texts to vectors; make one with `fit` or `load`.

    `idf` is float32 (buckets,), `components` float32 (buckets, 128).
    """

    idf: np.ndarray
    components: np.ndarray

    @classmethod
    def fit(cls, texts: Sequence[str], seed: int) -> "TfidfSvdEmbedder":
        """Learn word weights and directions from texts.

        Args:
            texts: at least one text; no labels.
            seed: seeds the randomised SVD.

        Raises:
            ValueError: `texts` is empty.
        """
        from sklearn.utils.extmath import randomized_svd

        if not texts:
            raise ValueError("texts is empty; an embedder needs at least one text to fit")
        counts = _counts(texts)
        document_frequency = np.asarray((counts > 0).sum(axis=0)).ravel()
        idf = np.log((1 + len(texts)) / (1 + document_frequency)) + 1
        weighted = _tfidf(counts, idf)
        used = np.flatnonzero(document_frequency)
        rank = min(NUM_DIMENSIONS, len(texts), len(used))
        _, _, directions = randomized_svd(
            weighted[:, used],
            n_components=rank,
            n_iter=NUM_POWER_ITERATIONS,
            random_state=seed,
            flip_sign=False,
        )
        # The sign of a singular vector is arbitrary: make its largest entry positive.
        largest = np.abs(directions).argmax(axis=1)
        directions = directions * np.sign(directions[np.arange(rank), largest])[:, None]
        components = np.zeros((NUM_BUCKETS, NUM_DIMENSIONS), dtype=np.float32)
        components[used, :rank] = directions.T
        return cls(idf=idf.astype(np.float32), components=components)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (len(texts), 128), rows of length 1; a text without known words is all zero."""
        if not texts:
            return np.zeros((0, NUM_DIMENSIONS), dtype=np.float32)
        vectors = np.asarray(_tfidf(_counts(texts), self.idf) @ self.components, dtype=np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(norms > 0, norms, 1.0).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write `embedder.npz` (known buckets only) and `embedder.json` into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        known = np.flatnonzero(np.any(self.components != 0, axis=1))
        np.savez(
            folder / "embedder.npz",
            idf=self.idf,
            known=known,
            components=self.components[known],
        )
        description = {"kind": "tfidf_svd", "buckets": NUM_BUCKETS, "dimensions": NUM_DIMENSIONS}
        # Last: it says that the rest is there.
        (folder / DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")

    @staticmethod
    def is_saved(folder: Path) -> bool:
        """Whether `save` came to its end in this folder."""
        return (folder / DESCRIPTION).exists()

    @classmethod
    def load(cls, folder: Path) -> "TfidfSvdEmbedder":
        """The embedder that `save` wrote.

        Raises:
            ValueError: the folder holds an embedder of another kind or size.
        """
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        wanted = {"kind": "tfidf_svd", "buckets": NUM_BUCKETS, "dimensions": NUM_DIMENSIONS}
        if description != wanted:
            raise ValueError(f"{folder} holds {description}, not {wanted}; fit the embedder again")
        with np.load(folder / "embedder.npz", allow_pickle=False) as arrays:
            components = np.zeros((NUM_BUCKETS, NUM_DIMENSIONS), dtype=np.float32)
            components[arrays["known"]] = arrays["components"]
            return cls(idf=arrays["idf"], components=components)


def _counts(texts: Sequence[str]) -> "csr_matrix":
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(
        n_features=NUM_BUCKETS,
        ngram_range=(1, 2),
        token_pattern=TOKEN_PATTERN,
        alternate_sign=False,
        norm=None,
    )
    return vectorizer.transform(texts)


def _tfidf(counts: "csr_matrix", idf: np.ndarray) -> "csr_matrix":
    weighted = counts.multiply(idf).tocsr()
    norms = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    scale = 1 / np.where(norms > 0, norms, 1.0)
    return weighted.multiply(scale[:, None]).tocsr()
