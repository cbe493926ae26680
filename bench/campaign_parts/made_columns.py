"""Millions of short pairs in JSON lines, made column by column: some 300 bytes each.

The same kinds of sources as `made_sources`: a fifth from a crowd with five votes each, four sources
of labels that are right to different degrees, repetitions, contradictions, contaminated and broken
rows. Every text is a function of the pair's number, so that nothing is held but one file, and any
part can be made again: that is how the second night corrects a file.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from campaign_parts.made_sources import (
    BROKEN,
    CONTAMINATED,
    CONTRADICTED,
    CROWD_SHARE,
    LABEL_ACCURACY,
    NUM_BENCHMARK_ITEMS,
    NUM_VOTES,
    PROFILE,
    PROFILE_NAME,
    REPEATED,
    SOURCE,
    VOTE_ACCURACY,
)
from campaign_parts.recorded_answers import BAD, GOOD, NUM_SAMPLES

FILES_PER_NIGHT = 100  # so that one file is 1% of the pool
MAX_FILE_ROWS = 100_000
NUM_SENTENCES = 50_000
NUM_WORKERS = 200
LETTERS = 7  # of a number written as a word
RELABELLED = 0.1  # share of a corrected file that gets the other label
SALTS = {"chosen": 1, "rejected": 2, "label": 3, "vote": 4, "worker": 9, "item": 10}


@dataclass(frozen=True)
class Texts:
    """Sentences that all pairs are made of."""

    @cached_property
    def sentences(self) -> pa.Array:
        """Some 80 characters each, words as often as a language has them."""
        return self._drawn(NUM_SENTENCES, num_words=13, seed=0)

    @cached_property
    def items(self) -> pa.Array:
        """Prompts of the suite that no pair may contain; of words of their own order."""
        return self._drawn(NUM_BENCHMARK_ITEMS, num_words=25, seed=1)

    def _drawn(self, num: int, *, num_words: int, seed: int) -> pa.Array:
        words = np.array(
            [word_of(n)[: 2 + n % 5] for n in mixed(np.arange(20_000), 0).tolist()], dtype=object
        )
        weights = 1 / (np.arange(len(words)) + 3.0)
        rng = np.random.default_rng(seed)
        drawn = rng.choice(len(words), size=(num, num_words), p=weights / weights.sum())
        return pa.array([" ".join(row) for row in words[drawn]], pa.string())


TEXTS = Texts()


def mixed(numbers: np.ndarray, salt: int) -> np.ndarray:
    """uint64 (n,): every number's own draw."""
    found = (numbers.astype(np.uint64) + np.uint64(salt << 40)) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        found = (found ^ (found >> np.uint64(shift))) * np.uint64(factor)
    return found ^ (found >> np.uint64(31))


def share(numbers: np.ndarray, salt: int) -> np.ndarray:
    """float64 (n,) in [0, 1): the same for the same numbers and salt."""
    return mixed(numbers, salt) / 2.0**64


