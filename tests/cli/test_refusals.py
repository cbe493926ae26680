"""What a command says when it refuses: the words as they are, where it is wrong, what to do."""

from importlib.resources import files

import pytest
from rich.console import Console
from typer.testing import CliRunner

from synpref_dagster.cli import app as cli, campaign, judges
from synpref_dagster.cli.outcomes import CampaignFailedError
from synpref_dagster.cli.refusals import say
from synpref_dagster.judges.cache import ReplyCache

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
