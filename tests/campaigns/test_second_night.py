"""A second night of a whole campaign: new files arrive, the nightly job runs, old pairs stand."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from synpref_dagster.assets.filtering.decision import all_decisions
from synpref_dagster.definitions.build import build_defs, build_resources
from synpref_dagster.resources.sources import PoolSources
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.sources.records import SourceSpec
from synpref_dagster.storage import DatasetRef, read_frame
from synpref_dagster.synthetic.miniatures.suite import SMOKE_SIZES
from synpref_dagster.synthetic.world import WorldConfig, write_world

# Two campaigns run before the first test: on a busy machine they take minutes.
pytestmark = pytest.mark.timeout(600)
NUM_NEW, NUM_REPEATED, NUM_TWINS = 25, 4, 12


class WorldWithNight(PoolSources):
    """The synthetic world and, from the second night on, two more files."""

    night: str

    def specs(self):
        new = [
            SourceSpec(name=f"a_{origin}", path=f"{self.night}/{origin}.jsonl", origin=origin,
                       licence="synthetic")
            for origin in ("human", "synthetic")
        ]  # fmt: skip
        # First in reading order: what came on the first night must win all the same.
        return [*new, *super().specs()]


def write_night(folder, old_file):
    """Pairs of another world under two origins, and some that are in the pool already."""
    other = folder / "other_world"
    write_world(
        other,
        config=WorldConfig(
            seed=77, num_unverified=120, num_wild=120, num_test=20, benchmarks=SMOKE_SIZES
        ),
    )
    lines = (other / "sources" / "length_biased_llm.jsonl").read_text().splitlines()
    sound = [line for line in lines if None not in json.loads(line).values()]
    repeated = [
        line for line in old_file.read_text().splitlines() if None not in json.loads(line).values()
    ]
    half = NUM_NEW // 2
    (folder / "human.jsonl").write_text("\n".join(sound[:half]))
    # Contents under both labels, of a kind that stage 1 has no more room for than it had.
    twins = [twin for line in sound[NUM_NEW : NUM_NEW + NUM_TWINS] for twin in (line, turned(line))]
    (folder / "synthetic.jsonl").write_text(
        "\n".join([*sound[half:NUM_NEW], *repeated[:NUM_REPEATED], *twins])
    )


def turned(line):
    """The same pair under the other label."""
    pair = json.loads(line)
    return json.dumps({**pair, "chosen": pair["rejected"], "rejected": pair["chosen"]})


@pytest.fixture(scope="module")
def nights(tmp_path_factory, start_campaign):
    """A campaign after its first night, and again after its second; what each run counted."""
    base = tmp_path_factory.mktemp("nights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNPREF_STORE", str(base / "store"))
        patch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{base / 'mlflow.db'}")
        yield run_nights(base, start_campaign)


def run_nights(base, start_campaign):
    profile = load_profile("smoke")
    first = start_campaign(base).run("curate_pool")
    before = {
        "decisions": decisions(first),
        "dropped": first.frame(first.ref("clean_pool").dropped),
        "judged": judged(first),
        "files": first.files(),
        "counters": counters(first),
    }
    night = base / "night"
    night.mkdir()
    write_night(night, first.root / "world" / "sources" / "length_biased_llm.jsonl")
    campaign = build_resources(profile)["campaign"]
    sources = WorldWithNight(campaign=campaign, night=str(night))
    grown = build_defs(profile, resource_overrides={"sources": sources})
    second = replace(first, defs=grown).run("filter_pool")
    after = {
        "decisions": decisions(second),
        "dropped": second.frame(second.ref("clean_pool").dropped),
        "quarantined": second.frame(second.ref("raw_pool").dropped),
        "judged": judged(second),
        "files": second.files(),
        "counters": counters(second),
    }
    return before, after


def decisions(campaign):
    frame = all_decisions(campaign.campaign, campaign.ref("consistency_filtered_subset"))
    return frame.set_index(pd.Index(frame["pair_id"], dtype=object))


def judged(campaign):
    labels: DatasetRef = campaign.ref("relabelled_pairs")["labels"]
    frame = read_frame(labels)
    return dict(zip(frame["pair_id"], frame["label"], strict=True))


def counters(campaign):
    """asset -> (files or shards worked on, found finished)."""
    found = {}
    for result in campaign.results:
        for event in result.get_asset_materialization_events():
            metadata = event.step_materialization_data.materialization.metadata
            for what in ("files", "shards"):
                if f"num_{what}_computed" in metadata:
                    found[event.asset_key.to_user_string()] = (
                        metadata[f"num_{what}_computed"].value,
                        metadata[f"num_{what}_reused"].value,
                    )
    return found


def test_only_what_is_new_is_read_cleaned_labelled_embedded_and_scored(nights):
    before, after = nights
    computed, reused = before["counters"]["raw_pool"]
    assert reused == 0
    for asset in ("raw_pool", "clean_pool", "pool_rewards", "relabelled_pairs"):
        assert after["counters"][asset] == (2, computed), asset
    for asset in ("attribute_labels", "pair_embeddings"):
        new, old = after["counters"][asset]
        assert new <= 2, asset
        assert new + old == computed + 2, asset


def test_decisions_on_old_pairs_are_unchanged(nights):
    before, after = nights
    old, new = before["decisions"], after["decisions"]
    columns = ["decision", "reason", "best_margin", "gold_margin", "judge_label"]
    again = new.loc[old.index, columns]
    assert again.equals(old[columns])


def test_the_first_night_wins_and_every_new_row_is_accounted_for(nights):
    before, after = nights
    dropped = after["dropped"]
    of_the_night = dropped[dropped["source"].str.startswith("a_")]
    assert (of_the_night["reason"] == "duplicate").sum() >= NUM_REPEATED
    added = len(after["decisions"]) - len(before["decisions"])
    quarantined = after["quarantined"]["source"].str.startswith("a_").sum()
    assert added + len(of_the_night) + quarantined == NUM_NEW + NUM_REPEATED + 2 * NUM_TWINS
    assert len(dropped) - len(of_the_night) == len(before["dropped"])


def test_judges_say_the_same_about_old_pairs(nights):
    before, after = nights
    assert before["judged"].items() <= after["judged"].items()
    assert len(after["judged"]) > len(before["judged"])


def test_no_model_is_trained_again(nights):
    before, after = nights
    models = {name for name in after["files"] if name.startswith("models/")}
    assert models
    changed = {name for name in models if after["files"][name] != before["files"].get(name)}
    assert changed == set()


def test_judges_are_not_asked_about_gold_again(nights):
    before, after = nights
    grown = "data/attribute_labels/"
    assert part_of(before["files"], grown) != part_of(after["files"], grown)
    evidence = "data/flip_evidence/"
    assert part_of(before["files"], f"{evidence}labels/")
    assert part_of(before["files"], evidence) == part_of(after["files"], evidence)


def part_of(files, folder):
    """The files below a folder of the store, with their hashes."""
    return {name: content for name, content in files.items() if name.startswith(folder)}
