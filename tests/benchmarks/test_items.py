import numpy as np
import pytest
from oracles import score_table

from synpref_dagster.benchmarks.items import (
    BenchmarkItem,
    align_rewards,
    distinct_candidates,
    first_turn_prompts,
    tie_rate,
)


def lengths(_, responses):
    return np.array([len(text) for text in responses])


def shared_items():
    """Two items about one conversation, with one response in common."""
    turns = (
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "reply"},
        {"role": "user", "content": "second"},
    )
    return [
        BenchmarkItem(
            benchmark="rmb",
            item_id=str(number),
            group="help_pair",
            conversation=turns,
            candidates=candidates,
            labels=(1, 0),
        )
        for number, candidates in enumerate([("long answer", "no"), ("yes", "no")])
    ]


def test_each_distinct_candidate_is_scored_once():
    items, seen = shared_items(), []

    def rewards(conversations, responses):
        seen.extend(responses)
        return lengths(conversations, responses)

    table = score_table(items, rewards)
    assert seen == ["long answer", "no", "yes"]
    assert [response for _, response in distinct_candidates(items)] == seen
    assert table["reward"].tolist() == [11, 2, 3, 2]
    assert table["candidate"].tolist() == [0, 1, 0, 1]
    assert table["reward"].dtype == np.float32
    assert table["num_tokens"].eq(-1).all()
    assert not table["truncated"].any()


def test_the_same_response_to_another_conversation_is_another_candidate(make_item):
    one, two = make_item("rmb", "1", "help_pair"), make_item("rmb", "2", "help_pair")
    assert len(distinct_candidates([one, two])) == 4


def test_prompts_are_the_first_user_turn():
    assert first_turn_prompts(shared_items())[0] == ("rmb", "0", "first")


def test_alignment_names_what_is_wrong():
    items = shared_items()
    table = score_table(items, lengths)
    with pytest.raises(ValueError, match="rmb item '1': candidate 0 has no reward"):
        align_rewards(items, table.drop(index=2))
    with pytest.raises(ValueError, match="more than one reward"):
        align_rewards(items, table.loc[[0, 1, 2, 3, 3]])
    broken = table.assign(reward=[1, np.nan, 0, 0])
    with pytest.raises(ValueError, match="not finite"):
        align_rewards(items, broken)
    with pytest.raises(ValueError, match="no candidate 9"):
        align_rewards(items, table.assign(candidate=[0, 9, 0, 1]))
    with pytest.raises(ValueError, match="unique ids"):
        align_rewards([items[0], items[0]], table)


def test_alignment_ignores_rows_of_other_items_and_their_order():
    items = shared_items()
    table = score_table(items, lengths).iloc[::-1]
    assert [row.tolist() for row in align_rewards(items[1:], table)] == [[3, 2]]


def test_ties_are_counted_between_right_and_wrong_candidates_only(make_item):
    items = [
        make_item("reward_bench_2", "a", "Ties", labels=(1, 1, 0)),
        make_item("reward_bench_2", "b", "Math"),
    ]
    assert tie_rate(items, [np.array([2, 2, 1]), np.array([3, 3])]) == pytest.approx(1 / 3)


def test_an_item_must_be_a_comparison(make_item):
    with pytest.raises(ValueError, match="at least two candidates"):
        make_item("rmb", "1", "help_pair", labels=(1,))
    with pytest.raises(ValueError, match="must be 0"):
        make_item("rmb", "1", "help_pair", labels=(1, 2))
