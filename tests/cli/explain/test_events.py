"""Events of a pair on tables written by hand, where a campaign has no such case for sure."""

import pandas as pd
import pytest

from synpref_dagster.cli.explain.decision_events import release_events
from synpref_dagster.cli.explain.label_events import iteration_events, seed_events
from synpref_dagster.cli.explain.panel_events import panel_events
from synpref_dagster.cli.explain.pool_events import is_clean, pool_events
from synpref_dagster.cli.explain.records import CampaignRecords, PairIds
from synpref_dagster.pairs.record import PreferencePair, id_array, pairs_to_table, table_from_frame
from synpref_dagster.settings.embedding import EndpointEmbedding
from synpref_dagster.settings.profile import load_profile
from synpref_dagster.storage import DatasetRef, ModelRef, SelectionRef, to_json, write_dataset

PAIR = PreferencePair(
    conversation=({"role": "user", "content": "2 + 2?"},),
    chosen="5",
    rejected="4",
    source="crowd",
    origin="human",
    meta={"row": 3},
)
TWIN = PAIR.flipped()
IDS = PairIds.of(PAIR)
GOLD_COLUMNS = {"content_id": PAIR.content_id, "conversation_id": PAIR.conversation_id}


class Store:
    """A campaign's store with the tables that a test writes."""

    def __init__(self, root):
        self.root = root
        self.records = CampaignRecords(load_profile("smoke"), str(root))

    def table(self, name, rows, **meta):
        frame = pd.DataFrame(rows)
        return write_dataset(
            str(self.root / "data" / name), table_from_frame(frame), step="s", meta=meta
        )

    def publish(self, name, ref):
        path = self.root / "refs" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_json(ref))

    def selection(self, name, kept, dropped, **meta):
        sides = (self.table(f"{name}/kept", kept, **meta), self.table(f"{name}/dropped", dropped))
        self.publish(name, SelectionRef(*sides))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def gold_row(iteration, **values):
    row = {"pair_id": PAIR.pair_id, **GOLD_COLUMNS, "label": -1, "split": "train"}
    return pd.DataFrame([{**row, "iteration": iteration, "edited_attributes": "{}", **values}])


def unanswered(times):
    row = {"pair_id": PAIR.pair_id, "content_id": PAIR.content_id, "reason": "no_verdict"}
    return pd.DataFrame([row] * times, columns=list(row))


def test_a_recycled_pair_is_in_the_training_set_of_the_40m_model_alone(store):
    row = {"pair_id": TWIN.pair_id.hex(), "tier": "recycled", "split": "train", "flipped": True}
    # Exported ids are text, so that they stay text here.
    frame = pd.DataFrame([row]).rename(columns={"pair_id": "text_id"})
    table = table_from_frame(frame).rename_columns(["pair_id", "tier", "split", "flipped"])
    store.publish("curated_dataset", write_dataset(str(store.root / "c"), table, step="s"))
    for size in ("qwen3-0.6b", "llama-3.1-8b-40m"):
        store.publish(f"skywork_reward_v2/{size}", ModelRef(uri="m", fingerprint=size))
    curated, trained = release_events(store.records, IDS)
    assert curated.facts["label"] == -1
    assert trained.facts["trained"] == ["llama-3.1-8b-40m"]
    assert trained.what == "in the training set of llama-3.1-8b-40m"


def test_a_pair_nobody_answered_about_may_become_gold_later(store):
    store.selection("human_verified_seed", gold_row(0).iloc[:0], unanswered(1))
    store.selection("iteration_01/gold", gold_row(1), unanswered(1))
    seed = [e.what for e in seed_events(store.records, IDS)]
    assert seed == ["not gold: nobody answered"]
    later = [e.what for e in iteration_events(store.records, IDS, 1)]
    assert later == ["gold, train part: against the label"]


