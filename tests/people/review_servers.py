"""The review page as people run it: `synpref review serve` in a process of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from review_cases import ATTRIBUTES

from synpref_dagster.pairs.record import PreferencePair

CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
BIN = Path(sys.executable).parent
START_SECONDS = 60
QUESTION = """How do I get the **median** of a list in Python without a library? It should work for
lists of even and odd length, and raise an error for an empty one."""
GOOD = """Sort a copy and take the middle:

```python
def median(values: list[float]) -> float:
    if not values:
        raise ValueError("median of an empty list")
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2
```

- odd length: the middle element
- even length: the mean of the two in the middle

Sorting costs *O(n log n)*; `values` itself is left as it was."""
BAD = """You can use this:

```python
def median(values):
    values.sort()
    return values[len(values) // 2]
```

It sorts the list and returns the element in the middle, which is the median by definition.
For an empty list Python raises an `IndexError` by itself."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def review_page(url, port):
    """The page on loopback, until the block ends."""
    command = [BIN / "synpref", "review", "serve", "--port", str(port), "--ledger", url]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _answers(port):
                assert process.poll() is None, "the review page ended"
                assert time.monotonic() < deadline, "the review page did not start"
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)


def _answers(port):
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok
    except requests.ConnectionError:
        return False


def coding_pair(number):
    """A pair whose better response contains `raise ValueError`."""
    return PreferencePair(
        conversation=({"role": "user", "content": f"{QUESTION}\n\n(request {number})"},),
        chosen=GOOD,
        rejected=BAD,
        source="s",
        origin="human",
    )


def preverified(pair):
    good = "**Correct.** Runs as given; odd, even and empty lists behave as asked."
    bad = "**Incorrect.** Wrong for lists of even length, and it changes the caller's list."
    first_is_good = pair.chosen < pair.rejected
    return {
        "attributes": ATTRIBUTES,
        "preverification": {
            "first": good if first_is_good else bad,
            "second": bad if first_is_good else good,
        },
    }


@contextmanager
def launched_browser():
    """Debian's Chromium without a window."""
    if not CHROMIUM.is_file():
        pytest.skip(f"no browser at {CHROMIUM}: scripts/services/chromium.sh install")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        yield opened
        opened.close()
