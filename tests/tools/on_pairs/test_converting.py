"""Whatever layout pairs are written in, they are the same pairs when they are read again."""

import json

import pytest

from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.publishing.layouts import LAYOUTS
from synpref_dagster.tools.on_pairs.converting import convert
from synpref_dagster.tools.on_pairs.given import given_pairs


def system_turn(text):
    return {"role": "system", "content": text}


SYSTEM = system_turn("Be brief.")


def asked(*texts, system=False):
    roles = ("user", "assistant")
    turns = [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]
    return tuple([SYSTEM, *turns] if system else turns)


def pair(talk, chosen="good", rejected="bad"):
    return PreferencePair(
        conversation=talk, chosen=chosen, rejected=rejected, source="s", origin="human"
    )


PAIRS = [
    pair(asked("Hi")),
    pair(asked("Hi"), "bad", "good"),  # the same two under the other label
    pair(asked("Hi", system=True)),
    pair(asked("one\n\ntwo", "three", "Ünd jetzt? 🙂", system=True), "a\n- b", 'c\\d "e"'),
    pair(asked("x", "y", "z")),
    pair(asked('{"role": "user"}'), "[1, 2]", "null"),
    pair(asked("Human: no marker"), "yes", "\tno"),
]


def ids(pairs):
    return [one.pair_id for one in pairs]


