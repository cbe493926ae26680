"""A release loads anywhere, does what its card says, and notices when it was touched."""

import json
import re

import numpy as np
import pytest
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, pipeline

from synpref_dagster.benchmarks.results import BenchmarkResult
from synpref_dagster.publishing.release.cards import render_model_card, tier_rows
from synpref_dagster.publishing.release.facts import model_facts
from synpref_dagster.publishing.release.folder import (
    changed_files,
    portable_config,
    portable_tokenizer_config,
    write_release,
)
from synpref_dagster.reward.backbones import backbone
from synpref_dagster.reward.folders import write_json
from synpref_dagster.reward.scoring import load_reward_model
from synpref_dagster.reward.stand_ins import make_stand_in
from synpref_dagster.settings.models import HubReleaseSettings
from synpref_dagster.settings.profile import load_profile

CONVERSATION = ({"role": "user", "content": "Name a fruit."},)
RESPONSES = ["An apple is a fruit.", "I will not answer that."]
TRAINING = {
    "config": {"max_length_tokens": 64, "seed": 5, "learning_rate": 1e-3, "batch_pairs": 8},
    "report": {
        "num_pairs": 1234,
        "dropped": [{"source": "s", "reason": "over_long", "count": 6, "pair_ids": []}],
        "num_steps": 40,
        "best_step": 30,
        "fingerprint": "f0",
        "evaluation": {"accuracy": 0.75, "low": 0.6, "high": 0.86, "num_pairs": 40},
    },
}
RESULT = BenchmarkResult(
    benchmark="rm_bench",
    headline=0.612,
    low=0.55,
    high=0.67,
    scores={},
    tie_rate=0.0,
    num_items=50,
    num_truncated=2,
    missing_subsets=("math",),
)


def facts(profile, size, checkpoint, results=(RESULT,)):
    found = model_facts(
        profile,
        size,
        training=TRAINING,
        results=results,
        data={
            "tiers": {"gold": 10, "silver": 20, "curated": 30, "recycled": 4},
            "curation": {
                "num_clean": 100,
                "ngram_words": 13,
                "decisions": [{"decision": "kept", "reason": "all_agree", "num_pairs": 30}],
            },
        },
        checkpoint=checkpoint,
    )
    return {**found, "fingerprint": "f" * 32, "version": "0.1.0"}


def make_release(folder, size="qwen3-0.6b"):
    checkpoint = make_stand_in(
        backbone(size),
        output_dir=folder / "checkpoint",
        seed=3,
        texts=[*RESPONSES, "Name a fruit."],
    )
    write_json(checkpoint / "training.json", TRAINING)
    (checkpoint / "state").mkdir()
    (checkpoint / "state" / "optimizer.bin").write_bytes(b"x")
    card = render_model_card(facts(load_profile("demo"), size, checkpoint))
    return write_release(
        checkpoint, folder / "release", texts={"README.md": card}, manifest={"seed": 3}
    )


@pytest.fixture(scope="module", params=["qwen3-0.6b", "llama-3.2-1b"])
def release(request, tmp_path_factory):
    return make_release(tmp_path_factory.mktemp(request.param), request.param)


def expected(release):
    return load_reward_model(release).rewards([CONVERSATION] * 2, RESPONSES)


