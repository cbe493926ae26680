"""What each benchmark shares with a table, and what several of them say together."""

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from synpref_dagster.curation.contamination.hits import HIT_SCHEMA, find_hits, first_hits
from synpref_dagster.curation.contamination.rules import (
    BenchmarkPrompt,
    DecontaminationConfig,
    build_index,
    by_benchmark,
)
from synpref_dagster.pairs.record import PAIR_SCHEMA, PreferencePair, pairs_to_table

LONG = "Explain in plain words why the sky over the harbour turns red when evening comes near"
OTHER = "Count the boats that left before noon and name the captain of every single one of them"
SHORT = "Write a poem about love"


def index_of(*prompts, benchmark="bench", **config):
    named = [BenchmarkPrompt(benchmark, str(place), text) for place, text in enumerate(prompts)]
    return build_index(named, DecontaminationConfig(**config))


def pair(*turns, chosen="Yes.", rejected="No.", first_role="user"):
    roles = ("user", "assistant")
    conversation = [{"role": roles[place % 2], "content": turn} for place, turn in enumerate(turns)]
    if first_role == "system":
        conversation.insert(0, {"role": "system", "content": LONG})
    return PreferencePair(
        conversation=tuple(conversation), chosen=chosen, rejected=rejected, source="s",
        origin="human",
    )  # fmt: skip


def places(found):
    return list(zip(found["row"].to_pylist(), found["field"].to_pylist(), strict=True))


def test_only_the_first_user_turn_counts_by_default():
    rows = [
        pair(LONG),
        pair("Hi", LONG, "Go on"),
        pair("Hi", "Yes?", LONG),
        pair("Hi", chosen=LONG),
    ]
    table = pairs_to_table(rows)
    [found] = find_hits(table, [index_of(LONG)])
    assert found.schema == HIT_SCHEMA
    [row] = found.to_pylist()
    assert row.pop("pair_id").bytes == rows[0].pair_id
    assert row == {
        "row": 0,
        "field": "conversation",
        "benchmark": "bench",
        "item_id": "0",
        "gram": " ".join(LONG.lower().split()[:13]),
        "rule": "word_gram",
    }


def test_a_system_turn_before_the_first_user_turn_is_skipped():
    table = pairs_to_table([pair("Hi", first_role="system"), pair(LONG, first_role="system")])
    assert places(*find_hits(table, [index_of(LONG)])) == [(1, "conversation")]


def test_the_strict_pass_reads_every_turn_and_both_responses():
    rows = [
        pair("Hi"),
        pair("Hi", "Yes?", LONG, chosen=LONG),
        pair("Hi", chosen=LONG, rejected=f"No. {LONG}"),
        pair("Hi", rejected=LONG),
    ]
    [found] = find_hits(pairs_to_table(rows), [index_of(LONG, scope="all_texts", min_words=5)])
    assert places(found) == [
        (1, "conversation"),
        (1, "chosen"),
        (2, "chosen"),
        (2, "rejected"),
        (3, "rejected"),
    ]


def test_a_response_that_reads_like_a_short_prompt_is_no_contamination():
    table = pairs_to_table([pair("Hi", chosen=SHORT), pair(SHORT)])
    [found] = find_hits(table, [index_of(SHORT, scope="all_texts", min_words=6, max_words=6)])
    assert places(found) == [(1, "conversation")]


@pytest.mark.parametrize("prompt", ["yes", "是"])
def test_only_what_users_say_can_be_a_short_prompt_as_a_whole(prompt):
    reply = f"{prompt.capitalize()}."
    by_system = PreferencePair(
        conversation=({"role": "system", "content": reply}, {"role": "user", "content": "Hi"}),
        chosen="a", rejected="b", source="s", origin="human",
    )  # fmt: skip
    rows = [
        pair("Is it red?", reply, "Thanks", chosen=reply, rejected="b"),
        pair("Hi", "Shall I?", reply),
        by_system,
        pair(f"{prompt}!", "Fine."),
    ]
    [found] = find_hits(pairs_to_table(rows), [index_of(prompt, scope="all_texts", min_words=5)])
    assert places(found) == [(1, "conversation"), (3, "conversation")]
    assert found["rule"].to_pylist() == ["exact_prompt"] * 2


