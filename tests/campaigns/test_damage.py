"""Bits flip in every kind of file of a finished campaign: the same report, or none at all."""

import json
import os
import random
import re
import shutil

import dagster as dg
import pytest

from synpref_dagster.resources import attributes
from synpref_dagster.reward import shards

SIZE = "qwen3-0.6b"
JOBS = ("curate_pool", "release_models", "refresh_leaderboard")
BATCH, NUM_FORGOTTEN = 20, 5
REMEDY = re.compile(r"rm (?:-r )?'([^']+)'")


def kinds(root):
    """The files of a store by kind: what sort of thing lies in them."""
    found = {}
    for file in sorted(path for path in root.rglob("*") if path.is_file()):
        top, folder = file.relative_to(root).parts[0], file.parent.name
        if folder in ("shards", "manifests", "steps", "tasks"):
            kind = folder
        else:
            kind = file.name if top in ("data", "models", "backbones") else file.suffix
        if file.stat().st_size:
            found.setdefault((top, kind), []).append(file)
    return found


def flip(file, rng):
    about, content = file.stat(), bytearray(file.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))


def started(campaign):
    """None when every job came to its end, else what the failing one said."""
    shards.opened_scorer.cache_clear()
    attributes._embedder.cache_clear()
    for job in JOBS:
        result = campaign.defs.resolve_job_def(job).execute_in_process(
            instance=dg.DagsterInstance.ephemeral(),
            partition_key=SIZE if job == "release_models" else None,
            raise_on_error=False,
        )
        failures = [event for event in result.all_events if event.is_step_failure]
        if failures:
            return "\n".join(told(event.step_failure_data.error) for event in failures)
    return None


def told(error):
    return "" if error is None else f"{error.message}\n{told(error.cause)}"


def report_of(campaign):
    report = json.loads((campaign.root / "report.json").read_text())
    return {name: value for name, value in report.items() if name not in ("seconds", "#blake2b")}


@pytest.fixture(scope="module")
def campaign(tmp_path_factory, start_campaign):
    return start_campaign(tmp_path_factory.mktemp("damage")).run(*JOBS)


def forget(campaign, rng):
    """Removes some finished steps, so that they are computed again from what may be damaged."""
    steps = sorted(path for path in (campaign.root / "data").iterdir() if path.is_dir())
    for step in rng.sample(steps, NUM_FORGOTTEN):
        shutil.rmtree(step)


def check(campaign, seed):
    """Flips bits, starts until the campaign is done, and compares; how many starts were refused."""
    rng = random.Random(seed)
    before, groups = report_of(campaign), list(kinds(campaign.root).values())
    rng.shuffle(groups)
    flipped = sorted({rng.choice(group) for group in (groups * BATCH)[:BATCH]})
    for file in flipped:
        flip(file, rng)
    forget(campaign, rng)
    (campaign.root / "report.json").unlink(missing_ok=True)  # None, unless one is written.
    said, num_refused = "not started", -1
    for _ in range(BATCH + 1):
        num_refused += 1
        if (said := started(campaign)) is None:
            break
        assert any(file.name in said for file in flipped), said
        if remedy := REMEDY.search(said):
            assert str(campaign.root) in remedy[1]
            shutil.rmtree(remedy[1], ignore_errors=True)
    assert said is None
    assert report_of(campaign) == before
    return num_refused


@pytest.mark.servers
@pytest.mark.timeout(900)
def test_twenty_flipped_bits_are_healed_or_refused_by_name(campaign):
    assert check(campaign, 0) > 0  # Something that matters was hit.


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(1, 11))
def test_two_hundred_flipped_bits_are_healed_or_refused_by_name(campaign, seed):
    check(campaign, seed)
