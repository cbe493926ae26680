"""The whole campaign in an object store: the same decisions and fingerprints as on a local disk."""

import dagster as dg
import pytest
import s3fs
from faulty_proxy import FaultyProxy

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


def num_of_equal_parts(finished_campaign, there) -> int:
    """How many data sets the references in a store name, each the same as the local campaign's."""
    names = sorted(
        path.relative_to(finished_campaign.root / "refs").as_posix()
        for path in (finished_campaign.root / "refs").rglob("*.json")
    )
    num_compared = 0
    for name in names:
        if not (there / name).exists():
            continue
        here = datasets_of(from_json((finished_campaign.root / "refs" / name).read_text()))
        found = datasets_of(from_json((there / name).read_text()))
        for part, ref in here.items():
            assert found[part].uri.startswith("s3://"), name
            assert found[part].fingerprint == ref.fingerprint, f"{name} {part}"
            num_compared += 1
    return num_compared


def test_an_s3_campaign_decides_as_a_local_one(s3_server, finished_campaign, tmp_path, monkeypatch):
    # Scratch that other libraries insist on lies below the working directory.
    monkeypatch.chdir(tmp_path)
    store = f"s3://{s3_server.bucket}/store"
    monkeypatch.setenv("SYNPREF_STORE", store)
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    run_campaign()

    there = to_path(f"{store}/smoke/seed-0/refs")
    assert num_of_equal_parts(finished_campaign, there) > 20

    profile = load_profile("smoke").model_dump_json()
    campaign = Campaign(profile_json=profile, store_root=f"{store}/smoke/seed-0")
    kept = from_json((there / "consistency_filtered_subset.json").read_text()).kept
    local = finished_campaign.ref("consistency_filtered_subset").kept
    assert campaign.frame(kept)["reason"].tolist() == (
        finished_campaign.frame(local)["reason"].tolist()
    )


@pytest.mark.slow
def test_a_store_that_goes_away_in_the_middle_ends_the_run_by_name_and_the_next_one_finishes(
    s3_server, finished_campaign, tmp_path, monkeypatch
):
    """The store answers 500 requests, then resets every connection until it is back."""
    answers = [True]

    def fault(number):
        return None if answers[0] and (number < 500 or len(answers) > 1) else "break"

    monkeypatch.chdir(tmp_path)
    store = f"s3://{s3_server.bucket}/store"
    monkeypatch.setenv("SYNPREF_STORE", store)
    monkeypatch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    job = build_defs(load_profile("smoke")).resolve_job_def("curate_pool")
    s3fs.S3FileSystem.clear_instance_cache()
    with (
        FaultyProxy(s3_server.endpoint, fault) as proxy,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        monkeypatch.setenv("SYNPREF_S3_ENDPOINT", proxy.endpoint)
        broken = job.execute_in_process(instance=instance, raise_on_error=False)
        assert not broken.success
        assert proxy.endpoint in said(broken)
        answers.append(True)  # it is back
        assert job.execute_in_process(instance=instance).success
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("SYNPREF_S3_ENDPOINT", s3_server.endpoint)
    assert num_of_equal_parts(finished_campaign, to_path(f"{store}/smoke/seed-0/refs")) > 15


def said(result) -> str:
    """All that the errors of a run's steps say."""
    errors = [each.step_failure_data.error for each in result.all_events if each.is_step_failure]
    told = []
    while errors:
        error = errors.pop()
        told.append(error.message)
        errors += [error.cause] if error.cause else []
    return "\n".join(told)
