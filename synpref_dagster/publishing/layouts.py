"""Preference layouts of other trainers: what a pair is in each, and how a trainer is told of it.

Every layout is read by `sources/` again, and gives the same pairs.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from synpref_dagster.pairs.record import PreferencePair

TURN = pa.struct([("role", pa.string()), ("content", pa.string())])
SAID = pa.struct([("from", pa.string()), ("value", pa.string())])
NOT_SINGLE_TURN = "not_single_turn"
"""Why a pair is left out of a layout that holds one question and two answers."""
_SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}
Files = Mapping[str, str]
"""Split -> name of its file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How a trainer wants its pairs."""

    name: str
    trainer: str
    """What the README calls it."""
    row: Callable[[PreferencePair], dict[str, Any] | None]
    """A pair as a row; None where the layout cannot hold it."""
    schema: pa.Schema
    """Of the rows."""
    use: Callable[[Files], str]
    """What the trainer is told, as people write it; ends without a line break."""
    beside: Callable[[Files], Mapping[str, str]] = field(default=lambda _: {})
    """Further files that it reads, by name."""
    suffix: str = ".jsonl"
    """Of the files, where nobody asks for another."""


def _turn(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def _answer(text: str) -> dict[str, str]:
    return _turn("assistant", text)


def _turns(pair: PreferencePair) -> list[dict[str, str]]:
    return [_turn(turn["role"], turn["content"]) for turn in pair.conversation]


def _explicit(pair: PreferencePair) -> dict[str, Any]:
    return {
        "prompt": _turns(pair),
        "chosen": [_answer(pair.chosen)],
        "rejected": [_answer(pair.rejected)],
    }


def _whole(pair: PreferencePair) -> dict[str, Any]:
    turns = _turns(pair)
    return {
        "chosen": [*turns, _answer(pair.chosen)],
        "rejected": [*turns, _answer(pair.rejected)],
    }


def _sharegpt(pair: PreferencePair) -> dict[str, Any]:
    system, spoken = _system(pair)
    return {
        "conversations": [_said(turn["role"], turn["content"]) for turn in spoken],
        "chosen": _said("assistant", pair.chosen),
        "rejected": _said("assistant", pair.rejected),
        "system": system,
    }


def _said(role: str, text: str) -> dict[str, str]:
    return {"from": _SPEAKERS[role], "value": text}


def _messages(pair: PreferencePair) -> dict[str, Any]:
    return {
        "messages": _turns(pair),
        "chosen": _answer(pair.chosen),
        "rejected": _answer(pair.rejected),
    }


def _single_turn(pair: PreferencePair) -> dict[str, Any] | None:
    system, spoken = _system(pair)
    if len(spoken) != 1:
        return None
    asked = spoken[0]["content"]
    return {"system": system, "input": asked, "chosen": pair.chosen, "rejected": pair.rejected}


def _ranked(pair: PreferencePair) -> dict[str, Any]:
    return {
        "context": _turns(pair),
        "completions": [
            {"rank": 0, "completion": [_answer(pair.chosen)]},
            {"rank": 1, "completion": [_answer(pair.rejected)]},
        ],
    }


def _system(pair: PreferencePair) -> tuple[str, list[dict[str, str]]]:
    """The system prompt, empty without one, and the turns behind it."""
    turns = _turns(pair)
    if turns[0]["role"] == "system":
        return turns[0]["content"], turns[1:]
    return "", turns


def _dataset_info(files: Files) -> dict[str, str]:
    about = {
        f"pairs_{split}": {
            "file_name": name,
            "formatting": "sharegpt",
            "ranking": True,
            "columns": {
                "messages": "conversations",
                "chosen": "chosen",
                "rejected": "rejected",
                "system": "system",
            },
        }
        for split, name in files.items()
    }
    return {"dataset_info.json": json.dumps(about, indent=2) + "\n"}


def _axolotl(kind: str, *lines: str) -> Callable[[Files], str]:
    def use(files: Files) -> str:
        told = [f"  - path: {files['train']}", "    ds_type: json", f"    type: {kind}"]
        return "\n".join([*lines, "datasets:", *told])

    return use


def _nemo(files: Files) -> str:
    told = [
        f"  {split}:\n    dataset_name: PreferenceDataset\n    data_path: {name}"
        for split, name in files.items()
    ]
    return "\n".join(["data:", *told])


_EXPLICIT = pa.schema([(name, pa.list_(TURN)) for name in ("prompt", "chosen", "rejected")])
LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            name="datasets",
            trainer="datasets",
            row=_explicit,
            schema=_EXPLICIT,
            use=lambda _: 'datasets.load_dataset("FOLDER")',
            suffix=".parquet",
        ),
        Layout(
            name="trl",
            trainer="TRL",
            row=_explicit,
            schema=_EXPLICIT,
            use=lambda files: f'load_dataset("json", data_files={dict(files)!r})',
        ),
        Layout(
            name="openrlhf",
            trainer="OpenRLHF",
            row=_whole,
            schema=pa.schema([(name, pa.list_(TURN)) for name in ("chosen", "rejected")]),
            use=lambda files: (
                f"--dataset {files['train']} --chosen_key chosen --rejected_key rejected "
                "--apply_chat_template"
            ),
        ),
        Layout(
            name="llama_factory",
            trainer="LLaMA-Factory",
            row=_sharegpt,
            schema=pa.schema(
                [
                    ("conversations", pa.list_(SAID)),
                    ("chosen", SAID),
                    ("rejected", SAID),
                    ("system", pa.string()),
                ]
            ),
            use=lambda _: "dataset_dir: FOLDER\ndataset: pairs_train\nstage: rm",
            beside=_dataset_info,
        ),
        Layout(
            name="axolotl",
            trainer="Axolotl (preference optimisation, conversations)",
            row=_messages,
            schema=pa.schema([("messages", pa.list_(TURN)), ("chosen", TURN), ("rejected", TURN)]),
            use=_axolotl("chat_template.default", "rl: dpo"),
        ),
        Layout(
            name="axolotl_rm",
            trainer="Axolotl (reward models, one question)",
            row=_single_turn,
            schema=pa.schema(
                [(name, pa.string()) for name in ("system", "input", "chosen", "rejected")]
            ),
            use=_axolotl("bradley_terry.chat_template", "reward_model: true"),
        ),
        Layout(
            name="nemo_rl",
            trainer="NeMo RL",
            row=_ranked,
            schema=pa.schema(
                [
                    ("context", pa.list_(TURN)),
                    (
                        "completions",
                        pa.list_(pa.struct([("rank", pa.int64()), ("completion", pa.list_(TURN))])),
                    ),
                ]
            ),
            use=_nemo,
        ),
    )
}


def readme(layout: Layout, files: Files, *, counts: Mapping[str, int]) -> str:
    """The card of a folder: its splits as `datasets` reads them, and what the trainer is told.

    Args:
        layout: of the rows.
        files: split -> name of its file.
        counts: split -> pairs.
    """
    splits = [f"  - split: {split}\n    path: {name}" for split, name in files.items()]
    head = ["---", "configs:", "- config_name: default", "  data_files:", *splits, "---"]
    told = ", ".join(f"{number:,} {split}" for split, number in counts.items())
    use = ["```", layout.use(files), "```"]
    body = ["", "# Preference pairs", "", f"{told}; layout of {layout.trainer}:", "", *use]
    return "\n".join([*head, *body]) + "\n"