def test_what_people_corrected_is_told_with_who_and_when(store):
    said = {"pair_id": TWIN.pair_id, "content_id": PAIR.content_id, "annotator": "ann"}
    edits = '{"objectivity": "subjective"}'
    row = {**said, "verdict": 1, "decided": True, "edited_attributes": edits}
    ledger = store.table("ledger", [{**row, "seconds": 4.0, "created_at": float("nan")}])
    fact = {"uri": ledger.uri, "num_rows": 1, "fingerprint": ledger.fingerprint}
    gold = gold_row(0, pair_id=TWIN.pair_id, label=1, edited_attributes=edits)
    store.selection("human_verified_seed", gold, unanswered(0), ledger=fact)
    people, verified = seed_events(store.records, IDS)
    assert people.what == "people (through its twin): 1 against the label"
    assert people.facts["people"] == [
        {
            "asked_about": IDS.twin_id,
            "annotator": "ann",
            "verdict": -1,
            "decided": True,
            "corrections": {"objectivity": "subjective"},
            "seconds": 4.0,
            "created_at": None,
        }
    ]
    assert "people corrected objectivity = subjective" in verified.what
    assert verified.facts["corrections"] == {"objectivity": "subjective"}


@pytest.mark.parametrize(("asked", "sign"), [(PAIR, 1), (TWIN, -1)])
def test_votes_and_verdicts_are_told_relative_to_the_pair(store, asked, sign):
    key = {"pair_id": asked.pair_id}
    counts = {"confidence": 0.5, "num_for": 2, "num_against": 1, "reason": "majority"}
    vote = {**key, "judge": "j", "vote": 1, "score": 0.5, "num_verdicts": 2, "num_abstained": 1}
    said = {**key, "judge": "j", "reason": "r"}
    parts: dict[str, DatasetRef] = {
        "labels": store.table("labels", [{**key, "label": 1, **counts}]),
        "votes": store.table("votes", [vote]),
        "verdicts": store.table(
            "verdicts",
            [
                {**said, "sample": 0, "chosen_first": True, "choice": "candidate_1"},
                {**said, "sample": 1, "chosen_first": False, "choice": "candidate_1"},
                {**said, "sample": 2, "chosen_first": False, "choice": "abstain"},
            ],
        ),
    }
    store.publish("relabelled_pairs", parts)
    [event] = panel_events(store.records, IDS, box="b", step="relabelled_pairs")
    assert event.facts["label"] == sign
    assert event.facts["votes"][0]["vote"] == sign
    assert [each["verdict"] for each in event.facts["verdicts"]] == [sign, -sign, None]
    counts_of = "2 votes for it, 1 against" if sign > 0 else "1 vote for it, 2 against"
    assert counts_of in event.what


def test_a_structurally_unfit_pair_says_why_and_goes_no_further(store):
    raw = write_dataset(str(store.root / "raw"), pairs_to_table([PAIR]), step="s")
    store.publish("raw_pool", SelectionRef(raw, raw))
    gone = {
        "pair_id": PAIR.pair_id,
        "source": "crowd",
        "reason": "empty_turn",
        "detail": "null_byte",
    }
    kept = pd.DataFrame(columns=["pair_id", "risky", "risk"]).astype({"risky": bool, "risk": "str"})
    store.selection("clean_pool", kept, [{**gone, "benchmark": "", "gram": ""}])
    read, dropped = pool_events(store.records, IDS)
    assert read.what == "read from crowd row 3, its label set by a person"
    assert dropped.what == "dropped: a turn is empty (null_byte)"
    assert dropped.decides
    assert not is_clean([read, dropped])


def test_judges_who_cleared_a_contamination_hit_are_told(store):
    raw = write_dataset(str(store.root / "raw"), pairs_to_table([PAIR]), step="s")
    store.publish("raw_pool", SelectionRef(raw, raw))
    hit = {"pair_id": PAIR.pair_id, "benchmark": "rmb", "item_id": "7", "shared": "two plus two"}
    said = {"num_coincidence": 2, "num_same_item": 1, "cleared": True, "why": "a common phrase"}
    review = store.table("review", [{**hit, **said}])
    fact = {"uri": review.uri, "num_rows": 1, "fingerprint": review.fingerprint}
    kept = [{"pair_id": PAIR.pair_id, "risky": False, "risk": ""}]
    gone = [{"pair_id": b"\0" * 16, "source": "s", "reason": "duplicate", "detail": ""}]
    store.selection("clean_pool", kept, gone, contamination_review=fact)
    told = [event.what for event in pool_events(store.records, IDS)]
    assert told[1:] == [
        "shares 'two plus two' with rmb 7; judges call it no copy (2 coincidence, 1 same item)",
        "kept",
    ]


