"""Arena's conversations, as lists and as the text that tables hold in their place."""

import csv
import json

from synpref_dagster.sources.reading import read_source
from synpref_dagster.sources.records import SourceSpec


def chat(reply):
    return [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": reply}]


def test_conversations_in_a_table_are_the_same_pairs_as_in_json(tmp_path):
    rows = [
        {"conversation_a": chat("yes"), "conversation_b": chat("no"), "winner": winner}
        for winner in ("model_b", "A", "tie", "1")
    ]
    lines, table = tmp_path / "x.jsonl", tmp_path / "x.csv"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0]])
        writer.writeheader()
        for row in rows:
            writer.writerow({n: v if isinstance(v, str) else json.dumps(v) for n, v in row.items()})
    for path in (lines, table):
        spec = SourceSpec(name="x", path=str(path), origin="human", licence="")
        [batch] = read_source(spec, seed=0)
        assert [(pair.chosen, pair.rejected) for pair in batch.pairs] == [
            ("no", "yes"),
            ("yes", "no"),
        ]
        assert [row.reason for row in batch.quarantined] == ["tied", "ambiguous_label"]