def test_the_usage_on_the_card_runs_and_gives_the_rewards(release, monkeypatch, capsys):
    [code] = re.findall(r"```python\n(.*?)```", (release / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(release)
    exec(compile(code, "README.md", "exec"), {})
    printed = json.loads(capsys.readouterr().out)
    np.testing.assert_allclose(printed, expected(release), atol=1e-4)


def test_a_plain_pipeline_gives_the_rewards(release):
    scorer = pipeline("text-classification", model=str(release), device="cpu")
    texts = [
        scorer.tokenizer.apply_chat_template(
            [*CONVERSATION, {"role": "assistant", "content": response}], tokenize=False
        )
        for response in RESPONSES
    ]
    found = [
        row["score"] for row in scorer(texts, function_to_apply="none", batch_size=2, padding=True)
    ]
    np.testing.assert_allclose(found, expected(release), atol=1e-4)


def test_only_what_serves_is_released_and_a_touched_file_is_noticed(tmp_path):
    release = make_release(tmp_path)
    assert not (release / "state").exists()
    assert not (tmp_path / "release.part").exists()
    assert changed_files(release) == []
    (release / "config.json").write_text("{}")
    (release / "tokenizer.json").unlink()
    assert changed_files(release) == ["config.json", "tokenizer.json"]
    again = make_release_again(tmp_path)
    assert changed_files(again) == []


def make_release_again(folder):
    return write_release(folder / "checkpoint", folder / "release", texts={}, manifest={})


def test_older_readers_find_rotary_base_dtype_and_tokenizer_class(release):
    config = json.loads((release / "config.json").read_text())
    rope = config["rope_parameters"]
    assert config["rope_theta"] == rope["rope_theta"]
    assert config["torch_dtype"] == config["dtype"] == "float32"
    assert ("rope_scaling" in config) == (rope["rope_type"] == "llama3")
    tokenizer = json.loads((release / "tokenizer_config.json").read_text())
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert tokenizer["model_input_names"] == ["input_ids", "attention_mask"]
    # The present reader understands them to mean the same.
    assert AutoConfig.from_pretrained(release).rope_parameters == rope
    loaded = AutoTokenizer.from_pretrained(release)
    assert loaded.pad_token_id == config["pad_token_id"] != loaded.eos_token_id
    assert loaded.chat_template
    model = AutoModelForSequenceClassification.from_pretrained(release)
    assert model.config.num_labels == 1


def test_a_card_without_benchmarks_says_so_and_shows_no_table(tmp_path):
    checkpoint = make_stand_in(backbone("qwen3-0.6b"), output_dir=tmp_path, seed=3, texts=RESPONSES)
    card = render_model_card(facts(load_profile("demo"), "qwen3-0.6b", checkpoint, results=()))
    assert "No benchmark was named: this release was measured on gold alone." in card
    assert "No benchmark was named, so no prompt was removed" in card
    assert "| benchmark | score |" not in card
    assert "miniatures" not in card.split("## Benchmarks")[1].split("## Limits")[0]


def test_portable_settings_leave_what_is_there():
    assert portable_config({"rope_theta": 1.0, "rope_parameters": {"rope_theta": 2.0}}) == {
        "rope_theta": 1.0,
        "rope_parameters": {"rope_theta": 2.0},
    }
    assert portable_config({}) == {}
    named = portable_tokenizer_config(
        {"tokenizer_class": "Qwen2Tokenizer", "extra_special_tokens": ["<x>"], "is_local": True}
    )
    assert named["tokenizer_class"] == "Qwen2Tokenizer"
    assert named["additional_special_tokens"] == ["<x>"]
    assert "is_local" not in named


def test_the_card_is_made_of_facts(release):
    card = (release / "README.md").read_text()
    for fact in (
        "license: apache-2.0",
        "**This is a stand-in**",
        "1,234 preference pairs, 6 more were left out",
        "| gold | 10 | labels of people |",
        "| kept | `all_agree` | 30 |",
        "0.750 [0.600 0.860], n=40,",
        "| RM-Bench (without math) | 61.2 | 55.0 to 67.0 | 50 | 2 |",
        "Sequences beyond 64 tokens",
        "step 30 of 40",
    ):
        assert fact in card, fact
    assert "base_model" not in card
    assert "74.4" not in card  # the published figure of the real backbone


def test_the_card_of_a_real_backbone_names_its_licence_and_the_published_figure(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": "<|finetune_right_pad_id|>"}')
    demo = load_profile("demo")
    real = demo.model_copy(update={"release": HubReleaseSettings(backend="hub")})
    card = render_model_card(facts(real, "llama-3.1-8b-40m", tmp_path))
    for fact in (
        "license: llama3.1",
        "base_model: meta-llama/Llama-3.1-8B-Instruct",
        "This size trains on all of them",
        "| 61.2 | 55.0 to 67.0 | 50 | 2 | 96.0 |",
        "stay under its licence, llama3.1",
        "huggingface.co/meta-llama/Llama-3.1-8B-Instruct) with the Bradley-Terry loss",
        "| loss.name | bradley_terry |",
    ):
        assert fact in card, fact
    assert "stand-in" not in card.split("## Limits")[0]


def test_the_card_names_the_backbone_and_the_loss_that_the_profile_chose(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": "<|finetune_right_pad_id|>"}')
    demo = load_profile("demo")
    release = HubReleaseSettings(
        backend="hub", backbones={"qwen3-0.6b": "/models/mine"}, loss={"name": "hinge"}
    )
    mine = demo.model_copy(update={"release": release})
    card = render_model_card(facts(mine, "qwen3-0.6b", tmp_path))
    for fact in (
        "license: other",
        "Fine-tuned from `/models/mine` with the hinge loss",
        "derive from `/models/mine`, which the profile named in place of `Qwen/Qwen3-0.6B`",
        "| loss.target_margin | 1.0 |",
    ):
        assert fact in card, fact
    assert "base_model" not in card
    assert "temperature" not in card


def test_a_folder_that_nothing_can_load_is_not_released(tmp_path):
    (tmp_path / "linear").mkdir()
    with pytest.raises(ValueError, match="no Hugging Face folder"):
        write_release(tmp_path / "linear", tmp_path / "release", texts={}, manifest={})


def test_tiers_are_listed_in_order_of_rank_also_when_empty():
    assert [row["num_pairs"] for row in tier_rows({"silver": 3})] == [0, 3, 0, 0]
