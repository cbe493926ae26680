"""Which settings a night heeds: those that decide about a pair or that the export speaks of.

Any other may be changed without a night: where work is done and what it may cost, where answers are
kept, releases, reports and their texts. `tests/resources/test_heard.py` has the table of all.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from synpref_dagster.settings.models import key_material
from synpref_dagster.settings.profile import Profile
from synpref_dagster.storage import hash_json

WAYS_TO_ASK = dict.fromkeys(
    (
        *("api_key_env", "usd_per_million_input", "usd_per_million_output", "max_usd"),
        *("batch", "batch_price_share", "max_batches"),
        *("max_concurrency", "max_attempts", "timeout_seconds"),
    ),
    True,
)
UNHEARD: dict[str, Any] = {
    **dict.fromkeys(["executor", "shards", "release", "gates", "simulated", "next_steps"], True),
    **dict.fromkeys(["key_prefix", "evidence"], True),
    "pool": {
        "sources": {"__all__": {"may_leave": True}},
        "allow_missing_files": True,
        "recorded_verdicts": True,
        "near_duplicates": True,
        "pii": {"num_sampled": True},
    },
    "filtering": {"allow_weak_models": True},
    "people": {"ledger_url": True, "label_studio_url": True},
    "judges": {"max_usd": True, "cache": True, "endpoints": {"__all__": WAYS_TO_ASK}},
    "embedding": {**WAYS_TO_ASK, "batch_size": True, "min_cosine": True},
    "backbones": {"__all__": {"licence": True}},
    "export": {"trusted_hosts": True},
}
"""What a dump of a profile leaves out."""
DIGITS = 8  # of a hash


def settings_told(profile: Profile) -> dict[str, str]:
    """Setting by its name in the profile -> what identifies its value, and never the value."""
    told = profile.model_dump(mode="json", exclude=UNHEARD)
    told["reward_model"] = key_material(profile.reward_model)
    told["reward_model"].pop("num_processes")
    if profile.judges.kind != "endpoints":
        told["judges"].pop("endpoints")  # they are kept for later
    size = getattr(profile.frozen_settings() or profile.reward_model, "model_size", None)
    rows = [row for row in told.pop("backbones") if row["name"] == size]
    told |= {"backbones": rows} if rows else {}  # those of the releases decide about no pair
    return {name: str(hash_json(value))[:DIGITS] for name, value in _by_name("", told)}


def compared(profile: Profile, kept: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """What `settings_told` gave and gives, without what only another version makes differ.

    That are settings that decide nothing, which an earlier version looked at, and settings that it
    did not have, at their default.

    Args:
        profile: as it is now.
        kept: what an earlier profile gave, perhaps under an earlier version.
    """
    now = settings_told(profile)
    every = profile.model_dump(mode="json")
    every["reward_model"] = key_material(profile.reward_model)
    unheard = {name for name, _ in _by_name("", every)} - {*now}
    then = {name: value for name, value in kept.items() if not _is_of(name, unheard)}
    changed = {name for name, _ in _by_name("", profile.model_dump(exclude_defaults=True))}
    return then, {name: value for name, value in now.items() if name in kept or name in changed}


def _is_of(name: str, unheard: set[str]) -> bool:
    return UNHEARD.get(name.partition(".")[0]) is True or name in unheard


def _by_name(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every value below a section, by names as people write them: `pool.sources.crowd.licence`."""
    if isinstance(value, list) and all(isinstance(each, dict) for each in value):
        value = {str(each.get("name", number)): each for number, each in enumerate(value)}
    if not isinstance(value, dict) or not value:
        yield place, value
        return
    for name, each in value.items():
        yield from _by_name(f"{place}.{name}" if place else str(name), each)
