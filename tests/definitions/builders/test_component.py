"""A campaign as a component: beside what a project has, by a few lines, and by `dg scaffold`."""

import shutil
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster.components.component_scaffolding import scaffold_object

from synpref_dagster.definitions.builders import CampaignComponent
from synpref_dagster.definitions.jobs import CURATE_POOL, FILTER_POOL, RELEASE_MODELS

EXAMPLE = Path(__file__).parents[3] / "examples" / "own_project"
TYPE = f"{CampaignComponent.__module__.rpartition('.')[0]}.CampaignComponent"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of the example, whose campaign is the smallest packaged one."""
    folder = tmp_path / "own_project"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    profile = folder / "own_project" / "defs" / "curation" / "profile.toml"
    profile.write_text(profile.read_text().replace('extends = "demo"', 'extends = "smoke"'))
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path / "store"))
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name in [each for each in sys.modules if each.partition(".")[0] == "own_project"]:
        del sys.modules[name]


def loaded(folder):
    return dg.load_from_defs_folder(path_within_project=folder)


def keys_of(defs, job):
    job = defs.resolve_job_def(job)
    return {key.to_user_string() for key in job.asset_layer.executable_asset_keys}


def test_a_campaign_stands_beside_the_assets_of_a_project(project):
    defs = loaded(project)
    graph = defs.resolve_asset_graph()
    own = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert {"training_order", "curation/raw_pool", "curation/campaign_report"} <= own
    export = dg.AssetKey(["curation", "curated_dataset"])
    assert graph.get(dg.AssetKey("training_order")).parent_keys == {export}


def test_jobs_of_a_campaign_make_its_own_assets_only(project):
    defs = loaded(project)
    for job in (CURATE_POOL, FILTER_POOL, RELEASE_MODELS):
        made = keys_of(defs, job)
        assert "curation/curated_dataset" in made or job == RELEASE_MODELS
        assert [key for key in made if not key.startswith("curation/")] == []


def test_the_io_manager_and_executor_of_a_project_stay_its_own(project):
    own = project / "own_project" / "defs" / "resources.py"
    own.write_text(
        "import dagster as dg\n"
        "@dg.definitions\n"
        "def resources():\n"
        "    return dg.Definitions(\n"
        "        resources={'io_manager': dg.FilesystemIOManager(base_dir='/nowhere')},\n"
        "        executor=dg.multiprocess_executor.configured({'max_concurrent': 3}),\n"
        "    )\n"
    )
    defs = loaded(project)
    assert defs.resources["io_manager"].base_dir == "/nowhere"
    # The profile says in_process, and its jobs obey it.
    assert defs.resolve_job_def(CURATE_POOL).executor_def.name == "in_process"
    assert defs.resolve_implicit_global_asset_job_def().executor_def.name == "multiprocess"


def test_dg_scaffolds_a_campaign_that_loads(project, capsys):
    folder = project / "own_project" / "defs" / "curation"
    before = (folder / "defs.yaml").read_text()
    shutil.rmtree(folder)
    scaffold_object(folder, TYPE, None, "yaml", project)
    assert (folder / "defs.yaml").read_text() == before
    written = (folder / "profile.toml").read_text()
    assert written == (EXAMPLE / "own_project" / "defs" / "curation" / "profile.toml").read_text()
    own = folder / "profile.toml"
    own.write_text("# mine")
    scaffold_object(folder, TYPE, None, "yaml", project)
    assert own.read_text() == "# mine"


def test_a_profile_that_is_not_there_is_named_in_a_line(project):
    place = project / "own_project" / "defs" / "curation" / "defs.yaml"
    place.write_text(place.read_text().replace("profile.toml", "profiel.toml"))
    with pytest.raises(Exception, match="while building definitions for curation") as refused:
        loaded(project)
    cause = str(refused.value.__cause__)
    assert "profiel.toml" in cause
    assert "\n" not in cause
