"""Fixtures of all tests: a clean environment, real data beside the checkout, real servers."""

import ast
import functools
import gc
import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Before torch or Dagster is imported anywhere.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DO_NOT_TRACK"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"

import pytest
from hypothesis import settings

_parse = ast.parse


@functools.wraps(_parse)
def _parse_undisturbed(*args, **named):
    """`ast.parse` while no garbage is collected.

    What a collection runs in the middle can parse too; CPython 3.11 then loses count of its depth
    and raises SystemError (python/cpython#106905), now and then, in any test that reads code.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return _parse(*args, **named)
    finally:
        if collects:
            gc.enable()


ast.parse = _parse_undisturbed
# The same examples in every run: what CI finds, everybody finds. `--hypothesis-profile=default`
# looks for others.
settings.register_profile("steady", derandomize=True)
settings.load_profile("steady")

pytest_plugins = ["finished"]  # the fixtures of finished campaigns

ROOT = Path(__file__).resolve().parent.parent
STOP_SECONDS = 60

_SETTINGS = ("SYNPREF_", "AWS_", "DAGSTER_HOME", "MLFLOW_TRACKING")


@dataclass(frozen=True)
class S3Server:
    """A running S3 server with one empty bucket."""

    endpoint: str
    key: str
    secret: str
    bucket: str


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the developer's shell reaches a test."""
    for name in list(os.environ):
        if name.startswith(_SETTINGS) and name not in ("SYNPREF_REAL_DATA", "SYNPREF_SMOLLM2"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real public data sets, or a skip that says how to provide it."""
    folder = Path(os.environ.get("SYNPREF_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set SYNPREF_REAL_DATA")
    return folder


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The folder of SmolLM2-135M-Instruct, a real language model, or a skip that says how."""
    script = ROOT / "scripts" / "services" / "smollm2.sh"
    installed = ROOT / ".services" / "smollm2-135m-instruct"
    folder = Path(os.environ.get("SYNPREF_SMOLLM2", installed))
    if not (folder / "model.safetensors").is_file():
        pytest.skip(f"no weights at {folder}: run {script} install")
    return folder


@pytest.fixture(scope="session")
def s3_process() -> Iterator[dict[str, str]]:
    """A real S3 server (OpenStack Swift) on loopback, started once: endpoint, key, secret."""
    command = [str(ROOT / "scripts" / "services" / "swift_s3.sh"), "start"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            pytest.fail(f"the S3 server did not start: {' '.join(command)}")
        yield json.loads(line)
        process.terminate()
        process.wait(timeout=STOP_SECONDS)


@pytest.fixture
def s3_server(
    s3_process: dict[str, str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> S3Server:
    """The S3 server with a bucket of this test's own, and the environment set up for it."""
    import s3fs

    monkeypatch.setenv("SYNPREF_S3_ENDPOINT", s3_process["endpoint"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_process["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_process["secret"])
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()

    from synpref_dagster.storage import to_path

    # Long names are cut; the hash keeps those apart that begin alike.
    name = re.sub("[^a-z0-9]+", "-", request.node.name.lower())[:40].strip("-")
    bucket = f"test-{name}-{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}"
    to_path(f"s3://{bucket}").fs.mkdir(bucket)
    return S3Server(s3_process["endpoint"], s3_process["key"], s3_process["secret"], bucket)
