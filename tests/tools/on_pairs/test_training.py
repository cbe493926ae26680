"""A model comes of the pairs and settings that were named, once; what measures it trains none."""

import json
from dataclasses import replace

import numpy as np
import pytest

from synpref_dagster.pairs.ids import in_id_order
from synpref_dagster.pairs.progress import StepsTaken
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.reward.folders import finished_training
from synpref_dagster.reward.linear.model import LinearConfig, train_linear_reward_model
from synpref_dagster.reward.scoring import load_reward_model
from synpref_dagster.reward.training import launch, run
from synpref_dagster.reward.training.config import TrainingConfig
from synpref_dagster.tools.on_pairs.training import train
from synpref_dagster.tools.scoring import score

SMALL = ("batch_pairs=4", "num_steps=6", "learning_rate=0.01", "dtype=float32")


def rows(num=40, *, conversations=20, words="word"):
    """Of every second pair the longer response is chosen; each conversation stands there twice."""
    return [
        {
            "prompt": f"{words}{n % conversations} word1",
            "chosen": f"word{n % 11} word{n % 5} word{n % 3}",
            "rejected": f"word{n % 13}",
        }
        for n in range(num)
    ]


def as_pairs(given):
    return [
        PreferencePair(
            conversation=({"role": "user", "content": row["prompt"]},),
            chosen=row["chosen"],
            rejected=row["rejected"],
            source="any",
            origin="human",
        )
        for row in given
    ]


def rewards(model, given):
    pairs = as_pairs(given)
    asked = [pair.conversation for pair in pairs]
    return load_reward_model(model).rewards(asked, [pair.chosen for pair in pairs])


def test_a_linear_model_is_the_engines_own_and_can_be_scored_with(write_lines, tmp_path):
    file = write_lines("pairs.jsonl", [*rows(), {"prompt": "word1", "chosen": "", "rejected": "x"}])
    report = train(file, tmp_path / "model", backend="linear", held_out=0)
    pairs = in_id_order(as_pairs(rows()))
    train_linear_reward_model(pairs, [], config=LinearConfig(), output_dir=tmp_path / "own")
    np.testing.assert_array_equal(
        rewards(tmp_path / "model", rows(5)), rewards(tmp_path / "own", rows(5))
    )
    assert (report.num_pairs, report.num_validation, report.evaluation) == (40, 0, None)
    assert report.reading.quarantined == {"empty_response": 1}
    [line] = (tmp_path / "model.quarantine.jsonl").read_text().splitlines()
    assert (json.loads(line)["row"], json.loads(line)["reason"]) == (40, "empty_response")
    assert score(tmp_path / "model", file, tmp_path / "out.jsonl").reading.num_items == 40
    assert {each.name for each in tmp_path.iterdir() if each.name.startswith(".")} == set()


def test_a_held_out_conversation_is_on_one_side_with_all_its_pairs(tmp_path, monkeypatch):
    seen = {}
    plain = train_linear_reward_model

    def noted(pairs, validation, **told):
        seen.update(pairs=pairs, validation=validation)
        return plain(pairs, validation, **told)

    monkeypatch.setattr("synpref_dagster.reward.linear.model.train_linear_reward_model", noted)
    report = train(as_pairs(rows()), tmp_path / "m", backend="linear", held_out=0.3)
    sides = [{pair.conversation_id for pair in seen[side]} for side in ("pairs", "validation")]
    assert sides[0] & sides[1] == set()
    assert len(sides[0] | sides[1]) == 20
    assert len(seen["pairs"]) + len(seen["validation"]) == 40
    assert len(seen["validation"]) == 2 * len(sides[1]) == report.num_validation
    assert report.evaluation.num_pairs == report.num_validation > 0


def test_no_conversation_of_gold_trains(write_lines, tmp_path):
    gold = write_lines("gold.jsonl", rows(6, conversations=3))
    report = train(as_pairs(rows()), tmp_path / "m", backend="linear", gold=gold)
    assert report.left_out == {"conversation_in_gold": 6}  # word0, word1 and word2, twice each
    assert (report.num_pairs, report.evaluation.num_pairs) == (34, 6)
    assert report.validated_on.num_items == 6


def test_a_fine_tuning_is_the_engines_own(classifier, tmp_path):
    given = as_pairs(rows())
    told = []
    report = train(
        given, tmp_path / "m", backbone=classifier, held_out=0, changes=SMALL, seed=3,
        listener=told.append,
    )  # fmt: skip
    config = TrainingConfig(**finished_training(tmp_path / "m")["config"])
    assert config == replace(
        config, batch_pairs=4, max_steps=6, learning_rate=0.01, dtype="float32", seed=3
    )
    own = run.train_reward_model(
        in_id_order(given), [], backbone_path=str(classifier), config=config,
        output_dir=tmp_path / "own",
    )  # fmt: skip
    assert own.fingerprint == finished_training(tmp_path / "m")["report"]["fingerprint"]
    np.testing.assert_array_equal(
        rewards(tmp_path / "m", rows(5)), rewards(tmp_path / "own", rows(5))
    )
    assert (report.num_steps, report.best_step) == (6, 6)
    steps = [fact for fact in told if isinstance(fact, StepsTaken)]
    assert [(fact.done, fact.total) for fact in steps] == [(n, 6) for n in range(1, 7)]


