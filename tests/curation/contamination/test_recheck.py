"""False alarms: every prompt that shares words is looked at, and one real hit is enough."""

import pyarrow as pa
import pytest
from oracles import contamination_indexes, marks_in_memory, screen

from synpref_dagster.curation.contamination.recheck import (
    MAX_PROMPTS,
    Opinion,
    cleared_pairs,
    contaminated_ids,
    recheck,
    recheck_counts,
    suspicions,
    with_cleared,
)
from synpref_dagster.curation.contamination.rules import BenchmarkPrompt
from synpref_dagster.curation.pool.selection import select_clean
from synpref_dagster.pairs.record import PreferencePair, id_array, pairs_to_table

TEMPLATE = "please answer the following question with one word only and give no reason"
ITEM = f"{TEMPLATE} what is the capital of france"
OTHER = f"{TEMPLATE} who wrote the odyssey and where was that"


def prompt(text, number=0, benchmark="bench"):
    return BenchmarkPrompt(benchmark=benchmark, item_id=f"item-{number}", prompt=text)


def pair(text, number=0):
    return PreferencePair(
        conversation=({"role": "user", "content": text},),
        chosen=f"this {number}",
        rejected=f"that {number}",
        source="s",
        origin="synthetic",
    )


def says(*decisions):
    return [Opinion(decision=decision, why=f"because {decision}") for decision in decisions]


def test_every_prompt_that_shares_words_is_found_the_most_alike_first():
    asked = suspicions(
        [pair(f"{TEMPLATE} what is the capital of spain")],
        [prompt(OTHER, 1), prompt(ITEM, 2), prompt("how are you", 3)],
        ngram_words=13,
    )
    assert [each.prompt.item_id for each in asked] == ["item-2", "item-1"]
    assert asked[0].shared == f"{TEMPLATE} what is the capital of"
    assert asked[1].shared == TEMPLATE


def test_a_pair_that_many_prompts_share_words_with_is_shown_with_a_few_of_them():
    many = [prompt(f"{TEMPLATE} number {n}", n) for n in range(10)]
    assert len(suspicions([pair(f"{TEMPLATE} and more")], many, ngram_words=13)) == MAX_PROMPTS


def test_short_prompts_are_suspected_as_a_whole_and_scripts_without_spaces_by_characters():
    short = suspicions([pair("How are you?")], [prompt("how are you")], ngram_words=13)
    assert [each.shared for each in short] == ["whole: how are you"]
    han = "请用一句话回答下面的问题不要解释原因法国的首都是哪里呢"
    found = suspicions([pair(han)], [prompt(f"{han}还有什么")], ngram_words=13)
    assert len(found) == 1
    assert len(found[0].shared) == 20


def test_whatever_screening_drops_has_a_suspicion():
    prompts = [
        prompt(ITEM),
        prompt("how are you", 1),
        prompt("请用一句话回答下面的问题不要解释原因法国的", 2),
    ]
    pairs = [
        pair(ITEM, 1),
        pair("How are you?", 2),
        pair("请用一句话回答下面的问题不要解释原因法国的首都", 3),
        pair("nothing to see", 4),
    ]
    screened = screen(pairs_to_table(pairs), contamination_indexes(prompts, ngram_words=13))
    ids = id_array([each.pair_id for each in pairs])
    table = pa.table({"pair_id": ids, "screen_reason": screened["screen_reason"]})
    wanted = contaminated_ids([table])
    assert wanted == {each.pair_id for each in pairs[:3]}
    assert {each.pair_id for each in suspicions(pairs, prompts, ngram_words=13)} == wanted


def test_hits_are_gathered_from_all_shards_and_ids_keep_their_last_zero_byte():
    ids = [bytes([number]) + b"\0" * 15 for number in range(1, 6)]
    reasons = ["contaminated", None, "exact_duplicate", "contaminated", None]
    table = pa.table({"pair_id": id_array(ids), "screen_reason": pa.array(reasons, pa.string())})
    shards = [table.slice(0, 3), table.slice(3, 0), table.slice(3, 1), table.slice(4, 1)]
    assert contaminated_ids(shards) == {ids[0], ids[3]}
    assert contaminated_ids([]) == set()


