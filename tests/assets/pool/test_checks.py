"""A campaign without pairs stops where they were lost, and says how many and why."""

import json

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest
from rich.console import Console

from synpref_dagster.assets.pool.checks import (
    clean_pairs_found,
    count_quarantined,
    raw_pairs_found,
    rows_by_reason,
)
from synpref_dagster.cli.progress import CampaignProgress, progress_logger
from synpref_dagster.definitions.build import build_defs
from synpref_dagster.settings.pool import PoolSettings, SourceSettings
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.storage import DatasetRef, SelectionRef, from_json


def selection(*, kept, dropped):
    def ref(part, num_rows):
        return DatasetRef(uri=f"/store/{part}", fingerprint="f", num_rows=num_rows)

    return SelectionRef(kept=ref("kept", kept), dropped=ref("dropped", dropped))


def counts(**rows):
    columns = ["num_rows", "num_unfolded", "num_outside"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def quarantined(*rows):
    """(source, reason, how often) of quarantined rows that stand in two shards."""
    each = [
        {"source": source, "reason": reason} for source, reason, times in rows for _ in range(times)
    ]
    schema = pa.schema([("source", pa.string()), ("reason", pa.string())])
    shards = [pa.Table.from_pylist(part, schema=schema) for part in (each[::2], [], each[1::2])]
    return count_quarantined(shards)


def test_a_pool_without_pairs_stops_with_counts_and_reasons():
    found = raw_pairs_found(
        selection(kept=0, dropped=5),
        counts(a=[4, 0, 0], b=[3, 0, 2]),
        quarantined(("a", "malformed_votes", 4), ("b", "tied", 1)),
    )
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert found.description == (
        "7 rows read, no pair among them: 4 quarantined as malformed_votes, 1 as tied; "
        "2 outside the part that the options select; the rows lie in /store/dropped"
    )


def test_sources_without_a_row_are_called_empty():
    found = raw_pairs_found(selection(kept=0, dropped=0), counts(a=[0, 0, 0]), quarantined())
    assert "0 rows read, no pair among them: the sources are empty" in found.description


def test_a_source_that_lost_more_than_half_is_a_warning_and_half_is_none():
    rows = quarantined(("half", "tied", 2), ("most", "tied", 2), ("most", "not_json", 1))
    found = raw_pairs_found(
        selection(kept=3, dropped=5), counts(half=[4, 0, 0], most=[3, 1, 0]), rows
    )
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found.description == (
        "source 'most' lost 3 of 4 rows: 2 quarantined as tied, 1 as not_json"
    )
    half = quarantined(("half", "tied", 2))
    sound = raw_pairs_found(selection(kept=2, dropped=2), counts(half=[4, 0, 0]), half)
    assert sound.passed


def test_rows_are_counted_over_all_shards_the_most_frequent_reason_first():
    rows = quarantined(("a", "tied", 2), ("b", "not_json", 3), ("b", "tied", 2))
    assert rows_by_reason(rows) == {"tied": 4, "not_json": 3}
    assert list(rows_by_reason(rows)) == ["tied", "not_json"]
    assert rows.set_index(["source", "reason"])["num_rows"]["b", "tied"] == 2
    assert rows_by_reason(quarantined()) == {}


def test_a_clean_pool_without_pairs_stops_with_its_most_frequent_reasons():
    reasons = {"duplicate": 3, "contaminated": 9, "a": 2, "b": 1, "c": 1}
    found = clean_pairs_found(selection(kept=0, dropped=16), num_in=16, reasons=reasons)
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert found.description == (
        "16 pairs, no clean one among them: 9 dropped as contaminated, 3 as duplicate, 2 as a, "
        "2 for other reasons; the rows lie in /store/dropped"
    )
    assert clean_pairs_found(selection(kept=1, dropped=15), num_in=16, reasons=reasons).passed


@pytest.fixture
def run_own_data(tmp_path, monkeypatch):
    """Runs assets of a campaign on rows of one's own: what the terminal shows, and its store."""
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")

    def run(rows, *assets):
        path = tmp_path / "mine.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        plain = load_profile("smoke")
        source = SourceSettings(name="mine", path=str(path), origin="human", licence="CC0-1.0")
        pool = PoolSettings(kind="sources", sources=(source,), strict_pass=plain.pool.strict_pass)
        profile = plain.model_copy(update={"pool": pool})
        progress = CampaignProgress(Console(width=200, no_color=True, record=True, quiet=False))
        defs = build_defs(profile, loggers={"progress": progress_logger(progress)})
        result = defs.resolve_job_def("curate_pool").execute_in_process(
            instance=dg.DagsterInstance.ephemeral(),
            run_config={"loggers": {"progress": {}}},
            asset_selection=[dg.AssetKey(name) for name in assets],
            raise_on_error=False,
        )
        assert not result.success
        return progress, tmp_path / "store" / "smoke" / "seed-0"

    return run


def test_quarantined_rows_can_be_looked_at_after_the_run_stopped(run_own_data):
    rows = [{"prompt": f"p {n}", "chosen": "same", "rejected": "same"} for n in range(3)]
    progress, store = run_own_data(rows, "raw_pool", "benchmark_prompts", "clean_pool")
    [failure] = progress.failures
    assert failure.startswith(
        "raw_pool: 3 rows read, no pair among them: 3 quarantined as identical_responses"
    )
    pool = from_json((store / "refs" / "raw_pool.json").read_text())
    assert (pool.kept.num_rows, pool.dropped.num_rows) == (0, 3)
    assert not (store / "refs" / "clean_pool.json").exists()


def test_sources_without_votes_cannot_have_recorded_people(run_own_data):
    rows = [
        {"prompt": f"Question {n} of the day", "chosen": f"good {n}", "rejected": f"bad {n}"}
        for n in range(30)
    ]
    progress, store = run_own_data(
        rows,
        *("raw_pool", "benchmark_prompts", "clean_pool", "strict_overlaps"),
        *("wild_pool", "unverified_pool"),
        *("attribute_labels", "seed_candidates", "human_verified_seed"),
    )
    [failure] = progress.failures
    assert failure.startswith(
        "human_verified_seed: 0 of 30 seed candidates have a recorded verdict"
    )
    assert "people.backend = 'page'" in failure
    assert not (store / "refs" / "human_verified_seed.json").exists()


def test_a_missing_column_says_which_it_is_where_rows_are_counted(tmp_path):
    detail = ["no chosen", "night_1.jsonl: no chosen", "a: b.jsonl: no chosen, rejected", "equal"]
    shard = pa.table(
        {
            "source": ["s"] * 4,
            "reason": ["missing_column"] * 3 + ["tied"],
            "detail": detail,
        }
    )
    counted = count_quarantined([shard])
    assert dict(zip(counted["reason"], counted["num_rows"], strict=True)) == {
        "missing_column (no chosen)": 2,
        "missing_column (no chosen, rejected)": 1,
        "tied": 1,
    }
    assert rows_by_reason(counted) == {"missing_column": 3, "tied": 1}