def test_a_model_says_on_a_card_what_it_was_made_of(classifier, write_lines, tmp_path):
    file = write_lines("pairs.jsonl", [*rows(), {"prompt": "word1", "chosen": "", "rejected": "x"}])
    gold = write_lines("gold.jsonl", rows(6, conversations=3))
    report = train(
        file, tmp_path / "tuned", backbone=classifier, gold=gold, changes=(*SMALL, "lora.rank=2")
    )
    card = (tmp_path / "tuned" / "README.md").read_text()
    for row in (
        "| read | 41 |",
        "| no pair: `empty_response` | 1 |",
        "| pairs trained on | 34 |",
        "| pairs of gold, which trained nothing | 6 |",
        "| not trained on: `conversation_in_gold` | 6 |",
        "| learning_rate | 0.01 |",
        "| lora.rank | 2 |",
        "| loss.name | bradley_terry |",
    ):
        assert row in card.splitlines()
    assert f"{report.evaluation.accuracy:.3f} [" in card
    assert str(tmp_path) not in card  # where a backbone lies here is nobody else's business
    assert f"Fine-tuned from `{classifier.name}`." in card
    assert "AutoModelForSequenceClassification" in card


def test_the_card_of_a_model_of_words_says_who_can_read_it(tmp_path):
    train(as_pairs(rows()), tmp_path / "words", backend="linear", held_out=0)
    card = (tmp_path / "words" / "README.md").read_text()
    assert "Only this package loads it" in card
    assert "library_name" not in card
    assert "Not measured: no gold was given and nothing was held out." in card
    assert "load_reward_model" in card


def test_a_killed_training_goes_on_and_ends_with_the_same_bits(classifier, tmp_path):
    given, heard = as_pairs(rows()), []
    how = {"backbone": classifier, "changes": (*SMALL, "evaluate_every_steps=2")}

    def die(fact):
        if getattr(fact, "done", 0) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(given, tmp_path / "m", **how, listener=die)
    assert not (tmp_path / "m").exists()
    train(given, tmp_path / "m", **how, listener=heard.append)
    assert [fact.done for fact in heard if isinstance(fact, StepsTaken)] == [5, 6]
    train(given, tmp_path / "whole", **how)
    np.testing.assert_array_equal(
        rewards(tmp_path / "m", rows(5)), rewards(tmp_path / "whole", rows(5))
    )
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


def test_a_head_on_a_frozen_backbone_goes_with_what_it_reads(classifier, write_lines, tmp_path):
    report = train(
        as_pairs(rows()), tmp_path / "m", backbone=classifier, backend="frozen",
        changes=["poolings=['mean']", "layers=[1]"],
    )  # fmt: skip
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "m").rename(tmp_path / "elsewhere" / "m")
    found = score(
        tmp_path / "elsewhere" / "m", write_lines("p.jsonl", rows()), tmp_path / "out.jsonl"
    )
    assert found.reading.num_items == 40
    assert report.evaluation is not None
    assert (tmp_path / "elsewhere" / "m" / "frozen.json").is_file()


def test_the_very_model_is_found_another_one_is_refused_and_force_replaces(tmp_path):
    given, model = as_pairs(rows()), tmp_path / "m"
    first = train(given, model, backend="linear")
    again = train(given[::-1], model, backend="linear")
    assert (first.reused, again.reused) == (False, True)
    assert replace(again, reused=False) == first
    with pytest.raises(ValueError, match=r"m is there already: name another output, or give --fo"):
        train(given, model, backend="linear", seed=1)
    replaced = train(given, model, backend="linear", seed=1, force=True)
    assert not replaced.reused
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is there already"):
        train(given, mine, backend="linear")
    with pytest.raises(ValueError, match="holds no model, and is not replaced"):
        train(given, mine, backend="linear", force=True)
    assert (mine / "notes.txt").read_text() == "mine"


