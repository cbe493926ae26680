"""Files of a finished campaign are damaged: the same report and decisions, or none at all."""

import hashlib
import json
import os
import random
import re
import shutil
from itertools import zip_longest

import dagster as dg
import pytest

from synpref_dagster.resources import embedding
from synpref_dagster.reward import shards
from synpref_dagster.storage import DatasetRef, SelectionRef, read_table

SIZE = "qwen3-0.6b"
JOBS = ("curate_pool", "release_models", "refresh_leaderboard")
BATCH, NUM_FORGOTTEN = 20, 5
REMEDY = re.compile(r"rm (?:-r )?'([^']+)'")
HANDED_ON = (
    "clean_pool",
    "gold",
    "silver",
    "recycled_pairs",
    "consistency_filtered_subset",
    "curated_dataset",
    f"skywork_reward_v2/{SIZE}",
    f"benchmark_scores/{SIZE}",
)


def kinds(root):
    """The files of a store by kind: what sort of thing lies in them."""
    found = {}
    for file in sorted(path for path in root.rglob("*") if path.is_file()):
        top, folder = file.relative_to(root).parts[0], file.parent.name
        if folder in ("shards", "manifests", "steps", "tasks"):
            kind = folder
        elif file.suffix == ".lock" or folder == "sealed":
            continue  # No content; and the truth may be taken away, which a campaign says.
        else:
            kind = file.name if top in ("data", "models", "backbones") else file.suffix
        if file.stat().st_size:
            found.setdefault((top, kind), []).append(file)
    return found


def flip(content, rng, _):
    """One bit is another."""
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return content


def cut(content, rng, _):
    """The end is missing."""
    return content[: rng.randrange(1, len(content))]


def empty(*_):
    """Nothing is in it any more."""
    return b""


def remove(*_):
    """It is gone."""


def swap(content, _, other):
    """Another file of its kind has its content, and the other way round."""
    mine = bytes(content)
    content[:] = other.read_bytes()
    other.write_bytes(mine)
    return content


def damage(how, file, group, rng):
    """Damages a file and leaves its time of change as it was."""
    about = file.stat()
    content = how(bytearray(file.read_bytes()), rng, rng.choice(group))
    if content is None:
        file.unlink()
        return
    file.write_bytes(content)
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))


def started(campaign):
    """None when every job came to its end, else what the failing one said."""
    shards.opened_scorer.cache_clear()
    embedding.opened_embedder.cache_clear()
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


def results(campaign):
    """What a campaign says and hands on: its report, its tables row by row, its released files."""
    report = json.loads((campaign.root / "report.json").read_text())
    for of_a_run in ("seconds", "made", "cost", "#blake2b"):
        report.pop(of_a_run)
    files = [path for path in (campaign.root / "releases").rglob("*") if path.is_file()]
    return {
        **{name: rows(campaign.ref(name)) for name in HANDED_ON},
        **{str(path): [hashlib.sha256(path.read_bytes()).hexdigest()] for path in files},
        "report": json.dumps(report, indent=1, sort_keys=True).splitlines(),  # NaN is NaN in text
    }


def rows(ref):
    if isinstance(ref, DatasetRef):
        return [str(row) for row in read_table(ref).to_pylist()]
    if isinstance(ref, SelectionRef):
        return rows(ref.kept) + rows(ref.dropped)
    return [row for part in ref.values() for row in rows(part)] if isinstance(ref, dict) else [ref]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory, start_campaign):
    return start_campaign(tmp_path_factory.mktemp("damage")).run(*JOBS)


def forget(campaign, rng):
    """Removes some finished steps, so that they are computed again from what may be damaged."""
    steps = sorted(path for path in (campaign.root / "data").iterdir() if path.is_dir())
    for step in rng.sample(steps, NUM_FORGOTTEN):
        shutil.rmtree(step)


def check(campaign, how, seed, *, num_files=BATCH, surely=()):
    """Damages files, starts until the campaign is done, and compares; how many refusals.

    `surely` are patterns of files that are damaged beside those that are drawn.
    """
    rng = random.Random(f"{how.__name__} {seed}")
    before, groups = results(campaign), list(kinds(campaign.root).values())
    rng.shuffle(groups)
    chosen = {rng.choice(group): group for group in (groups * num_files)[:num_files]}
    chosen |= {found: [found] for pattern in surely for found in campaign.root.glob(pattern)}
    for file, group in sorted(chosen.items()):
        damage(how, file, group, rng)
    forget(campaign, rng)
    (campaign.root / "report.json").unlink(missing_ok=True)  # None, unless one is written.
    said, num_refused = "not started", -1
    for _ in range(2 * num_files + 1):  # Of a swap both files are damaged.
        num_refused += 1
        if (said := outcome(campaign, before)) is None:
            break
        assert any(file.name in said for group in chosen.values() for file in group), said
        if remedy := REMEDY.search(said):
            assert str(campaign.root) in remedy[1]
            shutil.rmtree(remedy[1], ignore_errors=True)
    assert said is None
    return num_refused


def outcome(campaign, before):
    """None when a start ended with the results of before; else what refused them."""
    if (said := started(campaign)) is not None:
        return said
    try:
        after = results(campaign)
    except ValueError as error:  # What no step read is refused by its first reader.
        return str(error)
    for name in before:
        changed = [pair for pair in zip_longest(before[name], after[name]) if len(set(pair)) > 1]
        assert not changed, f"{name}: {changed[:9]}"
    return None


@pytest.mark.servers
@pytest.mark.timeout(900)
def test_twelve_flipped_bits_are_healed_or_refused_by_name(campaign):
    surely = (
        "data/benchmark_prompts/shards/*",
        f"models/skywork_reward_v2/{SIZE}/*/model.safetensors",
    )
    assert check(campaign, flip, 0, num_files=10, surely=surely) > 0


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(1, 11))
def test_two_hundred_flipped_bits_are_healed_or_refused_by_name(campaign, seed):
    check(campaign, flip, seed)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("how", [cut, empty, remove, swap])
def test_files_cut_emptied_removed_or_swapped_are_healed_or_refused_by_name(campaign, how):
    check(campaign, how, 0)
