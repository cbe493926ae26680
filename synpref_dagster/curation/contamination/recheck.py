"""Asking judges whether a contamination hit is a coincidence, and which pairs return (App. D.1).

Screening stops at the first shared stretch. Before a pair is cleared, every benchmark prompt that
shares one with it is found, and the ones it shares most with are shown to the judges; one that is
no coincidence is enough to leave the pair out, of the pool or (in the strict pass) of stage 1.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from synpref_dagster.curation.contamination.rules import (
    BenchmarkPrompt,
    DecontaminationConfig,
    Scope,
    normalised,
)
from synpref_dagster.curation.texts.ngrams import unsegmented_characters, words
from synpref_dagster.pairs.record import PreferencePair, first_user_turn, is_among

MAX_PROMPTS = 3
"""Prompts that judges see of those that share words with one pair, the most alike first."""
CONTAMINATED = "contaminated"
EVIDENCE = ("screen_reason", "screen_detail", "benchmark", "item_id", "gram", "rule")
RECHECK_COLUMNS = [
    "pair_id",
    "benchmark",
    "item_id",
    "shared",
    "num_coincidence",
    "num_same_item",
    "cleared",
    "why",
]
COINCIDENCE, SAME_ITEM = "coincidence", "same_item"


@dataclass(frozen=True, kw_only=True, slots=True)
class Suspicion:
    """A pair, a benchmark prompt, and the longest stretch that they share."""

    pair_id: bytes
    text: str
    prompt: BenchmarkPrompt
    shared: str


@dataclass(frozen=True, slots=True)
class _LookedAt:
    """One text of a pair, by the pair's number."""

    pair: int
    text: str
    said_by_people: bool
    """Whether it can be a short prompt as a whole: a turn of the user, not what a model said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opinion:
    """What one judge says about a suspicion."""

    decision: str
    why: str


def suspicions(
    pairs: Sequence[PreferencePair],
    prompts: Iterable[BenchmarkPrompt],
    *,
    ngram_words: int,
    scope: Scope = "first_turn",
) -> list[Suspicion]:
    """What judges have to look at before a contaminated pair may come back.

    Args:
        pairs: pairs that screening called contaminated.
        prompts: first-turn prompts of all benchmarks.
        ngram_words: shared words that make a hit.
        scope: the texts of a pair that were looked at.

    Returns:
        At most `MAX_PROMPTS` per pair, those with the most shared grams first, each with the text
        that shares the most with it.
    """
    texts = [text for number, pair in enumerate(pairs) for text in _texts(pair, number, scope)]
    holders: dict[str, list[int]] = defaultdict(list)
    for place, looked_at in enumerate(texts):
        for gram in set(_grams(looked_at.text, ngram_words, whole=looked_at.said_by_people)):
            holders[gram].append(place)
    shared: list[Counter[tuple[BenchmarkPrompt, int]]] = [Counter() for _ in pairs]
    for prompt in sorted(set(prompts), key=lambda p: (p.benchmark, p.item_id, p.prompt)):
        for gram in set(_grams(prompt.prompt, ngram_words)) & holders.keys():
            for place in holders[gram]:
                shared[texts[place].pair][prompt, place] += 1
    return [
        Suspicion(
            pair_id=pair.pair_id,
            text=texts[place].text,
            prompt=prompt,
            shared=_longest_shared(texts[place].text, prompt.prompt, ngram_words),
        )
        for pair, counts in zip(pairs, shared, strict=True)
        for prompt, place in _most_alike(counts)
    ]


def recheck(asked: Sequence[Suspicion], opinions: Sequence[Sequence[Opinion]]) -> pd.DataFrame:
    """What the judges decided, one row per suspicion; a pair is cleared when all of its are.

    Most of the judges that answered must call it a coincidence; where none did, or as many say
    otherwise, the hit stands.

    Args:
        asked: what the judges were shown.
        opinions: for each, what those who answered said.

    Returns:
        `RECHECK_COLUMNS`; `cleared` and `why` are those of the row, not of the pair.
    """
    rows = []
    for suspicion, said in zip(asked, opinions, strict=True):
        counts = Counter(opinion.decision for opinion in said)
        cleared = counts[COINCIDENCE] > counts[SAME_ITEM]
        winner = COINCIDENCE if cleared else SAME_ITEM
        rows.append(
            {
                "pair_id": suspicion.pair_id,
                "benchmark": suspicion.prompt.benchmark,
                "item_id": suspicion.prompt.item_id,
                "shared": suspicion.shared,
                "num_coincidence": counts[COINCIDENCE],
                "num_same_item": counts[SAME_ITEM],
                "cleared": cleared,
                "why": next((each.why for each in said if each.decision == winner), ""),
            }
        )
    frame = pd.DataFrame(rows, columns=RECHECK_COLUMNS)
    kinds = {"num_coincidence": "int32", "num_same_item": "int32", "cleared": bool}
    texts = dict.fromkeys(("benchmark", "item_id", "shared", "why"), "str")
    return frame.astype({"pair_id": object, **kinds, **texts})


def cleared_pairs(rechecked: pd.DataFrame) -> set[bytes]:
    """The pairs of a recheck all of whose suspicions are coincidences."""
    standing = set(rechecked.loc[~rechecked["cleared"].astype(bool), "pair_id"])
    return set(rechecked["pair_id"]) - standing


def contaminated_ids(screened: Iterable[pa.Table]) -> set[bytes]:
    """The pairs that screening, shard by shard, called contaminated."""
    found: set[bytes] = set()
    for shard in screened:
        hits = shard.filter(pc.equal(shard["screen_reason"], CONTAMINATED))["pair_id"]
        found.update(hits.combine_chunks().storage.to_pylist())
    return found


def with_cleared(screened: pa.Table, cleared: set[bytes]) -> pa.Table:
    """The screening with nothing against the cleared pairs."""
    if not cleared:
        return screened
    ids = pd.Series(screened["pair_id"].combine_chunks().storage.to_pylist(), dtype=object)
    hits = pc.fill_null(pc.equal(screened["screen_reason"], CONTAMINATED), False)
    back = np.asarray(is_among(ids, cleared)) & np.asarray(hits)
    for name in EVIDENCE:
        place, field = screened.schema.get_field_index(name), screened.schema.field(name)
        kept = pc.if_else(pa.array(back), pa.scalar(None, field.type), screened[name])
        screened = screened.set_column(place, field, kept)
    return screened


def recheck_counts(rechecked: pd.DataFrame) -> Mapping[str, int]:
    """Metrics of a recheck: pairs looked at, pairs cleared."""
    return {
        "num_hits_rechecked": int(rechecked["pair_id"].nunique()),
        "num_hits_cleared": len(cleared_pairs(rechecked)),
    }


def _texts(pair: PreferencePair, number: int, scope: Scope) -> list[_LookedAt]:
    if scope == "first_turn":
        return [_LookedAt(number, first_user_turn(pair.conversation), True)]
    turns = [
        _LookedAt(number, turn["content"], turn["role"] == "user") for turn in pair.conversation
    ]
    return [*turns, *(_LookedAt(number, text, False) for text in (pair.chosen, pair.rejected))]


def _most_alike(
    counts: Counter[tuple[BenchmarkPrompt, int]],
) -> list[tuple[BenchmarkPrompt, int]]:
    """The prompts that share the most grams with one text, and the place of that text."""
    best: dict[BenchmarkPrompt, int] = {}
    for (prompt, place), _ in counts.most_common():
        best.setdefault(prompt, place)
    return list(best.items())[:MAX_PROMPTS]


def _grams(text: str, ngram_words: int, *, whole: bool = True) -> Iterator[str]:
    """Everything of a text that would make a hit: word grams, or a short prompt as a whole."""
    units = words(text)
    if whole and len(units) < ngram_words:
        yield f"whole: {normalised(text)}"
    for start in range(len(units) - ngram_words + 1):
        yield " ".join(units[start : start + ngram_words])
    characters = unsegmented_characters(text)
    length = DecontaminationConfig().min_characters
    for start in range(len(characters) - length + 1):
        yield characters[start : start + length]


def _longest_shared(text: str, prompt: str, ngram_words: int) -> str:
    grams = set(_grams(prompt, ngram_words))
    units = words(text)
    best, run = (0, 0), 0
    for start in range(len(units) - ngram_words + 1):
        inside = " ".join(units[start : start + ngram_words]) in grams
        run = run + 1 if inside else 0
        if run > best[1] - best[0]:
            best = (start - run + 1, start + 1)
    if best[1]:
        return " ".join(units[best[0] : best[1] + ngram_words - 1])
    return next((gram for gram in _grams(text, ngram_words) if gram in grams), "")