def test_settings_of_a_file_and_of_options_are_one(classifier, tmp_path, monkeypatch):
    seen = []

    def noted(*_, config, **__):
        seen.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "train_reward_model", noted)
    file = tmp_path / "settings.toml"
    file.write_text('batch_pairs = 7\nloss = "hinge"\n[lora]\nrank = 4\n[backbone]\n'
                    'max_length_tokens = 99\n')  # fmt: skip
    for how in (
        {"settings": file},
        {"changes": ["batch_pairs=7", "loss=hinge", "lora.rank=4",
                     "backbone.max_length_tokens=99"]},
        {"settings": {"batch_pairs": 8, "loss": "hinge", "lora": {"rank": 4},
                      "backbone": {"max_length_tokens": 99}}, "changes": ["batch_pairs = 7"]},
    ):  # fmt: skip
        with pytest.raises(KeyboardInterrupt):
            train(as_pairs(rows()), tmp_path / "m", backbone=classifier, **how)
    assert seen[0] == seen[1] == seen[2]
    config = seen[0]
    assert (config.batch_pairs, config.loss.name, config.lora.rank) == (7, "hinge", 4)
    assert config.max_length_tokens == 99
    assert config.learning_rate == 4e-6  # of the paper's development runs


def test_several_processes_get_the_same_job(classifier, tmp_path, monkeypatch):
    commands = []

    def ran(command, **_):
        commands.append(command)
        launch.run_job(tmp_path / command[-1])
        return type("Ended", (), {"returncode": 0})

    monkeypatch.setattr(launch.subprocess, "run", ran)
    report = train(
        as_pairs(rows()), tmp_path / "m", backbone=classifier,
        changes=[*SMALL, "num_processes=2", "lora.rank=2"],
    )  # fmt: skip
    [command] = commands
    assert "--nproc-per-node=2" in command
    assert report.num_steps == 6


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"backend": "stand_in"}, "choose hub, frozen, linear"),
        ({}, "starts from a backbone"),
        ({"backend": "linear", "backbone": "x/y"}, "has no backbone"),
        ({"backbone": "nowhere/at/all"}, "no id of the hub"),
        ({"backbone": "x"}, "x is no folder of this machine, and no id"),
        ({"backbone": "x/y"}, "x/y is no folder of this machine, and cannot be had"),
        ({"backend": "linear", "changes": ["num_steps=3"]}, "no setting 'num_steps'"),
        (
            {"backbone": "x/y", "changes": ["colour=red"]},
            "settings: backend 'hub' has no setting 'colour'",
        ),
        ({"backbone": "x/y", "changes": ["num_steps"]}, "write NAME=VALUE"),
        ({"backbone": "x/y", "changes": ["num_steps=0"]}, "settings.num_steps: Input should be"),
        ({"backbone": "x/y", "settings": {"model_size": "a"}}, "an option of its own"),
        ({"backend": "linear", "settings": "gone.toml"}, "gone.toml: No such file"),
        ({"backend": "linear", "held_out": 1.0}, "give a number from 0"),
        ({"backend": "linear", "held_out": 0.5, "gold": "PAIRS"}, "take one of them out"),
        ({"backend": "linear", "held_out": 0.0001}, "too few to hold out"),
        ({"backend": "linear", "gold": []}, "no pair of the gold file"),
        ({"backend": "linear", "layout": "odd"}, "unknown format 'odd'"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(tmp_path, monkeypatch, how, words):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    told = {**how, **({"gold": as_pairs(rows(2))} if how.get("gold") == "PAIRS" else {})}
    if "layout" in how:
        (tmp_path / "p.jsonl").write_text("")
    given = tmp_path / "p.jsonl" if "layout" in how else as_pairs(rows())
    with pytest.raises(ValueError, match=words) as refused:
        train(given, tmp_path / "m", **told)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "m").exists()


def test_a_folder_that_is_no_backbone_is_refused_in_a_line(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty") as refused:
        train(as_pairs(rows()), tmp_path / "m", backbone=tmp_path / "empty")
    assert "\n" not in str(refused.value)


def test_a_backbone_that_lacks_a_pad_token_is_refused_with_the_option_of_the_tool(
    tmp_path, changed_model
):
    folder = changed_model()
    file = folder / "tokenizer_config.json"
    told = json.loads(file.read_text())
    file.write_text(json.dumps({**told, "pad_token": told["eos_token"]}))
    with pytest.raises(ValueError, match=r"end-of-sequence.*--set backbone\.pad_token=") as refused:
        train(as_pairs(rows()), tmp_path / "m", backbone=folder)
    assert "[[" not in str(refused.value)


def test_no_output_replaces_what_is_read(write_lines, tmp_path):
    file = write_lines("data/pairs.jsonl", rows())
    for output, words in {
        tmp_path / "data": "which would be lost",
        tmp_path / "nowhere" / "m": "there is no folder",
    }.items():
        with pytest.raises(ValueError, match=words):
            train(file, output, backend="linear", force=True)
    with pytest.raises(ValueError, match="which is read"):
        train(tmp_path / "data", tmp_path / "data" / "m", backend="linear")
    assert file.is_file()
