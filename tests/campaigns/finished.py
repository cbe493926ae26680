"""One campaign of the smoke profile, run once and read by many tests."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from synpref_dagster.definitions.build import build_defs
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.storage import from_json

SIZE = "qwen3-0.6b"


def pytest_collection_modifyitems(items):
    """The first test that reads the campaign runs it; on a busy machine that takes minutes."""
    for item in items:
        if "finished_campaign" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(900))


@dataclass
class FinishedCampaign:
    """A campaign that ran in process, and ways to look at what it left."""

    defs: dg.Definitions
    base: Path
    seed: int = 0
    results: tuple = ()

    @property
    def root(self):
        return self.base / "store" / "smoke" / f"seed-{self.seed}"

    @property
    def tracking_uri(self):
        return f"sqlite:///{self.base / 'mlflow.db'}"

    @property
    def campaign(self):
        profile = load_profile("smoke", seed=self.seed)
        return Campaign(profile_json=profile.model_dump_json(), store_root=str(self.root))

    def ref(self, name):
        return from_json((self.root / "refs" / f"{name}.json").read_text())

    def frame(self, ref, columns=None):
        return self.campaign.frame(ref, columns)

    def data_versions(self):
        """Data version by asset, as Dagster recorded it."""
        return {
            event.asset_key.to_user_string(): event.step_materialization_data.materialization.tags[
                "dagster/data_version"
            ]
            for result in self.results
            for event in result.get_asset_materialization_events()
        }

    def files(self):
        """Hash of every file of the store."""
        return {
            path.relative_to(self.root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
        }

    def changed_since(self, before):
        now = self.files()
        return {name for name in now.keys() | before.keys() if now.get(name) != before.get(name)}

    def run(self, *jobs, selection=None):
        """Run jobs in order; the release job for one size. Results are kept."""
        self.results = tuple(
            self.defs.resolve_job_def(job).execute_in_process(
                instance=dg.DagsterInstance.ephemeral(),
                partition_key=SIZE if job == "release_models" else None,
                asset_selection=selection,
            )
            for job in jobs
        )
        assert all(result.success for result in self.results)
        return self


def start(base, *, seed=0, **settings):
    """A campaign of the smoke profile below `base`, with other settings; nothing is run yet."""
    base.mkdir(parents=True, exist_ok=True)
    values = {
        "SYNPREF_STORE": str(base / "store"),
        "SYNPREF_MLFLOW_URI": f"sqlite:///{base / 'mlflow.db'}",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        defs = build_defs(load_profile("smoke", seed=seed).model_copy(update=settings))
    return FinishedCampaign(defs=defs, base=base, seed=seed)


@pytest.fixture(scope="session")
def finished_campaign(tmp_path_factory):
    """The whole campaign with one release, in process."""
    base = tmp_path_factory.mktemp("campaign")
    return start(base).run("curate_pool", "release_models", "refresh_leaderboard")


@pytest.fixture(scope="session")
def start_campaign():
    """The function that starts a campaign, for fixtures of whole modules."""
    return start


@pytest.fixture
def new_campaign(tmp_path):
    """Starts further campaigns, each in a store of its own."""

    def begin(name, *, seed=0, **settings):
        return start(tmp_path / name, seed=seed, **settings)

    return begin
