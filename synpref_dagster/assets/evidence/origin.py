"""Where a report comes from: version, settings, sources with licences, what was made of them."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from synpref_dagster import __version__
from synpref_dagster.assets.release.benchmarks import SCORED
from synpref_dagster.assets.release.data import source_terms
from synpref_dagster.assets.step import Result, fingerprint
from synpref_dagster.publishing.release.facts import package_commit
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.sources import PoolSources
from synpref_dagster.sources.files.known_files import known_files
from synpref_dagster.storage import DatasetRef, hash_json

SHOWN_DIGITS = 16
GOLD = {  # metadata of a release -> what it is of its accuracy on gold validation
    "gold_accuracy": "value",
    "gold_accuracy_low": "low",
    "gold_accuracy_high": "high",
    "num_validation_pairs": "n",
}


def origin(campaign: Campaign, sources: PoolSources, made: Mapping[str, Result]) -> dict[str, Any]:
    """The parts `made`, `asked`, `sources` and `fingerprints` of a report.

    Args:
        campaign: the campaign.
        sources: of its pool.
        made: asset -> what it handed on.
    """
    return {
        "made": {
            "at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            "version": __version__,
            "commit": package_commit(),
        },
        "asked": _asked(campaign, sources),
        "sources": _sources(campaign, sources),
        "fingerprints": {name: fingerprint(ref) for name, ref in made.items()},
    }


def models_scored(
    campaign: Campaign, scores: Mapping[str, Mapping[str, DatasetRef]]
) -> dict[str, str]:
    """Size -> fingerprint of the released model that was scored."""
    return {
        size: str(campaign.frame(parts[SCORED])["model"].iloc[0])
        for size, parts in scores.items()
        if SCORED in parts
    }


def gold_of_release(
    instance: dg.DagsterInstance, key: dg.AssetKey, *, size: str, model: str
) -> dict[str, Any] | None:
    """Accuracy of a released model on gold validation; None where its history is gone.

    Args:
        instance: where the history is.
        key: of the releases.
        size: partition of the release.
        model: its fingerprint.
    """
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[size])
    for record in instance.fetch_materializations(wanted, limit=SHOWN_DIGITS).records:
        event = record.asset_materialization
        told = {name: each.value for name, each in event.metadata.items()} if event else {}
        if told.get("fingerprint") == model and set(GOLD) <= set(told):
            return {end: told[name] for name, end in GOLD.items()}
    return None


def _asked(campaign: Campaign, sources: PoolSources) -> dict[str, Any]:
    profile = campaign.profile
    llms = profile.judges.endpoints if profile.judges.kind == "endpoints" else ()
    return {
        "sources": [spec.name for spec in sources.specs()],
        "people": profile.people.backend,
        "judges": {"kind": profile.judges.kind, "names": [judge.name for judge in llms]},
        "num_iterations": profile.iterations.num_iterations,
        "reward_model": profile.reward_model.backend,
        "release": profile.release.backend,
        "model_sizes": list(profile.sizes()),
    }


def _sources(campaign: Campaign, sources: PoolSources) -> list[dict[str, Any]]:
    contents: dict[str, list[str]] = {}
    for file in known_files(campaign.uri("data", "raw_pool", "read_files")):
        contents.setdefault(file.source, []).append(file.content or file.key)
    return [
        {
            "name": name,
            "licence": str(terms["licence"]),
            "place": str(terms["place"]),
            "fingerprint": _together(contents.get(name, [])),
        }
        for name, terms in source_terms(sources).items()
    ]


def _together(contents: Sequence[str]) -> str | None:
    """What identifies the files of a source, whatever they are called and in which order."""
    return str(hash_json(sorted(contents)))[:SHOWN_DIGITS] if contents else None
