"""The whole campaign in an object store: the same decisions and fingerprints as on a local disk."""

import dagster as dg
import pytest

from synpref_dagster.definitions.build import build_defs
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.storage import DatasetRef, SelectionRef, from_json, to_path

pytestmark = [pytest.mark.servers, pytest.mark.timeout(1_800)]

JOBS = ("curate_pool", "release_models", "refresh_leaderboard")


def datasets_of(ref) -> dict[str, DatasetRef]:
    """Data sets behind a reference, by part; models lie on local disks and are left out."""
    if isinstance(ref, DatasetRef):
        return {"": ref}
    if isinstance(ref, SelectionRef):
        return {"kept": ref.kept, "dropped": ref.dropped}
    return dict(ref) if isinstance(ref, dict) else {}


def run_campaign() -> None:
    definitions = build_defs(load_profile("smoke"))
    for job in JOBS:
        result = definitions.resolve_job_def(job).execute_in_process(
            instance=dg.DagsterInstance.ephemeral(),
            partition_key="qwen3-0.6b" if job == "release_models" else None,
        )
        assert result.success


def test_an_s3_campaign_decides_as_a_local_one(s3_server, finished_campaign, tmp_path, monkeypatch):
    # Scratch that other libraries insist on lies below the working directory.
    monkeypatch.chdir(tmp_path)
    store = f"s3://{s3_server.bucket}/store"
    monkeypatch.setenv("SYNPREF_STORE", store)
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    run_campaign()

    names = sorted(
        path.relative_to(finished_campaign.root / "refs").as_posix()
        for path in (finished_campaign.root / "refs").rglob("*.json")
    )
    there = to_path(f"{store}/smoke/seed-0/refs")
    num_compared = 0
    for name in names:
        here = datasets_of(from_json((finished_campaign.root / "refs" / name).read_text()))
        found = datasets_of(from_json((there / name).read_text()))
        for part, ref in here.items():
            assert found[part].uri.startswith("s3://"), name
            assert found[part].fingerprint == ref.fingerprint, f"{name} {part}"
            num_compared += 1
    assert num_compared > 20

    profile = load_profile("smoke").model_dump_json()
    campaign = Campaign(profile_json=profile, store_root=f"{store}/smoke/seed-0")
    kept = from_json((there / "consistency_filtered_subset.json").read_text()).kept
    local = finished_campaign.ref("consistency_filtered_subset").kept
    assert campaign.frame(kept)["reason"].tolist() == (
        finished_campaign.frame(local)["reason"].tolist()
    )