def test_of_a_conversation_the_turn_that_comes_first_is_named_whoever_said_it():
    rows = [pair("Hi", LONG, OTHER), pair(OTHER, LONG), pair("Hi", OTHER, SHORT)]
    index = index_of(LONG, OTHER, SHORT, scope="all_texts", min_words=6, max_words=13)
    [found] = find_hits(pairs_to_table(rows), [index])
    assert places(found) == [(row, "conversation") for row in range(3)]
    assert found["item_id"].to_pylist() == ["0", "1", "1"]


def test_tables_in_chunks_slices_or_without_rows_give_the_same(monkeypatch):
    whole = pairs_to_table([pair(f"Hi {number}", chosen="a") for number in range(6)] + [pair(LONG)])
    chunked = pa.concat_tables([whole.slice(0, 2), whole.slice(2, 4), whole.slice(6, 1)])
    index = index_of(LONG)
    [expected] = find_hits(whole, [index])
    assert places(expected) == [(6, "conversation")]
    assert find_hits(chunked, [index]) == [expected]
    assert places(*find_hits(whole.slice(5, 2), [index])) == [(1, "conversation")]
    monkeypatch.setattr("synpref_dagster.curation.contamination.hits.BATCH_ROWS", 2)
    for scope in ("first_turn", "all_texts"):
        assert find_hits(whole, [index_of(LONG, scope=scope)]) == [expected]
    assert find_hits(PAIR_SCHEMA.empty_table(), [index]) == [HIT_SCHEMA.empty_table()]
    assert find_hits(whole, []) == []


def test_of_several_benchmarks_the_first_by_name_counts_in_each_row():
    table = pairs_to_table([pair(f"{OTHER} {LONG}"), pair("Hi"), pair(OTHER), pair(LONG)])
    by_name = {
        name: find_hits(table, [index_of(text, benchmark=name)])[0]
        for name, text in {"b": LONG, "a": OTHER, "c": LONG}.items()
    }
    found = first_hits(list(by_name.values()))
    listed = zip(found["row"].to_pylist(), found["benchmark"].to_pylist(), strict=True)
    assert list(listed) == [(0, "a"), (2, "a"), (3, "b")]
    assert first_hits([by_name["a"], by_name["c"], by_name["b"]]).equals(found)
    assert first_hits([]).num_rows == 0


words_text = st.lists(st.sampled_from(["ab", "cd", "ef", "中文字", "gh."]), max_size=8).map(
    " ".join
)


@given(
    st.dictionaries(st.sampled_from("abc"), st.lists(words_text, max_size=3)),
    st.lists(words_text, min_size=1, max_size=5),
    st.randoms(use_true_random=False),
)
@settings(max_examples=100, deadline=None)
def test_benchmarks_looked_for_one_by_one_or_together_say_the_same(suites, texts, random):
    config = DecontaminationConfig(min_words=2, max_words=2, min_characters=3)
    prompts = [BenchmarkPrompt(name, text, text) for name in suites for text in suites[name]]
    indexes = [build_index(listed, config) for listed in by_benchmark(prompts).values()]
    table = pairs_to_table([pair(text) for text in texts])
    together = find_hits(table, indexes)
    alone = [find_hits(table, [index])[0] for index in indexes]
    assert alone == together
    random.shuffle(alone)
    assert first_hits(alone).equals(first_hits(together))


@pytest.mark.parametrize("scope", ["first_turn", "all_texts"])
def test_pairs_hit_by_any_benchmark_are_those_hit_by_all_prompts_as_one(scope):
    rows = [pair(LONG), pair(OTHER), pair("Hi"), pair("Hi", chosen=OTHER), pair(SHORT)]
    table = pairs_to_table(rows)
    texts = {"x": LONG, "y": OTHER, "z": SHORT}
    each = find_hits(
        table, [index_of(text, benchmark=name, scope=scope) for name, text in texts.items()]
    )
    [as_one] = find_hits(table, [index_of(*texts.values(), scope=scope)])
    assert set(first_hits(each)["row"].to_pylist()) == set(as_one["row"].to_pylist())
