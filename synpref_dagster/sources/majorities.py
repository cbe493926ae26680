"""What the majority of the votes in crowd-vote files says: their gold, and held-out debates.

For evidence and reports only: what the pool's labels are drawn from is in `formats/crowd_votes`.
"""

import gzip
import json
from collections.abc import Iterator, Mapping, Set as AbstractSet
from typing import Any

from synpref_dagster.pairs.record import PreferencePair, Turn, canonical_sign
from synpref_dagster.sources.formats.fields import user_turn

TRUTH_COLUMN = "gold"
"""Column of crowd votes that no reader of pairs reads, and only the truth of held-out debates."""


def majority_gold(
    files: Mapping[str, str], *, test_debates: AbstractSet[str]
) -> tuple[dict[bytes, int], list[PreferencePair]]:
    """The settled contents of all files, and the pairs of some debates, as their majority has them.

    Args:
        files: path -> source, of gzip-compressed JSON lines with `gold`: a or b, or anything else
            for a tie.
        test_debates: names of the debates whose pairs are wanted.

    Returns:
        content_id -> +1 when the response that sorts first is better, -1 when the other one is;
        and the pairs by content, whose chosen response is the better one.
    """
    signs: dict[bytes, set[int]] = {}
    test: dict[bytes, PreferencePair] = {}
    for source, row in _rows(files):
        pair = _gold_pair(row, source)
        if pair is None:
            continue
        sign = canonical_sign(pair.chosen, pair.rejected)
        signs.setdefault(pair.content_id, set()).add(sign)
        if row["debate"] in test_debates:
            test[pair.content_id] = pair
    # The same two arguments can occur twice with opposite majorities: nobody knows then.
    settled = {content: next(iter(both)) for content, both in signs.items() if len(both) == 1}
    # By content: the first few of them are a fair draw, not the first file.
    return settled, [pair for content, pair in sorted(test.items()) if content in settled]


def _gold_pair(row: dict[str, Any], source: str) -> PreferencePair | None:
    responses = {"a": row["response_a"], "b": row["response_b"]}
    if row[TRUTH_COLUMN] not in responses or responses["a"].strip() == responses["b"].strip():
        return None
    better = str(row[TRUTH_COLUMN])
    return PreferencePair(
        conversation=tuple(
            Turn(role=turn["role"], content=turn["content"]) for turn in user_turn(row["prompt"])
        ),
        chosen=responses[better],
        rejected=responses["b" if better == "a" else "a"],
        source=source,
        origin="human",
    )


def _rows(files: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for file, source in sorted(files.items()):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield source, json.loads(line)
