"""Gold and silver, the cumulative pools of stage 1 (paper Sec. 3.2), and what may still be pulled.

Each content is in at most one of the two, once, whatever its label: people outrank judges, and a
pair that people could not decide is in neither. The validation part of gold is fixed once, by
conversation, and trains nothing. Whatever enters a function leaves it as kept or dropped.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.curation.verification.corrections import EDITS_COLUMN, NO_EDITS
from synpref_dagster.pairs.columns import from_numbers
from synpref_dagster.pairs.ids import rows_by_content
from synpref_dagster.pairs.record import ID_BYTES, digest, is_among

GOLD_COLUMNS = [
    "pair_id", "content_id", "conversation_id", "label", "split", "iteration", EDITS_COLUMN,
]  # fmt: skip
SILVER_COLUMNS = ["pair_id", "content_id", "conversation_id", "label", "confidence", "iteration"]
DROPPED_GOLD_COLUMNS = ["pair_id", "content_id", "reason"]
UNDECIDED_REASONS = ("undecidable", "tied", "no_majority")  # what people saw and could not decide
NO_VERDICT = "no_verdict"  # people were asked, but nobody answered: the pair stays free


def split_by_conversation(
    conversation_ids: pd.Series, *, validation_share: float, seed: int
) -> pd.Series:
    """`train` or `validation` per row; all pairs of a conversation fall on the same side.

    The side is a hash of conversation and seed, so it never changes when rows are added.

    Raises:
        ValueError: the share is not strictly between 0 and 1.
    """
    if not 0.0 < validation_share < 1.0:
        raise ValueError(f"validation_share is {validation_share}, must lie between 0 and 1")
    limit = int(validation_share * 2**64)

    def side(conversation: bytes) -> str:
        draw = int.from_bytes(digest(str(seed), conversation.hex())[:8], "little")
        return "validation" if draw < limit else "train"

    return conversation_ids.map(side)


def validation_conversations(gold: pd.DataFrame) -> set[bytes]:
    """Conversations that no model may train on, because they validate all of them."""
    return set(gold["conversation_id"][gold["split"] == "validation"])


def undecidable_content(dropped: pd.DataFrame) -> set[bytes]:
    """Content ids of the pairs that people saw and could not decide.

    Pairs without any verdict are not among them: nobody saw those, judges may still be asked.

    Args:
        dropped: `DROPPED_GOLD_COLUMNS`.
    """
    return set(dropped["content_id"][dropped["reason"].isin(UNDECIDED_REASONS)])


def first_gold(
    verdicts: pd.DataFrame, pairs: pd.DataFrame, *, validation_share: float, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The gold seed and what people could not decide.

    Args:
        verdicts: `CONSENSUS_COLUMNS`.
        pairs: pair_id, content_id, conversation_id of the pairs people were asked about.
        validation_share: share of gold conversations that only validate.
        seed: draws the split.

    Returns:
        gold with `GOLD_COLUMNS`, iteration 0; dropped with `DROPPED_GOLD_COLUMNS`.
    """
    joined = pairs.merge(verdicts, on="pair_id", how="left", validate="one_to_one")
    joined["reason"] = joined["reason"].astype(object).where(joined["label"].notna(), NO_VERDICT)
    joined["label"] = joined["label"].fillna(0).astype("int8")
    joined[EDITS_COLUMN] = joined[EDITS_COLUMN].astype(object).fillna(NO_EDITS)
    decided, dropped = _decided_once(joined, known=())
    split = split_by_conversation(
        decided["conversation_id"], validation_share=validation_share, seed=seed
    )
    gold = decided.assign(split=split, iteration=np.int16(0))
    return gold[GOLD_COLUMNS].reset_index(drop=True), dropped


