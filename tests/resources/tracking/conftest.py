"""A tracking resource on a store of its module."""

import re

import pytest

from synpref_dagster.resources.tracking.runs import MlflowTracking


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One migrated SQLite store for the module: creating its tables takes seconds."""
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
