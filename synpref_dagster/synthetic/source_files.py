"""Writes a source's pairs as people publish preference data, faults included.

Four public layouts: TRL explicit prompt (conversational and plain), TRL implicit prompt, and
"Human/Assistant" transcripts; as JSON lines, gzipped JSON lines or Parquet. Malformed rows are part
of the material: a reader must put every one of them into quarantine and none of the others.
"""

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.synthetic.labellers import Layout

Row = dict[str, Any]
Message = dict[str, str]
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
SPEAKERS = {"user": "Human", "assistant": "Assistant"}


def to_row(pair: PreferencePair, layout: Layout) -> Row:
    """The pair as one row of a layout.

    Raises:
        ValueError: a multi-turn conversation in the plain layout, which has no turns.
    """
    prompt: list[Message] = [
        {"role": turn["role"], "content": turn["content"]} for turn in pair.conversation
    ]
    if layout == "plain":
        if len(prompt) > 1:
            raise ValueError("the plain layout holds single-turn conversations only")
        return {
            "prompt": prompt[0]["content"],
            "chosen": pair.chosen,
            "rejected": pair.rejected,
        }
    chosen = {"role": "assistant", "content": pair.chosen}
    rejected = {"role": "assistant", "content": pair.rejected}
    if layout == "explicit":
        return {"prompt": prompt, "chosen": [chosen], "rejected": [rejected]}
    if layout == "implicit":
        return {"chosen": [*prompt, chosen], "rejected": [*prompt, rejected]}
    return {"chosen": _transcript([*prompt, chosen]), "rejected": _transcript([*prompt, rejected])}


def malformed_rows(row: Row, layout: Layout) -> dict[str, Row]:
    """Broken variants of a good row, by what is wrong with them; all must be quarantined."""
    return _MALFORMED[layout](row)


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write rows by the file's suffix: .jsonl, .jsonl.gz or .parquet; bytes depend on rows only.

    Raises:
        ValueError: unknown suffix.
    """
    if path.suffix == ".parquet":
        schema = pa.schema([("prompt", MESSAGES), ("chosen", MESSAGES), ("rejected", MESSAGES)])
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)
        return
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if path.name.endswith(".jsonl.gz"):
        # A fixed time keeps the bytes the same from run to run.
        path.write_bytes(gzip.compress(lines, mtime=0))
    elif path.suffix == ".jsonl":
        path.write_bytes(lines)
    else:
        raise ValueError(f"{path.name}: suffix must be .jsonl, .jsonl.gz or .parquet")


def _transcript(messages: Sequence[Mapping[str, str]]) -> str:
    return "".join(f"\n\n{SPEAKERS[message['role']]}: {message['content']}" for message in messages)


def _malformed_explicit(row: Row) -> dict[str, Row]:
    answer = {"role": "assistant", "content": ""}
    prompt = row["prompt"]
    return {
        "empty_response": {**row, "rejected": [answer]},
        "no_response": {**row, "chosen": None},
        "null_content": {**row, "chosen": [{**answer, "content": None}]},
        "identical_responses": {**row, "rejected": row["chosen"]},
        "unknown_role": {**row, "prompt": [{**prompt[0], "role": "narrator"}, *prompt[1:]]},
        "roles_not_alternating": {**row, "prompt": [*prompt, prompt[-1]]},
        "not_ending_with_user": {
            **row,
            "prompt": [*prompt, {"role": "assistant", "content": "noted."}],
        },
    }


def _malformed_implicit(row: Row) -> dict[str, Row]:
    chosen, rejected = row["chosen"], row["rejected"]
    return {
        "empty_response": {**row, "chosen": [*chosen[:-1], {**chosen[-1], "content": ""}]},
        "no_response": {**row, "rejected": None},
        "identical_responses": {**row, "rejected": chosen},
        "not_text": {**row, "rejected": [*rejected[:-1], {**rejected[-1], "content": True}]},
        "wrong_roles": {**row, "chosen": [*chosen[:-1], {**chosen[-1], "role": "user"}]},
        "different_prompts": {
            **row,
            "rejected": [{"role": "user", "content": "something else?"}, *rejected[1:]],
        },
    }


def _malformed_plain(row: Row) -> dict[str, Row]:
    return {
        "empty_response": {**row, "chosen": ""},
        "no_response": {**row, "rejected": None},
        "identical_responses": {**row, "rejected": row["chosen"]},
        "not_text": {**row, "chosen": 7},
        "empty_prompt": {**row, "prompt": ""},
    }


def _malformed_transcript(row: Row) -> dict[str, Row]:
    chosen, rejected = row["chosen"], row["rejected"]
    return {
        "empty_response": {**row, "rejected": chosen[: chosen.rindex("Assistant:") + 10]},
        "no_response": {**row, "chosen": None},
        "identical_responses": {**row, "rejected": chosen},
        "different_prompts": {**row, "rejected": "\n\nHuman: what else?\n\nAssistant: nothing."},
        "not_ending_with_assistant": {
            "chosen": f"{chosen}\n\nHuman: thanks.",
            "rejected": f"{rejected}\n\nHuman: thanks.",
        },
        "no_turns": {**row, "chosen": "just some text."},
    }


_MALFORMED: Mapping[Layout, Callable[[Row], dict[str, Row]]] = {
    "explicit": _malformed_explicit,
    "implicit": _malformed_implicit,
    "plain": _malformed_plain,
    "transcript": _malformed_transcript,
}
