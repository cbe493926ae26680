"""`synpref explain`: what it says about a pair is what the tables of a campaign hold."""

import json
import uuid

import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from synpref_dagster.cli import app as cli
from synpref_dagster.cli.explain.history import pair_history
from synpref_dagster.cli.explain.panel_events import BESIDE_RESULT, PANEL_TABLES, panel_tables
from synpref_dagster.cli.explain.records import CampaignRecords
from synpref_dagster.storage import read_table

DECIDED = "consistency_filtered_subset"


@pytest.fixture
def records(finished_campaign):
    return CampaignRecords(finished_campaign.campaign.profile, str(finished_campaign.root))


@pytest.fixture
def history_of(records):
    return lambda pair_id: pair_history(records, pair_id.hex())


@pytest.fixture
def synpref(finished_campaign, monkeypatch):
    """Runs `synpref explain ...` on the finished campaign; gives exit code and output."""
    monkeypatch.setenv("SYNPREF_STORE", str(finished_campaign.base / "store"))
    monkeypatch.setattr(cli, "console", Console(width=100, no_color=True))

    def run(*arguments):
        result = CliRunner().invoke(cli.app, ["explain", *arguments, "--profile", "smoke"])
        return result.exit_code, result.output

    return run


@pytest.fixture
def decisions(finished_campaign):
    subset = finished_campaign.ref(DECIDED)
    return pd.concat(
        [finished_campaign.frame(subset.kept), finished_campaign.frame(subset.dropped)]
    )


def facts(history, step, name):
    """The facts of the one event of a step that has the fact `name`."""
    [event] = [e for e in history.events if e.step == step and name in e.facts]
    return event.facts


def steps(history):
    return [event.step for event in history.events]


def first(frame):
    assert len(frame), "the smoke campaign has no such pair"
    return frame.iloc[0]


def test_a_kept_pair_has_its_rewards_and_trains_the_release(
    history_of, decisions, finished_campaign
):
    row = first(decisions.query("reason == 'gold_and_best_agree'"))
    history = history_of(row.pair_id)
    rewards = finished_campaign.frame(finished_campaign.ref("pool_rewards"))
    expected = rewards.set_index("pair_id").loc[[row.pair_id]].iloc[0]
    told = facts(history, "pool_rewards", "best_margin")
    assert told["best_margin"] == pytest.approx(expected["best_margin"])
    assert told["gold_rejected"] == pytest.approx(expected["gold_rejected"])
    assert facts(history, DECIDED, "decision")["decision"] == "kept"
    assert history.outcome.startswith("kept: gold RM and best RM agree with the label")


def test_the_releases_that_trained_on_a_pair_are_named(history_of, finished_campaign):
    curated = finished_campaign.frame(finished_campaign.ref("curated_dataset"))
    tiers = {
        tier: first(curated.query("split == 'train' and tier == @tier and not flipped"))
        for tier in ("curated", "gold", "silver")
    }
    for tier, row in tiers.items():
        told = facts(history_of(bytes.fromhex(row.pair_id)), "curated_dataset", "tier")
        assert (told["tier"], told["label"], told["trained"]) == (tier, 1, ["qwen3-0.6b"])


def test_a_flipped_pair_is_recycled_and_trained_on_under_the_opposite_label(
    history_of, finished_campaign, decisions
):
    gold = finished_campaign.frame(finished_campaign.ref("iteration_01/gold").kept)
    train = set(gold.query("split == 'train'")["pair_id"])
    flipped = decisions.query("reason == 'human_disagrees'")
    row = first(flipped[[each in train for each in flipped["pair_id"]]])
    history = history_of(row.pair_id)
    curated = finished_campaign.frame(finished_campaign.ref("curated_dataset"))
    # A curated row goes by the id of the pair under its new label.
    written = first(curated[curated["pair_id"] == history.ids.twin_id])
    told = facts(history, "curated_dataset", "tier")
    assert (told["tier"], told["split"]) == (written.tier, written.split) == ("gold", "train")
    assert (told["label"], told["trained"]) == (-1, ["qwen3-0.6b"])
    assert "recycled_pairs" in steps(history)
    assert history.outcome.startswith("flipped: people say that the opposite label is right")


