"""Tools that need no campaign decide as a campaign does on the same rows."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synpref_dagster.curation.contamination.rules import BenchmarkPrompt
from synpref_dagster.storage import iter_tables
from synpref_dagster.tools.curating import cleaning
from synpref_dagster.tools.curating.against import Against
from synpref_dagster.tools.curating.deciding import decide


@pytest.fixture
def raw_file(finished_campaign, tmp_path):
    """The raw pool of the campaign as a file of pairs."""
    raw = pa.concat_tables(iter_tables(finished_campaign.ref("raw_pool").kept))
    columns = {"prompt": raw["conversation"], "chosen": raw["chosen"], "rejected": raw["rejected"]}
    pq.write_table(pa.table(columns), tmp_path / "raw.parquet")
    return tmp_path / "raw.parquet"


def test_clean_keeps_and_drops_what_the_clean_pool_does(finished_campaign, raw_file, monkeypatch):
    prompts = finished_campaign.frame(finished_campaign.ref("benchmark_prompts"))
    against = Against([BenchmarkPrompt(*row) for row in prompts.itertuples(index=False)])
    monkeypatch.setattr(cleaning, "texts_against", lambda _: against)
    report = cleaning.clean(raw_file)
    pool = finished_campaign.ref("clean_pool")
    kept, dropped = (finished_campaign.frame(each) for each in (pool.kept, pool.dropped))
    ours, left = report.table().to_pandas(), report.left_out()
    assert ours["pair_id"].tolist() == [each.hex() for each in kept["pair_id"]]
    assert ours["risk"].tolist() == kept["risk"].tolist()
    assert left["pair_id"].tolist() == [each.hex() for each in dropped["pair_id"]]
    assert left["reason"].tolist() == dropped["reason"].tolist()
    assert report.dropped.keys() == {"duplicate", "contaminated"}
    assert {*left["benchmark"].dropna()} == {*dropped["benchmark"]} - {""}


def test_filter_decides_as_the_consistency_filter_on_its_rewards(finished_campaign, tmp_path):
    subset = finished_campaign.ref("consistency_filtered_subset")
    parts = [finished_campaign.frame(each) for each in (subset.kept, subset.dropped)]
    frame = pd.concat(parts, ignore_index=True)
    said = {"human_agrees": 1, "human_disagrees": -1, "human_undecided": 0}
    rewards = frame[["best_margin", "gold_margin", "judge_label"]].assign(
        human_label=frame["reason"].map(said)
    )
    evidence = finished_campaign.frame(finished_campaign.ref("flip_evidence"))
    evidence.drop(columns=["pair_id"]).to_parquet(tmp_path / "gold.parquet")
    report = decide(rewards, evidence=tmp_path / "gold.parquet")
    found = report.table().to_pandas()
    assert found["reason"].tolist() == frame["reason"].tolist()
    assert found["decision"].tolist() == frame["decision"].tolist()
    assert {"all_agree", "human_agrees", "flip_guarded"} & {*report.reasons}
