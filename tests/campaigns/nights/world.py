"""The small world of the nights: sources in files that come, change and go, and its profile."""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

from synpref_dagster.pairs.record import PreferencePair, canonical_sign
from synpref_dagster.synthetic.miniatures.suite import SMOKE_SIZES
from synpref_dagster.synthetic.world import WorldConfig, write_world

FREE, CLOSED = "apache-2.0", "proprietary, no training"
VOTED = "crowd"
"""The source in a folder of two files whose votes play the people: gold comes from it alone."""
BENCHMARKS = ("reward_bench_2", "ppe_preference")
PROFILE = """
name = "nights"

[seed_set]
num_gold = 90
num_silver = 90
validation_share = 0.3

[iterations]
num_iterations = 1
max_retrieved = 60
num_human = 30
human_policy = "judge_disagreement"

[judges]
kind = "exemplar"
num_samples = 3
num_exemplars = 6

[reward_model]
backend = "stand_in"
model_size = "qwen3-1.7b"
learning_rate = 1.5e-3
batch_pairs = 16
num_steps = 20
evaluate_every_steps = 10

[release]
backend = "stand_in"
learning_rate = 1.5e-3
batch_pairs = 16
num_steps = 20
evaluate_every_steps = 20

[evidence]
num_judged = 60

[export]
allowed_licences = ["apache-2.0"]
"""


@dataclass
class Source:
    """Files of one source: path below the folder of all sources -> its rows as text."""

    origin: str
    files: dict[str, list[str]]
    licence: str = FREE


class World:
    """What is in the files and in the profile; written down before each night."""

    def __init__(self, base, *, share, num_pairs=400):
        """Draw a world of which `share` is there from the beginning; the rest may arrive."""
        self.base = base
        self.folder = base / "sources"
        self.sources, self.out, self.lost, self.spare = {}, {}, {}, []
        self.settings = {"unsure_band": 0.0, "guard_floor": 0.6, "recycle": "strict"}
        self.allow_missing = False
        self.versions = {}
        config = WorldConfig(
            num_unverified=num_pairs, num_wild=num_pairs, num_test=20, benchmarks=SMOKE_SIZES
        )
        made = write_world(base / "world", config=config)
        voted = _votes(base / "world")
        for name, facts in sorted(made.sources.items()):
            path = base / "world" / facts["path"]
            if path.suffix == ".parquet":
                continue
            opened = gzip.open if path.suffix == ".gz" else open
            with opened(path, "rt") as stream:
                rows = stream.read().splitlines()
            if name == VOTED:
                rows = [row for row in (_voted_row(row, voted) for row in rows) if row]
                parts = {f"{name}/a.jsonl": rows[::2], f"{name}/b.jsonl": rows[1::2]}
            else:
                parts = {f"{name}.jsonl": rows}
            self.sources[name] = Source(facts["origin"], {})
            for part, rows in parts.items():
                keep = int(len(rows) * share)
                self.sources[name].files[part] = rows[:keep]
                self.spare += [(name, part, row) for row in rows[keep:]]
        self.write()

    @property
    def profile(self):
        """Where the profile lies."""
        return self.base / "nights.toml"

    @property
    def closed(self):
        """Sources that no release may contain."""
        return {name for name, source in self.sources.items() if source.licence == CLOSED}

    def rows(self):
        """(source, file, rows) of every file that is there."""
        return [
            (name, file, rows)
            for name, source in sorted(self.sources.items())
            for file, rows in sorted(source.files.items())
        ]

    def path(self, name):
        """Where a source lies: a file, or for that of the votes a folder."""
        return self.folder / (name if name == VOTED else f"{name}.jsonl")

    def write(self):
        """Write what changed, remove what is no longer there."""
        wanted = {file: "\n".join(rows) for _, file, rows in self.rows()}
        there = {p.relative_to(self.folder).as_posix(): p for p in self.folder.rglob("*.jsonl")}
        for file in there.keys() - wanted.keys():
            there[file].unlink()
        for file, text in wanted.items():
            place = self.folder / file
            if file not in there or place.read_text() != text:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text)
        self.profile.write_text(self.as_toml())

    def as_toml(self, **other):
        """The profile as people would write it, with other settings of the filtering where given.

        A JSON text is one of TOML, too.
        """
        settings = {**self.settings, **other}
        lines = [PROFILE, "[filtering]", "allow_weak_models = true"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        lines += ['[pool]\nkind = "sources"\nrecorded_verdicts = "sources"']
        # Who of other origin is routed to stage 1 is part of the history of a store.
        lines += [
            "max_risky_share = 0.0",
            f"allow_missing_files = {json.dumps(self.allow_missing)}",
        ]
        lines += ["[pool.strict_pass]\nmin_words = 13", "[pool.benchmarks]"]
        for name in BENCHMARKS:
            place = self.base / "world" / "benchmarks" / f"{name}.jsonl"
            lines.append(f"{name} = {json.dumps(str(place))}")
        for name, source in self.sources.items():
            lines += ["[[pool.sources]]", f"name = {json.dumps(name)}"]
            lines += [f"path = {json.dumps(str(self.path(name)))}"]
            lines += [f'origin = "{source.origin}"', f"licence = {json.dumps(source.licence)}"]
        return "\n".join(lines) + "\n"


def _votes(world: Path):
    """content_id -> (worker, +1 when the response that sorts first is better) of who decided."""
    found = {}
    for line in (world / "recorded_verdicts.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["verdict"] in ("first", "second"):
            sign = 1 if row["verdict"] == "first" else -1
            found.setdefault(row["content_id"], []).append((row["annotator"], sign))
    return found


def _voted_row(line, votes):
    """A row of single-turn chats as crowd votes on it; None when it is no such row."""
    row = json.loads(line)
    if not all(isinstance(row.get(side), list) for side in ("chosen", "rejected")):
        return None
    chosen, rejected = ([turn["content"] for turn in row[side]] for side in ("chosen", "rejected"))
    texts = [*chosen, *rejected]
    if len(chosen) != 2 or len(rejected) != 2 or not all(isinstance(t, str) and t for t in texts):
        return None
    pair = PreferencePair(
        conversation=({"role": "user", "content": chosen[0]},),
        chosen=chosen[1],
        rejected=rejected[1],
        source=VOTED,
        origin="human",
    )
    cast = votes.get(pair.content_id.hex())
    if not cast:
        return None
    first = canonical_sign(pair.chosen, pair.rejected)
    return json.dumps(
        {
            "prompt": chosen[0],
            "response_a": chosen[1],
            "response_b": rejected[1],
            "votes": [
                {"worker": worker, "value": "a" if sign == first else "b"} for worker, sign in cast
            ],
        }
    )