def test_personal_data_and_near_duplicates_are_told_where_they_were_looked_for(store):
    raw = write_dataset(str(store.root / "raw"), pairs_to_table([PAIR]), step="s")
    store.publish("raw_pool", SelectionRef(raw, raw))
    found = {"pair_id": PAIR.pair_id, "source": "crowd", "kinds": "email", "level": 2}
    store.publish("pii_report", {"pairs": store.table("pii", [found])})
    ids = {"first_pair_id": "f" * 32, "second_pair_id": IDS.pair_id}
    links = pd.DataFrame([{**ids, "first_source": "web", "second_source": "crowd"}])
    table = table_from_frame(links.assign(similarity=0.9, relation="opposite_label"))
    uuids = [id_array([bytes.fromhex(each)]) for each in ids.values()]
    for place, (name, column) in enumerate(zip(ids, uuids, strict=True)):
        table = table.set_column(place, name, column)
    ref = write_dataset(str(store.root / "links"), table, step="s")
    store.publish("near_duplicates", {"links": ref})
    told = list(pool_events(store.records, IDS))
    assert [event.what for event in told[1:]] == [
        "personal data: email (level 2)",
        "nearly the same as 1 other pair",
    ]
    assert told[-1].facts["alike"] == [
        {
            "pair_id": "f" * 32,
            "source": "web",
            "similarity": 0.9,
            "relation": "opposite_label",
        }
    ]


def test_who_says_the_same_in_other_words_is_told_where_vectors_knew_it(store):
    raw = write_dataset(str(store.root / "raw"), pairs_to_table([PAIR]), step="s")
    store.publish("raw_pool", SelectionRef(raw, raw))
    link = {"first_source": "crowd", "second_source": "web", "cosine": 0.97, "similarity": 0.2}
    table = table_from_frame(pd.DataFrame([link]))
    for name, pair_id in (("second_pair_id", b"f" * 16), ("first_pair_id", PAIR.pair_id)):
        table = table.add_column(0, name, id_array([pair_id]))
    links = write_dataset(str(store.root / "links"), table, step="s")
    store.publish("semantic_duplicates", links)
    assert len(list(pool_events(store.records, IDS))) == 1  # under tfidf nobody looked
    settings = {"kind": "endpoint", "base_url": "http://127.0.0.1:9/v1", "model": "m"}
    looking = load_profile("smoke").model_copy(update={"embedding": EndpointEmbedding(**settings)})
    told = list(pool_events(CampaignRecords(looking, str(store.root)), IDS))[-1]
    assert told.what == "says nearly what 1 other pair says in other words"
    other = {"pair_id": (b"f" * 16).hex(), "source": "web", "cosine": 0.97, "similarity": 0.2}
    assert told.facts["alike_in_meaning"] == [other]


def test_what_a_pair_shares_with_a_benchmark_in_the_strict_pass_is_told(store):
    raw = write_dataset(str(store.root / "raw"), pairs_to_table([PAIR]), step="s")
    store.publish("raw_pool", SelectionRef(raw, raw))
    common = {"pair_id": PAIR.pair_id, "item_id": "7", "gram": "two plus two", "rule": "word_gram"}
    rows = [
        {**common, "field": "chosen", "benchmark": "rmb", "cleared": False},
        {**common, "field": "conversation", "benchmark": "own", "cleared": True},
    ]
    said = store.table("said", [{"pair_id": PAIR.pair_id, "cleared": False, "why": "the same sum"}])
    review = {"uri": said.uri, "num_rows": 1, "fingerprint": said.fingerprint}
    store.publish("strict_overlaps", store.table("strict", rows, review=review))
    told = list(pool_events(store.records, IDS))[1:]
    assert [event.what for event in told] == [
        "the chosen response shares 'two plus two' with rmb 7: it stays out of stage 1 and of gold",
        "a turn shares 'two plus two' with own 7: judges call it coincidence",
    ]
    assert [each["why"] for each in told[0].facts["reviews"]] == ["the same sum"]


def test_reports_that_the_profile_leaves_out_are_not_missed(store):
    raw = write_dataset(str(store.root / "raw"), pairs_to_table([PAIR]), step="s")
    store.publish("raw_pool", SelectionRef(raw, raw))
    list(pool_events(store.records, IDS))
    left_out = store.records.profile.pool.reports_left_out()
    assert "near_duplicates" in left_out
    assert "clean_pool" in store.records.missing()
    assert not set(left_out) & set(store.records.missing())
