"""Scoring by the engine and by a RewardBench-style loop, text in and reward out."""

import copy
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch

from engine_parts.slices import SCORING_LENGTH_TOKENS, Shape, bench_model
from engine_parts.timing import MACHINE, Timed, alternate, both_rows, same_gemm, timed
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.reward.attention.batching import tree_tokens
from synpref_dagster.reward.attention.forward import verified_forward
from synpref_dagster.reward.encoding import ChatEncoder
from synpref_dagster.reward.scoring import RewardModel


@torch.no_grad()
def rewardbench_loop(
    model: Any, pairs: Sequence[PreferencePair], *, tokenizer: Any, batch_size: int, sort: bool
) -> np.ndarray:
    """RewardBench's loop: texts in dataset order, chosen and rejected padded batch by batch.

    With `sort`, sequences are batched by length under a token budget instead: the usual fix.
    """
    rewards = []
    for side in ("chosen", "rejected"):
        messages = [
            [*pair.conversation, {"role": "assistant", "content": getattr(pair, side)}]
            for pair in pairs
        ]
        texts = tokenizer.apply_chat_template(messages, tokenize=False)
        rewards.append(texts)
    if sort:
        flat = _sorted_buckets(model, [*rewards[0], *rewards[1]], tokenizer=tokenizer)
        return flat.reshape(2, -1)
    scored = np.empty((2, len(pairs)), dtype=np.float32)
    for start in range(0, len(pairs), batch_size):
        for side in (0, 1):
            part = rewards[side][start : start + batch_size]
            scored[side, start : start + batch_size] = plain_rewards(
                model, part, tokenizer=tokenizer
            )
    return scored


def plain_rewards(model: Any, texts: Sequence[str], *, tokenizer: Any) -> np.ndarray:
    """Rewards (n,) of one padded batch, as everybody computes them."""
    inputs = tokenizer(
        texts,
        padding=True,
        truncation=True,
        max_length=SCORING_LENGTH_TOKENS,
        return_tensors="pt",
        add_special_tokens=False,
    )
    inputs.pop("token_type_ids", None)
    return model(**inputs).logits[:, 0].numpy()


def _sorted_buckets(model: Any, texts: Sequence[str], *, tokenizer: Any) -> np.ndarray:
    unique = sorted(set(texts))
    encoded = tokenizer(unique, add_special_tokens=False)["input_ids"]
    order = sorted(range(len(unique)), key=lambda i: len(encoded[i]))
    reward_of: dict[str, float] = {}
    bucket: list[int] = []
    for i in [*order, -1]:
        if bucket and (i < 0 or (len(bucket) + 1) * len(encoded[i]) > 4_096):
            part = [unique[j] for j in bucket]
            rewards = plain_rewards(model, part, tokenizer=tokenizer)
            reward_of.update(zip(part, rewards.tolist(), strict=True))
            bucket = []
        bucket.append(i)
    return np.array([reward_of[text] for text in texts], dtype=np.float32)


def scoring_rows(
    name: str, pairs: Sequence[PreferencePair], *, tokenizer: Any, shape: Shape, repeats: int
) -> list[dict[str, Any]]:
    """Ratios to the loop at batch 8 and to the better of batch 1 and sorted buckets."""
    return rows_of_model(
        f"{name}, {shape.name}",
        pairs,
        tokenizer=tokenizer,
        plain=bench_model(shape, tokenizer).eval(),
        repeats=repeats,
    )


def rows_of_model(
    name: str,
    pairs: Sequence[PreferencePair],
    *,
    tokenizer: Any,
    plain: Any,
    repeats: int,
    warms_up: bool = True,
) -> list[dict[str, Any]]:
    """The rows of `scoring_rows` for a model that is there."""
    encoder = ChatEncoder(tokenizer, max_length_tokens=SCORING_LENGTH_TOKENS)
    ours = RewardModel(verified_forward(copy.deepcopy(plain)), encoder)
    conversations = [pair.conversation for pair in pairs for _ in (0, 1)]
    responses = [text for pair in pairs for text in (pair.chosen, pair.rejected)]

    def loop(batch_size: int, *, sort: bool = False) -> Callable[[int], Timed]:
        return lambda _: timed(
            lambda: rewardbench_loop(
                plain, pairs, tokenizer=tokenizer, batch_size=batch_size, sort=sort
            )
        )

    def our_rewards(_: int) -> Timed:
        return timed(lambda: ours.rewards(conversations, responses).reshape(-1, 2).T)

    results = alternate(
        {
            "ours": our_rewards,
            "ours_mkl": same_gemm(our_rewards),
            "bs8": loop(8),
            "bs1": loop(1),
            "sorted": loop(0, sort=True),
        },
        repeats=repeats,
        warms_up=warms_up,
    )
    best = min(("bs1", "sorted"), key=lambda side: median(t[0] for t in results[side]))
    rows = []
    for side, label in (("bs8", "RewardBench loop, batch 8"), (best, f"better simple one: {best}")):
        theirs, mine = results[side][0][2], results["ours"][0][2]
        flips = int((np.sign(theirs[0] - theirs[1]) != np.sign(mine[0] - mine[1])).sum())
        exactness = f"max |dreward| {np.abs(theirs - mine).max():.1e}, {flips} flips"
        title = f"scoring, {name}, {len(pairs)} pairs, {label}"
        rows += both_rows(title, results, side, exactness=exactness)
    return rows


def token_row(name: str, pairs: Sequence[PreferencePair], encoder: ChatEncoder) -> dict[str, Any]:
    """Tokens the engine forwards over a whole set, against the least that sharing leaves."""
    model = RewardModel.__new__(RewardModel)  # counts tokens without forwarding them
    model.encoder, model.tokens_per_pack = encoder, 2_048
    model.num_tokens = model.num_truncated = 0
    model.forward = lambda pack: torch.zeros(len(pack.segments))  # type: ignore[assignment]
    conversations = [pair.conversation for pair in pairs for _ in (0, 1)]
    responses = [text for pair in pairs for text in (pair.chosen, pair.rejected)]
    sequences = [encoder.truncate_left(ids) for ids in encoder.encode(conversations, responses)]
    keys = [pair.conversation_id for pair in pairs for _ in (0, 1)]
    model.token_rewards(sequences, keys=keys)
    least = tree_tokens(sequences, keys=keys)
    return {
        "name": f"tokens forwarded, {name}, {len(pairs)} pairs, against the tree minimum",
        "ours": model.num_tokens,
        "baseline": least,
        "ratio_cpu": None,
        "ratio_wall": None,
        "exactness": f"{model.num_tokens / least:.4f} x the minimum",
        "repeats": 1,
        "machine": MACHINE,
    }
