"""What judges say about the pairs of one shard of the pool, for `map_shards`.

Shards are judged in the process of the step, one after the other: LLM judges share one budget, and
exemplar judges one view of the pool, which is made when the first shard needs it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from synpref_dagster.curation.labelling import (
    EmbeddedPairs,
    LabelledTargets,
    Panel,
    label_with_exemplars,
    leaked_exemplars,
)
from synpref_dagster.curation.pairs import ID_TYPE, PreferencePair, is_among, table_from_frame
from synpref_dagster.curation.relabelling import pairs_to_relabel
from synpref_dagster.resources.decision_shards import read_labels
from synpref_dagster.resources.endpoint_judge import EndpointJudge
from synpref_dagster.resources.pool_shards import shard_pairs
from synpref_dagster.storage import DatasetRef, to_frame

TEXT = pa.large_string()
EXEMPLAR_SCHEMA = pa.schema([("pair_id", ID_TYPE), ("gold_pair_id", ID_TYPE), ("rank", pa.int64())])
PANEL_SCHEMAS = {
    "labels": pa.schema(
        [
            ("pair_id", ID_TYPE),
            ("label", pa.int8()),
            ("confidence", pa.float32()),
            ("num_for", pa.int32()),
            ("num_against", pa.int32()),
            ("reason", TEXT),
        ]
    ),
    "votes": pa.schema(
        [
            ("pair_id", ID_TYPE),
            ("judge", TEXT),
            ("vote", pa.int8()),
            ("score", pa.float32()),
            ("num_verdicts", pa.int32()),
            ("num_abstained", pa.int32()),
        ]
    ),
    "verdicts": pa.schema(
        [
            ("pair_id", ID_TYPE),
            ("judge", TEXT),
            ("sample", pa.int16()),
            ("chosen_first", pa.bool_()),
            ("choice", TEXT),
            ("reason", TEXT),
        ]
    ),
    "exemplars": EXEMPLAR_SCHEMA,
    "targets": pa.schema(
        [
            ("pair_id", ID_TYPE),
            ("content_id", ID_TYPE),
            ("conversation_id", ID_TYPE),
            ("gold", pa.bool_()),
        ]
    ),
    "bill": pa.schema([("judge", TEXT), ("usd", pa.float64())]),
}
"""What is kept of a shard; its targets stand beside the gold pairs that its judges were shown."""


@dataclass(frozen=True, kw_only=True)
class PanelWork:
    """What all shards of a step are judged with."""

    panel: Callable[[], Panel]
    """The judges that vote, made once."""
    shown: EmbeddedPairs
    """Gold pairs of the training part."""
    shown_labels: Sequence[int]
    """People's label of each."""
    embed: Callable[[list[PreferencePair]], EmbeddedPairs]
    """Gives pairs their attributes and vectors."""


def judge_shard(
    asked: pa.Table, texts: pa.Table, *, key: Mapping[str, Any], work: PanelWork
) -> dict[str, pa.Table]:
    """The panel's labels of one shard's pairs, with all that was said and shown.

    Args:
        asked: pair_id of the pairs in question.
        texts: the raw shard that they come from.
        key: what the answers depend on besides the pairs; identifies the work.
        work: judges, exemplars, embedder.

    Returns:
        `PANEL_SCHEMAS`.
    """
    del key
    if not asked.num_rows:
        return {name: schema.empty_table() for name, schema in PANEL_SCHEMAS.items()}
    targets = work.embed(shard_pairs(asked, texts))
    panel = work.panel()
    before = worth_of(panel)
    answer = label_with_exemplars(targets, work.shown, work.shown_labels, panel=panel)
    frames = panel_frames(targets, work.shown, answer)
    frames["bill"] = bill_of(panel, before)
    return {
        name: table_from_frame(frames[name]).cast(schema) for name, schema in PANEL_SCHEMAS.items()
    }


def panel_frames(
    targets: EmbeddedPairs, shown: EmbeddedPairs, answer: LabelledTargets
) -> dict[str, pd.DataFrame]:
    """What is kept of an answer: labels, votes, verdicts, exemplars, who was asked and shown.

    Of `shown`, only what was an exemplar of a target here: gold repeated in every shard would in
    time outgrow the targets.
    """
    gold = shown.ids()
    seen = gold[is_among(gold["pair_id"], set(answer.exemplars["gold_pair_id"]))]
    return {
        "labels": answer.panel.labels,
        "votes": answer.panel.votes,
        "verdicts": answer.panel.verdicts,
        "exemplars": answer.exemplars,
        "targets": pd.concat(
            [targets.ids().assign(gold=False), seen.assign(gold=True)], ignore_index=True
        ),
    }


def leaked_shard(exemplars: pa.Table, targets: pa.Table) -> pa.Table:
    """Exemplars of one shard that tell a target its answer: none, please.

    Args:
        exemplars: what was shown.
        targets: pairs asked about and gold pairs shown, with their conversations.
    """
    ids = to_frame(targets.select(["pair_id", "conversation_id"]))
    conversations = dict(zip(ids["pair_id"], ids["conversation_id"], strict=True))
    leaked = leaked_exemplars(to_frame(exemplars), conversations)
    return table_from_frame(leaked).cast(EXEMPLAR_SCHEMA)


def candidate_shard(
    clean: pa.Table,
    rewards: pa.Table,
    *,
    labelled: str,
    labelled_at: DatasetRef,
    unsure_band: float,
) -> pa.Table:
    """`relabelling.pairs_to_relabel` of one shard of the clean pool.

    Args:
        clean: a shard of the clean pool.
        rewards: those of its pairs.
        labelled: fingerprint of the contents that stage 1 labelled, part of what identifies work.
        labelled_at: where they lie.
        unsure_band: also ask where p <= 0.5 + this.

    Raises:
        ValueError: the reference names other contents than the fingerprint.
    """
    if labelled != labelled_at.fingerprint:
        raise ValueError(f"labels {labelled_at.fingerprint} given, but {labelled} asked for")
    return pairs_to_relabel(
        clean, rewards, labelled=read_labels(labelled_at), unsure_band=unsure_band
    )


def worth_of(panel: Panel) -> dict[str, float]:
    """What the replies that each LLM judge gave so far cost when they were bought."""
    return {each.name: each.worth_usd for each in panel.judges if isinstance(each, EndpointJudge)}


def bill_of(panel: Panel, before: Mapping[str, float]) -> pd.DataFrame:
    """judge, usd: what the replies cost that were read since `before`."""
    rows = [(name, usd - before[name]) for name, usd in worth_of(panel).items()]
    return pd.DataFrame(rows, columns=["judge", "usd"]).astype({"judge": "str", "usd": "float64"})
