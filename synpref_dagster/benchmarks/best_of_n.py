"""Best-of-N protocols: RewardBench 2 and PPE Correctness.

RewardBench 2 shares the credit of a tied maximum and has its own formula for the Ties subset, whose
maximum is 1.01. PPE Correctness is scored on conflict pairs; ROC-AUC and best-of-K curves come
from the same rewards, exactly, without drawing samples.
"""

from collections.abc import Sequence
from math import comb
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synpref_dagster.benchmarks.items import BenchmarkItem, Rewards
from synpref_dagster.benchmarks.results import Measurement, Rows, Stratum, share_stratum

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

REWARD_BENCH_2_SUBSETS = ("Factuality", "Precise IF", "Math", "Safety", "Focus", "Ties")
TIES_SUBSET = "Ties"
# RewardBench 2, Section 3: weights of the five terms of the Ties score.
TIES_ACCURACY_WEIGHT = 0.30
TIES_MARGIN_WEIGHT = 0.20
TIES_SHAPE_WEIGHT = 0.01

PPE_CORRECTNESS_SETS = ("mmlu_pro", "math", "gpqa", "ifeval", "mbpp_plus")


def shared_credit(rewards: Rewards) -> float:
    """Credit of one best-of-N item whose right candidate comes first: 1/k at a k-fold maximum.

    >>> [shared_credit(np.array(r)) for r in ([3, 1, 2, 0], [3, 3, 1, 0], [1, 2, 0, 0])]
    [1.0, 0.5, 0.0]
    """
    best = rewards.max()
    return 1.0 / float((rewards == best).sum()) if rewards[0] == best else 0.0


def measure_reward_bench_2(
    items: Sequence[BenchmarkItem], rewards: Sequence[Rewards]
) -> Measurement:
    """RewardBench 2: plain mean of five best-of-4 subsets and Ties."""
    present = [name for name in REWARD_BENCH_2_SUBSETS if any(i.group == name for i in items)]
    strata = []
    for name in present:
        chosen = [index for index, item in enumerate(items) if item.group == name]
        stratum_name, weight = f"reward_bench_2/{name}", 1 / len(present)
        if name == TIES_SUBSET:
            rows = _ties_rows([items[i] for i in chosen], [rewards[i] for i in chosen])
            stratum = Stratum(name=stratum_name, weight=weight, rows=rows, statistic=_ties_score)
        else:
            credits_ = [shared_credit(rewards[i]) for i in chosen]
            stratum = share_stratum(stratum_name, weight, credits_)
        strata.append(stratum)
    scores = {name: stratum.value for name, stratum in zip(present, strata, strict=True)}
    scores["average"] = float(np.mean(list(scores.values())))
    return Measurement(scores=scores, strata=tuple(strata))


def measure_ppe_correctness(
    items: Sequence[BenchmarkItem], rewards: Sequence[Rewards]
) -> Measurement:
    """PPE Correctness: mean over the five sets of the accuracy on conflict pairs.

    Beside the headline `accuracy`: `accuracy_micro` over all pairs, `auc` (mean over prompts, then
    sets) and `auc_pooled` (all responses of a set together), and the best-of-K figures of
    `best_of_k_curves`. Conflict pairs whose two responses are equally right are counted in
    `num_invalid_pairs` and skipped.
    """
    scores: dict[str, float] = {}
    strata, earned, num_invalid = [], np.zeros(2), 0
    present = [name for name in PPE_CORRECTNESS_SETS if any(i.group == name for i in items)]
    for name in present:
        chosen = [index for index, item in enumerate(items) if item.group == name]
        group, group_rewards = [items[i] for i in chosen], [rewards[i] for i in chosen]
        pairs = [_conflict_row(item, row) for item, row in zip(group, group_rewards, strict=True)]
        rows = np.array([(p.num_right, p.num_pairs) for p in pairs if p.num_pairs], dtype=float)
        stratum = Stratum(
            name=f"ppe_correctness/{name}", weight=1 / len(present), rows=rows.reshape(-1, 2)
        )
        strata.append(stratum)
        earned += rows.sum(axis=0)
        num_invalid += sum(pair.num_invalid for pair in pairs)
        scores[f"{name}/accuracy"] = stratum.value
        scores |= {f"{name}/{k}": v for k, v in _auc_scores(group, group_rewards).items()}
    for key in ("accuracy", "auc", "auc_pooled"):
        scores[key] = float(np.mean([scores[f"{name}/{key}"] for name in present]))
    scores["accuracy_micro"] = float(earned[0] / earned[1])
    scores["num_invalid_pairs"] = float(num_invalid)
    return Measurement(scores=scores | _best_of_k_scores(items, rewards), strata=tuple(strata))


