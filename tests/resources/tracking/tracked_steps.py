"""Steps as the tracking of a campaign sees them."""

import logging
from types import SimpleNamespace

import dagster as dg


class Dagster:
    """What Dagster knows of its runs: which of them have ended."""

    def __init__(self, *ended):
        self.ended = ended

    def get_run_by_id(self, run_id):
        return SimpleNamespace(is_finished=True) if run_id in self.ended else None


NOTHING_ENDED = Dagster()


def step_context(
    asset="iteration_01/reward_model", *, run_id="run-1", partition=None, instance=NOTHING_ENDED
):
    key = dg.AssetKey(asset.split("/"))
    return SimpleNamespace(
        run=SimpleNamespace(run_id=run_id),
        instance=instance,
        log=logging.getLogger("dagster"),
        asset_key=key,
        selected_asset_keys={key},
        has_partition_key=partition is not None,
        partition_key=partition,
    )


def client_of(tracking):
    return tracking._client()
