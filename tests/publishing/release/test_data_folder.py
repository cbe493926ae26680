"""The curated data loads with `datasets` and trains in TRL as it is."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synpref_dagster.curation.release.shards import export_table
from synpref_dagster.pairs.record import PreferencePair, pairs_to_table
from synpref_dagster.publishing.release import data_folder
from synpref_dagster.publishing.release.cards import render_data_card, tier_rows
from synpref_dagster.publishing.release.data_folder import write_export
from synpref_dagster.publishing.release.folder import changed_files
from synpref_dagster.reward.backbones import backbone
from synpref_dagster.reward.stand_ins import make_stand_in

CARD = {
    "licence": "other",
    "profile": "demo",
    "seed": 0,
    "version": "0.1.0",
    "num_train": 6,
    "num_validation": 2,
    "tiers": tier_rows({"gold": 6}),
    "sources": [{"name": "s", "licence": "MIT", "num_train": 6, "num_validation": 2}],
    "curation": {
        "num_clean": 8,
        "ngram_words": 13,
        "decisions": [{"decision": "kept", "reason": "all_agree", "num_pairs": 8}],
    },
    "measured": [],
    "limits": ["Invented."],
}


def pair(number):
    return PreferencePair(
        conversation=({"role": "user", "content": f"Name fruit {number}."},),
        chosen=f"Apple {number}.",
        rejected=f"Stone {number}.",
        source="s",
        origin="human",
    )


def exported(pairs, *, split, label=1):
    rows = pd.DataFrame({"label": label, "tier": "gold", "split": split}, index=range(len(pairs)))
    return export_table(pairs_to_table(pairs), rows)


@pytest.fixture
def folder(tmp_path):
    pairs = [pair(number) for number in range(8)]
    table = exported(pairs[:6], split="train")
    held_out = exported(pairs[6:], split="validation")
    return write_export(
        [table, held_out],
        tmp_path / "data",
        num_rows={"train": 6, "validation": 2},
        texts={"README.md": render_data_card(CARD), "USAGE.md": "use it"},
        manifest={"seed": 0},
    )


def test_a_flipped_pair_is_written_under_its_new_label_and_says_so():
    flipped = pair(1).flipped()
    [row] = exported([pair(1)], split="train", label=-1).to_pylist()
    assert row["chosen"] == [{"role": "assistant", "content": "Stone 1."}]
    assert row["rejected"] == [{"role": "assistant", "content": "Apple 1."}]
    assert row["prompt"] == [{"role": "user", "content": "Name fruit 1."}]
    assert row["flipped"]
    assert row["pair_id"] == flipped.pair_id.hex()


def test_datasets_loads_the_folder(folder, tmp_path):
    from datasets import load_dataset

    loaded = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert {name: len(rows) for name, rows in loaded.items()} == {"train": 6, "validation": 2}
    assert loaded["train"][0]["chosen"] == [{"role": "assistant", "content": "Apple 0."}]
    assert "split" not in loaded["train"].column_names
    assert changed_files(folder) == []


def test_the_same_content_leaves_the_folder_alone(folder, tmp_path):
    before = (folder / "training_manifest.json").stat().st_mtime_ns
    pairs = [pair(number) for number in range(8)]
    table = exported(pairs[:6], split="train")
    held_out = exported(pairs[6:], split="validation")
    write_export(
        [pa.concat_tables([table, held_out])],
        folder,
        num_rows={"train": 6, "validation": 2},
        texts={"README.md": render_data_card(CARD), "USAGE.md": "use it"},
        manifest={"seed": 0},
    )
    assert (folder / "training_manifest.json").stat().st_mtime_ns == before
    assert not (tmp_path / "data.part").exists()


def test_files_hold_so_many_rows_each_wherever_the_tables_end(tmp_path, monkeypatch):
    monkeypatch.setattr(data_folder, "ROWS_PER_FILE", 4)
    pairs = [pair(number) for number in range(12)]
    tables = [
        exported(pairs[start:end], split="train")
        for start, end in ((0, 1), (1, 1), (1, 7), (7, 12))
    ]
    folder = write_export(
        iter(tables), tmp_path / "data", num_rows={"train": 12}, texts={}, manifest={}
    )
    files = sorted((folder / "data").iterdir())
    assert [file.name for file in files] == [
        *(f"train-{number:05d}-of-00003.parquet" for number in range(3)),
        "validation-00000-of-00001.parquet",
    ]
    written = [pq.read_table(file) for file in files]
    assert [table.num_rows for table in written] == [4, 4, 4, 0]
    ids = [each for table in written for each in table["pair_id"].to_pylist()]
    assert ids == [each.pair_id.hex() for each in pairs]


def test_other_numbers_of_rows_than_announced_leave_no_folder(tmp_path):
    table = exported([pair(1)], split="train")
    with pytest.raises(ValueError, match="1 rows of split 'train' came, 2 were announced"):
        write_export([table], tmp_path / "data", num_rows={"train": 2}, texts={}, manifest={})
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
def test_trl_trains_five_steps_on_it_unchanged(folder, tmp_path):
    from datasets import load_dataset

    trl = pytest.importorskip("trl")
    model = make_stand_in(
        backbone("qwen3-0.6b"), output_dir=tmp_path / "model", seed=0, texts=["Name fruit Apple 1"]
    )
    data = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    trainer = trl.RewardTrainer(
        model=str(model),
        args=trl.RewardConfig(
            output_dir=str(tmp_path / "out"),
            max_steps=5,
            per_device_train_batch_size=2,
            report_to="none",
            use_cpu=True,
            bf16=False,
            save_strategy="no",
        ),
        train_dataset=data["train"],
        eval_dataset=data["validation"],
    )
    outcome = trainer.train()
    assert outcome.global_step == 5
    assert 0 < outcome.training_loss < 5
    assert "eval_accuracy" in trainer.evaluate()


def test_the_card_shows_each_source_under_the_estimate_of_its_labels():
    rows = [
        {
            "source": "hh",
            "rows": 2_312,
            "right labels, estimated": "61% (50% to 72%)",
            "dropped as": "",
        }
    ]
    card = render_data_card({**CARD, "measured": rows})
    assert "| source | rows | right labels, estimated |\n|---|---|---|\n" in card
    assert "| hh | 2,312 | 61% (50% to 72%) |" in card
    assert "estimated from gold" in card
    assert "## By source" not in render_data_card(CARD)
