"""What a campaign spends: in which order, as it was estimated, and under a cap for labels alone."""

import json
import os
import re
import subprocess
import sys
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import dagster as dg
import fake_judge_server as fake
import pytest
import reading_judge
from endpoint_profile import JOBS, small_profile

from synpref_dagster.definitions.build import build_defs
from synpref_dagster.judges.cache import ReplyCache

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


SMALLER = {
    "num_unverified": 260, "num_wild": 160, "num_test": 40, "num_gold": 70, "num_silver": 50,
    "max_retrieved": 40, "num_human": 15, "num_judged": 40, "num_steps": 10,
    "evaluate_every_steps": 10,
}  # fmt: skip
JUDGES = """
kind = "endpoints"
num_samples = 2
num_exemplars = 4
max_usd = 50.0
"""
JUDGE = """
[[judges.endpoints]]
name = "{name}"
model = "{name}"
base_url = "{url}"
usd_per_million_input = 1.0
usd_per_million_output = 4.0
"""


def as_written(url):
    """The small campaign as a file: a run of many processes reads its profile by itself."""
    text = (files("synpref_dagster.settings") / "profiles" / "smoke.toml").read_text()
    for name, value in SMALLER.items():
        text = re.sub(rf"^{name} = \d+$", f"{name} = {value}", text, flags=re.MULTILINE)
    panel = "".join(JUDGE.format(name=name, url=url) for name in reading_judge.MODELS)
    return re.sub(
        r'^kind = "exemplar"\nnum_samples.*\n.*$', JUDGES + panel, text, flags=re.MULTILINE
    )


def wordy(body):
    """What the reading judge says, at the length of answers of real ones."""
    reply = reading_judge.answer(body)
    reply.completion_tokens = 150
    return reply


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_of_many_processes_spends_in_order_and_about_what_was_estimated(tmp_path):
    store = tmp_path / "store"
    environment = os.environ | {
        "SYNPREF_STORE": str(store),
        "SYNPREF_MLFLOW_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
    }
    with fake.serve(wordy) as server:
        (tmp_path / "small.toml").write_text(as_written(server.url))
        command = Path(sys.executable).with_name("synpref")
        before, run = (
            subprocess.run(
                [command, *arguments],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            for arguments in (
                ["check", "small.toml", "--json"],
                ["run", "--profile", "small.toml", "--sizes", "none"],
            )
        )
    assert before.returncode == 0, before.stderr[-3000:]
    assert run.returncode == 0, run.stdout[-3000:]
    cache = ReplyCache(store / "judge_replies.sqlite")
    said = re.search(r"labels about \$([0-9.]+), reports after them about \$([0-9.]+)", run.stdout)
    assert said is not None
    spent = cache.table("SELECT SUM(usd) AS usd FROM spending")["usd"][0]
    assert sum(map(float, said.groups())) == pytest.approx(spent, rel=0.2)
    assert json.loads(before.stdout)["judges_usd"] == pytest.approx(spent, rel=0.2)

    asked = cache.table(
        "SELECT substr(asset, 1, instr(asset || ':', ':') - 1) AS asset, MIN(created_at) AS first, "
        "MAX(created_at) AS last FROM replies GROUP BY 1 ORDER BY 2"
    ).set_index("asset")
    labels = ["attribute_labels", "silver_seed", "iteration_01/judge_votes"]
    for before, after in pairwise(labels):
        assert asked["last"][before] < asked["first"][after]
    for evidence in ("flip_evidence", "relabelled_pairs"):
        assert asked["last"][labels[-1]] < asked["first"][evidence]
        for report in ("pii_report", "judge_audit"):
            assert asked["last"][evidence] < asked["first"][report]
    assert set(asked.index) == {
        *labels,
        "flip_evidence",
        "relabelled_pairs",
        "pii_report",
        "judge_audit",
    }
    cache.close()