def test_a_duplicate_says_which_rows_are_the_same_and_stays_once(history_of, finished_campaign):
    dropped = finished_campaign.frame(finished_campaign.ref("clean_pool").dropped)
    kept = set(finished_campaign.frame(finished_campaign.ref("clean_pool").kept)["pair_id"])
    duplicates = dropped[[each in kept for each in dropped["pair_id"]]]
    pair_id = first(duplicates.query("reason == 'duplicate'")).pair_id
    history = history_of(pair_id)
    raw = read_table(finished_campaign.ref("raw_pool").kept, ["pair_id", "source", "meta"])
    same = [row for row in raw.to_pylist() if row["pair_id"].bytes == pair_id]
    told = facts(history, "raw_pool", "occurrences")["occurrences"]
    assert len(told) == len(same) >= 2
    assert [(r["source"], r["meta"]) for r in told] == [(r["source"], r["meta"]) for r in same]
    cleaning = [e.facts for e in history.events if e.step == "clean_pool"]
    assert [fact["kept"] for fact in cleaning] == [True] + [False] * (len(same) - 1)
    assert DECIDED in steps(history)


def test_a_contaminated_pair_names_the_prompt_and_goes_no_further(history_of, finished_campaign):
    dropped = finished_campaign.frame(finished_campaign.ref("clean_pool").dropped)
    row = first(dropped.query("reason == 'contaminated' and rule == 'word_gram'"))
    history = history_of(row.pair_id)
    told = facts(history, "clean_pool", "reason")
    assert (told["benchmark"], told["item_id"], told["gram"]) == (
        row.benchmark,
        row.item_id,
        row.gram,
    )
    assert row.gram in history.outcome
    assert set(steps(history)) == {"raw_pool", "clean_pool"}
    assert history.not_there_yet == []


def test_a_gold_pair_has_the_verdict_of_each_person_and_its_split(history_of, finished_campaign):
    seed = finished_campaign.ref("human_verified_seed")
    gold = first(finished_campaign.frame(seed.kept).query("split == 'validation'"))
    ledger = finished_campaign.frame(
        CampaignRecords(finished_campaign.campaign.profile, "").fact(seed.kept, "ledger")
    )
    said = ledger[[each == gold.pair_id for each in ledger["pair_id"]]]
    history = history_of(gold.pair_id)
    people = facts(history, "human_verified_seed", "people")["people"]
    assert [(p["annotator"], p["verdict"], p["decided"]) for p in people] == [
        (row.annotator, row.verdict, row.decided) for row in said.itertuples()
    ]
    told = facts(history, "human_verified_seed", "split")
    assert (told["label"], told["split"], told["iteration"]) == (gold.label, "validation", 0)
    assert facts(history, "seed_candidates", "asked")["asked"] == "people"
    assert facts(history, "curated_dataset", "split")["split"] == "validation"
    assert facts(history, "flip_evidence", "human_label")["human_label"] == gold.label
    # Gold is cumulative: what the seed had is no news of an iteration.
    assert "iteration_01/gold" not in steps(history)


def test_what_people_said_of_the_twin_holds_with_the_opposite_sign(history_of, finished_campaign):
    gold = finished_campaign.frame(finished_campaign.ref("human_verified_seed").kept)
    pool = finished_campaign.frame(finished_campaign.ref("clean_pool").kept)
    asked = set(gold["pair_id"])
    contents = gold.set_index("content_id")["label"]
    twins = pool[
        [
            i not in asked and c in contents.index
            for i, c in zip(pool.pair_id, pool.content_id, strict=True)
        ]
    ]
    twin = first(twins)
    told = facts(history_of(twin.pair_id), "human_verified_seed", "label")
    assert told["label"] == -contents[[twin.content_id]].iloc[0]
    assert told["pair_id"] != twin.pair_id.hex()
    people = facts(history_of(twin.pair_id), "human_verified_seed", "people")["people"]
    assert [each["asked_about"] for each in people] == [told["pair_id"]] * len(people)


def test_a_retrieved_pair_has_the_pulling_gold_pair_votes_and_exemplars(
    history_of, finished_campaign
):
    pulled = first(finished_campaign.frame(finished_campaign.ref("iteration_01/retrieved_pairs")))
    panel = finished_campaign.ref("iteration_01/judge_votes")
    parts = {}
    for name in ("labels", "votes", "verdicts", "exemplars"):
        frame = finished_campaign.frame(panel[name])
        parts[name] = frame[[each == pulled.pair_id for each in frame["pair_id"]]]
    history = history_of(pulled.pair_id)
    told = facts(history, "iteration_01/retrieved_pairs", "gold_pair_id")
    assert told["gold_pair_id"] == pulled.gold_pair_id.hex()
    assert told["similarity"] == pytest.approx(pulled.similarity)
    judged = facts(history, "iteration_01/judge_votes", "votes")
    assert judged["label"] == parts["labels"]["label"].item()
    assert {v["judge"]: v["vote"] for v in judged["votes"]} == dict(
        zip(parts["votes"]["judge"], parts["votes"]["vote"], strict=True)
    )
    assert judged["exemplars"] == [
        each.hex() for each in parts["exemplars"].sort_values("rank")["gold_pair_id"]
    ]
    assert len(judged["verdicts"]) == len(parts["verdicts"]) == 15
    # The gold pair in turn says what it pulled.
    around = facts(history_of(pulled.gold_pair_id), "iteration_01/retrieved_pairs", "pulled")
    assert pulled.pair_id.hex() in around["pulled"]


