"""What a finished campaign says about its people."""

import json

import pytest

from synpref_dagster.people.quality import wide
from synpref_dagster.storage import DatasetRef

SEED, VERDICTS = "human_verified_seed", "iteration_01/human_verdicts"


@pytest.fixture(scope="module")
def audit(finished_campaign):
    return finished_campaign.frame(finished_campaign.ref("people_audit"))


def ledgers(campaign):
    gold = campaign.ref(SEED)
    seed = DatasetRef(**campaign.campaign.facts(gold.kept)["ledger"])
    return {SEED: campaign.frame(seed), VERDICTS: campaign.frame(campaign.ref(VERDICTS))}


def test_every_verdict_is_counted_once_by_asset_and_by_annotator(finished_campaign, audit):
    rows = {asset: len(ledger) for asset, ledger in ledgers(finished_campaign).items()}
    for scope in ("annotator", "asset", "all"):
        assert wide(audit, scope)["num_verdicts"].sum() == sum(rows.values())
    assert wide(audit, "asset").set_index("name")["num_verdicts"].to_dict() == rows


def test_the_report_says_what_the_audit_found(finished_campaign, audit):
    report = json.loads((finished_campaign.root / "report.json").read_text())
    found = wide(audit, "annotator").set_index("name")["agreement"].to_dict()
    told = {name: row["agreement"] for name, row in report["people"]["annotator"].items()}
    assert told == pytest.approx(found)
    assert 0 < report["people"]["all"]["all"]["alpha"] < 1
    assert report["people"]["all"]["all"]["median_seconds"] is None  # not recorded
    assert "How far people agree" in (finished_campaign.root / "report.html").read_text()


def test_recorded_people_corrected_nothing_and_gold_says_so(finished_campaign):
    gold = finished_campaign.frame(finished_campaign.ref("iteration_01/gold").kept)
    assert set(gold["edited_attributes"]) == {"{}"}


def test_what_is_retrieved_is_marked_where_the_model_can_hardly_tell(finished_campaign):
    retrieved = finished_campaign.frame(finished_campaign.ref("iteration_01/retrieved_pairs"))
    assert set(retrieved["risk"]) <= {
        "",
        "contradictory",
        "low_margin",
        "contradictory, low_margin",
    }
    assert (retrieved["risky"] == (retrieved["risk"] != "")).all()
