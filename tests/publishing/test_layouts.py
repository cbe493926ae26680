"""Rows are what each trainer's documentation asks for; checked by rules, not by our own writer."""

import json
from types import SimpleNamespace

import pyarrow as pa
import pytest
import yaml

from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.publishing.layouts import LAYOUTS, readme

SYSTEM = {"role": "system", "content": "Be brief."}
FIRST = [{"role": "user", "content": "Hi"}]
MORE = [
    *FIRST, {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Ünd\nnow?"},
]  # fmt: skip
TALKS = {"one": FIRST, "system": [SYSTEM, *FIRST], "turns": MORE, "all": [SYSTEM, *MORE]}


def pair(talk):
    return PreferencePair(
        conversation=tuple(talk), chosen="good", rejected="bad", source="s", origin="human"
    )


def are_messages(found):
    """OpenAI messages: TRL, OpenRLHF, Axolotl and NeMo RL hand them to a chat template."""
    return bool(found) and all(
        set(each) == {"role", "content"} and each["role"] in ("system", "user", "assistant")
        for each in found
    )


def check_trl(row):
    """Explicit prompt: it ends with the user, each answer is one message of the assistant."""
    assert set(row) == {"prompt", "chosen", "rejected"}
    assert all(map(are_messages, row.values()))
    assert row["prompt"][-1]["role"] == "user"
    for side in ("chosen", "rejected"):
        assert [each["role"] for each in row[side]] == ["assistant"]


def check_openrlhf(row):
    """Without a prompt key each side is a whole conversation; both share all but their end."""
    assert set(row) == {"chosen", "rejected"}
    assert all(map(are_messages, row.values()))
    assert row["chosen"][:-1] == row["rejected"][:-1]
    assert row["chosen"][-1]["role"] == "assistant"


def check_llama_factory(row):
    """Sharegpt: human and gpt in turn, from human to human; answers are messages of gpt."""
    assert set(row) == {"conversations", "chosen", "rejected", "system"}
    speakers = [each["from"] for each in row["conversations"]]
    assert speakers == [("human", "gpt")[n % 2] for n in range(len(speakers))]
    assert len(speakers) % 2 == 1
    for side in ("chosen", "rejected"):
        assert set(row[side]) == {"from", "value"}
        assert row[side]["from"] == "gpt"
    assert isinstance(row["system"], str)


def check_axolotl(row):
    """Messages and one message for each answer."""
    assert set(row) == {"messages", "chosen", "rejected"}
    assert are_messages(row["messages"])
    assert row["messages"][-1]["role"] == "user"
    assert are_messages([row["chosen"], row["rejected"]])


def check_axolotl_rm(row):
    """Four texts, of which the system prompt may be empty."""
    assert set(row) == {"system", "input", "chosen", "rejected"}
    assert all(isinstance(each, str) for each in row.values())
    assert row["input"]


def check_nemo_rl(row):
    """A context and completions, each a list of messages with a rank; the lowest is preferred."""
    assert set(row) == {"context", "completions"}
    assert are_messages(row["context"])
    assert len({each["rank"] for each in row["completions"]}) == len(row["completions"]) == 2
    assert all(are_messages(each["completion"]) for each in row["completions"])
    best = min(row["completions"], key=lambda each: each["rank"])
    assert best["completion"] == [{"role": "assistant", "content": "good"}]


CHECKS = SimpleNamespace(
    datasets=check_trl, trl=check_trl, openrlhf=check_openrlhf, llama_factory=check_llama_factory,
    axolotl=check_axolotl, axolotl_rm=check_axolotl_rm, nemo_rl=check_nemo_rl,
)  # fmt: skip


@pytest.mark.parametrize("talk", TALKS)
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_row_is_what_the_trainer_documents(name, talk):
    row = LAYOUTS[name].row(pair(TALKS[talk]))
    if name == "axolotl_rm" and talk in ("turns", "all"):
        assert row is None
        return
    getattr(CHECKS, name)(json.loads(json.dumps(row)))
    assert pa.Table.from_pylist([row], schema=LAYOUTS[name].schema).to_pylist() == [row]


def test_llama_factory_finds_files_and_columns_in_its_list():
    files = {"train": "train.jsonl", "validation": "validation.jsonl"}
    about = json.loads(LAYOUTS["llama_factory"].beside(files)["dataset_info.json"])
    assert {each["file_name"] for each in about.values()} == {*files.values()}
    row = LAYOUTS["llama_factory"].row(pair(MORE))
    for each in about.values():
        assert (each["formatting"], each["ranking"]) == ("sharegpt", True)
        assert set(each["columns"].values()) == set(row)
        assert set(each["columns"]) == {"messages", "chosen", "rejected", "system"}


@pytest.mark.parametrize("name", ["axolotl", "axolotl_rm", "nemo_rl"])
def test_what_a_trainer_is_told_is_yaml_that_names_the_files(name):
    told = yaml.safe_load(LAYOUTS[name].use({"train": "train.jsonl"}))
    if name == "nemo_rl":
        assert told == {
            "data": {"train": {"dataset_name": "PreferenceDataset", "data_path": "train.jsonl"}}
        }
    else:
        assert [each["path"] for each in told["datasets"]] == ["train.jsonl"]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_readme_says_which_file_is_which_split(name):
    files = {"train": "train.jsonl", "validation": "validation.jsonl"}
    text = readme(LAYOUTS[name], files, counts={"train": 1200, "validation": 3})
    [config] = yaml.safe_load(text.split("---")[1])["configs"]
    assert {each["split"]: each["path"] for each in config["data_files"]} == files
    assert "1,200 train, 3 validation" in text
    assert LAYOUTS[name].use(files) in text
