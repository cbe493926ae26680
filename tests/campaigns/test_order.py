"""A set has no order: the same pairs in other files and rows train the same models."""

import gzip
import random
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from synpref_dagster.assets.filtering.decision import all_decisions
from synpref_dagster.definitions.build import build_defs, build_resources
from synpref_dagster.pairs.record import id_index
from synpref_dagster.resources.sources import PoolSources
from synpref_dagster.settings.profile import load_profile

# Up to two campaigns run before a test: on a busy machine they take minutes.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
DECIDING = (
    *("1_pool", "2_attributes", "3_seed", "4_iteration_00", "4_iteration_01"),
    *("4_labelled", "5_filtering"),
)
WITNESSES = ["decision", "reason", "judge_label"]


class ShuffledWorld(PoolSources):
    """The synthetic world, its files in another order and their rows too."""

    shuffled: str
    order: int

    def specs(self):
        specs = [replace(spec, path=self.in_other_order(spec.path)) for spec in super().specs()]
        # Which copy of a repeated pair stays goes by the order of files, and so does who labelled
        # it: people's files stay before the others, as they are in the world.
        specs.reverse()
        return sorted(specs, key=lambda spec: spec.origin)

    def in_other_order(self, path):
        target = Path(self.shuffled, Path(path).name)
        draw = random.Random(self.order)
        if target.suffix == ".parquet" and not target.exists():
            table = pq.read_table(path)
            pq.write_table(table.take(draw.sample(range(len(table)), len(table))), target)
        elif not target.exists():
            opened = gzip.open if target.suffix == ".gz" else open
            with opened(path, "rt") as stream:
                lines = stream.read().splitlines()
            with opened(target, "wt") as stream:
                stream.write("\n".join(draw.sample(lines, len(lines))))
        return str(target)


@pytest.fixture(scope="module", params=[5, 6])
def shuffled(request, tmp_path_factory, start_campaign):
    """The campaign of the shuffled world, in one of two orders."""
    base = tmp_path_factory.mktemp("shuffled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNPREF_STORE", str(base / "store"))
        patch.setenv("SYNPREF_MLFLOW_URI", f"sqlite:///{base / 'mlflow.db'}")
        profile = load_profile("smoke")
        sources = ShuffledWorld(
            campaign=build_resources(profile)["campaign"],
            shuffled=str(tmp_path_factory.mktemp("s")),
            order=request.param,
        )
        defs = build_defs(profile, resource_overrides={"sources": sources})
    campaign = replace(start_campaign(base), defs=defs)
    graph = defs.resolve_asset_graph()
    wanted = [
        key for key in sorted(graph.get_all_asset_keys()) if graph.get(key).group_name in DECIDING
    ]
    return campaign.run("curate_pool", selection=wanted)


def models_of(campaign):
    """Every trained model's folder, which its key names, with the hash of its weights."""
    return {
        name: content
        for name, content in campaign.files().items()
        if name.startswith("models/") and name.endswith("model.safetensors")
    }


def decisions(campaign):
    frame = all_decisions(campaign.campaign, campaign.ref("consistency_filtered_subset"))
    return frame.set_index("pair_id")


def test_the_pools_came_in_another_order(finished_campaign, shuffled):
    one, other = (each.frame(each.ref("clean_pool").kept) for each in (finished_campaign, shuffled))
    assert set(one["pair_id"]) == set(other["pair_id"])
    assert list(one["pair_id"]) != list(other["pair_id"])


def test_the_same_models_are_trained_under_the_same_keys(finished_campaign, shuffled):
    one, other = models_of(finished_campaign), models_of(shuffled)
    assert len(other) == 2 + 1 + 2  # two iterations, the gold RM, two folds
    assert other.items() <= one.items()


def test_the_same_pairs_become_gold_and_silver_under_the_same_labels(finished_campaign, shuffled):
    for name in ("gold", "silver"):
        one, other = (each.frame(each.ref(name).kept) for each in (finished_campaign, shuffled))
        assert one.equals(other), name


def test_every_pair_is_decided_alike(finished_campaign, shuffled):
    one, other = decisions(finished_campaign), decisions(shuffled)
    assert set(one.index) == set(other.index)
    assert one[WITNESSES].equals(other.loc[id_index(one.index), WITNESSES])
