"""Answers as if recorded: rewards, verdicts, attributes and vectors without a model.

With these in place, what a night costs is what the data path costs: reading, joining, writing. Each
answer is a function of the texts alone, so that two nights agree. A made response ends with a word
that says how good it is (`made_columns`); who answers reads it and errs as often as `ERRORS` says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

GOOD, BAD = "fine", "poor"  # last word of a made response
ERRORS = {"scorer": 0.1, "judge": 0.15}
JUDGES = ("recorded_a", "recorded_b", "recorded_c")
NUM_SAMPLES = 2
CATEGORIES = ("information_seeking", "math", "creative_writing", "other")
DIMENSIONS = 128  # as many as the built-in embedder has
NUM_CORNERS = 256


@dataclass(frozen=True)
class RecordedScorer:
    """Rewards in [0, 4): how good the last word says that a response is, and a hash of it."""

    salt: int
    """Two models err about different responses."""

    def rewards(self, conversations: Sequence[Any], responses: Sequence[str]) -> np.ndarray:
        """float32 (n,), in order."""
        drawn = np.fromiter((crc32(text.encode(), self.salt) for text in responses), np.uint32)
        good = np.fromiter((text.endswith(GOOD) for text in responses), bool)
        share = drawn / np.float32(2**32)
        errs = share < ERRORS["scorer"]
        return np.where(good ^ errs, 2.0, 0.0).astype(np.float32) + share.astype(np.float32)


@dataclass(frozen=True)
class RecordedJudge:
    """A judge that reads the last words."""

    name: str
    num_samples: int = NUM_SAMPLES

    def verdicts(self, questions: Sequence[Any], seeds: Sequence[int]) -> list[Any]:
        """One verdict per question, in order; both orders and all samples agree."""
        from synpref_dagster.curation.judging.verdicts import Verdict

        told = {1: Verdict(choice="candidate_1"), 2: Verdict(choice="candidate_2")}
        return [told[self._preferred(each.candidate_1, each.candidate_2)] for each in questions]

    def _preferred(self, one: str, two: str) -> int:
        better = 1 if one.endswith(GOOD) else 2
        drawn = crc32(self.name.encode() + max(one, two).encode()) / 2**32
        return 3 - better if drawn < ERRORS["judge"] else better


def recorded_attributes(self: Any, pairs: Sequence[Any], account: str) -> tuple[list[Any], Any]:
    """In place of `AttributeLabelling._label`: four kinds of pairs, by the prompt."""
    from synpref_dagster.pairs.attributes import PreferenceAttributes

    kinds = [
        PreferenceAttributes(
            task_category=category,
            objectivity="objective" if place % 2 else "subjective",
            controversiality="low",
            desired_attributes="what the prompt asks for",
            annotation_guideline="Read both to the end.",
        )
        for place, category in enumerate(CATEGORIES)
    ]
    prompts = [crc32(pair.conversation[-1]["content"].encode()) for pair in pairs]
    return [kinds[prompt % len(kinds)] for prompt in prompts], np.ones(len(pairs), np.float32)


def recorded_vectors(self: Any, texts: Sequence[str]) -> np.ndarray:
    """In place of `TfidfSvdEmbedder.embed`: the sum of four corners that a hash picks."""
    corners = np.random.default_rng(0).normal(size=(NUM_CORNERS, DIMENSIONS)).astype(np.float32)
    drawn = np.fromiter((crc32(text.encode()) for text in texts), "<u4", len(texts))
    vectors = corners[drawn.view(np.uint8).reshape(-1, 4)].sum(axis=1)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def recorded_fit(cls: Any, texts: Sequence[str], seed: int) -> Any:
    """In place of `TfidfSvdEmbedder.fit`: there is nothing to learn."""
    from synpref_dagster.curation.retrieval.embedder import NUM_BUCKETS

    zeros = np.zeros((NUM_BUCKETS, DIMENSIONS), np.float32)
    return cls(idf=zeros[:, 0], components=zeros)


def put_in_place() -> None:
    """Replaces, in this process and those forked from it, whatever would ask a model on all pairs.

    The reward models of gold and silver are trained as ever: they are linear, and see a sample of
    fixed size. On pools their place is taken by `RecordedScorer`.
    """
    from synpref_dagster.curation.retrieval.embedder import TfidfSvdEmbedder
    from synpref_dagster.resources.attributes import AttributeLabelling
    from synpref_dagster.resources.judges import JudgePanel
    from synpref_dagster.reward import shards

    panel = tuple(RecordedJudge(name) for name in JUDGES)
    replaced: list[tuple[Any, str, Any]] = [
        (shards, "opened_scorer", lambda model: RecordedScorer(crc32(model.fingerprint.encode()))),
        (JudgePanel, "_embedded", lambda self, pool: panel),
        (AttributeLabelling, "_label", recorded_attributes),
        (TfidfSvdEmbedder, "embed", recorded_vectors),
        (TfidfSvdEmbedder, "fit", classmethod(recorded_fit)),
    ]
    for owner, name, stand_in in replaced:
        assert hasattr(owner, name), name  # what is renamed must not be measured unreplaced
        setattr(owner, name, stand_in)
