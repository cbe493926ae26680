"""What a frozen backbone says of a response: hidden states of chosen layers, pooled.

A sequence is the conversation and its response under the chat template. `last` is the state of its
last token, where a sequence classifier reads its reward; `mean` is the mean over the tokens of the
response. Both go through the backbone's final norm, so that `last` of layer L is exactly what a
classifier that is cut to its first L layers puts before its head.
Legend: n sequences, T tokens of a forward, R of its sequences, H hidden size, F features.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from synpref_dagster.pairs.record import Turn, conversation_keys
from synpref_dagster.reward.attention.batching import Pack, Segment, pack_units, tree_tokens
from synpref_dagster.reward.attention.fast_linear import fast_linear
from synpref_dagster.reward.attention.forward import (
    Mode,
    PackForward,
    pack_sequences,
    tree_inputs,
    verified_forward,
)
from synpref_dagster.reward.attention.padded import padded_inputs
from synpref_dagster.reward.checkpoints import load_classifier
from synpref_dagster.reward.encoding import ChatEncoder, load_encoder

Features = npt.NDArray[np.float32]
POOLINGS = ("last", "mean")
# Nothing is kept for a backward pass. On CPU the activations of a small pack stay in the cache;
# what shares a prompt stays together all the same.
TOKENS_PER_PACK = {"cpu": 1_024, "cuda": 65_536}
TOKENS_TOGETHER = 4_096


class FrozenBackbone:
    """A backbone that is only read.

    Attributes:
        num_tokens: Tokens forwarded so far.
        least_tokens: What these sequences need when each prompt is forwarded once.
        num_truncated: Sequences cut on the left so far.
    """

    def __init__(
        self, forward: PackForward, encoder: ChatEncoder, *, layers: Sequence[int]
    ) -> None:
        self.forward = forward.eval()
        self.encoder = encoder
        self.layers = tuple(layers)
        self.num_tokens = self.least_tokens = self.num_truncated = 0
        device = forward.model.score.weight.device.type
        self.tokens_per_pack = TOKENS_PER_PACK.get(device, TOKENS_PER_PACK["cpu"])

    @classmethod
    def load(
        cls,
        path: str,
        *,
        layers: Sequence[int],
        max_length_tokens: int,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> "FrozenBackbone":
        """Load a prepared backbone (`frozen.preparing`).

        Args:
            path: Its folder.
            layers: Layers to read, counted from 1.
            max_length_tokens: Longest sequence; longer ones lose their beginning.
            dtype: Of weights and activations; features are float32 in any case.
            device: Torch device.
        """
        encoder = load_encoder(path, max_length_tokens=max_length_tokens)
        model = load_classifier(
            path,
            pad_token_id=encoder.pad_token_id,
            dtype=getattr(torch, dtype),
        ).to(device)
        return cls(verified_forward(model), encoder, layers=layers)

    @property
    def num_features(self) -> int:
        """F: two poolings of each layer."""
        width = self.forward.model.config.get_text_config().hidden_size
        return int(len(self.layers) * len(POOLINGS) * width)

    def features(
        self,
        conversations: Sequence[Sequence[Turn]],
        responses: Sequence[str],
        *,
        on_share: Callable[[float], None] | None = None,
    ) -> Features:
        """(n, F) float32: per layer, in the order they were named, `last` and then `mean`.

        Args:
            conversations: of each response.
            responses: the texts.
            on_share: told which share of the tokens is forwarded, pack by pack.

        Raises:
            ValueError: If the lengths differ.
        """
        whole = self.encoder.encode(conversations, responses)
        starts = self.encoder.response_starts(conversations, whole)
        sequences = [self.encoder.truncate_left(ids) for ids in whole]
        gone = [len(ids) - len(left) for ids, left in zip(whole, sequences, strict=True)]
        self.num_truncated += sum(map(bool, gone))
        starts = [max(0, start - cut) for start, cut in zip(starts, gone, strict=True)]
        keys = conversation_keys(conversations)
        self.least_tokens += tree_tokens(sequences, keys=keys)
        packs = pack_units(
            [(row,) for row in range(len(sequences))],
            sequences,
            keys=keys,
            tokens_per_pack=self.tokens_per_pack,
            tokens_together=TOKENS_TOGETHER,
        )
        num_done, num_all = 0, sum(pack.num_tokens for pack in packs)
        out = np.zeros((len(sequences), self.num_features), dtype=np.float32)
        for pack in packs:
            start_of = {row: starts[index] for index, row in pack.row_of.items()}
            with torch.inference_mode():
                pooled_RF = self._pooled(pack, [start_of[row] for row in sorted(start_of)])
            self.num_tokens += pack.num_tokens
            num_done += pack.num_tokens
            if on_share is not None:
                on_share(num_done / num_all)
            out[list(pack.row_of)] = pooled_RF.cpu().numpy()[list(pack.row_of.values())]
        return out

    def _pooled(self, pack: Pack, starts: Sequence[int]) -> Tensor:
        """(R, F) features of a pack whose responses start at these positions of their sequences."""
        model = self.forward.model
        pack = pack.to(model.score.weight.device)
        if self.forward.mode is Mode.PADDED:
            sequences = pack_sequences(pack)
            inputs = padded_inputs(model, sequences)
            width = inputs["input_ids"].shape[1]
            spans = [
                np.arange(row * width + start, row * width + len(ids))
                for row, (ids, start) in enumerate(zip(sequences, starts, strict=True))
            ]
        else:
            inputs = tree_inputs(pack)
            spans = [_span(*each) for each in zip(pack.segments, starts, strict=True)]
        with fast_linear(model, num_tokens=inputs["input_ids"].numel()):
            states = _states(model.base_model, inputs, layers=self.layers)
        parts = [pooled for state_TH in states for pooled in _poolings(state_TH, spans)]
        return torch.cat(parts, dim=1)


def _span(segment: Segment, start: int) -> npt.NDArray[np.int64]:
    """Tokens of a pack from position `start` of a segment's sequence on, prefix included."""
    prefix = segment.prefix_stop - segment.prefix_start
    shared = np.arange(segment.prefix_start + min(start, prefix), segment.prefix_stop)
    return np.concatenate([shared, np.arange(segment.start + max(0, start - prefix), segment.stop)])


