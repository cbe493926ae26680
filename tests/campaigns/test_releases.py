"""Nights and backfills in any order: a release says what its model trained on, or there is none."""

import json
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from release_checks import SIZE, check_release, recorded_trainings, said

from synpref_dagster.assets.filtering.decision import all_decisions
from synpref_dagster.definitions.build import build_defs, build_resources
from synpref_dagster.pairs.record import PreferencePair, id_index
from synpref_dagster.publishing.release.folder import MANIFEST
from synpref_dagster.resources.sources import PoolSources
from synpref_dagster.settings.pool import ExportSettings
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.sources.records import SourceSpec
from synpref_dagster.synthetic.miniatures.suite import SMOKE_SIZES
from synpref_dagster.synthetic.world import WorldConfig, write_world

pytestmark = pytest.mark.timeout(900)
FREE, CLOSED = "apache-2.0", "proprietary, no training"
SIZED = [dg.AssetKey(n) for n in ("skywork_reward_v2", "benchmark_scores", "model_release")]


class GrowingWorld(PoolSources):
    """The synthetic world and further sources, each with a licence."""

    further: dict[str, str]
    folder: str

    def specs(self):
        # A file of the same name in the folder stands in for one of the world.
        known = [
            replace(spec, path=str(self._there(spec.path) or spec.path)) for spec in super().specs()
        ]
        return [
            *known,
            *(
                SourceSpec(
                    name=name,
                    path=f"{self.folder}/{name}.jsonl",
                    origin="synthetic",
                    licence=licence,
                )
                for name, licence in sorted(self.further.items())
            ),
        ]

    def _there(self, path):
        place = Path(self.folder, Path(path).name)
        return place if place.exists() else None


@pytest.fixture(scope="module")
def new_rows(tmp_path_factory):
    """Sound rows of another world."""
    folder = tmp_path_factory.mktemp("other_world")
    write_world(
        folder,
        config=WorldConfig(
            seed=77, num_unverified=120, num_wild=300, num_test=20, benchmarks=SMOKE_SIZES
        ),
    )
    lines = (folder / "sources" / "length_biased_llm.jsonl").read_text().splitlines()
    return [line for line in lines if None not in json.loads(line).values()]


@pytest.fixture
def trained(monkeypatch):
    return recorded_trainings(monkeypatch)


class Nights:
    """A store on which nights and backfills are run, with the sources as they are at the time."""

    def __init__(self, campaign, folder, rows):
        self.campaign, self.folder, self.rows = campaign, folder, iter(rows)
        self.instance = dg.DagsterInstance.ephemeral()
        self.further = {}

    def arrive(self, licence):
        name = f"more_{len(list(self.folder.iterdir()))}"
        lines = [next(self.rows) for _ in range(20)]
        (self.folder / f"{name}.jsonl").write_text("\n".join(lines))
        self.further[name] = licence
        return name

    def run(self, job, *, allowed=(FREE,), selection=None):
        base = self.campaign.base
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SYNPREF_STORE", str(base / "store"))
            patch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{base / 'mlflow.db'}")
            export = ExportSettings(allowed_licences=tuple(allowed))
            profile = load_profile("smoke").model_copy(update={"export": export})
            sources = GrowingWorld(
                campaign=build_resources(profile)["campaign"],
                further=dict(self.further),
                folder=str(self.folder),
            )
            defs = build_defs(profile, resource_overrides={"sources": sources})
        return defs.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=SIZE if job == "release_models" else None,
            asset_selection=selection,
            raise_on_error=False,
        )

    def release(self):
        return Path(self.campaign.ref(f"model_release/{SIZE}").uri)


@pytest.fixture
def nights(finished_campaign, new_campaign, new_rows, tmp_path):
    """The finished campaign in a store of its own, without its model and its release."""
    campaign = new_campaign("nights")
    for name in ("refs", "world", "models/pair_embedder"):
        shutil.copytree(finished_campaign.root / name, campaign.root / name)
    for key in SIZED:
        shutil.rmtree(campaign.root / "refs" / key.to_user_string())
    folder = tmp_path / "further"
    folder.mkdir()
    return Nights(replace(campaign), folder, new_rows)


def failure_of(result):
    return " ".join(
        event.step_failure_data.error.to_string()
        for event in result.all_events
        if event.is_step_failure
    )


def test_nothing_is_trained_on_a_licence_that_is_not_allowed(nights, trained):
    name = nights.arrive(CLOSED)
    night = nights.run("filter_pool")
    # The decisions stand and the report is written; only the export is refused.
    assert "export.allowed_licences" in failure_of(night)
    assert nights.campaign.frame(nights.campaign.ref("clean_pool").kept)["source"].eq(name).any()
    assert "report.json" in nights.campaign.files()
    backfill = nights.run("release_models")
    assert not backfill.success
    assert f"{name} ({CLOSED}, " in failure_of(backfill)
    assert not trained
    assert not (nights.campaign.root / "refs" / "model_release").exists()
    nights.run("release_models", allowed=[FREE, CLOSED])
    check_release(nights.release(), trained, allowed=[FREE, CLOSED])
    assert name in said(nights.release())[3]


