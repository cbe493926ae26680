"""Which pairs, under which label, a model trains on; each content once, validation never.

The final models train on curated + gold + silver pairs; the 40M model sees the recycled ones too
(paper Sec. 4.1). The comparison sets of the evidence are drawn here as well.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from synpref_dagster.curation.filtering.decision import FLIPPED, KEPT
from synpref_dagster.curation.verification.gold_silver import validation_conversations
from synpref_dagster.pairs.ids import rows_in_id_order
from synpref_dagster.pairs.record import digest, is_among

TRAINING_COLUMNS = ["pair_id", "content_id", "label"]
TRUTH = "truth"  # the training set of right labels
TIER_OF_DECISION = {KEPT: "curated", FLIPPED: "recycled"}


def final_training_set(
    decisions: pd.DataFrame,
    *,
    gold: pd.DataFrame,
    silver: pd.DataFrame,
    held_out: set[bytes],
    with_recycled: bool,
) -> pd.DataFrame:
    """Labels the final models train on.

    People outrank judges, judges outrank the filter, where several speak about one content.

    Args:
        decisions: pair_id, content_id, conversation_id, decision of every clean pair.
        gold: gold pairs with label and split; only the training part is used.
        silver: silver pairs with label.
        held_out: conversations that validate the models.
        with_recycled: also train on flipped pairs.

    Returns:
        `TRAINING_COLUMNS`, label +1 or -1 relative to the source label.
    """
    wanted = [KEPT, FLIPPED] if with_recycled else [KEPT]
    return merge_labels(
        [gold[gold["split"] == "train"], silver, decided_labels(decisions, wanted)],
        held_out=held_out,
    )


def decided_labels(decisions: pd.DataFrame, wanted: Sequence[str]) -> pd.DataFrame:
    """Kept pairs under their source label (+1) and flipped ones under the opposite (-1)."""
    chosen = decisions[decisions["decision"].isin(list(wanted))]
    label = np.where(chosen["decision"] == FLIPPED, -1, 1).astype("int8")
    return chosen[["pair_id", "content_id", "conversation_id"]].assign(label=label)


def merge_labels(parts: Sequence[pd.DataFrame], *, held_out: set[bytes]) -> pd.DataFrame:
    """One label per content, the first part that has one wins; held-out conversations are left out.

    Args:
        parts: frames with pair_id, content_id, conversation_id, label, in order of rank.
        held_out: conversation ids that must not be trained on.
    """
    columns = [*TRAINING_COLUMNS, "conversation_id"]
    merged = pd.concat([part[columns] for part in parts], ignore_index=True)
    merged = merged[~is_among(merged["conversation_id"], held_out)]
    return merged.drop_duplicates("content_id")[TRAINING_COLUMNS].reset_index(drop=True)


def original_labels(
    pool: pd.DataFrame, *, held_out: set[bytes], num_pairs: int | None = None, seed: int = 0
) -> pd.DataFrame:
    """The pool under its source labels, or an equally distributed sample of it.

    Args:
        pool: pair_id, content_id, conversation_id.
        held_out: conversation ids that must not be trained on.
        num_pairs: size of the sample; None takes all.
        seed: draws the sample.
    """
    usable = pool[~is_among(pool["conversation_id"], held_out)]
    if num_pairs is not None and num_pairs < len(usable):
        draw = np.random.default_rng(seed)
        usable = rows_in_id_order(usable).sample(n=num_pairs, random_state=draw)
    return usable[["pair_id", "content_id"]].assign(label=np.int8(1)).reset_index(drop=True)


def tiers(training_set: pd.DataFrame, *, gold: pd.DataFrame, silver: pd.DataFrame) -> np.ndarray:
    """Who set the label of each training pair, (n,): gold, silver, curated or recycled.

    Args:
        training_set: from `final_training_set` of the same gold and silver.
        gold: gold pairs with split.
        silver: silver pairs.
    """
    by_people = gold["content_id"][gold["split"] == "train"]
    return np.select(
        [
            is_among(training_set["content_id"], by_people),
            is_among(training_set["content_id"], silver["content_id"]),
            training_set["label"] < 0,
        ],
        ["gold", "silver", TIER_OF_DECISION[FLIPPED]],
        default=TIER_OF_DECISION[KEPT],
    )


def training_variants(
    pool: pd.DataFrame,
    decisions: pd.DataFrame,
    *,
    gold: pd.DataFrame,
    silver: pd.DataFrame,
    seed: int,
    right: Mapping[bytes, int],
) -> dict[str, pd.DataFrame]:
    """The training sets that are compared, by name.

    Args:
        pool: pair_id, content_id, conversation_id of every clean pair.
        decisions: what became of it.
        gold: gold pairs with label and split.
        silver: silver pairs with label.
        seed: draws the sample of equal size.
        right: pair_id -> +1 the source label is right, -1 it is wrong; where a campaign knows
            of any, `truth` is the pool under right labels: what no curation can beat.
    """
    held_out = validation_conversations(gold)
    filtered = merge_labels([decided_labels(decisions, [KEPT])], held_out=held_out)
    corrected = merge_labels([decided_labels(decisions, [KEPT, FLIPPED])], held_out=held_out)
    known = {TRUTH: true_labels(pool, right, held_out=held_out)} if right else {}
    return {
        "original": original_labels(pool, held_out=held_out),
        "original_equal_size": original_labels(
            pool, held_out=held_out, num_pairs=len(filtered), seed=seed
        ),
        "filtered": filtered,
        "filtered_corrected": corrected,
        "gold_silver": merge_labels([gold[gold["split"] == "train"], silver], held_out=held_out),
        "final": final_training_set(
            decisions, gold=gold, silver=silver, held_out=held_out, with_recycled=True
        ),
        **known,
    }


def true_labels(
    pool: pd.DataFrame, right: Mapping[bytes, int], *, held_out: set[bytes]
) -> pd.DataFrame:
    """The pairs of the pool whose right label is known, under it."""
    label = pool["pair_id"].map(right)
    known = pool[label.notna()].assign(label=label.dropna().astype("int8"))
    return merge_labels([known], held_out=held_out)


def of_equal_size(
    sets: Mapping[str, pd.DataFrame],
    *,
    names: Sequence[str] = (),
    num_pairs: int | None = None,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Some of the training sets, each cut to the same number of pairs.

    What is drawn depends on seed and content alone, so two sets share the pairs that both have, and
    their models differ by labels more than by luck.

    Args:
        sets: name -> `TRAINING_COLUMNS`.
        names: those that are wanted; one that there is not (`truth`, where nobody knows it) is
            left out. No names: all.
        num_pairs: pairs of each; all have as many as the smallest where one has fewer. None
            leaves them as they are.
        seed: of the draw.
    """
    chosen = {name: sets[name] for name in names or sets if name in sets}
    if num_pairs is None or not chosen:
        return chosen
    size = min(num_pairs, *map(len, chosen.values()))
    return {name: _drawn(labels, size, seed=seed) for name, labels in chosen.items()}


def _drawn(labels: pd.DataFrame, size: int, *, seed: int) -> pd.DataFrame:
    lots = [digest(str(seed), each.hex()) for each in labels["content_id"]]
    first = sorted(range(len(lots)), key=lots.__getitem__)[:size]
    return labels.iloc[sorted(first)].reset_index(drop=True)