def best_of_k_curves(items: Sequence[BenchmarkItem], rewards: Sequence[Rewards]) -> pd.DataFrame:
    """Expected correctness of the best of K of a prompt's responses, per PPE set and K.

    Returns:
        Columns group, k (1..n), achieved (the response with the highest reward is taken) and
        ceiling (a right response is taken when there is one), both means over prompts.

    Raises:
        ValueError: prompts of one set have different numbers of responses.
    """
    frames = []
    for name in dict.fromkeys(item.group for item in items):
        chosen = [index for index, item in enumerate(items) if item.group == name]
        sizes = {len(items[i].labels) for i in chosen}
        if len(sizes) > 1:
            raise ValueError(f"{name}: prompts have {sorted(sizes)} responses; need one number")
        labels = [np.array(items[i].labels) for i in chosen]
        achieved = [best_of_k_curve(rewards[i], row) for i, row in zip(chosen, labels, strict=True)]
        frames.append(
            pd.DataFrame(
                {
                    "group": name,
                    "k": np.arange(1, sizes.pop() + 1),
                    "achieved": np.mean(achieved, axis=0),
                    "ceiling": np.mean([_ceiling_curve(row) for row in labels], axis=0),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def best_of_k_curve(rewards: Rewards, labels: Labels) -> Floats:
    """Expected label of the highest-reward response among K drawn without replacement.

    Args:
        rewards: float (n,), one per response.
        labels: int (n,), 1 for a right response.

    Returns:
        float (n,), the value for K = 1..n. Tied responses share the mean label of their block.

    >>> best_of_k_curve(np.array([0.3, 2.0, 1.0, -1.0]), np.array([1, 0, 1, 0])).tolist()
    [0.5, 0.5, 0.25, 0.0]
    """
    _, block, counts = np.unique(-rewards, return_inverse=True, return_counts=True)
    mean_label = np.bincount(block, weights=labels) / counts
    expected: Floats = _selection_weights(len(rewards)) @ mean_label[np.sort(block)]
    return expected


def roc_auc(rewards: Rewards, labels: Labels) -> float:
    """Chance that a right response has a higher reward than a wrong one; ties count half.

    Returns NaN when all labels are equal: there is nothing to order.

    >>> roc_auc(np.array([0.3, 2.0, 1.0, -1.0]), np.array([1, 0, 1, 0]))
    0.5
    """
    _, block, counts = np.unique(rewards, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[block]
    num_right = int(labels.sum())
    num_wrong = len(labels) - num_right
    if not num_right or not num_wrong:
        return float("nan")
    above = ranks[labels == 1].sum() - num_right * (num_right + 1) / 2
    return float(above / (num_right * num_wrong))


class _ConflictRow(NamedTuple):
    num_right: int
    num_pairs: int
    num_invalid: int


def _conflict_row(item: BenchmarkItem, rewards: Rewards) -> _ConflictRow:
    num_right = num_pairs = num_invalid = 0
    for first, second in item.meta["conflict_pairs"]:
        if item.labels[first] == item.labels[second]:
            num_invalid += 1
            continue
        right, wrong = (first, second) if item.labels[first] else (second, first)
        num_pairs += 1
        num_right += int(rewards[right] > rewards[wrong])
    return _ConflictRow(num_right, num_pairs, num_invalid)


def _auc_scores(items: Sequence[BenchmarkItem], rewards: Sequence[Rewards]) -> dict[str, float]:
    labels = [np.array(item.labels) for item in items]
    aucs = np.array([roc_auc(r, y) for r, y in zip(rewards, labels, strict=True)])
    scorable = np.isfinite(aucs)
    if not scorable.any():
        raise ValueError(
            f"ppe_correctness/{items[0].group} has no prompt with right and wrong responses"
        )
    return {
        "auc": float(aucs[scorable].mean()),
        "auc_pooled": roc_auc(np.concatenate(rewards), np.concatenate(labels)),
        "num_one_sided_prompts": float((~scorable).sum()),
    }


def _best_of_k_scores(
    items: Sequence[BenchmarkItem], rewards: Sequence[Rewards]
) -> dict[str, float]:
    curves = best_of_k_curves(items, rewards)
    scores: dict[str, float] = {}
    for name, curve in curves.groupby("group", sort=False):
        achieved = curve["achieved"]
        scores[f"{name}/best_of_{len(curve)}"] = float(achieved.iloc[-1])
        scores[f"{name}/best_of_k_max"] = float(achieved.max())
        # What choosing among more responses cost after the peak: reward over-optimisation.
        scores[f"{name}/best_of_k_loss"] = float(achieved.max() - achieved.iloc[-1])
    for k, value in curves.groupby("k")["achieved"].mean().items():
        scores[f"best_of_{k}"] = float(value)
    return scores


def _selection_weights(num_responses: int) -> Floats:
    # Row K-1, column i: chance that the response of rank i is the best of K drawn from n,
    # C(n-1-i, K-1) / C(n, K). Exact integers: floats would lose digits at C(32, 16).
    n = num_responses
    return np.array(
        [[comb(n - 1 - i, k - 1) / comb(n, k) for i in range(n)] for k in range(1, n + 1)]
    )


def _ceiling_curve(labels: Labels) -> Floats:
    n, num_wrong = len(labels), int((labels == 0).sum())
    return np.array([1 - comb(num_wrong, k) / comb(n, k) for k in range(1, n + 1)])


def _ties_rows(items: Sequence[BenchmarkItem], rewards: Sequence[Rewards]) -> Rows:
    """One row per prompt number: the eight columns that `_ties_score` sums."""
    stats: dict[str, dict[str, tuple[float, float, float]]] = {}
    for item, row in zip(items, rewards, strict=True):
        right, wrong = row[: item.num_correct], row[item.num_correct :]
        gap = float(right.min() - wrong.max())
        spread = float(right.max() - right.min())
        prompt = stats.setdefault(item.meta["prompt_number"], {})
        prompt[item.meta["kind"]] = (float(gap > 0), gap, spread)
    rows = np.array([_ties_row(prompt) for _, prompt in sorted(stats.items())])
    if not rows[:, 4].any():
        raise ValueError("reward_bench_2/Ties has no prompt with both a ref and a tied row")
    return rows


def _ties_row(prompt: dict[str, tuple[float, float, float]]) -> list[float]:
    ref, tied = prompt.get("ref"), prompt.get("tied")
    row = [0.0] * 8
    if ref:
        row[0:2] = [1.0, ref[0]]
    if tied:
        row[2:4] = [1.0, tied[0]]
    if ref and tied:
        _, gap, spread = tied
        smaller = min(ref[1], gap)
        with np.errstate(divide="ignore", invalid="ignore"):
            # The published formula divides by zero on purpose: +-inf becomes +-1, 0/0 becomes 0.
            shape = np.nan_to_num(np.tanh(np.float64(smaller) / np.float64(spread) - 1))
        row[4:8] = [1.0, float(gap > spread), float(smaller > spread), float(shape)]
    return row


def _ties_score(rows: Rows) -> Rows:
    # In a resample one kind can be absent altogether; its term is then 0, not NaN.
    has_ref, right_ref, has_tied, right_tied, has_both, beats, beats_both, shape = np.moveaxis(
        rows.sum(axis=-2), -1, 0
    )
    both = np.maximum(has_both, 1)
    accuracy = right_tied / np.maximum(has_tied, 1) + right_ref / np.maximum(has_ref, 1)
    margin = beats / both + beats_both / both
    score: Rows = (
        TIES_ACCURACY_WEIGHT * accuracy
        + TIES_MARGIN_WEIGHT * margin
        + TIES_SHAPE_WEIGHT * shape / both
    )
    return score
