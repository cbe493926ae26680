"""Columns on an asset's page: their types as people write them, and what each one holds."""

import dagster as dg

from synpref_dagster.storage import DatasetRef, read_manifest

TYPE_WORDS = {"extension<arrow.uuid>": "uuid"}
SIGN = "+1 for the source label, -1 against it, 0 undecided"
COLUMN_WORDS = {  # names that mean the same wherever they stand
    "pair_id": "hash of conversation, chosen and rejected response",
    "content_id": "hash that both labels of a pair share",
    "conversation_id": "hash that all pairs of a conversation share",
    "source": "data set that the pair was read from",
    "origin": "who set the source label: human or synthetic",
    "conversation": "all turns before the responses, the last one of the user",
    "chosen": "the better response under the source label",
    "rejected": "the other response",
    "risky": "whether its label is doubtful; people see such pairs first",
    "risk": "why it is risky",
    "field": "where it stands: conversation, chosen or rejected",
    "benchmark": "benchmark whose item shares the words",
    "item_id": "item of the benchmark",
    "gram": "the shared words",
    "rule": "word_gram, exact_prompt or character_gram",
    "cleared": "whether judges call it no copy",
    "reason": "reason code of the decision, or of dropping the row",
    "decision": "kept, flipped or discarded",
    "best_margin": "reward(chosen) - reward(rejected) of the best RM; above 0 it agrees",
    "gold_margin": "reward(chosen) - reward(rejected) of the RM trained on gold; above 0 it agrees",
    "judge_label": f"majority of the judges: {SIGN}",
    "human_label": f"what people say: {SIGN}",
    "label": SIGN,
    "margin": "reward(chosen) - reward(rejected); above 0 the model agrees with people",
    "split": "train, or validation: the part of gold that trains nothing",
    "iteration": "pass of stage 1; 0 is the seed",
    "annotator": "who gave the verdict",
    "decided": "whether the annotator could decide",
    "edited_attributes": "what people corrected about the pair, as JSON",
    "seconds": "how long the verdict took",
    "created_at": "Unix time of the verdict",
    "asked": "who is asked about the pair: people or judges",
    "gold_pair_id": "gold pair around which this one was retrieved",
    "gold_confidence": "probability the model gave people's label of that gold pair",
    "similarity": "cosine of the two pairs' vectors",
    "value": "the measured figure",
    "low": "lower end of its 95% interval",
    "high": "upper end of its 95% interval",
    "n": "items it was measured on",
    "slice": "which of the items",
    "variant": "training set, or `longer_is_better`; empty where a row is a claim",
    "num_pairs": "pairs trained on, or counted",
    "claim": "claim of the method that the row measures; empty for plain figures",
    "threshold": "number that the claim needs",
    "tier": "what the label rests on: gold, silver, curated or recycled",
    "average": "mean of the benchmarks",
}


def column_schema(ref: DatasetRef) -> dg.TableSchema:
    """The columns of a data set for the asset's page."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                field.name,
                TYPE_WORDS.get(str(field.type), str(field.type)),
                description=COLUMN_WORDS.get(field.name),
            )
            for field in read_manifest(ref).schema
        ]
    )
