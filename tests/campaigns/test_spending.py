"""A cap that is just enough for labels: they are complete, and the reports go without."""

import json
from pathlib import Path

import dagster as dg
import fake_judge_server as fake
import pytest
import reading_judge
from endpoint_profile import JOBS, small_profile

from synpref_dagster.definitions.build import build_defs

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

CAP_USD = 2.82  # labels cost about 2.77, all of it about 4.13


def test_labels_are_paid_and_the_report_says_that_the_audit_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    with fake.serve(reading_judge.answer) as server:
        plain = small_profile(server.url)
        profile = plain.model_copy(
            update={"judges": plain.judges.model_copy(update={"max_usd": CAP_USD})}
        )
        curated, closed = (
            build_defs(profile)
            .resolve_job_def(job)
            .execute_in_process(instance=dg.DagsterInstance.ephemeral(), raise_on_error=False)
            for job in JOBS
        )
    assert curated.success
    assert closed.success
    order = [event.step_key for event in curated.all_events if event.is_step_start]
    reports = {"judge_audit", "pii_report"}
    assert max(map(order.index, ("relabelled_pairs", "flip_evidence"))) < min(
        map(order.index, reports)
    )
    paid = {
        each.asset_key.to_user_string(): each
        for each in curated.get_asset_check_evaluations()
        if each.check_name == "judges_paid_for"
    }
    assert set(paid) == reports
    assert not any(each.passed for each in paid.values())
    assert all("raise judges.max_usd" in str(each.description) for each in paid.values())
    report = json.loads(Path(profile.store_root(), "report.json").read_text())
    assert "The judges were not audited" in report["next_steps"][-1]
