"""Kill -9 at any moment: the re-run finishes, reuses what was finished, and reports the same."""

import random
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import dagster as dg
import pytest

ACTIVE = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING]
POLL_SECONDS = 0.02
WAIT_SECONDS = 1200
AT_A_TIME = 2

# Each is about to be true while the asset named is being computed.
MOMENTS = {
    "iteration_01/reward_model": "models/iteration_01/reward_model/*",
    "flip_evidence": "models/flip_evidence/fold_0/*/training.json",
    "skywork_reward_v2": "models/skywork_reward_v2/qwen3-0.6b/*",
}
# What a finished step leaves, and nobody writes again. References are written anew each time.
KEPT = ("/shards/", "/training.json", "/model.safetensors")


def kill_when(place, pattern):
    """Start the campaign and kill it once a file appears; what it printed until then."""
    process = place.start("synpref", "run", "--profile", "smoke", "--sizes", "qwen3-0.6b")
    until = time.monotonic() + WAIT_SECONDS
    try:
        while not list(place.root.glob(pattern)):
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < until, f"{pattern} never appeared"
            time.sleep(POLL_SECONDS)
    finally:
        process.send_signal(signal.SIGKILL)
        output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL
    return output


def finished_files(place):
    """Files that a later run must find and leave alone, with the time they were written."""
    written = place.written()
    trained = {
        name.removesuffix("training.json") for name in written if name.endswith("training.json")
    }
    return {
        name: when
        for name, when in written.items()
        if any(part in f"/{name}" for part in KEPT)
        and (not name.startswith("models/") or name.startswith(tuple(trained)))
    }


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_campaign_killed_three_times_ends_like_an_undisturbed_one(workplace):
    place = workplace()
    before = {}
    for asset, pattern in MOMENTS.items():
        output = kill_when(place, pattern)
        assert f"done   {asset}" not in output
        assert not (place.root / "report.json").exists()
        now = finished_files(place)
        assert len(now) > len(before)
        assert {name: now.get(name) for name in before} == before
        before = now
    place.campaign()
    after = place.written()
    assert {name: after[name] for name in before} == before
    undisturbed = workplace()  # not `finished`, where other tests make further sizes
    undisturbed.campaign()
    assert place.report() == undisturbed.report()
    assert finished_files(place).keys() == finished_files(undisturbed).keys()


@pytest.fixture(scope="module")
def undisturbed(workplace):
    """The report of a campaign without releases that nobody killed, and its seconds."""
    # As many side by side as are killed: what one takes alone would be killed too early.
    places, began = [workplace() for _ in range(AT_A_TIME)], time.monotonic()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        list(pool.map(lambda place: place.campaign("--sizes", "none"), places))
    seconds = time.monotonic() - began
    report, *others = [place.report() for place in places]
    assert others == [report] * len(others)
    return report, seconds


def check_killed(workplace, undisturbed, numbers):
    """Kills campaigns at random moments, one in four within its first two seconds."""
    # Nearly all that one takes is starting Python and writing down small steps, on one core.
    places = [workplace() for _ in numbers]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        list(pool.map(partial(check_one_killed, undisturbed), numbers, places))


def check_one_killed(undisturbed, number, place):
    """Kills one campaign, runs it again, and compares; its folder is gone afterwards."""
    expected, seconds = undisturbed
    latest = seconds if number % 4 else min(2.0, seconds)
    after = random.Random(number).uniform(0.001, latest)
    process = place.start("synpref", "run", "--profile", "smoke", "--sizes", "none")
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    place.campaign("--sizes", "none")
    assert place.report() == expected, f"number {number}, killed after {after:.3f} s"
    shutil.rmtree(place.base)


@pytest.mark.servers
@pytest.mark.timeout(1800)
def test_four_campaigns_killed_at_random_end_like_an_undisturbed_one(workplace, undisturbed):
    check_killed(workplace, undisturbed, range(4))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_thirty_six_more_killed_at_random_end_like_an_undisturbed_one(workplace, undisturbed):
    check_killed(workplace, undisturbed, range(4, 40))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_run_of_a_killed_campaign_looks_as_if_it_were_still_running(workplace):
    place = workplace()
    kill_when(place, "data/clean_pool/kept/manifest.json")
    home = str(place.base / "home")
    with dg.DagsterInstance.from_config(home) as instance:
        assert len(instance.get_runs(dg.RunsFilter(statuses=ACTIVE))) == 1
    place.campaign()
    with dg.DagsterInstance.from_config(home) as instance:
        assert instance.get_runs(dg.RunsFilter(statuses=ACTIVE)) == []
        assert instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])) == 1
