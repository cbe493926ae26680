"""What this project does with a campaign's results."""

from typing import Any

import dagster as dg

CURATED = dg.AssetKey(["curation", "curated_dataset"])


@dg.asset(group_name="serving", deps=[CURATED])
def training_order(context: dg.AssetExecutionContext) -> dict[str, Any]:
    """How many pairs the last export holds, for whoever orders processors by it."""
    event = context.instance.get_latest_materialization_event(CURATED)
    if event is None or event.asset_materialization is None:
        raise dg.Failure(f"{CURATED.to_user_string()} has not been made yet: materialise it first")
    rows = event.asset_materialization.metadata["dagster/row_count"].value
    return {"pairs": rows}