def extend_gold(
    gold: pd.DataFrame, verdicts: pd.DataFrame, pairs: pd.DataFrame, *, iteration: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cumulative gold after an iteration, and the pairs people were asked about in vain.

    New gold always joins the training part: the validation part is fixed by the seed, so that all
    iterations are measured on the same pairs.

    Args:
        gold: gold before, `GOLD_COLUMNS`.
        verdicts: `CONSENSUS_COLUMNS` of this iteration's human verdicts.
        pairs: pair_id, content_id, conversation_id of (at least) those pairs.
        iteration: number of this iteration, from 1.

    Returns:
        gold with `GOLD_COLUMNS`; dropped with `DROPPED_GOLD_COLUMNS`.

    Raises:
        ValueError: a verdict is about a pair that `pairs` does not hold, or one of a conversation
            that validates.
    """
    joined = _with_ids(verdicts, pairs)
    held_out = is_among(joined["conversation_id"], validation_conversations(gold))
    if held_out.any():
        raise ValueError(
            f"{held_out.sum()} verdicts are about validation conversations; people are asked only "
            "about `retrievable` pairs, or validation would leak into training"
        )
    decided, dropped = _decided_once(joined, known=gold["content_id"])
    added = decided.assign(split="train", iteration=np.int16(iteration))
    return pd.concat([gold, added[GOLD_COLUMNS]], ignore_index=True), dropped


def silver_from_labels(
    labels: pd.DataFrame,
    pairs: pd.DataFrame,
    *,
    gold: pd.DataFrame,
    iteration: int,
    undecidable: Iterable[bytes] = (),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Silver pairs from a panel's labels, and what was dropped, with reasons.

    Dropped are pairs without a label, pairs that people verified (gold wins) or could not decide,
    pairs of a validation conversation (they must not train the model that they validate), and
    contradictory twins: of two that the panel labelled consistently one stays, of two that it
    contradicted itself on none.

    Args:
        labels: `LABEL_COLUMNS` of the panel.
        pairs: pair_id, content_id, conversation_id of (at least) the labelled pairs.
        gold: all gold so far, `GOLD_COLUMNS`.
        iteration: 0 for the seed, else the iteration's number.
        undecidable: content ids of all pairs that people could not decide so far.

    Returns:
        silver with `SILVER_COLUMNS`, each content once; dropped with pair_id and reason.

    Raises:
        ValueError: a label is about a pair that `pairs` does not hold.
    """
    joined = _with_ids(labels, pairs)
    reason = np.select(
        [
            is_among(joined["content_id"], gold["content_id"]),
            is_among(joined["content_id"], undecidable),
            joined["label"] == 0,
            is_among(joined["conversation_id"], validation_conversations(gold)),
        ],
        ["already_gold", "human_undecided", joined["reason"], "validation_conversation"],
        default="",
    ).astype(object)
    reason[reason == ""] = _twin_reasons(joined[reason == ""])
    kept = joined[reason == ""].assign(iteration=np.int16(iteration))
    dropped = joined[["pair_id"]][reason != ""].assign(reason=reason[reason != ""])
    return kept[SILVER_COLUMNS].reset_index(drop=True), dropped.reset_index(drop=True)


def extend_silver(
    silver: pd.DataFrame,
    labels: pd.DataFrame,
    pairs: pd.DataFrame,
    *,
    gold: pd.DataFrame,
    undecidable: set[bytes],
    iteration: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cumulative silver after an iteration, and what left or never entered it, with reasons.

    A pair that people verified moves to gold; one they could not decide is discarded here too.
    Content that is silver already keeps its first label.

    Args:
        silver: silver before, `SILVER_COLUMNS`.
        labels: `LABEL_COLUMNS` of the panel for this iteration's pairs.
        pairs: pair_id, content_id, conversation_id of (at least) those pairs.
        gold: gold after this iteration, `GOLD_COLUMNS`.
        undecidable: content ids of all pairs that people could not decide so far.
        iteration: number of this iteration, from 1.

    Returns:
        silver with `SILVER_COLUMNS`; dropped with pair_id and reason.
    """
    added, dropped = silver_from_labels(
        labels, pairs, gold=gold, iteration=iteration, undecidable=undecidable
    )
    verified = is_among(silver["content_id"], gold["content_id"])
    given_up = ~verified & is_among(silver["content_id"], undecidable)
    stays = silver[~verified & ~given_up]
    again = is_among(added["content_id"], stays["content_id"])
    everything_dropped = [
        dropped,
        added[["pair_id"]][again].assign(reason="already_silver"),
        silver[["pair_id"]][verified].assign(reason="became_gold"),
        silver[["pair_id"]][given_up].assign(reason="human_undecided"),
    ]
    return (
        pd.concat([stays, added[~again]], ignore_index=True),
        pd.concat(everything_dropped, ignore_index=True),
    )


def retrievable(
    pool: pa.Table, *, gold: pd.DataFrame, silver: pd.DataFrame, discarded: pd.DataFrame
) -> pa.Table:
    """The unverified pairs that an iteration may still pull, each content once, by content.

    Out are pairs that are gold or silver or that people could not decide (under either label), and
    pairs of a validation conversation, which must stay out of every training set.

    Args:
        pool: the unverified pool, with pair_id, content_id, conversation_id.
        gold: `GOLD_COLUMNS`.
        silver: `SILVER_COLUMNS`.
        discarded: `DROPPED_GOLD_COLUMNS` of all pairs that people were asked about in vain.
    """
    used = set(gold["content_id"]) | set(silver["content_id"]) | undecidable_content(discarded)
    held_out = validation_conversations(gold)
    taken = pc.or_(
        _is_one_of(pool["content_id"], used), _is_one_of(pool["conversation_id"], held_out)
    )
    free = pool.filter(pc.invert(taken))
    # Of equally near pairs the first one is pulled: it must not be the first one of a file.
    return free.take(from_numbers(rows_by_content(free)))


def _is_one_of(ids: pa.ChunkedArray, known: Iterable[bytes]) -> pa.ChunkedArray:
    stored = pa.binary(ID_BYTES)
    return pc.is_in(ids.cast(stored), value_set=pa.array(list(known), stored))


def _with_ids(labelled: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    known = is_among(labelled["pair_id"], pairs["pair_id"])
    if not known.all():
        raise ValueError(
            f"{(~known).sum()} of {len(known)} labelled pairs have no ids in `pairs`; "
            "pass the table of all pairs that were asked about"
        )
    return labelled.merge(pairs, on="pair_id", how="left", validate="one_to_one")


def _decided_once(
    joined: pd.DataFrame, *, known: Iterable[bytes]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Decided pairs with each new content once, and the others with reasons."""
    usable = (joined["label"] != 0).to_numpy() & ~is_among(joined["content_id"], known)
    twin = joined["content_id"][usable].duplicated()
    usable[np.flatnonzero(usable)[twin.to_numpy()]] = False
    reason = joined["reason"].astype(object).where(joined["label"] == 0, "already_gold")
    dropped = joined.assign(reason=reason)[~usable]
    return joined[usable], dropped[DROPPED_GOLD_COLUMNS].reset_index(drop=True)


def _twin_reasons(labelled: pd.DataFrame) -> np.ndarray:
    """Why a pair cannot stay beside its twin under the opposite source label; "" where it can."""
    by_content = labelled.groupby("content_id", sort=False)
    first = by_content["pair_id"].transform("first")
    # A label of -1 on one orientation says the same as +1 on the other.
    meaning = labelled["label"] * np.where(labelled["pair_id"] == first, 1, -1)
    meanings = meaning.groupby(labelled["content_id"], sort=False).transform("nunique")
    return np.select(
        [meanings > 1, labelled["content_id"].duplicated()],
        ["contradictory_labels", "already_silver"],
        default="",
    )
