"""`synpref sizes` prints what each size takes, and what has no room on the device."""

import pytest
from rich.console import Console
from typer.testing import CliRunner

from synpref_dagster.cli import app as cli


@pytest.fixture
def sizes(monkeypatch, tmp_path):
    """Runs `synpref sizes ...` in an empty folder; gives exit code and output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SYNPREF_STORE", raising=False)
    console = Console(width=80, no_color=True)
    monkeypatch.setattr(cli, "console", console)

    def run(*arguments):
        result = CliRunner().invoke(cli.app, ["sizes", *arguments])
        return result.exit_code, result.output

    return run


def row(output, *names):
    """The cells of a table's row after its names."""
    [line] = [line for line in output.splitlines() if line.split()[: len(names)] == [*names]]
    return line.split()[len(names) :]


def test_the_small_paper_fits_one_gpu_and_every_number_fits_a_terminal(sizes):
    code, output = sizes("--profile", "paper_small", "--pairs", "200000", "--tokens", "600")
    assert code == 0
    assert "…" not in output
    weights, *gigabytes = row(output, "qwen3-0.6b")
    assert weights == "596M"
    assert [float(number) for number in gigabytes[:3]] == [2.4, 2.4, 4.8]
    assert row(output, "skywork_reward_v2", "llama-3.2-1b")[:3] == ["1", "391", "512"]
    assert row(output, "pool_rewards", "qwen3-0.6b")[:2] == ["float32", "400,000"]
    assert "40% of 989 TFLOP/s in bfloat16 and 67 in float32 are counted on (data sheet)" in output
    assert "Pairs of the clean pool: 200,000 (as told)." in output
    assert "does not fit" not in output


def test_what_nobody_knows_yet_is_called_assumed(sizes):
    _, output = sizes("--profile", "paper_small")
    assert "46,000 (only those that are labelled: nobody read it yet, see --pairs)" in output
    assert "500 (assumed)" in output


def test_what_has_no_room_is_said_with_what_to_do(sizes):
    _, output = sizes("--profile", "paper", "--device", "a100")
    lines = [line for line in output.splitlines() if line.startswith("qwen3-8b does not fit")]
    assert lines == [
        "qwen3-8b does not fit: a step needs 164 of 80 GB; more num_processes, or lora"
    ]
    assert "llama-3.2-3b fits while pairs are short: " in output


def test_a_device_that_is_none_and_a_backbone_that_cannot_be_read_are_refused(sizes, tmp_path):
    assert sizes("--profile", "paper_small", "--device", "abacus")[0] == 2
    folder = tmp_path / "empty"
    folder.mkdir()
    text = (tmp_path / "own.toml").write_text
    text(OWN.format(place=folder))
    code, output = sizes("--profile", "own.toml")
    assert code == 2
    assert output.startswith(f"{folder}: its configuration cannot be read: ")
    assert len(output.splitlines()) == 1


def test_models_without_a_backbone_are_no_reason_for_tables(sizes):
    code, output = sizes("--profile", "smoke")
    assert (code, output) == (0, "The models of profile smoke have no real backbone to speak of.\n")


OWN = """
extends = "smoke"
name = "own"
[[backbones]]
name = "mine"
path = "{place}"
[reward_model]
backend = "hub"
model_size = "mine"
[release]
backend = "hub"
"""
