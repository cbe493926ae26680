"""Pushing is explicit, uploads what the manifest lists, and refuses what was touched."""

from types import SimpleNamespace

import dagster as dg
import pytest

from synpref_dagster.definitions.push_to_hub import PushConfig, push_to_hub, release_folder
from synpref_dagster.publishing.release.folder import write_manifest
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.hub import Hub
from synpref_dagster.resources.tracking.registry import ModelVersion
from synpref_dagster.resources.tracking.runs import MlflowTracking
from synpref_dagster.settings.profile import load_profile


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
