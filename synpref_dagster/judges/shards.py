"""What judges say about the pairs of one shard, for `map_shards`.

Shards are judged in the process of the step, one after the other: LLM judges share one budget, and
exemplar judges one view of the pool, which is made when the first shard needs it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from synpref_dagster.curation.contamination.recheck import RECHECK_COLUMNS, recheck, suspicions
from synpref_dagster.curation.contamination.rules import DecontaminationConfig
from synpref_dagster.curation.contamination.shards import prompts_by_benchmark
from synpref_dagster.curation.contamination.strict import CANDIDATE_SCHEMAS
from synpref_dagster.curation.judging.labelling import (
    EmbeddedPairs,
    LabelledTargets,
    Panel,
    label_with_exemplars,
    leaked_exemplars,
)
from synpref_dagster.curation.personal_data.report import SCORED_SCHEMA, with_judges
from synpref_dagster.curation.personal_data.shards import scored_table
from synpref_dagster.judges.endpoint import EndpointJudge
from synpref_dagster.judges.questions import opinions, score_pairs
from synpref_dagster.pairs.attributes import ATTRIBUTE_COLUMNS
from synpref_dagster.pairs.record import (
    ID_TYPE,
    PreferencePair,
    id_array,
    is_among,
    table_from_frame,
)
from synpref_dagster.pairs.texts import shard_pairs
from synpref_dagster.storage import DatasetRef, to_frame

LABEL_SCHEMA = pa.schema(
    [
        ("pair_id", ID_TYPE),
        *((name, pa.string()) for name in ATTRIBUTE_COLUMNS),
        ("confidence", pa.float32()),
    ]
)


def label_shard(
    table: pa.Table,
    texts: pa.Table,
    *,
    label: Callable[[Sequence[PreferencePair]], pd.DataFrame],
) -> pa.Table:
    """The five attributes of every pair of a shard.

    Args:
        table: pair_id.
        texts: the raw shard that the pairs come from.
        label: gives the columns of `LABEL_SCHEMA`, one row per pair in order.
    """
    frame = label(shard_pairs(table, texts))
    columns = [frame[name].tolist() for name in LABEL_SCHEMA.names[1:]]
    ids = id_array(frame["pair_id"].tolist())
    return pa.Table.from_arrays([ids, *map(pa.array, columns)], names=LABEL_SCHEMA.names).cast(
        LABEL_SCHEMA
    )


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


def judge_shard(asked: pa.Table, texts: pa.Table, *, work: PanelWork) -> dict[str, pa.Table]:
    """The panel's labels of one shard's pairs, with all that was said and shown.

    Args:
        asked: pair_id of the pairs in question.
        texts: the raw shard that they come from.
        work: judges, exemplars, embedder.

    Returns:
        `PANEL_SCHEMAS`.
    """
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
    """Exemplars of one shard that give a target its own answer away; there must be none.

    Args:
        exemplars: what was shown.
        targets: pairs asked about and gold pairs shown, with their conversations.
    """
    ids = to_frame(targets.select(["pair_id", "conversation_id"]))
    conversations = dict(zip(ids["pair_id"], ids["conversation_id"], strict=True))
    leaked = leaked_exemplars(to_frame(exemplars), conversations)
    return table_from_frame(leaked).cast(EXEMPLAR_SCHEMA)


def worth_of(panel: Panel) -> dict[str, float]:
    """What the replies that each LLM judge gave so far cost when they were bought."""
    return {each.name: each.worth_usd for each in panel.judges if isinstance(each, EndpointJudge)}


def bill_of(panel: Panel, before: Mapping[str, float]) -> pd.DataFrame:
    """judge, usd: what the replies cost that were read since `before`."""
    rows = [(name, usd - before[name]) for name, usd in worth_of(panel).items()]
    return pd.DataFrame(rows, columns=["judge", "usd"]).astype({"judge": "str", "usd": "float64"})


def judge_levels_shard(
    flagged: pa.Table,
    sampled: pa.Table,
    texts: pa.Table,
    *,
    judges: Callable[[], Sequence[EndpointJudge]],
) -> pa.Table:
    """The flagged and the sampled pairs of one shard at the level that judges give them.

    Args:
        flagged: `FLAGGED_SCHEMA`.
        sampled: pair_id of pairs that no pattern found.
        texts: the raw shard that all of them come from.
        judges: gives the judges, who share one budget over all shards.

    Returns:
        `SCORED_SCHEMA`.
    """
    asked = pa.concat_tables([flagged.select(["pair_id"]), sampled])
    if not asked.num_rows:
        return SCORED_SCHEMA.empty_table()
    judged = score_pairs(judges(), shard_pairs(asked, texts))
    return scored_table(with_judges(to_frame(flagged), judged), SCORED_SCHEMA)


RECHECK_SCHEMA = pa.schema(
    [
        ("pair_id", ID_TYPE),
        *((name, TEXT) for name in ("benchmark", "item_id", "shared")),
        *((name, pa.int32()) for name in ("num_coincidence", "num_same_item")),
        ("cleared", pa.bool_()),
        ("why", TEXT),
    ]
)


@dataclass(frozen=True, kw_only=True)
class OverlapRecheck:
    """What all shards are rechecked with."""

    judges: Callable[[], Sequence[EndpointJudge]]
    """Gives the judges, when the first shard needs them."""
    prompts: DatasetRef
    """First-turn prompts of all benchmarks."""
    config: DecontaminationConfig
    """Which shared stretch made a hit."""


def recheck_shard(overlaps: pa.Table, texts: pa.Table, *, work: OverlapRecheck) -> pa.Table:
    """What judges say about the pairs of one shard that share words with a benchmark.

    Args:
        overlaps: `OVERLAP_SCHEMA`.
        texts: the raw shard that they come from.
        work: judges and prompts.

    Returns:
        `RECHECK_SCHEMA`.
    """
    if not overlaps.num_rows:
        return RECHECK_SCHEMA.empty_table()
    ids = overlaps["pair_id"].combine_chunks().storage.unique()
    asked = suspicions(
        shard_pairs(pa.table({"pair_id": ids}, schema=CANDIDATE_SCHEMAS["risky"]), texts),
        [each for listed in prompts_by_benchmark(work.prompts).values() for each in listed],
        ngram_words=work.config.min_words,
        scope=work.config.scope,
    )
    rechecked = recheck(asked, opinions(work.judges(), asked))
    return table_from_frame(rechecked[RECHECK_COLUMNS]).cast(RECHECK_SCHEMA)