@pytest.mark.slow
def test_a_model_is_not_released_under_the_scores_of_another(nights, trained):
    assert nights.run("release_models").success
    nights.arrive(FREE)
    assert nights.run("filter_pool").success
    assert nights.run("release_models", selection=[SIZED[0]]).success
    alone = nights.run("release_models", selection=[SIZED[2]])
    assert re.search(
        r"the scores of qwen3-0.6b are of the model of 20\d\d-.{11} UTC, and the model to be "
        r"released is that of 20\d\d-.{11} UTC",
        failure_of(alone),
    )
    assert nights.run("release_models").success
    check_release(nights.release(), trained, allowed=[FREE])


def pair_of(row):
    """The pair of a row of the world's expert, None where it is none."""
    if None in row.values():
        return None
    texts = [row[side][0]["content"] if row[side] else "" for side in ("chosen", "rejected")]
    conversation = tuple(row["prompt"])
    if not all(isinstance(each, str) for each in texts + [t["content"] for t in conversation]):
        return None
    return PreferencePair(
        conversation=conversation,
        chosen=texts[0],
        rejected=texts[1],
        source="expert",
        origin="human",
    )


def turn_and_erase(world, target, *, contents, num_erased):
    """Turns the label of every row of the expert; erases some of `contents`, which are returned."""
    erased, lines = set(), []
    for line in (world / "sources" / "expert.jsonl").read_text().splitlines():
        row = json.loads(line)
        pair = pair_of(row)
        if pair and pair.content_id in contents and len(erased) < num_erased:
            erased.add(pair.content_id)
        elif pair is None or pair.content_id not in erased:
            lines.append(json.dumps({**row, "chosen": row["rejected"], "rejected": row["chosen"]}))
    (target / "expert.jsonl").write_text("\n".join(lines))
    return erased


@pytest.mark.slow
def test_turned_and_erased_pairs_stop_no_night_and_keep_what_people_said(
    nights, trained, finished_campaign
):
    world, campaign = finished_campaign.root / "world", nights.campaign
    gold = campaign.frame(campaign.ref("gold").kept)
    pool = finished_campaign.frame(finished_campaign.ref("clean_pool").kept)
    of_expert = set(pool["pair_id"][pool["source"] == "expert"])
    by_people = gold[[each in of_expert for each in gold["pair_id"]]]
    erased = turn_and_erase(
        world, nights.folder, contents=set(by_people["content_id"]), num_erased=3
    )
    before = {
        pair.pair_id
        for pair in finished_campaign.campaign.labelled(
            finished_campaign.ref("unverified_pool"), gold
        )
        if pair.content_id not in erased
    }
    assert nights.run("filter_pool").success
    decided = all_decisions(campaign.campaign, campaign.ref("consistency_filtered_subset"))
    decided = decided.set_index(id_index(decided["content_id"]))
    for row in by_people.itertuples():
        if row.content_id in erased:
            assert row.content_id not in decided.index
        else:  # turned: people say of the new label what they said against the old one
            agreed = "human_agrees" if row.label < 0 else "human_disagrees"
            assert decided.loc[[row.content_id], "reason"].tolist() == [agreed]
    now = campaign.campaign.labelled(campaign.ref("unverified_pool"), gold)
    assert {pair.pair_id for pair in now} == before
    assert nights.run("release_models").success
    check_release(nights.release(), trained, allowed=[FREE])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_after_any_nights_and_backfills_a_release_says_what_its_model_trained_on(
    nights, trained, seed
):
    draw = random.Random(seed)
    released = {}
    gold = set(nights.campaign.frame(nights.campaign.ref("gold").kept)["content_id"])
    for _ in range(9):
        allowed = [FREE, CLOSED] if draw.random() < 0.3 else [FREE]
        match draw.choice(["arrive", "leave", "turn", "night", "night", "backfill", "part"]):
            case "turn":
                turn_and_erase(
                    nights.campaign.root / "world",
                    nights.folder,
                    contents=gold,
                    num_erased=draw.randrange(4),
                )
            case "arrive":
                nights.arrive(draw.choice([FREE, CLOSED]))
            case "leave" if nights.further:
                del nights.further[draw.choice(sorted(nights.further))]
            case "night":
                nights.run("filter_pool", allowed=allowed)
            case "part":
                nights.run("release_models", allowed=allowed, selection=[draw.choice(SIZED)])
            case _:
                nights.run("release_models", allowed=allowed)
        place = nights.campaign.root / "refs" / "model_release"
        if not place.exists():
            continue
        folder = nights.release()
        manifest = (folder / MANIFEST).read_text()
        if released.get(folder) != manifest:  # written by this step, under these licences
            check_release(folder, trained, allowed=allowed)
            released[folder] = manifest
