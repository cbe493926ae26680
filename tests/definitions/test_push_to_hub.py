"""Pushing is explicit, uploads what the manifest lists, and refuses what was touched."""

import json
from types import SimpleNamespace

import dagster as dg
import pytest

from synpref_dagster.definitions.push_to_hub import PushConfig, push_to_hub, release_folder
from synpref_dagster.publishing.release.folder import write_manifest
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.hub import Hub
from synpref_dagster.resources.tracking.registry import ModelVersion
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.settings.profile import Profile, load_profile


@pytest.fixture
def campaign(tmp_path):
    return Campaign(
        profile_json=load_profile("demo").model_dump_json(), store_root=str(tmp_path / "store")
    )


@pytest.fixture
def curated(campaign):
    folder = campaign.local_folder("releases", "curated_dataset", "abc123")
    (folder / "README.md").write_text("card")
    write_manifest(folder, {})
    return folder


def push(campaign, tmp_path, config, uploads):
    class FakeHub(Hub):
        def upload(self, folder, repo_id, *, repo_type, private):
            uploads.append((folder.name, repo_id, repo_type, private))
            return "https://example.org/commit"

    return push_to_hub.execute_in_process(
        run_config={"ops": {"push_release": {"config": config}}},
        resources={
            "campaign": campaign,
            "hub": FakeHub(),
            "tracking": MlflowTracking(
                tracking_uri=f"sqlite:///{tmp_path}/never.db", experiment="t", campaign="c"
            ),
        },
        instance=dg.DagsterInstance.ephemeral(),
    )


def test_the_curated_data_is_uploaded_private_as_a_dataset(campaign, curated, tmp_path):
    uploads = []
    config = {"what": "curated_dataset", "repo_id": "me/pairs", "fingerprint": "abc123"}
    assert push(campaign, tmp_path, config, uploads).success
    assert uploads == [("abc123", "me/pairs", "dataset", True)]


def test_a_release_that_was_touched_is_refused(campaign, curated, tmp_path):
    (curated / "README.md").write_text("another card")
    uploads = []
    config = {"what": "curated_dataset", "repo_id": "me/pairs", "fingerprint": "abc123"}
    with pytest.raises(ValueError, match=r"changed after its release: README\.md"):
        push(campaign, tmp_path, config, uploads)
    assert uploads == []


def test_the_alias_decides_which_version_is_meant(campaign):
    class Registry:
        def aliased(self, name, alias):
            if (name, alias) != ("demo-skywork-reward-v2-qwen3-0.6b", "champion"):
                return None
            return ModelVersion(name=name, version=2, source="file:///a%20b/release", tags={})

    tracking = SimpleNamespace(registry=Registry)
    config = PushConfig(what="qwen3-0.6b", repo_id="me/model")
    assert str(release_folder(config, campaign, tracking)) == "/a b/release"
    with pytest.raises(ValueError, match="no version with alias 'candidate'"):
        release_folder(
            PushConfig(what="qwen3-0.6b", repo_id="me/model", alias="candidate"),
            campaign,
            tracking,
        )
    with pytest.raises(ValueError, match="use curated_dataset or one of"):
        release_folder(PushConfig(what="qwen4", repo_id="me/model"), campaign, tracking)
    with pytest.raises(ValueError, match="fingerprint"):
        release_folder(
            PushConfig(what="curated_dataset", repo_id="me/x", fingerprint="../.."),
            campaign,
            tracking,
        )


@pytest.fixture
def staying(tmp_path):
    """A campaign whose source may not leave this machine."""
    diary = {"name": "diary", "path": "x", "origin": "human", "may_leave": False}
    pool = {"kind": "sources", "sources": [diary]}
    profile = Profile.model_validate({**load_profile("smoke").model_dump(), "pool": pool})
    return Campaign(profile_json=profile.model_dump_json(), store_root=str(tmp_path / "store"))


PUSHED = {"what": "curated_dataset", "repo_id": "me/pairs", "fingerprint": "abc123"}


def written(campaign, **files):
    folder = campaign.local_folder("releases", "curated_dataset", "abc123")
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    write_manifest(folder, {})


def test_nothing_of_a_source_that_may_not_leave_goes_to_a_hub_elsewhere(
    staying, tmp_path, monkeypatch
):
    written(staying, README_md="card")
    uploads = []
    with pytest.raises(ValueError, match=r"'diary' .* huggingface\.co \(the hub\)"):
        push(staying, tmp_path, PUSHED, uploads)
    assert uploads == []
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:8080")
    assert push(staying, tmp_path, PUSHED, uploads).success
    assert len(uploads) == 1


def test_a_release_remembers_sources_that_were_not_to_leave(campaign, tmp_path):
    written(campaign, sources_json=json.dumps([{"name": "diary", "may_leave": False}]))
    uploads = []
    with pytest.raises(ValueError, match=r"'diary' .* huggingface\.co \(the hub\)"):
        push(campaign, tmp_path, PUSHED, uploads)
    assert uploads == []
    written(campaign, sources_json=json.dumps([{"name": "open"}]))
    assert push(campaign, tmp_path, PUSHED, uploads).success
