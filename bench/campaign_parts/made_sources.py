"""Short preference pairs in files, as teams collect them: several sources, votes, repetitions.

A fifth of the pairs comes from a crowd with five votes each, the others from four sources whose
labels are right to different degrees. Some pairs are in several sources, some under both labels,
some contain a benchmark's prompt, some lines are broken. Nothing is held in memory but the last
few thousand pairs, so that millions can be made.
"""

import json
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

CROWD_SHARE, NUM_VOTES, VOTE_ACCURACY = 0.2, 5, 0.8
LABEL_ACCURACY = {"instruct": 0.9, "chat": 0.8, "rules": 0.7, "weak": 0.6}
REPEATED, CONTRADICTED, CONTAMINATED, BROKEN = 0.03, 0.01, 0.001, 0.001
FILE_ROWS = 50_000
NUM_BENCHMARK_ITEMS = 500
REMEMBERED = 5_000  # earlier pairs that later ones may repeat

PROFILE_NAME = "own.toml"
PROFILE = """\
name = "own"

[pool]
kind = "sources"
recorded_verdicts = "sources"
custom_benchmarks = {{ own_suite = "{folder}/own_suite.jsonl" }}

{sources}
[seed_set]
num_gold = 800
num_silver = 800
validation_share = 0.3

[iterations]
num_iterations = 1
max_retrieved = 400
num_human = 100

[people]
backend = "recorded"

[judges]
kind = "exemplar"
num_samples = 5
num_exemplars = 8

[reward_model]
backend = "linear"

[release]
backend = "stand_in"
learning_rate = 1.5e-3
batch_pairs = 16
num_steps = 40
evaluate_every_steps = 40
"""
SOURCE = """\
[[pool.sources]]
name = "{name}"
path = "{folder}/{name}"
origin = "{origin}"
licence = "CC0-1.0"
"""


@dataclass(frozen=True)
class MadePair:
    """A prompt and two responses, the better one first."""

    prompt: str
    better: str
    worse: str


@dataclass
class Writer:
    """Makes pairs and writes them, source after source."""

    rng: random.Random
    folder: Path
    earlier: deque[MadePair] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def __post_init__(self) -> None:
        letters = "abcdefghijklmnopqrstuvwxyz"
        words = random.Random(0)  # the same words on every night
        self.words = ["".join(words.choices(letters, k=words.randint(2, 10)))
                      for _ in range(20_000)]  # fmt: skip
        # Zipf's law: how many different words and word pairs there are decides what fits cost.
        self.weights = list(accumulate(1 / (rank + 3) for rank in range(len(self.words))))
        self.good, self.bad = self.words[500:540], self.words[540:580]
        self.items = [self.said(words, 25) for _ in range(NUM_BENCHMARK_ITEMS)]

    def benchmark(self) -> None:
        """The suite that no pair may contain."""
        rows = ({"prompt": item, "chosen": "yes", "rejected": "no"} for item in self.items)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (self.folder / "own_suite.jsonl").write_text(text)

    def source(self, name: str, num_rows: int, *, night: int) -> None:
        """Files of one source, FILE_ROWS lines each."""
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        rows = self.lines(name, num_rows)
        for start in range(0, num_rows, FILE_ROWS):
            path = self.folder / name / f"night_{night}_part_{start // FILE_ROWS:04d}.jsonl"
            with path.open("w") as file:
                for _ in range(min(FILE_ROWS, num_rows - start)):
                    file.write(next(rows))

    def lines(self, name: str, num_rows: int) -> Iterator[str]:
        """Rows as text; some repeat or contradict earlier pairs, some are broken."""
        for pair in self.pairs(num_rows):
            draw = self.rng.random()
            if draw < BROKEN:
                yield '{"prompt": "broken\n'
                continue
            repeats = bool(self.earlier) and draw < BROKEN + REPEATED
            said = self.rng.choice(self.earlier) if repeats else pair
            self.earlier.append(said)
            turned = repeats and self.rng.random() < CONTRADICTED / REPEATED
            row = self.crowd_row(said) if name == "crowd" else self.plain_row(said, name)
            if turned and name != "crowd":
                row["chosen"], row["rejected"] = row["rejected"], row["chosen"]
            yield json.dumps(row) + "\n"

    def pairs(self, num_pairs: int) -> Iterator[MadePair]:
        """Two pairs to a prompt; the better response has more of the good words."""
        prompt = ""
        for place in range(num_pairs):
            if place % 2 == 0:
                prompt = self.said(self.rng, 12)
            asked = prompt
            if self.rng.random() < CONTAMINATED:
                asked = f"{self.rng.choice(self.items)} {prompt}"
            yield MadePair(asked, self.response(self.good), self.response(self.bad))

    def response(self, mostly: Sequence[str]) -> str:
        """Some 100 characters."""
        other = self.bad if mostly is self.good else self.good
        telling = [*self.rng.choices(mostly, k=3), self.rng.choice(other)]
        return " ".join([self.said(self.rng, 11), *telling])

    def said(self, rng: random.Random, num_words: int) -> str:
        """Words as often as a language has them."""
        return " ".join(rng.choices(self.words, cum_weights=self.weights, k=num_words))

    def plain_row(self, pair: MadePair, name: str) -> dict[str, object]:
        """A label that is right as often as the source's labels are."""
        right = self.rng.random() < LABEL_ACCURACY[name]
        chosen, rejected = (pair.better, pair.worse) if right else (pair.worse, pair.better)
        return {"prompt": pair.prompt, "chosen": chosen, "rejected": rejected}

    def crowd_row(self, pair: MadePair) -> dict[str, object]:
        """Votes of five people out of 200, each right with VOTE_ACCURACY."""
        first_is_better = self.rng.random() < 0.5
        responses = (pair.better, pair.worse) if first_is_better else (pair.worse, pair.better)
        votes = [
            {"worker": f"w{worker}",
             "value": "ab"[first_is_better != (self.rng.random() < VOTE_ACCURACY)]}
            for worker in self.rng.sample(range(200), NUM_VOTES)
        ]  # fmt: skip
        return {"prompt": pair.prompt, "response_a": responses[0], "response_b": responses[1],
                "votes": votes}  # fmt: skip


def write_first_night(folder: Path, num_pairs: int) -> Path:
    """Sources, benchmark and profile of a pool; returns the profile's path."""
    folder.mkdir(parents=True)
    writer = Writer(random.Random(1), folder)
    writer.benchmark()
    num_crowd = int(num_pairs * CROWD_SHARE)
    writer.source("crowd", num_crowd, night=1)
    for name in LABEL_ACCURACY:
        writer.source(name, (num_pairs - num_crowd) // len(LABEL_ACCURACY), night=1)
    sources = "\n".join(
        SOURCE.format(name=name, folder=folder, origin="human" if name == "crowd" else "synthetic")
        for name in ("crowd", *LABEL_ACCURACY)
    )
    profile = folder / PROFILE_NAME
    profile.write_text(PROFILE.format(folder=folder, sources=sources))
    return profile


def write_second_night(folder: Path, num_pairs: int, num_new: int) -> None:
    """One new file with votes and one without, together `num_new` lines."""
    writer = Writer(random.Random(2), folder)
    writer.source("crowd", num_new // 2, night=2)
    writer.source("instruct", num_new - num_new // 2, night=2)