def test_what_was_not_materialised_is_said_to_be_missing(finished_campaign, tmp_path, decisions):
    refs = tmp_path / "refs"
    refs.mkdir()
    for name in ("raw_pool", "clean_pool"):
        text = (finished_campaign.root / "refs" / f"{name}.json").read_text()
        (refs / f"{name}.json").write_text(text)
    records = CampaignRecords(finished_campaign.campaign.profile, str(tmp_path))
    history = pair_history(records, decisions.iloc[0].pair_id.hex())
    assert set(steps(history)) == {"raw_pool", "clean_pool"}
    assert {"unverified_pool", "iteration_01/gold", DECIDED} <= set(history.not_there_yet)
    assert history.outcome == "nothing is decided yet"


@pytest.mark.parametrize("written", ["hex", "uuid", "prefix", "upper"])
def test_an_id_is_taken_however_it_is_written(synpref, decisions, written):
    pair_id = decisions.iloc[0].pair_id.hex()
    text = {
        "hex": pair_id,
        "uuid": str(uuid.UUID(pair_id)),
        "prefix": pair_id[:10],
        "upper": pair_id.upper(),
    }[written]
    code, output = synpref(text)
    assert code == 0
    assert f"pair {pair_id}" in output
    assert "outcome" in output


def test_json_is_the_history_with_whole_texts(synpref, decisions, records):
    pair_id = decisions.iloc[0].pair_id.hex()
    code, output = synpref(pair_id, "--json")
    told = json.loads(output)
    assert code == 0
    assert told == json.loads(json.dumps(pair_history(records, pair_id).as_json()))
    assert told["chosen"] == records.pair(pair_id).chosen


def test_an_unknown_id_says_how_many_rows_there_are_and_how_to_find_ids(synpref, finished_campaign):
    code, output = synpref("00" * 16)
    assert code == 2
    assert f"among the {finished_campaign.ref('raw_pool').kept.num_rows:,} rows" in output
    assert "--find" in output


@pytest.mark.parametrize("text", ["abc", "no hex at all", "0" * 33])
def test_what_can_be_no_id_is_refused(synpref, text):
    code, output = synpref(text)
    assert code == 2
    assert "is no pair id" in output


def test_a_prefix_of_several_pairs_lists_them(synpref, monkeypatch, decisions):
    monkeypatch.setattr("synpref_dagster.cli.explain.history.MIN_PREFIX", 1)
    by_digit = decisions["pair_id"].map(lambda each: each.hex()[0])
    code, output = synpref(by_digit.iloc[0])
    assert code == 2
    assert "more than 10 pairs begin with" in output
    assert len([line for line in output.splitlines() if line.startswith(by_digit.iloc[0])]) == 10


def test_words_find_pairs_and_rows_that_became_none(synpref, finished_campaign, records, decisions):
    pair = records.pair(decisions.iloc[0].pair_id.hex())
    code, output = synpref("--find", pair.chosen.splitlines()[0].upper())
    assert code == 0
    code, output = synpref("--find", pair.conversation[0]["content"], "--json")
    assert pair.pair_id.hex() in [each["pair_id"] for each in json.loads(output)["pairs"]]
    bad = read_table(finished_campaign.ref("raw_pool").dropped).slice(0, 1).to_pylist()[0]
    code, output = synpref("--find", bad["raw"][:60], "--json")
    assert (bad["source"], bad["row"]) in [
        (each["source"], each["row"]) for each in json.loads(output)["quarantined"]
    ]


def test_words_that_are_nowhere_are_refused(synpref):
    code, output = synpref("--find", "zebra crossing at midnight")
    assert code == 2
    assert "is in none of the" in output


def test_either_an_id_or_words_are_needed(synpref):
    assert synpref()[0] == synpref("abcdef", "--find", "words")[0] == 2


def test_a_campaign_that_never_ran_says_how_to_run_it(synpref, monkeypatch, tmp_path):
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path))
    code, output = synpref("abcdef")
    assert code == 2
    assert "synpref run --profile smoke" in " ".join(output.split())


@pytest.mark.parametrize(
    "step", ["iteration_01/judge_votes", "relabelled_pairs", *sorted(BESIDE_RESULT)]
)
def test_what_a_panel_said_is_found_for_every_asset_that_asks_judges(records, step):
    tables = panel_tables(records, step)
    assert [name for name in PANEL_TABLES if tables[name] is None] == []
    assert tables["votes"].num_rows >= tables["labels"].num_rows > 0
