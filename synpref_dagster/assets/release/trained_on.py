"""What a release was trained on, kept with the model: its card, its sources and its licences.

Who trains writes it down, and who releases reads it there: data sets of the store are of the night
in which each was last made, and a card that is put together from them describes another model.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from synpref_dagster.assets.release.data import (
    ROW_KINDS,
    curation_facts,
    source_rows,
    source_terms,
    trained_by_tier,
)
from synpref_dagster.assets.step import Result, Step, fingerprint
from synpref_dagster.curation.release.curated_rows import TRAIN, VALIDATION
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.publishing.release.terms import check_licences
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.sources import PoolSources
from synpref_dagster.settings.models import key_material
from synpref_dagster.storage import ModelRef, SelectionRef, hash_json

SUBSET = "consistency_filtered_subset"
Facts = dict[str, Any]


def counted_rows(
    trained: Iterable[tuple[PreferencePair, str]], validated: Iterable[PreferencePair]
) -> pd.DataFrame:
    """Number of pairs by split, tier and source: split, tier, source, num_pairs.

    Args:
        trained: training pairs, each with its tier.
        validated: the gold pairs that select the checkpoint.
    """
    counts = Counter((TRAIN, tier, pair.source) for pair, tier in trained)
    counts.update((VALIDATION, "gold", pair.source) for pair in validated)
    rows = [(*kind, number) for kind, number in sorted(counts.items())]
    return pd.DataFrame(rows, columns=[*ROW_KINDS, "num_pairs"])


def training_facts(
    campaign: Campaign,
    sources: PoolSources,
    rows: pd.DataFrame,
    *,
    inputs: Mapping[str, SelectionRef],
) -> Facts:
    """All that a release says of its data, as plain JSON; refused before anything is trained.

    Args:
        campaign: the campaign.
        sources: the sources of the pool, with their licences.
        rows: from `counted_rows`.
        inputs: `SUBSET`, gold and silver.

    Raises:
        ValueError: pairs of a source that is not allowed, or that is no source any longer.
    """
    by_source = source_rows(sources, rows)
    check_licences(by_source, campaign.profile.export.allowed_licences)
    return {
        "tiers": trained_by_tier(rows),
        "sources": by_source,
        "curation": curation_facts(campaign, inputs[SUBSET]),
        "settings": release_settings(campaign),
        "inputs": {name: fingerprint(ref) for name, ref in inputs.items()},
    }


def kept_with(step: Step, model: ModelRef, facts: Facts) -> ModelRef:
    """The model with a reference to what it was trained on."""
    text = json.dumps(facts, sort_keys=True)
    inputs: Sequence[Result | str] = [model, text]
    told = step.dataset(
        lambda: pd.DataFrame({"facts": [text]}),
        inputs=inputs,
        part=f"{step.context.partition_key}/trained_on",
    )
    return replace(model, trained_on=told)


def facts_of(campaign: Campaign, model: ModelRef) -> Facts:
    """What a release was trained on, as it was when it was trained.

    Raises:
        ValueError: nothing was kept with it, or it was trained under other settings.
    """
    again = "materialize skywork_reward_v2 of this size again: a model of the same data is reused"
    if model.trained_on is None:
        raise ValueError(
            f"nothing is known of what {model.uri} was trained on, an earlier version trained it: "
            f"{again}"
        )
    facts: Facts = json.loads(campaign.frame(model.trained_on)["facts"].iloc[0])
    if facts["settings"] != release_settings(campaign):
        raise ValueError(f"[release] in the profile changed since {model.uri} was trained: {again}")
    return facts


def subset_of(campaign: Campaign, model: ModelRef) -> str:
    """Data version of the decisions that a model was trained on; empty where it was not kept."""
    if model.trained_on is None:
        return ""
    facts: Facts = json.loads(campaign.frame(model.trained_on)["facts"].iloc[0])
    return str(facts["inputs"][SUBSET])


def sources_now(sources: PoolSources, facts: Facts) -> list[Facts]:
    """The sources of a release, each as the profile describes it now where it still does."""
    now = source_terms(sources)
    return [{**row, **now.get(row["name"], {})} for row in facts["sources"]]


def release_settings(campaign: Campaign) -> str:
    """Identity of `[release]`, which decides how releases are trained and what cards say."""
    return str(hash_json(key_material(campaign.profile.release)))
