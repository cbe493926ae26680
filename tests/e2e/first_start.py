"""What the first seconds of a campaign do, in a process of its own: opens everything it writes to.

Run: python first_start.py FOLDER START, where START is the Unix time to begin at.
"""

import logging
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import sqlalchemy  # noqa: F401 - imported before the start, as all that takes long
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # noqa: F401

from synpref_dagster.cli.instance import open_instance
from synpref_dagster.judges.batches.ledger import BatchLedger
from synpref_dagster.judges.cache import ReplyCache
from synpref_dagster.people.ledger.database import ReviewDatabase
from synpref_dagster.resources.tracking.runs import MlflowTracking


def main(folder: Path, start: float) -> None:
    os.environ["DAGSTER_HOME"] = str(folder / "home")
    time.sleep(max(0.0, start - time.time()))
    with open_instance() as instance:
        context = SimpleNamespace(
            selected_asset_keys={1},
            asset_key=dg.AssetKey("a"),
            has_partition_key=False,
            run=SimpleNamespace(run_id=f"run-{os.getpid()}"),
            instance=instance,
            log=logging.getLogger("first_start"),
        )
        tracking = MlflowTracking(
            tracking_uri=f"sqlite:///{folder / 'mlflow.db'}",
            experiment="own",
            campaign=f"campaign-{os.getpid()}",
        )
        with tracking.step(context) as step:
            step.log_metrics({"x": 1.0})
        instance.get_runs_count()
    ReviewDatabase(f"sqlite:///{folder / 'review.sqlite3'}").close()
    BatchLedger(ReplyCache(folder / "replies.sqlite")).cache.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
