"""What the assets of an iteration have in common: key, group, tag, number; all models as inputs."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from synpref_dagster.assets.step import box

ITERATION_TAG = "synpref/iteration"
IDS = ["pair_id", "content_id", "conversation_id"]


def iteration_key(number: int, name: str) -> dg.AssetKey:
    """Key of an asset of an iteration: `iteration_03/reward_model`."""
    return dg.AssetKey([f"iteration_{number:02d}", name])


def iteration_options(
    number: int, name: str, *, kinds: set[str], pool: str | None = None, version: str = "1"
) -> dict[str, Any]:
    """Arguments every asset of an iteration shares."""
    return {
        **box(f"4_iteration_{number:02d}", kinds=kinds, pool=pool, code_version=version),
        "key": iteration_key(number, name),
        "tags": {ITERATION_TAG: str(number)},
    }


def candidate_inputs(reward_models: Sequence[dg.AssetKey]) -> dict[str, dg.AssetIn]:
    """The models of all iterations as inputs of an asset that compares them."""
    return {f"reward_model_{i:02d}": dg.AssetIn(key) for i, key in enumerate(reward_models)}


def iteration_number(context: dg.AssetExecutionContext) -> int:
    """Which iteration the asset that is being materialised belongs to."""
    return int(context.assets_def.get_asset_spec(context.asset_key).tags[ITERATION_TAG])
