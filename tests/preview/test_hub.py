"""What is missing on the hub is said in one line each, before anything starts."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import huggingface_hub.constants
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from synpref_dagster.cli import app as cli
from synpref_dagster.cli.refusals import refuse_missing_on_hub
from synpref_dagster.preview.hub import Repository, on_hub
from synpref_dagster.settings.profile import Profile, load_profile

SMALL = load_profile("paper_small")
SIZES = ("qwen3-0.6b", "llama-3.2-1b")
QWEN, LLAMA = "Qwen/Qwen3-0.6B", "meta-llama/Llama-3.2-1B-Instruct"


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def hub(monkeypatch):
    """A hub on this machine: path -> (status, error code); everything else is there."""
    answers, asked = {}, []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            asked.append(self.path)
            name = self.path.removeprefix("/").partition("/resolve/")[0]
            status, code = answers.get(name, (200, ""))
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    server.answers, server.asked = answers, asked
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def said(profile=SMALL, sizes=SIZES):
    """What is printed, line by line; None where the command may go on."""
    console = Console(record=True, width=400)
    try:
        refuse_missing_on_hub(console, profile, sizes)
    except typer.Exit:
        return console.export_text().splitlines()
    return None


def test_a_profile_names_what_it_takes_from_the_hub_each_once():
    assert on_hub(SMALL, SIZES) == [
        Repository("dataset", "Skywork/Skywork-Reward-Preference-80K-v0.2", "main"),
        Repository("dataset", "Anthropic/hh-rlhf", "main"),
        *on_hub(SMALL, SIZES)[2:-2],
        Repository("model", QWEN),
        Repository("model", LLAMA),
    ]
    assert [each.hub_id for each in on_hub(SMALL, [])][-1] == QWEN  # that of the stages
    assert on_hub(load_profile("smoke"), SIZES) == []


def test_folders_are_not_looked_for_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    rows = [{"name": "one", "path": str(tmp_path)}, {"name": "two", "path": "mine"}]
    told = {**SMALL.model_dump(), "backbones": rows}
    told["reward_model"]["model_size"] = "one"
    own = Profile.model_validate(told)
    assert not [each for each in on_hub(own, ["one", "two"]) if each.kind == "model"]


def test_a_hub_that_is_away_is_one_line_with_all_that_is_needed_from_it(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    [line] = said()
    assert line.startswith("the hub http://127.0.0.1:9 cannot be reached (Connection refused), ")
    assert "data sets Skywork/Skywork-Reward-Preference-80K-v0.2, Anthropic/hh-rlhf, " in line
    assert f"and models {QWEN}, {LLAMA}: connect this machine" in line


def test_a_proxy_that_refuses_is_a_hub_that_is_away(hub):
    hub.answers[QWEN] = (403, "")
    [line] = said()
    assert "cannot be reached (403 " in line


def test_terms_ids_and_revisions_are_named_one_by_one(hub):
    hub.answers |= {
        LLAMA: (403, "GatedRepo"),
        QWEN: (401, ""),
        "datasets/Anthropic/hh-rlhf": (404, "RevisionNotFound"),
    }
    revision, unknown, gated = said()
    assert revision.startswith("data set Anthropic/hh-rlhf: the hub has no revision main of it")
    assert unknown.startswith(f"model {QWEN}: the hub has no such one")
    assert gated.startswith(f"model {LLAMA}: the hub gives it to accounts that accepted its terms")
    assert f"/{LLAMA} and set HF_TOKEN" in gated


def test_a_hub_that_has_everything_stops_nobody_not_even_without_the_file_asked_for(hub):
    hub.answers[QWEN] = (404, "EntryNotFound")
    assert said() is None
    assert "/datasets/Anthropic/hh-rlhf/resolve/main/README.md" in hub.asked
    assert f"/{LLAMA}/resolve/main/config.json" in hub.asked


def test_what_was_downloaded_needs_no_hub(monkeypatch, empty_cache):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    for each in on_hub(SMALL, SIZES):
        name = f"{each.kind}s--{each.hub_id.replace('/', '--')}"
        (empty_cache / name / "snapshots").mkdir(parents=True)
    assert said() is None


def test_the_small_paper_names_its_missing_keys_and_then_what_it_misses_on_the_hub(
    monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SYNPREF_STORE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(cli, "console", Console(width=400, no_color=True))
    keys = ("OPENAI_API_KEY", "OPENROUTER_API_KEY")

    def run():
        result = CliRunner().invoke(cli.app, ["run", "--profile", "paper_small"])
        return result.exit_code, result.output.splitlines()

    for key in keys:
        monkeypatch.delenv(key, raising=False)
    code, lines = run()
    assert code == 2
    assert [line.split()[1] for line in lines] == ["'hosted'", "'routed'", "'third'"]
    assert ["OPENAI_API_KEY" in line for line in lines] == [True, False, False]
    for key in keys:
        monkeypatch.setenv(key, "one")
    code, [line] = run()
    assert code == 2
    assert "cannot be reached (Connection refused), and profile paper_small needs" in line
    assert not any(tmp_path.iterdir())  # nothing was begun
