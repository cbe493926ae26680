"""Features of a frozen backbone by the engine and by a plain loop over padded batches of texts."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from engine_parts.timing import Timed, alternate, row, timed
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.reward.attention.batching import tree_tokens
from synpref_dagster.reward.encoding import ChatEncoder
from synpref_dagster.reward.frozen.features import FrozenBackbone

MAX_LENGTH_TOKENS = 2_048
MICRO_BATCHES = (8, 1)
Texts = tuple[list[Any], list[str]]


def texts_of(pairs: Sequence[PreferencePair]) -> Texts:
    """Conversations and responses: all chosen ones, then all rejected ones."""
    conversations = [pair.conversation for pair in pairs]
    return conversations * 2, [p.chosen for p in pairs] + [p.rejected for p in pairs]


class PlainLoop:
    """What one would write with transformers: texts in order, padded batches, hidden states."""

    def __init__(
        self, folder: Path, encoder: ChatEncoder, *, layers: Sequence[int], dtype: str
    ) -> None:
        self.encoder, self.layers = encoder, layers
        self.model = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=getattr(torch, dtype)
        ).eval()

    @torch.inference_mode()
    def features(self, texts: Texts, *, micro_batch: int) -> np.ndarray:
        """(n, F) float32, as `FrozenBackbone.features`."""
        sequences = self.encoder.encode(*texts)
        starts = self.encoder.response_starts(texts[0], sequences)
        parts = [slice(at, at + micro_batch) for at in range(0, len(sequences), micro_batch)]
        return np.concatenate([self._batch(sequences[part], starts[part]) for part in parts])

    def _batch(self, sequences: Sequence[np.ndarray], starts: Sequence[int]) -> np.ndarray:
        rows = [{"input_ids": ids.tolist()} for ids in sequences]
        inputs = self.encoder.tokenizer.pad(rows, padding=True, return_tensors="pt")
        base = self.model.base_model
        states = base(**inputs, use_cache=False, output_hidden_states=True).hidden_states
        depth = len(states) - 1  # the last one comes under the norm, the others do not
        read = [states[layer] if layer == depth else base.norm(states[layer])
                for layer in self.layers]  # fmt: skip
        return np.stack([
            torch.cat([_pooled(state[at, :len(ids)].float(), start) for state in read]).numpy()
            for at, (ids, start) in enumerate(zip(sequences, starts, strict=True))
        ])  # fmt: skip


def _pooled(state_TH: Tensor, start: int) -> Tensor:
    return torch.cat([state_TH[-1], state_TH[start:].mean(0)])


def feature_rows(
    name: str,
    pairs: Sequence[PreferencePair],
    *,
    folder: Path,
    layers: Sequence[int],
    dtype: str,
    repeats: int,
) -> list[dict[str, Any]]:
    """Tokens per CPU second, and the ratio to the plain loop at both micro-batches."""
    told: dict[str, Any] = {"layers": layers, "dtype": dtype}
    ours = FrozenBackbone.load(str(folder), max_length_tokens=MAX_LENGTH_TOKENS, **told)
    plain = PlainLoop(folder, ours.encoder, **told)
    texts = texts_of(pairs)
    sides: dict[str, Callable[[int], Timed]] = {
        "ours": lambda _: timed(lambda: ours.features(*texts)),
        **{
            f"loop_{size}": lambda _, size=size: timed(
                lambda: plain.features(texts, micro_batch=size)
            )
            for size in MICRO_BATCHES
        },
    }
    results = alternate(sides, repeats=repeats)
    num_tokens = sum(map(len, ours.encoder.encode(*texts)))
    exactness = exactness_of(results["ours"][0][2], results["loop_1"][0][2])
    rows = []
    for size in MICRO_BATCHES:
        label = f"features, {name}, {len(pairs)} pairs, {dtype}, plain loop, micro-batch {size}"
        line = row(label, results, f"loop_{size}", exactness=exactness)
        seconds = {side: line[side] for side in ("ours", "baseline")}
        line |= {f"{side}_tokens_per_cpu_second": round(num_tokens / each)
                 for side, each in seconds.items()}  # fmt: skip
        rows.append({**line, "num_tokens": num_tokens})
    return rows


def exactness_of(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Largest difference, plain and relative to the length of the response's whole vector."""
    difference = np.abs(ours - theirs)
    norms = np.linalg.norm(theirs, axis=1, keepdims=True)
    relative = np.linalg.norm(ours - theirs, axis=1, keepdims=True) / norms
    return (
        f"max |difference| {difference.max():.1e} of values up to {np.abs(theirs).max():.0f}, "
        f"of a whole vector at most {relative.max():.1e} of its length"
    )


def forwarded_row(
    name: str, pairs: Sequence[PreferencePair], backbone: FrozenBackbone
) -> dict[str, Any]:
    """Tokens forwarded against the minimum where each conversation's prompt is forwarded once."""
    texts = texts_of(pairs)
    keys = [pair.conversation_id for pair in pairs] * 2
    sequences = [backbone.encoder.truncate_left(ids) for ids in backbone.encoder.encode(*texts)]
    before = backbone.num_tokens
    backbone.features(*texts)
    forwarded, least = backbone.num_tokens - before, tree_tokens(sequences, keys=keys)
    return {
        "name": f"features, {name}, {len(pairs)} pairs, tokens forwarded",
        "ours": forwarded,
        "baseline": least,
        "ratio_cpu": None,
        "ratio_wall": None,
        "exactness": f"{forwarded / least:.4f} x the minimum of one prefix per conversation",
        "texts": sum(map(len, sequences)),
    }
