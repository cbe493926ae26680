"""From raw pairs to the clean pool: four steps in order, everything accounted for."""

from itertools import pairwise

import pandas as pd
import pytest
from oracles import clean, contamination_indexes, marks_in_memory, screen

from synpref_dagster.curation.contamination.hits import find_hits
from synpref_dagster.curation.contamination.rules import BenchmarkPrompt, prompts_from_rows
from synpref_dagster.curation.pool.marks import MAX_CYCLE_RESPONSES
from synpref_dagster.curation.pool.screening import (
    count_reasons,
    screen_contamination,
    screen_structure,
)
from synpref_dagster.curation.pool.selection import (
    CLEAN_COLUMNS,
    DROPPED_COLUMNS,
    dropped_by_reason,
    risk_counts,
    select_clean,
    with_personal_data,
)
from synpref_dagster.pairs.record import PreferencePair, pairs_to_table

WORDS = [f"word{chr(ord('a') + n)}" for n in range(14)]
PROMPT = BenchmarkPrompt(benchmark="rm_bench", item_id="7", prompt=" ".join(WORDS[:13]))


def pair(ask, chosen="good answer", rejected="bad answer", *, source="s", origin="human"):
    return PreferencePair(
        conversation=({"role": "user", "content": ask},),
        chosen=chosen,
        rejected=rejected,
        source=source,
        origin=origin,
    )


PAIRS = [
    pair("first question"),
    pair("first question", source="later"),  # exact duplicate of another source
    pair("first question", "bad answer", "good answer"),  # its contradictory twin
    pair("second question", "same", "same"),  # compares a response with itself
    pair("please " + " ".join(WORDS[:13]) + " thanks"),  # contains the benchmark prompt
    pair("please " + " ".join(WORDS[1:13]) + " thanks"),  # twelve words of it
    pair("third question", "", "bad"),  # an empty response
    pair("fourth question", origin="synthetic"),
]


def run(pairs=PAIRS, prompts=(PROMPT,)):
    return clean(pairs_to_table(pairs), list(prompts), ngram_words=13)


def selected(screened):
    parts = select_clean(screened, marks_in_memory(screened))
    return parts["kept"].to_pandas(), parts["dropped"].to_pandas()


def test_kept_and_dropped_are_the_raw_pool():
    kept, dropped = run()
    assert list(kept.columns) == CLEAN_COLUMNS
    assert list(dropped.columns) == DROPPED_COLUMNS
    assert sorted([*kept["pair_id"], *dropped["pair_id"]]) == sorted(p.pair_id for p in PAIRS)
    assert kept["pair_id"].tolist() == [PAIRS[i].pair_id for i in (0, 2, 5, 7)]
    assert kept["origin"].tolist() == ["human", "human", "human", "synthetic"]


def test_every_dropped_pair_has_its_reason():
    _, dropped = run()
    found = dict(zip(dropped["pair_id"], dropped["reason"], strict=True))
    assert len(set(found.values())) == 4
    assert found[PAIRS[4].pair_id] == "contaminated"
    assert (dropped["reason"] != "").all()
    assert dropped["source"].tolist().count("later") == 1  # the first of two duplicates stays


def test_contamination_comes_with_its_evidence():
    _, dropped = run()
    [hit] = dropped[dropped["reason"] == "contaminated"].to_dict("records")
    assert (hit["benchmark"], hit["item_id"]) == ("rm_bench", "7")
    assert hit["gram"] == PROMPT.prompt
    others = dropped[dropped["reason"] != "contaminated"]
    assert set(others["benchmark"]) == {""}


def test_contradictory_twins_stay_and_are_marked_risky():
    kept, _ = run()
    assert kept["risky"].tolist() == [True, True, False, False]


def test_labels_of_one_conversation_that_no_ranking_satisfies_are_risky_across_sources():
    ring = [
        pair("rank", "a", "b", source="one"),
        pair("rank", "b", "c", source="two", origin="synthetic"),
        pair("rank", "c", "a", source="three", origin="synthetic"),
        pair("rank", "c", "d", source="three"),  # hangs on the ring, lies on no cycle
        pair("other", "c", "a"),  # the same responses elsewhere
    ]
    kept, _ = run(ring)
    assert kept["risk"].tolist() == ["preference_cycle"] * 3 + ["", ""]
    assert kept["risky"].tolist() == [True] * 3 + [False] * 2


@pytest.mark.parametrize(
    ("num_responses", "risk", "risky"),
    [
        (MAX_CYCLE_RESPONSES, "preference_cycle", True),
        (MAX_CYCLE_RESPONSES + 1, "large_preference_cycle", False),
    ],
)
def test_a_cycle_of_many_responses_says_so_but_singles_out_no_pair(num_responses, risk, risky):
    names = [f"response {number}" for number in range(num_responses)]
    ring = [pair("rank", one, other) for one, other in pairwise([*names, names[0]])]
    kept, _ = run(ring)
    assert set(kept["risk"]) == {risk}
    assert set(kept["risky"]) == {risky}


