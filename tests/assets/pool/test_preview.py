"""The check as an asset: the page is its metadata, and nothing else comes of it."""

import dagster as dg
from own_files import profile

from synpref_dagster.definitions.build import build_defs


def page_of(profile):
    """The page that the job leaves in Dagster."""
    job = build_defs(profile).resolve_job_def("check_pool")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance)
    [event] = result.get_asset_materialization_events()
    return event.step_materialization_data.materialization.metadata["check"].value


def test_texts_that_may_not_leave_are_not_put_into_dagster(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    plain = profile(tmp_path)
    assert "Same" in page_of(plain)
    first, *others = plain.pool.sources
    sources = (first.model_copy(update={"may_leave": False}), *others)
    pool = plain.pool.model_copy(update={"sources": sources})
    page = page_of(plain.model_copy(update={"pool": pool}))
    assert "Same" not in page
    assert "not shown here" in page


def test_the_job_shows_the_page_and_writes_nothing_into_the_store(tmp_path, monkeypatch):
    store = tmp_path / "store"
    monkeypatch.setenv("SYNPREF_STORE", str(store))
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    job = build_defs(profile(tmp_path)).resolve_job_def("check_pool")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance)
    [event] = result.get_asset_materialization_events()
    told = event.step_materialization_data.materialization.metadata
    assert told["num_pairs"].value == 13
    assert told["num_clean"].value == 10
    assert told["num_must_change"].value == 0
    page = told["check"].value
    assert page.startswith("Nothing has to change")
    assert "| a | human | 12 | - | - | 4 | 8 |" in page
    assert "| a | 1 |" in page
    assert not store.exists()
    assert not (tmp_path / "mlflow.db").exists()
