from itertools import islice

import pytest

from synpref_dagster.curation.contamination.rules import (
    BenchmarkPrompt,
    DecontaminationConfig,
    build_index,
    find_by_index,
)
from synpref_dagster.pairs.record import conversation_id, first_user_turn
from synpref_dagster.synthetic.draws import iter_examples, purpose_of
from synpref_dagster.synthetic.phrasing import COUNTED_WORD, MAX_PROMPT_WORDS

NUM = 2_000
PURPOSES = ("pool", "test", "benchmark", "attributes")


@pytest.fixture(scope="module")
def examples():
    return {purpose: list(islice(iter_examples(purpose, seed=0), NUM)) for purpose in PURPOSES}


def test_purposes_share_no_prompt_even_under_other_seeds(examples):
    prompts = {
        purpose: {first_user_turn(example.conversation) for example in drawn}
        for purpose, drawn in examples.items()
    }
    prompts["test"] |= {
        first_user_turn(example.conversation)
        for example in islice(iter_examples("test", seed=1), NUM)
    }
    for first in PURPOSES:
        for second in PURPOSES:
            assert first == second or not prompts[first] & prompts[second]


def test_no_pool_prompt_counts_as_contaminated_by_a_short_benchmark_prompt(examples):
    index = build_index(
        [
            BenchmarkPrompt(
                benchmark="b", item_id=str(number), prompt=first_user_turn(example.conversation)
            )
            for number, example in enumerate(examples["benchmark"])
        ],
        DecontaminationConfig(),
    )
    prompts = [first_user_turn(example.conversation) for example in examples["pool"]]
    assert find_by_index([index], prompts) == [{}]


def test_prompts_with_the_same_words_serve_the_same_purpose():
    assert purpose_of("what now?") == purpose_of("what, now!") == purpose_of(" what now")


def test_prompts_are_too_short_to_hold_a_13_gram(examples):
    for drawn in examples.values():
        longest = max(
            len(COUNTED_WORD.findall(first_user_turn(example.conversation))) for example in drawn
        )
        assert longest <= MAX_PROMPT_WORDS


def test_nearly_all_conversations_are_distinct(examples):
    distinct = {conversation_id(example.conversation) for example in examples["pool"]}
    assert len(distinct) / NUM > 0.95


def test_examples_are_distinct_and_their_responses_differ(examples):
    drawn = examples["pool"]
    assert len({example.content_id for example in drawn}) == NUM
    assert all(example.right != example.wrong for example in drawn)


def test_length_and_markdown_know_nothing_about_the_truth(examples):
    drawn = [example for purpose in PURPOSES for example in examples[purpose]]
    longer = sum(len(example.right) > len(example.wrong) for example in drawn) / len(drawn)
    marked_right = sum("\n" in example.right for example in drawn)
    marked_wrong = sum("\n" in example.wrong for example in drawn)
    assert longer == pytest.approx(0.5, abs=0.04)
    assert marked_right / marked_wrong == pytest.approx(1, abs=0.1)


def test_a_few_conversations_have_three_turns_and_all_end_with_the_user(examples):
    turns = [len(example.conversation) for example in examples["pool"]]
    assert set(turns) == {1, 3}
    assert 0.03 < turns.count(3) / NUM < 0.1
    assert all(example.conversation[-1]["role"] == "user" for example in examples["pool"])


def test_the_vocabulary_is_small(examples):
    words = {
        word
        for example in examples["pool"]
        for text in (first_user_turn(example.conversation), example.right, example.wrong)
        for word in text.lower().replace("(", " ").replace(")", " ").split()
    }
    stripped = {word.strip(".,:?!*-#'") for word in words}
    assert 250 < len(stripped) < 450
