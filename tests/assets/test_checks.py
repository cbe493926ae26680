"""Every blocking check is shown a wrong input and must fail; a check that cannot fail is none.

A store gets the references of the finished campaign, and copies of the data of the asset in
question; the data are then spoiled under the very step that made them, so that the asset finds
and reports them as its own.
"""

import shutil
from types import SimpleNamespace

import dagster as dg
import pandas as pd
import pytest

from synpref_dagster.assets.asking import no_exemplar_leak
from synpref_dagster.assets.filtering.decision import recycled_pairs
from synpref_dagster.assets.iteration.factory import gold_and_silver_disjoint
from synpref_dagster.assets.pool.clean import zero_contamination
from synpref_dagster.resources.executors import Executors
from synpref_dagster.storage import SelectionRef, read_frame, read_manifest, read_table, to_json
from synpref_dagster.storage.dataset import write_dataset
from synpref_dagster.storage.manifest import make_ref

GOLD, SILVER = "iteration_01/gold", "iteration_01/silver"


def open_copy(finished, other, asset):
    """A campaign that continues the finished one, with the data of `asset` of its own."""
    for name in ("refs", "world"):
        shutil.copytree(finished.root / name, other.root / name)
    shutil.copytree(finished.root / "data" / asset, other.root / "data" / asset)
    return other


def spoil(folder, change):
    """Publish changed rows under the step that published the right ones."""
    uri = str(folder)
    manifest = read_manifest(uri)
    table = read_table(make_ref(uri, manifest))
    return write_dataset(uri, change(table), step=manifest.step, meta=manifest.meta)


def materialise(campaign, asset):
    """Run one asset with its checks: whether the run succeeded, and each check's result."""
    result = campaign.defs.resolve_job_def("curate_pool").execute_in_process(
        instance=dg.DagsterInstance.ephemeral(),
        asset_selection=[dg.AssetKey.from_user_string(asset)],
        raise_on_error=False,
    )
    checks = {each.check_name: each.passed for each in result.get_asset_check_evaluations()}
    return result.success, checks


def without_a_row(table):
    return table.slice(1)


@pytest.mark.parametrize(
    ("asset", "part"),
    [
        ("raw_pool", "kept"),
        pytest.param("raw_pool", "dropped", marks=pytest.mark.slow),
        ("clean_pool", "dropped"),
        ("unverified_pool", ""),
        ("human_verified_seed", "kept"),
        pytest.param("silver_seed", "dropped", marks=pytest.mark.slow),
        (GOLD, "kept"),
        pytest.param(SILVER, "kept", marks=pytest.mark.slow),
        ("consistency_filtered_subset", "dropped"),
    ],
)
def test_a_row_that_vanishes_stops_the_run(finished_campaign, new_campaign, asset, part):
    campaign = open_copy(finished_campaign, new_campaign("copy"), asset)
    spoil(campaign.root / "data" / asset / part, without_a_row)
    succeeded, checks = materialise(campaign, asset)
    assert checks["conservation"] is False
    assert not succeeded


def test_a_pool_with_benchmark_prompts_is_contaminated(finished_campaign):
    raw, clean = finished_campaign.ref("raw_pool"), finished_campaign.ref("clean_pool")
    prompts = finished_campaign.ref("benchmark_prompts")
    num_planted = int((finished_campaign.frame(clean.dropped)["reason"] == "contaminated").sum())
    check = zero_contamination.node_def.compute_fn.decorated_fn
    campaign = finished_campaign.campaign
    executors = Executors(campaign=campaign)
    assert check(campaign, executors, clean, prompts).passed
    found = check(campaign, executors, raw, prompts)
    assert not found.passed
    assert found.metadata["num_contaminated"].value >= num_planted > 0


def test_a_pair_that_is_gold_and_silver_is_found(finished_campaign):
    gold, silver = finished_campaign.ref(GOLD), finished_campaign.ref(SILVER)
    campaign = finished_campaign.campaign
    assert gold_and_silver_disjoint(campaign, silver, gold).passed
    found = gold_and_silver_disjoint(campaign, gold, gold)
    assert not found.passed
    assert (
        found.description
        == f"{gold.kept.num_rows} of {gold.kept.num_rows} silver pairs are gold too"
    )