@pytest.mark.parametrize(
    ("said", "cleared"),
    [
        (says("coincidence", "coincidence", "same_item"), True),
        (says("coincidence", "same_item"), False),
        (says("same_item"), False),
        ([], False),
    ],
)
def test_most_of_the_judges_that_answer_must_call_it_a_coincidence(said, cleared):
    asked = suspicions([pair(ITEM)], [prompt(OTHER)], ngram_words=13)
    found = recheck(asked, [said])
    assert found["cleared"].tolist() == [cleared]
    assert (cleared_pairs(found) == {asked[0].pair_id}) is cleared
    assert found["why"].tolist() == [
        "because coincidence" if cleared else "because same_item" if said else ""
    ]


def test_one_real_hit_keeps_a_pair_out_whatever_the_others_are():
    asked = suspicions([pair(f"{ITEM} and rome")], [prompt(ITEM), prompt(OTHER, 1)], ngram_words=13)
    found = recheck(asked, [says("same_item"), says("coincidence")])
    assert cleared_pairs(found) == set()
    assert recheck_counts(found) == {"num_hits_rechecked": 1, "num_hits_cleared": 0}


def selected(screened):
    parts = select_clean(screened, marks_in_memory(screened))
    return parts["kept"].to_pandas(), parts["dropped"].to_pandas()


def test_a_cleared_pair_comes_back_and_only_that():
    pairs = [pair(f"{TEMPLATE} what is the capital of spain", 1), pair(ITEM, 2), pair("hello", 3)]
    index = contamination_indexes([prompt(ITEM)], ngram_words=13)
    screened = screen(pairs_to_table(pairs), index)
    kept, dropped = selected(with_cleared(screened, {pairs[0].pair_id}))
    assert kept["pair_id"].tolist() == [pairs[0].pair_id, pairs[2].pair_id]
    assert dropped["pair_id"].tolist() == [pairs[1].pair_id]
    assert dropped["gram"].tolist() != [""]
    assert with_cleared(screened, set()) is screened


def test_a_pair_dropped_for_another_reason_does_not_come_back():
    broken = PreferencePair(
        conversation=({"role": "user", "content": "q"},),
        chosen="same",
        rejected="same",
        source="s",
        origin="human",
    )
    screened = screen(
        pairs_to_table([broken]), contamination_indexes([prompt(ITEM)], ngram_words=13)
    )
    kept, dropped = selected(with_cleared(screened, {broken.pair_id}))
    assert kept.empty
    assert len(dropped) == 1


def test_no_hits_give_an_empty_recheck():
    found = recheck([], [])
    assert cleared_pairs(found) == set()
    assert recheck_counts(found) == {"num_hits_rechecked": 0, "num_hits_cleared": 0}


def test_in_the_strict_pass_every_turn_and_both_responses_are_suspected():
    asked = PreferencePair(
        conversation=(
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "hello"},
            {"role": "user", "content": f"well {ITEM}"},
            {"role": "assistant", "content": "fine then"},
            {"role": "user", "content": "go on"},
        ),
        chosen=f"so {OTHER} then",
        rejected="how are you",
        source="s",
        origin="human",
    )
    prompts = [prompt(ITEM), prompt(OTHER, 1), prompt("how are you", 2), prompt("hello", 3)]
    prompts += [prompt("Go on!", 4)]
    found = suspicions([asked], prompts, ngram_words=13, scope="all_texts")
    # What a model said is no short prompt as a whole, a user's turn is.
    assert {(each.text, each.prompt.item_id) for each in found} == {
        (f"well {ITEM}", "item-0"),
        (f"so {OTHER} then", "item-1"),
        ("go on", "item-4"),
    }
    assert suspicions([asked], prompts, ngram_words=13) == []


def test_judges_see_the_text_that_shares_most_with_a_prompt():
    [few, many] = [f"{TEMPLATE} nothing", f"say {ITEM}"]
    asked = PreferencePair(
        conversation=({"role": "user", "content": few},), chosen=many, rejected="no",
        source="s", origin="human",
    )  # fmt: skip
    [found] = suspicions([asked], [prompt(ITEM)], ngram_words=13, scope="all_texts")
    assert (found.text, found.shared) == (many, ITEM)
