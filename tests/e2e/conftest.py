"""The installed commands on campaigns of their own, and a real Dagster with its pages."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from synpref_dagster.cli.instance import INSTANCE_SETTINGS

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = Path(sys.executable).parent
SIZE = "qwen3-0.6b"
CAMPAIGN_SECONDS = 1800
START_SECONDS = 600
STOP_SECONDS = 180
PAGE_LOADS, PAGE_SECONDS = 4, 60
BROWSER_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]


@dataclass(frozen=True)
class Workplace:
    """A folder with a store, a Dagster history and an MLflow database of its own."""

    base: Path
    profile: str = "smoke"
    seed: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """The campaign's folder."""
        return self.base / "store" / self.profile / f"seed-{self.seed}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a command that works here, clean of the developer's settings."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SYNPREF")}
        return kept | {
            "SYNPREF_STORE": str(self.base / "store"),
            "SYNPREF_PROFILE": self.profile,
            "SYNPREF_SEED": str(self.seed),
            "SYNPREF_MLFLOW_URI": f"sqlite:///{self.base / 'mlflow.db'}",
            "DAGSTER_HOME": str(self.base / "home"),
            **self.settings,
        }

    def start(self, *command: str) -> "subprocess.Popen[str]":
        """Start an installed command here; standard output and error are one pipe."""
        self.base.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            [str(BIN / command[0]), *command[1:]],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: str) -> str:
        """Run an installed command here to its end; its output. Fails the test when it fails."""
        with self.start(*command) as process:
            output, _ = process.communicate(timeout=CAMPAIGN_SECONDS)
        assert process.returncode == 0, output
        return output

    def campaign(self, *options: str) -> str:
        """Run the campaign with one release; its output."""
        chosen = options or ("--sizes", SIZE)
        return self.run("synpref", "run", "--profile", self.profile, *chosen)

    def report(self) -> dict[str, object]:
        """The report without the time it took, the times it names, and the seal over these."""
        found = json.loads((self.root / "report.json").read_text())
        for row in (*found["leaderboard"], *found["releases"]):
            del row["night"]
        of_this_run = ("seconds", "nights", "made", "cost", "#blake2b")
        return {name: value for name, value in found.items() if name not in of_this_run}

    def written(self) -> dict[str, int]:
        """When each file of the store was last written, in nanoseconds."""
        return {
            path.relative_to(self.root).as_posix(): path.stat().st_mtime_ns
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
        }


@dataclass(frozen=True)
class DagsterServer:
    """A running `dagster dev`."""

    url: str

    def ask(self, query: str, **variables: object) -> dict[str, object]:
        """One GraphQL query; fails the test on an error."""
        answer = requests.post(
            f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60
        ).json()
        assert "errors" not in answer, answer["errors"]
        found: dict[str, object] = answer["data"]
        return found


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Workplace]:
    """Makes an empty workplace: `workplace(profile, seed=0, SETTING=value)`."""

    def make(profile: str = "smoke", *, seed: int = 0, **settings: str) -> Workplace:
        return Workplace(tmp_path_factory.mktemp(profile), profile, seed, settings)

    return make


@pytest.fixture(scope="session")
def finished(workplace: Callable[..., Workplace]) -> Workplace:
    """A workplace with a finished smoke campaign of one release, run by `synpref run`."""
    place = workplace()
    place.campaign()
    return place


@pytest.fixture(scope="session")
def dagster_server(finished: Workplace) -> Iterator[DagsterServer]:
    """`dagster dev` on the history of the finished campaign, on a free port of loopback."""
    with dagster_dev(finished.base, finished.environment) as server:
        yield server


@pytest.fixture(scope="session")
def serve_dagster() -> Callable[..., AbstractContextManager[DagsterServer]]:
    """The function `dagster_dev`, for tests with code locations of their own."""
    return dagster_dev


@contextmanager
def dagster_dev(
    base: Path, environment: Mapping[str, str], workspace: str = "workspace.yaml"
) -> Iterator[DagsterServer]:
    """`dagster dev` on the instance below `base`, until the block ends.

    Args:
        base: its folder `home` is the instance.
        environment: of the server and of its runs.
        workspace: the code locations, from the checkout or as a whole path.
    """
    (base / "home").mkdir(exist_ok=True)
    (base / "home" / "dagster.yaml").write_text(INSTANCE_SETTINGS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (base / "dagster.log").open("w")
    process = subprocess.Popen(
        [BIN / "dagster", "dev", "-w", workspace, "-h", "127.0.0.1", "-p", str(port)],
        cwd=ROOT,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        process_group=0,
        # A shell that runs the tests in the background makes its children ignore SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    server = DagsterServer(f"http://127.0.0.1:{port}")
    try:
        _wait_until_ready(server, process)
        yield server
    finally:
        # It ignores SIGTERM; SIGINT is what Ctrl-C sends.
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            log.close()


def _wait_until_ready(server: DagsterServer, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            pytest.fail(f"dagster dev ended with {process.returncode}")
        try:
            if server.ask("{ repositoriesOrError { __typename } }"):
                return
        except requests.ConnectionError:
            time.sleep(1)
    pytest.fail(f"dagster dev was not ready after {START_SECONDS} s")


@pytest.fixture
def page() -> Iterator[Any]:
    """A browser page of 1,800 x 1,300 points; skipped where there is no Chromium."""
    browser_path = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    if not Path(browser_path).exists():
        pytest.skip(f"no {browser_path}: run scripts/services/chromium.sh install")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=BROWSER_OPTIONS)
        yield browser.new_page(viewport={"width": 1800, "height": 1300})
        browser.close()


@pytest.fixture
def page_text(page: Any) -> Callable[[str, str], str]:
    """The text of the page at a URL once it shows a text; loaded again where it does not.

    On a busy machine a page of Dagster may miss an answer that it does not ask for again.
    """
    from playwright.sync_api import TimeoutError as NotShown

    def make(url: str, text: str) -> str:
        for _ in range(PAGE_LOADS):
            try:
                page.goto(url, timeout=PAGE_SECONDS * 1000)
                page.get_by_text(text).first.wait_for(timeout=PAGE_SECONDS * 1000)
            except NotShown:
                continue
            return str(page.inner_text("body"))
        pytest.fail(f"{url} shows no {text!r} but: {page.inner_text('body')[:2000]}")

    return make