@pytest.mark.parametrize("suffix", ["", ".jsonl", ".parquet"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_round_trip_keeps_pairs(name, suffix, tmp_path):
    report = convert(PAIRS, tmp_path / f"out{suffix}", to=name)
    read = given_pairs(tmp_path / f"out{suffix}")
    held = [one for one in PAIRS if LAYOUTS[name].row(one)]
    assert ids(read.pairs) == ids(held)
    assert read.reading.quarantined == {}
    assert report.written == {"train": len(held)}
    lost = len(PAIRS) - len(held)
    assert report.left_out == ({"not_single_turn": lost} if lost else {})
    assert sum(report.written.values()) + lost == report.reading.num_items
    assert [file for file in tmp_path.iterdir() if file.name.endswith(".part")] == []


def by_openrlhf(row, _):
    """Two whole conversations, which differ in the assistant's last message."""
    assert row["chosen"][:-1] == row["rejected"][:-1]
    return row["chosen"][:-1], row["chosen"][-1], row["rejected"][-1]


def by_llama_factory(row, folder):
    """As dataset_info.json says: speakers take turns and a human is last; `system` is a column."""
    [about] = json.loads((folder / "dataset_info.json").read_text()).values()
    assert (about["formatting"], about["ranking"]) == ("sharegpt", True)
    assert (folder / about["file_name"]).is_file()
    columns = about["columns"]
    told = row[columns["messages"]]
    assert [turn["from"] for turn in told] == [("human", "gpt")[n % 2] for n in range(len(told))]
    assert len(told) % 2 == 1
    system = [system_turn(row[columns["system"]])] if row[columns["system"]] else []
    answers = [row[columns[name]] for name in ("chosen", "rejected")]
    roles = {"human": "user", "gpt": "assistant"}
    as_turn = [
        {"role": roles[turn["from"]], "content": turn["value"]} for turn in (*told, *answers)
    ]
    return [*system, *as_turn[:-2]], *as_turn[-2:]


def by_axolotl(row, _):
    """Messages, and one message of each answer; roles are user, assistant and system."""
    return row["messages"], row["chosen"], row["rejected"]


def by_axolotl_rm(row, _):
    """Four texts; `system` is always there, and empty where there is none."""
    system = [system_turn(row["system"])] if row["system"] else []
    answers = [{"role": "assistant", "content": row[name]} for name in ("chosen", "rejected")]
    return [*system, {"role": "user", "content": row["input"]}], *answers


def by_nemo_rl(row, _):
    """Completions of one message each; the one of lower rank is preferred."""
    better, worse = sorted(row["completions"], key=lambda each: each["rank"])
    assert better["rank"] < worse["rank"]
    [chosen], [rejected] = better["completion"], worse["completion"]
    return row["context"], chosen, rejected


TRAINERS = {
    "openrlhf": by_openrlhf,
    "llama_factory": by_llama_factory,
    "axolotl": by_axolotl,
    "axolotl_rm": by_axolotl_rm,
    "nemo_rl": by_nemo_rl,
}


@pytest.mark.parametrize("name", TRAINERS)
def test_a_trainer_finds_every_pair_by_its_own_documentation(name, tmp_path):
    """Each trainer reads rows as its documentation and its loader say."""
    convert(PAIRS, tmp_path / "out", to=name)
    lines = (tmp_path / "out" / "train.jsonl").read_text().splitlines()
    held = [one for one in PAIRS if LAYOUTS[name].row(one)]
    assert len(held) >= 5
    for line, one in zip(lines, held, strict=True):
        talk, chosen, rejected = TRAINERS[name](json.loads(line), tmp_path / "out")
        assert tuple(talk) == tuple(one.conversation)
        assert chosen == {"role": "assistant", "content": one.chosen}
        assert rejected == {"role": "assistant", "content": one.rejected}


def test_what_a_layout_cannot_hold_and_what_is_no_pair_lie_beside(tmp_path, write_lines):
    rows = [
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        {"prompt": "a", "chosen": "b", "rejected": "b"},
        {"prompt": [*asked("x", "y", "z")], "chosen": "b", "rejected": "c"},
    ]
    report = convert(write_lines("p.jsonl", rows), tmp_path / "out", to="axolotl_rm")
    told = [json.loads(line) for line in report.quarantine.read_text().splitlines()]
    assert {(row["row"], row["reason"]) for row in told} == {
        (1, "identical_responses"), (2, "not_single_turn"),
    }  # fmt: skip
    assert report.written == {"train": 1}


@pytest.mark.parametrize("name", ["datasets", "trl"])
def test_datasets_reads_a_folder_with_its_splits(name, tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    many = [pair(asked(f"q {n % 20}"), f"good {n}") for n in range(40)]
    report = convert(many, tmp_path / "out", to=name, held_out=0.3)
    found = datasets.load_dataset(str(tmp_path / "out"))
    assert {split: len(found[split]) for split in found} == report.written
    sides = [
        {row["prompt"][0]["content"] for row in found[split]} for split in ("train", "validation")
    ]
    assert (sides[0] & sides[1], len(sides[0] | sides[1])) == (set(), 20)
    assert found["train"][0]["chosen"][0]["role"] == "assistant"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["datasets", "trl", "openrlhf"])
def test_trl_trains_five_steps_on_what_is_written(name, classifier, tmp_path, monkeypatch):
    import datasets
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from trl import RewardConfig, RewardTrainer

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    many = [pair(asked(f"word{n % 7} word2", system=n % 2 == 0), f"word{n % 5}", "word9")
            for n in range(20)]  # fmt: skip
    convert(many, tmp_path / "out", to=name)
    model = AutoModelForSequenceClassification.from_pretrained(classifier, dtype=torch.float32)
    before = model.score.weight.detach().clone()
    settings = RewardConfig(
        output_dir=str(tmp_path / "trained"), max_steps=5, per_device_train_batch_size=4,
        use_cpu=True, report_to="none", save_strategy="no", bf16=False, logging_steps=1,
        gradient_checkpointing=False,
    )  # fmt: skip
    trainer = RewardTrainer(
        model=model,
        args=settings,
        train_dataset=datasets.load_dataset(str(tmp_path / "out"))["train"],
        processing_class=AutoTokenizer.from_pretrained(classifier),
    )
    trainer.train()
    assert trainer.state.global_step == 5
    assert not torch.equal(before, model.score.weight)


def test_a_split_that_datasets_saved_is_chosen(tmp_path):
    import datasets

    parts = {
        name: datasets.Dataset.from_list(
            [{"prompt": f"{name} {n}", "chosen": "a", "rejected": "b"} for n in range(num)]
        )
        for name, num in (("train", 3), ("test", 2))
    }
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    report = convert(tmp_path / "saved", tmp_path / "out", to="trl", split="test")
    assert report.written == {"train": 2}
    with pytest.raises(ValueError, match="split"):
        convert(tmp_path / "saved", tmp_path / "more", to="trl")


def test_a_file_of_no_known_layout_is_refused_by_its_columns(tmp_path, write_lines):
    file = write_lines("p.jsonl", [{"colour": "red", "shape": "round"}])
    with pytest.raises(
        ValueError, match=r"p\.jsonl: no known .* columns colour .* --column"
    ) as told:
        convert(file, tmp_path / "out", to="trl")
    assert len(str(told.value)) < 300
    assert not (tmp_path / "out").exists()


def test_an_empty_file_becomes_an_empty_folder(tmp_path):
    convert([], tmp_path / "out", to="datasets", held_out=0.5)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "README.md", "train.parquet", "validation.parquet",
    ]  # fmt: skip


def test_what_is_broken_off_leaves_what_was_there(tmp_path, monkeypatch):
    convert(PAIRS[:1], tmp_path / "out", to="trl")
    monkeypatch.setattr("synpref_dagster.tools.on_pairs.converting.readme", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        convert(PAIRS, tmp_path / "out", to="trl", force=True)
    assert ids(given_pairs(tmp_path / "out").pairs) == ids(PAIRS[:1])


@pytest.mark.parametrize(
    ("name", "how", "words"),
    [
        ("out", {"to": "alpaca"}, "unknown layout 'alpaca': choose datasets, trl"),
        ("out.csv", {"to": "trl"}, "name a folder, or a file"),
        ("out.jsonl", {"to": "trl", "held_out": 0.1}, "is one file, and has no splits"),
        ("out", {"to": "trl", "held_out": 1.0}, "from 0 up to 1"),
        ("there", {"to": "trl"}, "is there already"),
        ("no/where", {"to": "trl"}, "there is no folder"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(tmp_path, name, how, words):
    (tmp_path / "there").mkdir()
    with pytest.raises(ValueError, match=words) as refused:
        convert(PAIRS, tmp_path / name, **how)
    assert "\n" not in str(refused.value)


def test_a_folder_with_something_else_in_it_is_not_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other files, and is not replaced"):
        convert(PAIRS, tmp_path / "mine", to="trl", force=True)
    for name in ("llama_factory", "datasets"):
        convert(PAIRS[:2], tmp_path / "out", to=name, held_out=0.5, force=True)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "README.md", "train.parquet", "validation.parquet",
    ]  # fmt: skip


def test_the_folder_that_is_read_is_not_replaced(tmp_path, write_lines):
    file = write_lines("data/p.jsonl", [{"prompt": "a", "chosen": "b", "rejected": "c"}])
    for output in (tmp_path / "data", tmp_path / "data" / "out"):
        with pytest.raises(ValueError, match=r"which would be lost|which is read"):
            convert(tmp_path / "data", output, to="trl", force=True)
    assert file.is_file()
