"""What a command says when it refuses: the words as they are, where it is wrong, what to do."""

import json
import re
from contextlib import nullcontext
from importlib.resources import files

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from synpref_dagster.cli import app as cli, campaign, judges
from synpref_dagster.cli.outcomes import CampaignFailedError
from synpref_dagster.cli.refusals import load_or_refuse, refuse_missing_backbones, say
from synpref_dagster.judges.cache import ReplyCache
from synpref_dagster.pairs.record import PreferencePair, Turn
from synpref_dagster.reward.backbones import Backbone, backbone
from synpref_dagster.reward.frozen.preparing import prepare_backbone
from synpref_dagster.reward.stand_ins import make_stand_in
from synpref_dagster.reward.training.run import TrainingConfig, train_reward_model
from synpref_dagster.settings.models import HubSettings
from synpref_dagster.settings.profile import load_profile

ENDPOINT = """
[[judges.endpoints]]
name = "{name}"
base_url = "http://127.0.0.1:1/v1"
model = "m"
api_key_env = "{variable}"
"""


@pytest.fixture
def run_profile(monkeypatch, tmp_path):
    """Runs `synpref run` on the smoke profile with changed words; gives exit code and output."""
    monkeypatch.chdir(tmp_path)
    for module in (cli, judges):
        monkeypatch.setattr(module, "console", Console(width=60, no_color=True))

    def run(*changes, more="", command=("run",)):
        text = (files("synpref_dagster.settings") / "profiles" / "smoke.toml").read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "mine.toml").write_text(text + more)
        result = CliRunner().invoke(cli.app, [*command, "--profile", "mine.toml"])
        return result.exit_code, result.output

    return run


def not_reached(*_, **__):
    raise AssertionError("no step may run")


def test_square_brackets_of_an_error_are_text():
    console = Console(record=True, width=20)
    say(console, ValueError("name one [[judges.endpoints]] or [red]more[/red]"))
    assert console.export_text() == "name one [[judges.endpoints]] or [red]more[/red]\n"


def test_each_problem_of_a_profile_is_a_line_with_its_place(run_profile):
    code, output = run_profile(("num_gold = 120", 'num_gold = "many"'), ("[judges]", "[judge]"))
    assert code == 2
    lines = output.splitlines()
    assert lines[0] == "profile mine.toml:"
    assert sorted(line.split(":")[0] for line in lines[1:]) == ["  judge", "  seed_set.num_gold"]
    assert "pydantic.dev" not in output


def test_a_rule_of_a_profile_keeps_its_brackets(run_profile):
    code, output = run_profile(('kind = "exemplar"', 'kind = "endpoints"'))
    assert code == 2
    assert output.splitlines() == [
        "profile mine.toml:",
        "  judges: judges.kind is 'endpoints': name one or more [[judges.endpoints]]",
    ]


def test_a_file_that_is_no_toml_is_named(run_profile):
    code, output = run_profile(more="x = [")
    assert code == 2
    assert output.startswith("profile mine.toml: ")


def test_keys_that_are_not_set_are_named_before_anything_runs(run_profile, monkeypatch):
    monkeypatch.setattr(campaign, "run_campaign", not_reached)
    monkeypatch.setenv("KEY_SET", "secret")
    names = {"a": "KEY_ONE", "b": "KEY_SET", "c": "KEY_TWO"}
    more = "".join(ENDPOINT.format(name=name, variable=key) for name, key in names.items())
    code, output = run_profile(('kind = "exemplar"', 'kind = "endpoints"'), more=more)
    assert code == 2
    assert output.splitlines() == [
        f"judge '{name}' needs its key in the environment variable {key}, which is not set"
        for name, key in (("a", "KEY_ONE"), ("c", "KEY_TWO"))
    ]


def test_a_judge_whose_replies_are_in_the_cache_may_go_without_a_key(
    run_profile, monkeypatch, tmp_path
):
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path))
    ran = []
    monkeypatch.setattr(campaign, "run_campaign", lambda *_, **__: ran.append(1))
    monkeypatch.setattr(cli, "_print_report", lambda profile: None)
    cache = ReplyCache(tmp_path / "judge_replies.sqlite")
    arguments = (('kind = "exemplar"', 'kind = "endpoints"'),)
    more = ENDPOINT.format(name="a", variable="KEY_ONE")
    assert run_profile(*arguments, more=more)[0] == 2
    about = {"key": "k", "prompt": "p", "sample": 0, "endpoint": "http://127.0.0.1:1/v1"}
    payer = {"campaign": "c", "asset": "s", "judge": "a"}
    reply = {
        "text": "{}", "finish_reason": "stop", "mode": "text", "refused": 0, "seconds": 0.1,
        "prompt_tokens": 1, "completion_tokens": 1, "usd": 0.0,
    }  # fmt: skip
    cache.add_row({**about, **payer, **reply, "model": "other"})
    assert run_profile(*arguments, more=more)[0] == 2
    assert ran == []
    cache.add_row({**about, **payer, **reply, "model": "m", "key": "k2"})
    code, output = run_profile(*arguments, more=more)
    assert code == 0
    assert "judge 'a' needs its key in the environment variable KEY_ONE" in output
    assert "the run stops where one is missing" in output
    assert ran == [1]


