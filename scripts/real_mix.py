"""Public sets with several votes as one layout for profile `real`: `real_mix.py FROM TO`.

FROM is the folder of the public files (SYNPREF_REAL_DATA), TO where one file per set is written in
the layout `crowd_votes`, beside what is left as it is (UKPConvArg1, HH). A set's prompts are dealt
into parts, its `debates`, so that a test set can be held out by prompt: three parts by a hash of
the prompt (PandaLM, OASST), one part a prompt (llmfao). `gold` is what the majority of the votes
says; OASST's ranks count as one vote. LLMBar becomes a benchmark of one's own.
"""

import csv
import gzip
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from synpref_dagster.pairs.record import canonical_sign, digest
from synpref_dagster.sources.reading import read_source
from synpref_dagster.sources.records import SourceBatch, SourceSpec
from synpref_dagster.storage.atomic import beside, put_in_place

NUM_PARTS = 3
VALUES = {1: "a", -1: "b", 0: "equal"}
WINNERS = {"left": "a", "right": "b", "tie": "equal"}
Row = dict[str, Any]


def main(source: Path, target: Path) -> None:
    """Write the mix, a file of a set at a time, and say how many pairs each has."""
    target.mkdir(parents=True, exist_ok=True)
    made = {
        "pandalm": _read(source / "pandalm_test/testset-v1.json.gz", "pandalm"),
        "oasst": _read(source / "oasst_sample/en_100_tree.jsonl.gz", "oasst"),
        "llmfao": _llmfao(source / "llmfao"),
    }
    for name, rows in made.items():
        file, found = target / f"{name}.jsonl.gz", list(rows)
        part = beside(file)
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)
        # Without the time, so that the same rows are the same file tomorrow.
        part.write_bytes(gzip.compress(lines.encode(), mtime=0))
        put_in_place(part, file)
        decided = sum(row["gold"] in ("a", "b") for row in found)
        print(f"{name}: {len(found):,} pairs, {decided:,} decided by a majority")
    rows = list(_llmbar(source / "llmbar/Dataset/LLMBar"))
    file = target / "llmbar.jsonl"
    part = beside(file)
    part.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    put_in_place(part, file)
    print(f"llmbar: {len(rows):,} items of a benchmark")


def _llmbar(folder: Path) -> Iterator[Row]:
    """Instructions with two outputs, one of which follows them."""
    for file in sorted(folder.rglob("dataset.json.gz")):
        subset = file.parent.name.lower()
        for number, row in enumerate(json.loads(gzip.decompress(file.read_bytes()))):
            outputs = [row["output_1"], row["output_2"]]
            yield {
                "id": f"{subset}-{number}",
                "subset": subset,
                "prompt": row["input"],
                "chosen": outputs[row["label"] - 1],
                "rejected": outputs[2 - row["label"]],
            }


def _read(file: Path, name: str) -> Iterator[Row]:
    """The pairs of a file, each with its votes; what cannot be read is counted by reason."""
    spec = SourceSpec(name=name, path=str(file), origin="human", licence="")
    refused: Counter[str] = Counter()
    for batch in read_source(spec, seed=0):
        yield from _rows(batch, name)
        refused.update(row.reason for row in batch.quarantined)
    for reason, count in sorted(refused.items()):
        print(f"{name}: {count:,} left out, {reason}")


def _rows(batch: SourceBatch, name: str) -> Iterator[Row]:
    votes = defaultdict(list)
    for verdict in batch.recorded_verdicts:
        votes[verdict.content_id].append((verdict.annotator, verdict.verdict))
    for pair in batch.pairs:
        conversation = [dict(turn) for turn in pair.conversation]
        to_pair = canonical_sign(pair.chosen, pair.rejected)
        said = votes[pair.content_id] or [("rank", to_pair)]
        number = digest(json.dumps(conversation[:1]))[0] % NUM_PARTS
        yield _row(
            conversation,
            (pair.chosen, pair.rejected),
            [(str(who), VALUES[sign * to_pair]) for who, sign in said],
            debate=f"{name}-{number + 1}",
        )


def _llmfao(folder: Path) -> Iterator[Row]:
    """Answers of two models to a prompt, joined with the votes on them by the pair's number."""
    votes = defaultdict(list)
    for vote in _lines(folder / "crowd-comparisons.csv.gz", csv.DictReader):
        votes[int(vote["id"])].append((f"worker-{vote['worker']}", WINNERS[vote["winner"]]))
    for pair in _lines(folder / "pairs-crowd.jsonl.gz", lambda lines: map(json.loads, lines)):
        conversation = [{"role": "user", "content": pair["text"]}]
        answers = (pair["result_x"], pair["result_y"])
        yield _row(conversation, answers, votes[pair["id"]], debate=f"llmfao-{pair['slug']}")


def _lines(file: Path, reader: Any) -> Iterable[Mapping[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8", newline="") as lines:
        yield from reader(lines)


def _row(
    conversation: Sequence[Mapping[str, Any]],
    responses: tuple[str, str],
    votes: Sequence[tuple[str, str]],
    *,
    debate: str,
) -> Row:
    [(gold, count), *others] = Counter(value for _, value in votes).most_common()
    return {
        "prompt": conversation,
        "response_a": responses[0],
        "response_b": responses[1],
        "votes": [{"worker": who, "value": value} for who, value in votes],
        "debate": debate,
        "gold": gold if not others or count > others[0][1] else None,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
