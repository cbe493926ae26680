"""Embedding at the edge, as a Dagster resource: vectors of pairs, made as the profile says.

What is learnt, word weights or the main directions of features, is learnt on the texts of the
vocabulary and kept in a folder.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np

from synpref_dagster.curation.retrieval.embedder import (
    DESCRIPTION,
    Embedder,
    TextEmbedder,
    TfidfSvdEmbedder,
    WordEmbedder,
)
from synpref_dagster.pairs.attributes import embedding_text
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.resources.judges import JudgePanel
from synpref_dagster.resources.models import RewardModels
from synpref_dagster.settings.embedding import (
    BackboneEmbedding,
    EmbeddingSettings,
    EndpointEmbedding,
    SentenceEmbedding,
    TfidfEmbedding,
)
from synpref_dagster.storage.uris import write_bytes

VERSION = "1"  # of all that is no TF-IDF; changes whenever a vector says something else


class PairEmbedding(dg.ConfigurableResource):
    """Vectors of (x, a) for both retrievals, and of what pairs say."""

    models: RewardModels
    judges: JudgePanel

    @property
    def settings(self) -> EmbeddingSettings:
        """The embedding's part of the profile."""
        return self.models.campaign.profile.embedding

    @property
    def learns(self) -> bool:
        """Whether the embedder is fitted on texts, and another vocabulary makes another one."""
        return isinstance(self.settings, TfidfEmbedding | BackboneEmbedding)

    @property
    def is_asked(self) -> bool:
        """Whether vectors come from an endpoint: by this process alone, and for money."""
        return isinstance(self.settings, EndpointEmbedding)

    def params(self) -> dict[str, Any]:
        """What the vectors depend on besides the pairs and, if it `learns`, the vocabulary.

        Raises:
            ValueError: there is no such encoder.
        """
        settings = self.settings
        if isinstance(settings, TfidfEmbedding):
            return {"embedder": "tfidf-svd"}
        about: dict[str, Any] = {"embedder": settings.kind, "version": VERSION}
        if isinstance(settings, BackboneEmbedding):
            reader = self.models.stages_reader()
            return {**about, "reading": asdict(reader.reading), "layer": _layer(self.models)}
        if isinstance(settings, SentenceEmbedding):
            from synpref_dagster.reward.frozen.sentences import encoder_identity

            return {**about, "encoder": encoder_identity(settings.path, settings.revision)}
        decide = {"base_url", "model", "dimensions", "max_characters"}
        named = settings.model_dump(include=decide, exclude_none=True)
        return {**about, **named}

    def is_fitted(self, folder: Path) -> bool:
        """Whether a finished embedder is kept in `folder`."""
        return (folder / DESCRIPTION).exists()

    def fit(
        self,
        pairs: Sequence[PreferencePair],
        attributes: Sequence[Mapping[str, str]],
        *,
        folder: Path,
        seed: int,
    ) -> None:
        """Fit the embedder on pairs and keep it in `folder`; one that learns nothing is named."""
        if isinstance(self.settings, TfidfEmbedding):
            texts = list(map(embedding_text, pairs, attributes))
            TfidfSvdEmbedder.fit(texts, seed).save(folder)
        elif isinstance(self.settings, BackboneEmbedding):
            from synpref_dagster.reward.frozen.embedder import BackboneEmbedder

            reader = self.models.stages_reader()
            BackboneEmbedder.fit(pairs, reader=reader, layer=_layer(self.models)).save(folder)
        else:
            write_bytes(folder / DESCRIPTION, json.dumps(self.params()).encode())

    def embed(
        self,
        folder: str,
        pairs: Sequence[PreferencePair],
        attributes: Sequence[Mapping[str, str]],
    ) -> np.ndarray:
        """float32 (n, dim) vectors under the embedder kept in `folder`."""
        return self._embedder(folder).embed(pairs, attributes)

    def for_shards(self, folder: str, *, meaning: bool = False) -> "partial[np.ndarray]":
        """A function of pairs (and attributes) that may travel to other processes.

        Args:
            folder: of the embedder.
            meaning: vectors of prompt and responses, which need no attributes.
        """
        if self.is_asked:  # its connection, and the file that pays for it, stay here
            embedder = self._embedder(folder)
            return partial(embedder.meaning if meaning else embedder.embed)
        function = embed_meaning if meaning else embed_pairs
        return partial(function, settings=self.settings, folder=folder)

    def spending(self) -> dict[str, float]:
        """Metric name -> US dollars that an endpoint's vectors cost so far; else empty."""
        return {"embedding_usd": self.judges.usd_for_vectors()} if self.is_asked else {}

    def _embedder(self, folder: str) -> Embedder:
        if isinstance(self.settings, EndpointEmbedding):
            return TextEmbedder(self.judges.embedder(self.settings).embed)
        return opened_embedder(self.settings, folder)


def embed_pairs(
    pairs: Sequence[PreferencePair],
    attributes: Sequence[Mapping[str, str]],
    *,
    settings: EmbeddingSettings,
    folder: str,
) -> np.ndarray:
    """float32 (n, dim): vectors of (x, a)."""
    return opened_embedder(settings, folder).embed(pairs, attributes)


def embed_meaning(
    pairs: Sequence[PreferencePair], *, settings: EmbeddingSettings, folder: str
) -> np.ndarray:
    """float32 (n, dim): vectors of prompt and responses."""
    return opened_embedder(settings, folder).meaning(pairs)


@lru_cache(maxsize=1)
def opened_embedder(settings: EmbeddingSettings, folder: str) -> Embedder:
    """The embedder of a kind, kept: its folder is named by what it was fitted on and how."""
    if isinstance(settings, BackboneEmbedding):
        from synpref_dagster.reward.frozen.embedder import BackboneEmbedder

        return BackboneEmbedder.load(Path(folder))
    if isinstance(settings, SentenceEmbedding):
        from synpref_dagster.reward.frozen.sentences import SentenceEncoder

        return TextEmbedder(SentenceEncoder.load(settings.path, settings.revision).embed)
    return WordEmbedder(TfidfSvdEmbedder.load(Path(folder)).embed)


def _layer(models: RewardModels) -> int:
    from synpref_dagster.reward.frozen.places import middle_layer

    reader = models.stages_reader()
    return middle_layer(reader.folder, reader.reading.layers)
