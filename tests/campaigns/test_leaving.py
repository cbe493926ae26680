"""What a campaign tells MLflow and Dagster holds no text of a pair, as docs/leaving.md says."""

import sqlite3
from contextlib import closing

from synpref_dagster.pairs.texts import pool_texts


def told_tracker(database):
    """Every value of every table of MLflow, as text."""
    with closing(sqlite3.connect(database)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                yield from map(str, row)


def test_neither_mlflow_nor_an_event_of_dagster_holds_a_text_of_the_pool(finished_campaign):
    pool = finished_campaign.ref("clean_pool").kept
    texts = {text for text in pool_texts(finished_campaign.campaign.pairs(pool)) if len(text) > 40}
    assert len(texts) > 500
    said = "\n".join(told_tracker(finished_campaign.base / "mlflow.db"))
    said += "\n".join(
        str(event) for result in finished_campaign.results for event in result.all_events
    )
    assert "smoke" in said
    assert not [text for text in texts if text in said]
    artifacts = (finished_campaign.base / "mlflow_artifacts").rglob("*")
    assert {path.suffix for path in artifacts if path.is_file()} <= {".png"}
