"""How long pairs are in tokens, and which of them are too long for the models of a profile.

Tokens are counted on the sample where a backbone's tokenizer lies on this machine, and from there
on estimated by bytes; without one a token is taken to have four.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from synpref_dagster.judges.questions import BYTES_PER_TOKEN
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.preview.survey import Survey, size_of
from synpref_dagster.reward.backbones import STAND_IN_MAX_LENGTH_TOKENS, Backbone, backbone
from synpref_dagster.settings.models import (
    FrozenReleaseSettings,
    HubReleaseSettings,
    HubSettings,
    HubTrainingSettings,
    ReleaseSettings,
    RewardModelSettings,
    is_path,
)
from synpref_dagster.settings.profile import Profile

TOKENIZED = 200
"""Pairs of each source that are cut into tokens."""
TOKENIZER = "tokenizer.json"


ModelSettings = RewardModelSettings | ReleaseSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """The longest sequence of one model size, and the pairs that are beyond it."""

    size: str
    max_tokens: int
    is_cut: bool
    """Whether a longer one loses its beginning; else the pair trains nothing."""
    is_counted: bool
    """Whether tokens are those of its tokenizer; else an estimate of four bytes each."""
    tokens_per_pair: float
    """Mean over the longer side of each pair, conversation included."""
    longest: int
    num_over: int


def limits(profile: Profile, found: Survey) -> list[Limit]:
    """The limits of all sizes that have one; linear models read any length."""
    rows: dict[str, tuple[ModelSettings, Backbone]] = {}
    named = [getattr(profile.reward_model, "model_size", None)]
    for settings, sizes in ((profile.reward_model, named), (profile.release, profile.sizes())):
        for size in sizes:
            if size is not None:
                rows.setdefault(size, (settings, backbone(size, profile.backbones)))
    kinds: dict[tuple[int, str | None, bool], Limit] = {}
    for size, (settings, row) in rows.items():
        kind = _max_tokens(settings, row), _tokenizer_file(settings, row), _is_cut(settings)
        if kind not in kinds:
            kinds[kind] = _limit(found, kind, size=size)
        else:
            known = kinds[kind]
            kinds[kind] = replace(known, size=f"{known.size}, {size}")
    return list(kinds.values())


def _limit(found: Survey, kind: tuple[int, str | None, bool], *, size: str) -> Limit:
    max_tokens, tokenizer, is_cut = kind
    rates = bytes_per_token(found.sample, tokenizer)
    parts = [sizes / rates[name] for name, sizes in found.bytes_of_sides.items()]
    tokens = np.concatenate([np.zeros(0), *parts])
    return Limit(
        size=size,
        max_tokens=max_tokens,
        is_cut=is_cut,
        is_counted=tokenizer is not None,
        tokens_per_pair=float(tokens.mean()) if len(tokens) else 0.0,
        longest=round(float(tokens.max(initial=0.0))),
        num_over=int((tokens > max_tokens).sum()),
    )


def bytes_per_token(
    sample: Mapping[str, Sequence[PreferencePair]], tokenizer: str | None
) -> dict[str, float]:
    """Source -> UTF-8 bytes that a token has in it.

    Args:
        sample: pairs of each source.
        tokenizer: its file; None takes four bytes.
    """
    core = _opened(tokenizer) if tokenizer else None
    return {name: _rate(pairs[:TOKENIZED], core) for name, pairs in sample.items()}


def _rate(pairs: Sequence[PreferencePair], core: Any) -> float:
    texts = [
        text
        for pair in pairs
        for text in (*(turn["content"] for turn in pair.conversation), pair.chosen, pair.rejected)
    ]
    if core is None or not texts:
        return BYTES_PER_TOKEN
    rows = core.encode_batch_fast(texts, add_special_tokens=False)
    return sum(map(size_of, texts)) / max(1, sum(len(row.ids) for row in rows))


def _opened(path: str) -> Any:
    from tokenizers import Tokenizer

    core = Tokenizer.from_file(path)
    core.no_truncation()
    return core


def _max_tokens(settings: ModelSettings, row: Backbone) -> int:
    told = getattr(settings, "max_length_tokens", None)
    is_real = isinstance(settings, HubTrainingSettings | FrozenReleaseSettings)
    return told or (row.max_length_tokens if is_real else STAND_IN_MAX_LENGTH_TOKENS)


def _is_cut(settings: ModelSettings) -> bool:
    return isinstance(settings, FrozenReleaseSettings)


def _tokenizer_file(settings: ModelSettings, row: Backbone) -> str | None:
    """Where a backbone's tokenizer lies on this machine; None where it does not."""
    if not isinstance(settings, HubTrainingSettings | FrozenReleaseSettings):
        return None
    place, revision = row.hub_id, row.revision
    given = None
    if isinstance(settings, HubSettings | HubReleaseSettings):
        given = settings.given_backbone(row.model_size)
    if given:
        place, revision = given, None
    folder = Path(place)
    if folder.is_dir() or is_path(place):
        return str(folder / TOKENIZER) if (folder / TOKENIZER).is_file() else None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(place, TOKENIZER, revision=revision)
    return found if isinstance(found, str) else None
