"""Scoring: text in, float32 reward out, each distinct (conversation, response) forwarded once.

Order and composition of the input never change a reward beyond float rounding. Over-long
sequences lose their beginning, never their end, and are counted. Out of memory halves the token
budget and goes on. The same folders serve from vLLM with the same rewards: `--runner pooling`,
then POST /classify with the templated text and `"use_activation": false` (it adds a sigmoid else).
"""

import logging
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from synpref_dagster.pairs.progress import ReadingPace
from synpref_dagster.pairs.record import Turn, conversation_keys
from synpref_dagster.reward.attention.batching import pack_budget, pack_units
from synpref_dagster.reward.attention.forward import PackForward, verified_forward
from synpref_dagster.reward.backbones import MAX_LENGTH_TOKENS
from synpref_dagster.reward.checkpoints import load_classifier, published_training
from synpref_dagster.reward.encoding import ChatEncoder, TokenIds, load_encoder
from synpref_dagster.reward.frozen.model import FrozenRewardModel
from synpref_dagster.reward.frozen.places import is_frozen
from synpref_dagster.reward.linear.model import LINEAR_FILE, LinearRewardModel

logger = logging.getLogger(__name__)

Rewards = npt.NDArray[np.float32]
Texts = tuple[Sequence[Sequence[Turn]], Sequence[str]]


class Scorer(Protocol):
    """Anything that gives rewards to texts."""

    @property
    def num_truncated(self) -> int:
        """Sequences cut on the left so far."""

    def rewards(self, conversations: Sequence[Sequence[Turn]], responses: Sequence[str]) -> Rewards:
        """(n,) float32 rewards of the responses, in order."""


class RewardModel:
    """A trained reward model, ready to score.

    Attributes:
        num_truncated: Sequences cut on the left so far.
        num_tokens: Tokens forwarded so far.
    """

    def __init__(
        self, forward: PackForward, encoder: ChatEncoder, *, tokens_per_pack: int | None = None
    ) -> None:
        self.forward = forward.eval()
        self.encoder = encoder
        device = str(forward.model.score.weight.device)
        self.tokens_per_pack = tokens_per_pack or pack_budget(device)
        self.num_truncated = 0
        self.num_tokens = 0

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        device: str = "cpu",
        dtype: str | None = None,
        max_length_tokens: int | None = None,
        tokens_per_pack: int | None = None,
    ) -> "RewardModel":
        """Load a checkpoint folder or hub id.

        Args:
            path: Folder or hub id.
            device: Torch device.
            dtype: Weights' dtype, float32 when None; rewards are float32 in any case.
            max_length_tokens: Longest sequence; None takes the one trained with.
            tokens_per_pack: Token budget of one forward; None suits the device.
        """
        finished = published_training(Path(path)) or {}
        trained = finished.get("config", {}).get("max_length_tokens", MAX_LENGTH_TOKENS)
        encoder = load_encoder(str(path), max_length_tokens=max_length_tokens or trained)
        model = load_classifier(
            str(path),
            pad_token_id=encoder.pad_token_id,
            dtype=None if dtype is None else getattr(torch, dtype),
        ).to(device)
        return cls(verified_forward(model), encoder, tokens_per_pack=tokens_per_pack)

    def rewards(self, conversations: Sequence[Sequence[Turn]], responses: Sequence[str]) -> Rewards:
        """(n,) float32 rewards of the responses to the conversations, in order.

        Raises:
            ValueError: If the lengths differ.
        """
        sequences = self.encoder.encode(conversations, responses)
        limit = self.encoder.max_length_tokens
        self.num_truncated += sum(len(ids) > limit for ids in sequences)
        sequences = [self.encoder.truncate_left(ids) for ids in sequences]
        return self.token_rewards(sequences, keys=conversation_keys(conversations))

    def stream(self, batches: Iterable[Texts]) -> Iterator[Rewards]:
        """Rewards of each batch of (conversations, responses), one batch in memory at a time."""
        for conversations, responses in batches:
            yield self.rewards(conversations, responses)

    def token_rewards(self, sequences: Sequence[TokenIds], *, keys: Sequence[Hashable]) -> Rewards:
        """(n,) float32 rewards of token sequences; those with one key share their prefix."""
        rewards = np.zeros(len(sequences), dtype=np.float32)
        done = np.zeros(len(sequences), dtype=np.bool_)
        left, pace = list(range(len(sequences))), ReadingPace(len(sequences))
        while left:
            try:
                for rows, values in self._packs(left, sequences, keys=keys):
                    rewards[rows], done[rows] = values, True
                    pace.at(int(done.sum()))
                left = []
            except (torch.OutOfMemoryError, MemoryError):
                if self.tokens_per_pack <= 1:
                    raise
                self.tokens_per_pack //= 2
                logger.warning("out of memory: packs of %d tokens now", self.tokens_per_pack)
                left = np.flatnonzero(~done).tolist()
        return rewards

    def _packs(
        self, rows: Sequence[int], sequences: Sequence[TokenIds], *, keys: Sequence[Hashable]
    ) -> Iterator[tuple[list[int], Rewards]]:
        """Rows and rewards, pack by pack."""
        packs = pack_units(
            [(row,) for row in rows],
            sequences,
            keys=[keys[row] for row in rows],
            tokens_per_pack=self.tokens_per_pack,
        )
        for pack in packs:
            with torch.inference_mode():
                reward_R = self.forward(pack).float().cpu().numpy()
            self.num_tokens += pack.num_tokens
            yield list(pack.row_of), reward_R[list(pack.row_of.values())]


def load_reward_model(path: str | Path, *, device: str = "cpu") -> Scorer:
    """Reward model of any backend, by what its folder holds."""
    if (Path(path) / LINEAR_FILE).is_file():
        return LinearRewardModel.load(path)
    if is_frozen(Path(path)):
        return FrozenRewardModel.load(path, device=device)
    return RewardModel.load(path, device=device)
