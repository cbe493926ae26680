"""Decontamination (App. D.1, step 3): no pair may share a 13-gram with a benchmark prompt.

Three rules find a contaminated text: a shared word n-gram, the same short prompt after
normalisation (it has no 13 words to share), and a shared run of characters in scripts without
word spaces. Hashes only propose: every hit is confirmed on the words before a pair is dropped,
and a dropped pair carries its evidence. Each benchmark has an index of its own, so that what one
finds says nothing about another; several are asked in one pass over the texts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import pandas as pd

from synpref_dagster.curation.texts.gram_index import GramIndex, build_gram_index
from synpref_dagster.curation.texts.ngrams import CHARACTERS, WORDS, Grams, text_batches, words
from synpref_dagster.pairs.record import digest

NUM_WORDS = 13  # App. D.1: one shared 13-gram is contamination
STRICT_MIN_WORDS = 5  # App. D.1: the stricter second pass used 5- to 13-grams
ALGORITHM_VERSION = "1"
Rule = Literal["word_gram", "exact_prompt", "character_gram"]
Scope = Literal["first_turn", "all_texts"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DecontaminationConfig:
    """Which shared stretch counts as contamination, and where it is looked for."""

    min_words: int = NUM_WORDS
    """Shared words that make a hit. A longer shared run contains a shorter one, so the range
    min_words to max_words finds exactly what min_words alone finds."""
    max_words: int = NUM_WORDS
    """Longest stretch reported as evidence, in words."""
    min_characters: int = 20
    """Shared characters that make a hit in scripts without word spaces (about 13 words)."""
    scope: Scope = "first_turn"
    """Compare the first user turn, or every turn and both responses (the strict pass)."""

    def __post_init__(self) -> None:
        """Refuses ranges that are empty."""
        if not 1 <= self.min_words <= self.max_words:
            raise ValueError(
                f"min_words {self.min_words} and max_words {self.max_words}: need "
                "1 <= min_words <= max_words"
            )
        if self.min_characters < 2:
            raise ValueError(f"min_characters {self.min_characters}: must be 2 or more")


@dataclass(frozen=True, slots=True)
class BenchmarkPrompt:
    """First user turn of one benchmark item."""

    benchmark: str
    item_id: str
    prompt: str


@dataclass(frozen=True, slots=True)
class SharedGram:
    """Why a text is contaminated: which benchmark item shares which stretch with it."""

    benchmark: str
    item_id: str
    gram: str
    rule: Rule


@dataclass(frozen=True, slots=True)
class ContaminationIndex:
    """Searchable grams of all benchmark prompts; make one with `build_index`."""

    config: DecontaminationConfig
    prompts: tuple[BenchmarkPrompt, ...]
    """Distinct prompts with content, sorted by benchmark, item and text."""
    word_index: GramIndex
    character_index: GramIndex
    exact: dict[str, int]
    """Normalised prompt with fewer than `min_words` words -> position in `prompts`."""
    fingerprint: str
    """Hex digest of algorithm, configuration and prompts: changes when any of them does."""


def build_index(
    prompts: Sequence[BenchmarkPrompt], config: DecontaminationConfig | None = None
) -> ContaminationIndex:
    """Index over benchmark prompts, the same for any order and repetition of them."""
    config = config or DecontaminationConfig()
    kept = _distinct(prompts)
    texts = [prompt.prompt for prompt in kept]
    exact: dict[str, int] = {}
    for position, text in enumerate(texts):
        if len(words(text)) < config.min_words:
            exact.setdefault(normalised(text), position)
    return ContaminationIndex(
        config=config,
        prompts=tuple(kept),
        word_index=build_gram_index(texts, config.min_words, unit=WORDS),
        character_index=build_gram_index(texts, config.min_characters, unit=CHARACTERS),
        exact=exact,
        fingerprint=index_fingerprint(kept, config),
    )


def index_fingerprint(prompts: Iterable[BenchmarkPrompt], config: DecontaminationConfig) -> str:
    """The fingerprint of the index that these prompts give, without building it."""
    settings = [f"{field.name}={getattr(config, field.name)}" for field in fields(config)]
    listed = [
        part
        for prompt in _distinct(prompts)
        for part in (prompt.benchmark, prompt.item_id, prompt.prompt)
    ]
    return digest(ALGORITHM_VERSION, *settings, *listed).hex()


def by_benchmark(prompts: Iterable[BenchmarkPrompt]) -> dict[str, list[BenchmarkPrompt]]:
    """The prompts of each benchmark, benchmarks by name."""
    found: dict[str, list[BenchmarkPrompt]] = {}
    for prompt in sorted(prompts, key=lambda prompt: prompt.benchmark):
        found.setdefault(prompt.benchmark, []).append(prompt)
    return found


def normalised(text: str) -> str:
    r"""The text in lower case, white space collapsed, without punctuation at its ends.

    >>> normalised('  "Write a poem\nabout LOVE."  ')
    'write a poem about love'
    """
    collapsed = " ".join(text.lower().split())
    start, end = 0, len(collapsed)
    while start < end and not collapsed[start].isalnum():
        start += 1
    while end > start and not collapsed[end - 1].isalnum():
        end -= 1
    # A prompt of symbols only has no letters to keep: compare it as it is.
    return collapsed[start:end] or collapsed


def find_by_index(
    indexes: Sequence[ContaminationIndex], texts: Sequence[str], *, whole_prompts: bool = True
) -> list[dict[int, SharedGram]]:
    """What each index finds: text -> its first confirmed stretch; texts are cut into grams once.

    Args:
        indexes: of one configuration.
        texts: the texts compared.
        whole_prompts: turns the exact rule on, which makes sense for what users say: that a
            response reads "Yes." and some prompt "yes" too is no contamination.

    Raises:
        ValueError: the indexes have different configurations.
    """
    if len({index.config for index in indexes}) > 1:
        raise ValueError("indexes of different configurations cannot share a pass: ask one by one")
    found: list[dict[int, SharedGram]] = [{} for _ in indexes]
    if not indexes:
        return found
    config = indexes[0].config
    with_characters = any(len(index.character_index) for index in indexes)
    for batch in text_batches(texts):
        stretch = texts[batch.start : batch.stop]
        of_words = WORDS.grams_of(stretch, config.min_words)
        of_characters = None
        if with_characters and not all(map(str.isascii, stretch)):
            of_characters = CHARACTERS.grams_of(stretch, config.min_characters)
        keys = _short_texts(stretch, of_words, config) if whole_prompts else {}
        for index, evidence in zip(indexes, found, strict=True):
            hits = _batch_grams(index, stretch, (of_words, of_characters), short=keys)
            for offset, one in hits:
                evidence.setdefault(batch.start + offset, one)
    return found


def _batch_grams(
    index: ContaminationIndex,
    texts: Sequence[str],
    grams: tuple[Grams, Grams | None],
    *,
    short: Mapping[int, str],
) -> Iterator[tuple[int, SharedGram]]:
    config, (of_words, of_characters) = index.config, grams
    matches = index.word_index.matches(of_words, texts, max_units=config.max_words)
    for text, position, shared in matches:
        yield text, _shared_gram(index, position, " ".join(shared), rule="word_gram")
    if index.exact:
        for text, key in short.items():
            if key in index.exact:
                yield text, _shared_gram(index, index.exact[key], key, rule="exact_prompt")
    if of_characters is not None and len(index.character_index):
        matches = index.character_index.matches(
            of_characters, texts, max_units=config.min_characters
        )
        for text, position, shared in matches:
            yield text, _shared_gram(index, position, "".join(shared), rule="character_gram")


def _short_texts(
    texts: Sequence[str], grams: Grams, config: DecontaminationConfig
) -> dict[int, str]:
    """Texts too short for a gram -> what the exact rule compares."""
    short = np.flatnonzero(grams.num_units < config.min_words).tolist()
    return {text: normalised(texts[text]) for text in short}


def _distinct(prompts: Iterable[BenchmarkPrompt]) -> list[BenchmarkPrompt]:
    return sorted(
        {prompt for prompt in prompts if prompt.prompt.strip()},
        key=lambda prompt: (prompt.benchmark, prompt.item_id, prompt.prompt),
    )


def _shared_gram(index: ContaminationIndex, position: int, gram: str, *, rule: Rule) -> SharedGram:
    prompt = index.prompts[position]
    return SharedGram(benchmark=prompt.benchmark, item_id=prompt.item_id, gram=gram, rule=rule)


def prompts_from_rows(rows: pd.DataFrame) -> list[BenchmarkPrompt]:
    """Benchmark prompts from a frame with columns benchmark, item_id, prompt."""
    return [
        BenchmarkPrompt(benchmark=row.benchmark, item_id=row.item_id, prompt=row.prompt)
        for row in rows.itertuples()
    ]
