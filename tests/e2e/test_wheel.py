"""Installed, not cloned: the wheel in an environment of its own, from an empty folder."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
PYTHON = Path(sys.executable)
SETTINGS = ("SYNPREF_", "DAGSTER_", "MLFLOW_", "PYTHON", "VIRTUAL_ENV")
QUIET = {
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "OMP_NUM_THREADS": "1",
}
pytestmark = pytest.mark.timeout(1200)


def command(line, folder):
    """Runs it with no setting of this checkout within reach; gives what it printed."""
    kept = {name: each for name, each in os.environ.items() if not name.startswith(SETTINGS)}
    done = subprocess.run(
        shlex.split(line), cwd=folder, env={**kept, **QUIET},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{line}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Where its commands are: under the constraints, and with nothing compiled."""
    folder = tmp_path_factory.mktemp("installed")
    command(f"{PYTHON} -m pip wheel --quiet --no-deps --wheel-dir {folder} {ROOT}", folder)
    [wheel] = folder.glob("*.whl")
    command(f"{PYTHON} -m venv {folder}/venv", folder)
    bin_ = folder / "venv" / "bin"
    uv = shutil.which("uv", path=f"{PYTHON.parent}:{os.environ['PATH']}")
    pip = f"{uv} pip install --python {bin_}/python" if uv else f"{bin_}/python -m pip install"
    torch = re.search(r"^# (torch==.*)$", CONSTRAINTS.read_text(), re.MULTILINE)[1]
    binary = "--quiet --only-binary :all:"
    command(f"{bin_}/python -m pip install {binary} {torch}", folder)
    command(f"{pip} {binary} --constraint {CONSTRAINTS} {wheel}", folder)
    return bin_


@pytest.fixture
def empty(tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


@pytest.mark.servers
def test_tools_work_from_the_wheel_in_an_empty_folder(installed, empty):
    rows = [
        {
            "prompt": f"What is {n} plus {n}?",
            "chosen": f"It is {n + n}, because {n} and {n} make {n + n}.",
            "rejected": "No idea.",
        }
        for n in range(120)
    ]
    for name in ("pairs.jsonl", "again.jsonl"):
        (empty / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    synpref = installed / "synpref"
    told = command(f"{synpref} train pairs.jsonl --backend linear -o model", empty)
    assert "accuracy 1.000" in told
    told = command(f"{synpref} score model pairs.jsonl -o rewards.jsonl", empty)
    assert "margin above 0: 100.0% of 120 pairs" in told
    told = command(f"{synpref} clean pairs.jsonl again.jsonl -o clean.parquet", empty)
    assert "120 duplicate" in told
    python = "import synpref_dagster as sp; print(len(sp.read_pairs('clean.parquet')))"
    assert command(f'{installed}/python -c "{python}"', empty) == "120\n"
    command(f"{installed}/python -m pip check", empty)


@pytest.mark.slow
def test_the_demo_runs_from_the_wheel_in_an_empty_folder(installed, empty):
    told = command(f"{installed}/synpref demo", empty)
    assert "What held, and what did not" in told
    assert (empty / ".synpref").is_dir()
