"""A tracking resource with a campaign of its own."""

import re

import pytest

from synpref_dagster.resources.tracking.runs import MlflowTracking


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """One migrated SQLite store for all modules: creating its tables takes seconds."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture
def tracking(store, request):
    return MlflowTracking(
        tracking_uri=f"sqlite:///{store}/db/mlflow.db",
        experiment="tests",
        campaign=re.sub(r"\W", "_", request.node.name),
        artifact_root=str(store / "artifacts"),
        spool=str(store / "waiting"),
    )
