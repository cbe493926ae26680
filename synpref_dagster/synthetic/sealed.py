"""The sealed truth of a world: only reports and tests may read it, never a step of the pipeline."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from synpref_dagster.pairs.record import ID_TYPE, canonical_sign, conversation_id, id_array
from synpref_dagster.synthetic.draws import Example
from synpref_dagster.synthetic.pool import PlacedExample
from synpref_dagster.synthetic.source_files import to_row

TRUTH, TEST_PAIRS = "truth.parquet", "test_pairs.jsonl"
TRUTH_SCHEMA = pa.schema(
    [
        ("content_id", ID_TYPE),
        ("verdict", pa.int8()),
        ("task_category", pa.string()),
        ("objectivity", pa.string()),
        ("controversiality", pa.string()),
        ("source", pa.string()),
    ]
)


def write_sealed(folder: Path, placed: Sequence[PlacedExample], *, test: Sequence[Example]) -> None:
    """Write `truth.parquet`, `test_pairs.jsonl` and `summary.json` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(truth_table(placed), folder / TRUTH)
    lines = [json.dumps(_test_row(example)) for example in test]
    (folder / TEST_PAIRS).write_text("".join(f"{line}\n" for line in lines), "utf-8")
    text = json.dumps(summary(placed), indent=2, sort_keys=True) + "\n"
    (folder / "summary.json").write_text(text, encoding="utf-8")


def sealed_signs(folder: Path) -> dict[bytes, int]:
    """content_id -> +1 when the response that sorts first is better, -1 when the other one is."""
    table = pq.read_table(folder / TRUTH, columns=["content_id", "verdict"])
    frame = pd.DataFrame(table.to_pandas())
    return dict(zip(frame["content_id"], frame["verdict"].astype(int), strict=True))


def truth_table(placed: Sequence[PlacedExample]) -> pa.Table:
    """One row per pair content: `verdict` is +1 when the response that sorts first is better."""
    examples = [item.example for item in placed]
    tasks = [example.task for example in examples]
    columns: list[pa.Array] = [
        id_array([example.content_id for example in examples]),
        pa.array([canonical_sign(each.right, each.wrong) for each in examples], pa.int8()),
        pa.array([task.category for task in tasks], pa.string()),
        pa.array([task.objectivity for task in tasks], pa.string()),
        pa.array([task.controversiality for task in tasks], pa.string()),
        pa.array([item.source.name for item in placed], pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=TRUTH_SCHEMA)


def summary(placed: Sequence[PlacedExample]) -> dict[str, object]:
    """Facts about a world that need the truth: label accuracies, length confound, variety."""
    labels = [(item.source, right) for item in placed for right in item.labels]
    sources = sorted({source.name for source, _ in labels})
    origins = sorted({source.origin for source, _ in labels})
    conversations = {conversation_id(item.example.conversation) for item in placed}
    longer = [len(item.example.right) > len(item.example.wrong) for item in placed]
    return {
        "label_accuracy": _share([right for _, right in labels]),
        "label_accuracy_by_origin": {
            origin: _share([right for source, right in labels if source.origin == origin])
            for origin in origins
        },
        "label_accuracy_by_source": {
            name: _share([right for source, right in labels if source.name == name])
            for name in sources
        },
        "longer_is_better": _share(longer),
        "distinct_conversation_share": round(len(conversations) / len(placed), 4),
        "num_contents": len(placed),
        "num_latent": len({item.example.task.latent for item in placed}),
    }


def _share(right: Sequence[bool]) -> float:
    return round(sum(right) / len(right), 4) if right else 0.0


def _test_row(example: Example) -> dict[str, object]:
    pair = example.labelled(label_right=True, source="test", origin="human")
    return {
        **to_row(pair, "explicit"),
        "task_category": example.task.category,
        "objectivity": example.task.objectivity,
        "controversiality": example.task.controversiality,
    }