def test_a_contradiction_is_no_cycle_and_what_is_dropped_closes_none():
    kept, _ = run([pair("rank", "a", "b"), pair("rank", "b", "a"), pair("rank", "b", "c")])
    assert kept["risk"].tolist() == ["contradictory_label"] * 2 + [""]
    broken = [pair("rank", "a", "b"), pair("rank", "b", "c"), pair("rank", "c", "c")]
    kept, dropped = run(broken)
    assert set(kept["risk"]) == {""}
    assert dropped["reason"].tolist() == ["identical_responses"]


def test_pairs_with_personal_data_are_dropped_with_what_was_found():
    table = pairs_to_table(PAIRS)
    screened = screen(table, contamination_indexes([PROMPT], ngram_words=13))
    found = {PAIRS[0].pair_id: "level 3: payment_card", PAIRS[4].pair_id: "level 1: email"}
    kept, dropped = selected(with_personal_data(screened, found))
    assert len(kept) + len(dropped) == len(PAIRS)
    reasons = dropped.set_index("pair_id")["reason"]
    assert reasons[PAIRS[4].pair_id] == "contaminated"  # an earlier reason stands
    personal = dropped[dropped["reason"] == "pii"]
    assert personal["detail"].tolist() == ["level 3: payment_card"]
    assert personal["pair_id"].tolist() == [PAIRS[0].pair_id]
    # Its repetition goes as a duplicate, and its twin contradicts nobody any longer.
    assert (dropped["reason"] == "duplicate").sum() == 1
    assert set(kept["risk"]) == {""}


def test_cleaning_twice_changes_nothing():
    kept, _ = run()
    by_id = {each.pair_id: each for each in reversed(PAIRS)}  # the first of two duplicates
    again, dropped = run([by_id[pair_id] for pair_id in kept["pair_id"]])
    assert len(dropped) == 0
    assert again.to_dict("records") == kept.to_dict("records")


def test_without_prompts_nothing_is_contaminated():
    _, dropped = run(prompts=())
    assert "contaminated" not in set(dropped["reason"])


def test_an_empty_pool_stays_empty():
    kept, dropped = run([])
    assert (len(kept), len(dropped)) == (0, 0)


def test_reasons_are_counted_most_frequent_first_and_repeatably():
    dropped = pd.DataFrame({"reason": ["b", "a", "c", "c", "d"]})
    assert list(count_reasons(dropped).items()) == [("c", 2), ("b", 1), ("a", 1), ("d", 1)]


@pytest.mark.parametrize("rows", [[], [("rmb", "1", "Hi")]])
def test_prompts_come_from_rows(rows):
    frame = pd.DataFrame(rows, columns=["benchmark", "item_id", "prompt"])
    expected = [BenchmarkPrompt(benchmark=b, item_id=i, prompt=p) for b, i, p in rows]
    assert prompts_from_rows(frame) == expected


def test_structure_knows_no_benchmark_and_contamination_stands_beside_it():
    raw = pairs_to_table(PAIRS)
    structured = screen_structure(raw)
    assert set(structured["screen_reason"].to_pylist()) == {
        None,
        "identical_responses",
        "empty_response",
    }
    assert structured["benchmark"].null_count == len(PAIRS)
    for prompts in ([PROMPT], [], [PROMPT, PROMPT]):
        indexes = contamination_indexes(prompts, ngram_words=13)
        found = screen_contamination(structured, *find_hits(raw, indexes))
        contaminated = [reason == "contaminated" for reason in found["screen_reason"].to_pylist()]
        assert contaminated == [bool(prompts) and place == 4 for place in range(len(PAIRS))]


def test_the_row_of_the_kept_copy_counts_all_rows_of_the_raw_pool():
    broken, first, again = PAIRS[3], PAIRS[0], PAIRS[0]
    _, dropped = run([broken, broken, first, again])
    assert dropped["detail"].tolist()[-1] == "row 2"


def test_the_tally_counts_every_pair_once_by_what_became_of_it():
    ring = [pair("rank", one, other) for one, other in ("ab", "bc", "ca")]
    raw = pairs_to_table([*PAIRS, *ring])
    screened = screen(raw, contamination_indexes([PROMPT], ngram_words=13))
    tally = select_clean(screened, marks_in_memory(screened))["tally"].to_pandas()
    assert tally["num_pairs"].sum() == raw.num_rows
    assert dropped_by_reason(tally) == {
        "contaminated": 1,
        "duplicate": 1,
        "empty_response": 1,
        "identical_responses": 1,
    }
    assert risk_counts(tally) == {
        "num_risky": 5,
        "num_contradictory_label": 2,
        "num_preference_cycle": 3,
        "num_large_preference_cycle": 0,
    }
    assert tally[tally["origin"] == "synthetic"]["num_pairs"].tolist() == [1]