def test_exemplar_judges_need_no_keys(run_profile, monkeypatch):
    seen = []
    monkeypatch.setattr(campaign, "run_campaign", lambda *_, **__: seen.append(1))
    monkeypatch.setattr(cli, "_print_report", lambda profile: None)
    assert run_profile(more=ENDPOINT.format(name="a", variable="KEY_ONE"))[0] == 0
    assert seen == [1]


def test_a_failed_run_keeps_the_brackets_of_its_message(run_profile, monkeypatch):
    def fail(*_, **__):
        raise CampaignFailedError("no [[pool.sources]] in run 1")

    monkeypatch.setattr(campaign, "run_campaign", fail)
    code, output = run_profile()
    assert code == 1
    assert "no [[pool.sources]] in run 1" in output


def test_exemplar_judges_have_a_bill_of_nothing(run_profile, monkeypatch, tmp_path):
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path))
    code, output = run_profile(command=("judges", "bill"))
    assert code == 0
    assert output == "$0: profile smoke has exemplar judges, which cost nothing\n"


def told(tmp_path, text):
    """What `synpref report` says of a smoke profile with these lines in place of its models."""
    packaged = (files("synpref_dagster.settings") / "profiles" / "smoke.toml").read_text()
    tables = re.split(r"(?m)^(?=\[)", packaged)
    kept = [each for each in tables if not each.startswith(("[reward_model", "[release"))]
    file = tmp_path / "mine.toml"
    file.write_text("".join(kept) + "\n" + text, encoding="utf-8")
    console = Console(record=True, width=400)
    with pytest.raises(typer.Exit):
        load_or_refuse(console, str(file), None)
    return console.export_text()


RELEASE = '[release]\nbackend = "stand_in"\n'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"{RELEASE}[[reward_model]]\n", "reward_model: [{}] is no table: write one, with backend"),
        (f'{RELEASE}[reward_model]\nbackend = "stand_in"\nloss = 3\n', "loss: 3 is no table"),
        (
            f'{RELEASE}[reward_model]\nbackend = "stand_in"\nlearning_rate = inf\n',
            "reward_model.learning_rate: Input should be a finite number",
        ),
        (
            f'{RELEASE}[reward_model]\nbackend = "hub"\nbackbone = ""\n',
            "reward_model.backbone: String should have at least 1 character",
        ),
    ],
)
def test_a_model_that_cannot_be_meant_is_refused_in_one_line_with_its_place(tmp_path, text, line):
    assert line in told(tmp_path, text)


def test_a_backbone_whose_folder_is_not_there_is_refused_before_anybody_is_asked(tmp_path):
    hub = HubSettings(backend="hub", backbone=str(tmp_path / "nowhere"))
    profile = load_profile("smoke").model_copy(update={"reward_model": hub})
    console = Console(record=True, width=400)
    with pytest.raises(typer.Exit):
        refuse_missing_backbones(console, profile)
    assert "reward_model.backbone: " in (said := console.export_text())
    assert "no config.json" in said
    (tmp_path / "nowhere").mkdir()
    (tmp_path / "nowhere" / "config.json").write_text("{}")
    refuse_missing_backbones(console, profile)


@pytest.mark.parametrize(
    ("place", "is_refused"),
    [
        ("models/qwen", True),  # `models` is a folder here, and nobody on the hub
        ("store/models/qwen", True),
        ("models", True),
        ("Qwen/Qwen3-0.6B", False),
        ("gpt2", False),
    ],
)
def test_what_can_only_be_a_folder_is_looked_for(tmp_path, monkeypatch, place, is_refused):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    hub = HubSettings(backend="hub", backbone=place)
    profile = load_profile("smoke").model_copy(update={"reward_model": hub})
    console = Console(record=True, width=400)
    with pytest.raises(typer.Exit) if is_refused else nullcontext():
        refuse_missing_backbones(console, profile)
    assert (f"{place} is no folder of a model" in console.export_text()) == is_refused