def panel_with(finished, tmp_path, exemplars):
    folder = finished.root / "data" / "silver_seed"
    targets = str(folder / "targets")
    return {
        "targets": make_ref(targets, read_manifest(targets)),
        "exemplars": finished.campaign.dataset(
            f"leaks-{tmp_path.name}", lambda: exemplars, version="1", inputs=[tmp_path.name]
        ),
    }


@pytest.mark.parametrize("leak", ["none", "itself", "its_conversation"])
def test_an_exemplar_that_tells_the_answer_is_found(finished_campaign, tmp_path, leak):
    uri = str(finished_campaign.root / "data" / "silver_seed" / "exemplars")
    shown = read_frame(make_ref(uri, read_manifest(uri)))
    targets = read_frame(
        make_ref(
            uri.replace("exemplars", "targets"), read_manifest(uri.replace("exemplars", "targets"))
        )
    )
    if leak == "itself":
        shown.loc[0, "gold_pair_id"] = shown.loc[0, "pair_id"]
    campaign = finished_campaign.campaign
    panel = panel_with(finished_campaign, tmp_path, shown)
    if leak == "its_conversation":
        same = dict(zip(targets["pair_id"], targets["conversation_id"], strict=True))
        exemplar, target = shown.loc[0, "gold_pair_id"], shown.loc[0, "pair_id"]
        targets.loc[targets["pair_id"] == exemplar, "conversation_id"] = pd.Series(
            [same[target]] * len(targets), dtype=object
        )[targets["pair_id"] == exemplar]
        panel["targets"] = campaign.dataset(
            f"targets-{tmp_path.name}", lambda: targets, version="1", inputs=[tmp_path.name]
        )
    result = no_exemplar_leak(SimpleNamespace(campaign=campaign), panel)
    assert result.passed is (leak == "none")


def test_a_validation_conversation_in_training_stops_the_run(finished_campaign, new_campaign):
    name = "iteration_01/reward_model"
    campaign = new_campaign("leaky")
    shutil.copytree(finished_campaign.root / "refs", campaign.root / "refs")
    gold = finished_campaign.frame(finished_campaign.ref(GOLD).kept)
    silver = finished_campaign.ref(SILVER)
    trained_on = finished_campaign.frame(silver.kept)
    leaked = gold[gold["split"] == "validation"].head(1)[
        ["pair_id", "content_id", "conversation_id", "label"]
    ]
    wrong = campaign.campaign.dataset(
        "leaky_silver",
        lambda: pd.concat([trained_on, leaked], ignore_index=True)[list(trained_on.columns)].assign(
            **{c: trained_on[c].iloc[0] for c in trained_on.columns if c not in leaked.columns}
        ),
        version="1",
        inputs=[silver.kept.fingerprint],
        meta=finished_campaign.campaign.facts(silver.kept),
    )
    (campaign.root / "refs" / f"{SILVER}.json").write_text(
        to_json(SelectionRef(kept=wrong, dropped=silver.dropped))
    )
    succeeded, checks = materialise(campaign, name)
    assert checks == {"no_validation_conversation_trained_on": False}
    assert not succeeded


def test_machine_flips_below_the_floor_stop_the_run(finished_campaign, new_campaign):
    assert recycled_pairs.check_keys
    campaign = open_copy(finished_campaign, new_campaign("flips"), "recycled_pairs")

    def as_machine_flips(table):
        column = table.schema.get_field_index("reason")
        reasons = ["all_disagree"] * table.num_rows
        return table.set_column(column, "reason", [reasons])

    spoil(campaign.root / "data" / "recycled_pairs", as_machine_flips)
    succeeded, checks = materialise(campaign, "recycled_pairs")
    assert checks == {"flip_precision_gate": False}
    assert not succeeded