def word_of(number: int) -> str:
    """A number in letters: digits could be taken for personal data."""
    return "".join(chr(97 + number // 26**place % 26) for place in range(LETTERS))


def words_of(numbers: np.ndarray) -> pa.Array:
    """`word_of` of all numbers."""
    places = 26 ** np.arange(LETTERS, dtype=np.uint64)
    letters = (numbers.astype(np.uint64)[:, None] // places % np.uint64(26) + 97).astype(np.uint8)
    offsets = np.arange(0, letters.size + 1, LETTERS, dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(letters.tobytes())]
    return pa.StringArray.from_buffers(len(numbers), buffers[1], buffers[2])


def joined(*parts: pa.Array | str) -> pa.Array:
    """Texts side by side."""
    return pc.binary_join_element_wise(*parts, "")


def responses(numbers: np.ndarray, salt: int, last: str) -> pa.Array:
    """Responses of one quality to the pairs' prompts."""
    sentence = TEXTS.sentences.take(pa.array(mixed(numbers, salt) % NUM_SENTENCES))
    return joined(sentence, " ", words_of(numbers), " ", last)


def prompts(numbers: np.ndarray) -> pa.Array:
    """Two pairs to a prompt; some contain a prompt of the benchmark."""
    asked = numbers // 2
    sentence = TEXTS.sentences.take(pa.array(mixed(asked, 0) % NUM_SENTENCES))
    plain = joined(sentence, " ", words_of(asked))
    item = TEXTS.items.take(pa.array(mixed(asked, SALTS["item"]) % NUM_BENCHMARK_ITEMS))
    contaminated = pa.array(share(asked, SALTS["item"]) < CONTAMINATED)
    return pc.if_else(contaminated, joined(item, " ", plain), plain)


def lines(name: str, start: int, num_rows: int, *, corrected: bool = False) -> pa.Array:
    """Rows of a file as text, `start` being the number of its first pair."""
    rng = np.random.default_rng([start, num_rows])
    numbers = np.arange(start, start + num_rows)
    kind = rng.random(num_rows)
    repeats = (kind > BROKEN) & (kind < BROKEN + REPEATED)
    numbers[repeats] = (rng.random(repeats.sum()) * max(start, 1)).astype(np.int64)
    turned = repeats & (rng.random(num_rows) < CONTRADICTED / REPEATED)
    turned |= corrected & (rng.random(num_rows) < RELABELLED)
    good = responses(numbers, SALTS["chosen"], GOOD)
    bad = responses(numbers, SALTS["rejected"], BAD)
    wrong = (share(numbers, SALTS["label"]) < 1 - LABEL_ACCURACY.get(name, 0.5)) ^ turned
    one, two = pc.if_else(pa.array(wrong), bad, good), pc.if_else(pa.array(wrong), good, bad)
    if name == "crowd":
        names, rest = (
            ("response_a", "response_b"),
            joined('", "votes": [', votes(numbers, wrong), "]"),
        )
    else:
        names, rest = ("chosen", "rejected"), '"'
    texts = joined('{"prompt": "', prompts(numbers), f'", "{names[0]}": "', one,
                   f'", "{names[1]}": "', two, rest, "}\n")  # fmt: skip
    return pc.if_else(pa.array(kind < BROKEN), '{"prompt": "broken\n', texts)


def votes(numbers: np.ndarray, second_is_better: np.ndarray) -> pa.Array:
    """Votes of five people out of `NUM_WORKERS`, each right with `VOTE_ACCURACY`."""
    first = mixed(numbers, SALTS["worker"]) % np.uint64(NUM_WORKERS)
    said = []
    for place in range(NUM_VOTES):
        right = share(numbers, SALTS["vote"] + place) < VOTE_ACCURACY
        value = pc.if_else(pa.array(right ^ second_is_better), "a", "b")
        worker = pc.cast(pa.array((first + np.uint64(place)) % np.uint64(NUM_WORKERS)), pa.string())
        said += [", " if place else "", '{"worker": "w', worker, '", "value": "', value, '"}']
    return joined(*said)


def write_file(path: Path, texts: pa.Array) -> None:
    """The lines, as they lie in memory."""
    chunks = texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]
    with path.open("wb") as file:
        for chunk in chunks:
            _, offsets, data = chunk.buffers()
            ends = np.frombuffer(offsets, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
            file.write(memoryview(data)[ends[0] : ends[-1]])


def shares(num_pairs: int) -> dict[str, int]:
    """Rows by source."""
    crowd = int(num_pairs * CROWD_SHARE)
    return {"crowd": crowd, **dict.fromkeys(LABEL_ACCURACY, (num_pairs - crowd) // 4)}


def files_of(num_pairs: int) -> list[tuple[str, int, int]]:
    """(source, number of the first pair, rows) of all files of the first night."""
    per_file = min(MAX_FILE_ROWS, max(num_pairs // FILES_PER_NIGHT, 1))
    found, start = [], 0
    for name, num_rows in shares(num_pairs).items():
        found += [
            (name, start + begin, min(per_file, num_rows - begin))
            for begin in range(0, num_rows, per_file)
        ]
        start += num_rows
    return found


def write_first_night(folder: Path, num_pairs: int) -> Path:
    """Sources, benchmark and profile of a pool; returns the profile's path."""
    folder.mkdir(parents=True)
    rows = ({"prompt": text, "chosen": "yes", "rejected": "no"} for text in TEXTS.items.to_pylist())
    (folder / "own_suite.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, start, num_rows in files_of(num_pairs):
        (folder / name).mkdir(exist_ok=True)
        write_file(folder / name / f"from_{start:09d}.jsonl", lines(name, start, num_rows))
    sources = "\n".join(
        SOURCE.format(name=name, folder=folder, origin="human" if name == "crowd" else "synthetic")
        for name in ("crowd", *LABEL_ACCURACY)
    )
    profile = folder / PROFILE_NAME
    text = PROFILE.format(folder=folder, sources=sources)
    profile.write_text(text.replace("num_samples = 5", f"num_samples = {NUM_SAMPLES}"))
    return profile


def write_second_night(folder: Path, num_pairs: int, num_new: int) -> None:
    """A new file with votes and one without, together `num_new` lines; as many corrected ones."""
    for name, start in (("crowd", num_pairs), ("instruct", num_pairs + num_new // 2)):
        new = lines(name, start, num_new // 2)
        write_file(folder / name / f"from_{start:09d}.jsonl", new)
    left = num_new
    for name, start, num_rows in files_of(num_pairs):
        if name == "chat" and left > 0:
            again = lines(name, start, num_rows, corrected=True)
            write_file(folder / name / f"from_{start:09d}.jsonl", again)
            left -= num_rows