@pytest.mark.parametrize("sizes", ["", "qwen3-4b,", "all,qwen3-4b", "qwen3-0.6B", "qwen3-9b"])
def test_a_size_that_is_none_is_refused_before_anything_runs(run_profile, monkeypatch, sizes):
    monkeypatch.setattr(campaign, "run_campaign", not_reached)
    code, output = run_profile(command=("run", "--sizes", sizes))
    assert code == 2
    assert output.startswith("unknown model sizes [")
    assert "qwen3-0.6b" in output


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"binary\.toml' is no UTF-8 text"):
        load_profile(str(tmp_path / "binary.toml"))


@pytest.mark.parametrize("told", ["abc", "1.5", "-1", "4294967296"])
def test_a_variable_that_is_no_seed_and_one_that_is_no_prefix_are_named(told, monkeypatch):
    monkeypatch.setenv("SYNPREF_SEED", told)
    with pytest.raises(ValueError, match=f"SYNPREF_SEED is '{told}': give a whole number from 0"):
        load_profile("smoke")
    assert load_profile("smoke", seed=4).seed == 4
    monkeypatch.setenv("SYNPREF_KEY_PREFIX", "a/b")
    with pytest.raises(ValueError, match="SYNPREF_KEY_PREFIX: key_prefix 'a/b': use"):
        load_profile("smoke", seed=4)


def broken_backbone(kind, folder):
    """A small backbone with one thing wrong in it."""
    from safetensors.torch import load_file, save_file

    made = make_stand_in(
        backbone("llama-3.2-1b"), texts=["a few words"], output_dir=folder / kind, seed=0
    )
    settings = made / "tokenizer_config.json"
    if kind == "no tokenizer":
        settings.unlink()
        (made / "tokenizer.json").unlink()
    elif kind == "pads with the end":
        told = json.loads(settings.read_text())
        settings.write_text(json.dumps({**told, "pad_token": told["eos_token"]}))
    elif kind == "two labels":
        weights = load_file(made / "model.safetensors")
        two = {**weights, "score.weight": weights["score.weight"].repeat(2, 1)}
        save_file(two, made / "model.safetensors", metadata={"format": "pt"})
    return made if kind != "nowhere" else folder / "nowhere" / "else"


BROKEN = {
    "nowhere": r"is no folder of a model \(it has no config\.json\): correct the path",
    "no tokenizer": "holds no tokenizer that can be read: ",
    "pads with the end": "pad token .* is also the end-of-sequence token: .* set another pad token",
    "two labels": r"of another shape: score\.weight \[2, \d+\], not \[1, \d+\]",
}


@pytest.mark.parametrize("backend", ["hub", "frozen"])
@pytest.mark.parametrize("kind", BROKEN)
def test_a_backbone_that_cannot_be_started_from_is_refused_in_a_line_before_any_step(
    tmp_path, monkeypatch, kind, backend
):
    monkeypatch.setattr(campaign, "run_campaign", not_reached)
    monkeypatch.setattr(cli, "console", Console(width=60, no_color=True))
    place = broken_backbone(kind, tmp_path)
    packaged = (files("synpref_dagster.settings") / "profiles" / "smoke.toml").read_text()
    tables = re.split(r"(?m)^(?=\[)", packaged)
    kept = [each for each in tables if not each.startswith(("[reward_model", "[release"))]
    file = tmp_path / "mine.toml"
    models = f'[reward_model]\nbackend = "{backend}"\nmodel_size = "own"\n'
    row = f'[[backbones]]\nname = "own"\npath = "{place}"\n'
    file.write_text(f'{"".join(kept)}\n{models}[release]\nbackend = "{backend}"\n{row}')
    result = CliRunner().invoke(cli.app, ["run", "--profile", str(file)])
    assert result.exit_code == 2
    [line] = result.output.splitlines()
    assert str(place) in line
    assert re.search(BROKEN[kind], line)


@pytest.mark.parametrize("kind", BROKEN)
def test_without_the_command_it_is_refused_in_a_line_before_the_first_step_of_a_training(
    tmp_path, kind
):
    """As in the UI, where nothing is looked at beforehand."""
    place = broken_backbone(kind, tmp_path)
    row = Backbone(model_size="own", hub_id=str(place), licence="", pad_token=None)
    pair = PreferencePair(
        conversation=(Turn(role="user", content="a"),),
        chosen="few",
        rejected="words",
        source="s",
        origin="human",
    )
    starts = {
        "hub": lambda: train_reward_model(
            [pair], [], backbone_path=str(place), config=TrainingConfig(), output_dir=tmp_path / "o"
        ),
        "frozen": lambda: prepare_backbone(row, tmp_path / "backbones"),
    }
    for start in starts.values():
        with pytest.raises(
            ValueError, match=r"holds no tokenizer|also the end|another sh"
        ) as told_of:
            start()
        assert str(place) in str(told_of.value)
        assert "\n" not in str(told_of.value)
    assert not (tmp_path / "o" / "training.json").exists()