def _states(base: Any, inputs: dict[str, Any], *, layers: Sequence[int]) -> list[Tensor]:
    """(T, H) states of all tokens after each of these layers, under the final norm."""
    found: dict[int, Tensor] = {}
    with _caught(base, layers, found):
        base(**inputs)
    return [base.norm(found[layer]).flatten(0, 1) for layer in layers]


@contextmanager
def _caught(base: Any, layers: Sequence[int], found: dict[int, Tensor]) -> Iterator[None]:
    """Catches what these layers put out while it is open; layers behind them are not run."""
    whole = base.layers
    base.layers = whole[: max(layers)]

    def catch(layer: int) -> Any:
        def keep(_module: Any, _args: Any, output: Any) -> None:
            found[layer] = output[0] if isinstance(output, tuple) else output

        return keep

    handles = [whole[layer - 1].register_forward_hook(catch(layer)) for layer in layers]
    try:
        yield
    finally:
        base.layers = whole
        for handle in handles:
            handle.remove()


def _poolings(state_TH: Tensor, spans: Sequence[npt.NDArray[np.int64]]) -> tuple[Tensor, Tensor]:
    """(R, H) float32 each: the last token of each span, and the mean over it."""
    device = state_TH.device
    lengths = torch.tensor([len(span) for span in spans], device=device)
    tokens = torch.from_numpy(np.concatenate(list(spans))).to(device)
    states = state_TH[tokens].float()
    owner = torch.repeat_interleave(torch.arange(len(spans), device=device), lengths)
    total = torch.zeros(len(spans), states.shape[1], device=device).index_add_(0, owner, states)
    last = states[lengths.cumsum(0) - 1]
    return last, total / lengths[:, None]
