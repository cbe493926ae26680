"""What happens between two nights, as small functions: each says what it did, or None for nothing.

`WEIGHTS` says how often each is drawn.
"""

import json

from nights.world import CLOSED, FREE, VOTED, Source

SETTINGS = {
    "unsure_band": [0.0, 0.05],
    "guard_floor": [0.5, 0.6, 0.9],
    "recycle": ["strict", "all", "none"],
}
BUMPED = (
    *("clean_pool", "strict_overlaps", "unverified_pool", "wild_pool"),
    *("attribute_labels", "pair_embeddings", "gold_reward_model", "pool_rewards"),
    *("flip_evidence", "relabelled_pairs", "consistency_filtered_subset"),
)
"""Assets whose code may change so that the outcome is the same. That of the raw pool is a constant
which readers of votes go by, too; that of the export is no reason for a night."""
FEWEST_ROWS, FEWEST_SOURCES = 5, 4
NEW = "new_"  # begins the names of sources that arrived during the nights


def append(world, draw):
    """A row more at the end of the file that it belongs to."""
    there = [each for each in world.spare if each[1] in _files(world)]
    if not there:
        return None
    name, file, row = draw.choice(there)
    world.spare.remove((name, file, row))
    world.sources[name].files[file].append(row)
    return f"append to {file}"


def arrive(world, draw):
    """A new source with a few rows, now and then under a licence that forbids training."""
    if len(world.spare) < 3:
        return None
    name, file, _ = draw.choice(world.spare)
    rows = [each for each in world.spare if each[1] == file][: draw.randint(1, 3)]
    world.spare = [each for each in world.spare if each not in rows]
    known = world.sources.get(name) or world.out[name]
    new = f"{NEW}{len(world.sources) + len(world.out)}"
    licence = CLOSED if draw.random() < 0.3 else FREE
    world.sources[new] = Source(known.origin, {f"{new}.jsonl": [row for *_, row in rows]}, licence)
    return f"{new} arrives ({licence})"


def erase(world, draw):
    """A row is gone."""
    _, file, rows = draw.choice(world.rows())
    if len(rows) <= FEWEST_ROWS:
        return None
    del rows[draw.randrange(len(rows))]
    return f"erase in {file}"


def turn(world, draw):
    """A row has the other label."""
    _, file, rows = draw.choice(world.rows())
    number = draw.randrange(len(rows))
    row = json.loads(rows[number])
    if not isinstance(row, dict) or not {"chosen", "rejected"} <= row.keys():
        return None
    rows[number] = json.dumps({**row, "chosen": row["rejected"], "rejected": row["chosen"]})
    return f"turn in {file}"


def turn_votes(world, draw):
    """People say the opposite of what they said about a few pairs, and so may the source label."""
    voted = [(file, rows) for _, file, rows in world.rows() if '"votes"' in rows[0]]
    file, rows = draw.choice(voted)
    for number in draw.sample(range(len(rows)), min(len(rows), 4)):
        row = json.loads(rows[number])
        other = {"a": "b", "b": "a", "equal": "equal"}
        votes = [{**vote, "value": other[vote["value"]]} for vote in row["votes"]]
        rows[number] = json.dumps({**row, "votes": votes})
    return f"turn votes in {file}"


def swap(world, draw):
    """The rows of a file stand in another order."""
    _, file, rows = draw.choice(world.rows())
    draw.shuffle(rows)
    return f"swap in {file}"


def leave(world, draw):
    """A pair that people were asked about leaves every file, as when its author asks for it."""
    rows = draw.choice([rows for _, file, rows in world.rows() if file.startswith(VOTED)])
    if len(rows) <= FEWEST_ROWS:
        return None
    row = json.loads(draw.choice(rows))
    texts = [json.dumps(row[key])[1:-1] for key in ("prompt", "response_a", "response_b")]
    number = 0
    for _, _, rows in world.rows():
        kept = [line for line in rows if not all(text in line for text in texts)]
        number += len(rows) - len(kept)
        rows[:] = kept or rows  # A file without a row would be another accident.
    return f"{number} rows of a pair leave"


def take_out(world, draw):
    """A source is taken out of the profile, and its files are gone."""
    names = sorted(world.sources.keys() - {VOTED, *(name for name, _ in world.lost)})
    if len(names) < FEWEST_SOURCES:
        return None
    name = draw.choice(names)
    world.out[name] = world.sources.pop(name)
    return f"{name} is taken out"


def bring_back(world, draw):
    """A source that was taken out is there again."""
    if not world.out:
        return None
    name = draw.choice(sorted(world.out))
    world.sources[name] = world.out.pop(name)
    return f"{name} is back"


def lose(world, draw):
    """A file is gone while the profile names its source: refused, unless the profile allows it."""
    if world.lost:
        return None
    name, file, rows = draw.choice([each for each in world.rows() if len(each[2]) > FEWEST_ROWS])
    world.lost = {(name, file): rows}
    del world.sources[name].files[file]
    return f"{file} is gone"


def find(world, draw):
    """A file that the profile allowed to be gone is there again."""
    if not world.lost:
        return None
    put_back(world)
    return "a lost file is back"


def put_back(world):
    """Lost files are where they were, and none may be gone any longer."""
    for (name, file), rows in world.lost.items():
        world.sources[name].files[file] = rows
    world.lost, world.allow_missing = {}, False


def setting(world, draw):
    """A setting of the filtering changes."""
    name = draw.choice(sorted(SETTINGS))
    world.settings[name] = draw.choice(SETTINGS[name])
    return f"{name} = {world.settings[name]}"


def licence(world, draw):
    """Somebody finds out that a new source has another licence."""
    new = [name for name in sorted(world.sources) if name.startswith(NEW)]
    if not new:
        return None
    source = world.sources[draw.choice(new)]
    source.licence = FREE if source.licence == CLOSED else CLOSED
    return f"licence {source.licence}"


def bump(world, draw):
    """The code of an asset changes, its outcome does not."""
    name = draw.choice(BUMPED)
    world.versions[name] = f"{world.versions.get(name, 'after')} a change"
    return f"bump {name}"


WEIGHTS = {
    append: 4,
    arrive: 3,
    erase: 2,
    turn: 2,
    turn_votes: 3,
    swap: 2,
    leave: 2,
    take_out: 2,
    bring_back: 3,
    lose: 2,
    find: 1,
    setting: 2,
    licence: 1,
}
BUMP_SHARE = 0.15
"""Nights before which the code of an asset changes and nothing else."""


def happen(world, draw):
    """What happens before a night; returns what it was."""
    if draw.random() < BUMP_SHARE:
        return [bump(world, draw)]
    kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
    wanted, happened = draw.randint(1, 3), []
    while len(happened) < wanted:
        told = draw.choices(kinds, weights)[0](world, draw)
        happened += [told] if told else []
    return happened


def _files(world):
    return {file for _, file, _ in world.rows()}
