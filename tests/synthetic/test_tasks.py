import re
from random import Random

import pytest

from synpref_dagster.pairs.attributes import TASK_CATEGORIES
from synpref_dagster.synthetic.draws import MAKERS, harmful_request, harmless_request
from synpref_dagster.synthetic.everyday import REFUSALS
from synpref_dagster.synthetic.tasks import OTHER_SHARE, PAPER_SHARES, category_weights


def test_every_category_of_the_paper_has_a_maker_and_a_weight():
    assert set(MAKERS) == set(PAPER_SHARES) == set(TASK_CATEGORIES)
    assert set(category_weights()) == set(TASK_CATEGORIES)


def test_weights_sum_to_one_and_keep_the_order_of_the_papers_mix():
    weights = category_weights()
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["other"] == OTHER_SHARE
    names = [name for name in TASK_CATEGORIES if name != "other"]
    assert sorted(names, key=weights.get) == sorted(names, key=PAPER_SHARES.get)


@pytest.mark.parametrize("category", TASK_CATEGORIES)
def test_no_answer_is_both_right_and_wrong(category):
    rng = Random(0)
    for _ in range(200):
        task = MAKERS[category](rng)
        assert task.category == category
        assert task.right
        assert task.wrong
        assert not set(task.right) & set(task.wrong)


def test_sums_are_right_by_arithmetic():
    rng = Random(0)
    for _ in range(100):
        task = MAKERS["math"](rng)
        addends = [int(number) for number in re.findall(r"\d+", task.question)]
        for answer in task.right:
            assert [int(number) for number in re.findall(r"\d+", answer)] == [sum(addends)]
        for answer in task.wrong:
            assert [int(number) for number in re.findall(r"\d+", answer)] != [sum(addends)]


def test_lists_have_the_number_of_ideas_asked_for():
    words = {"two": 2, "three": 3, "four": 4}
    rng = Random(0)
    for _ in range(50):
        task = MAKERS["brainstorming"](rng)
        wanted = next(words[word] for word in task.question.split() if word in words)
        assert {answer.count(",") + 1 for answer in task.right} == {wanted}
        assert wanted not in {answer.count(",") + 1 for answer in task.wrong}


def test_harm_is_refused_and_harmless_requests_are_helped():
    rng = Random(0)
    assert harmful_request(rng).right == REFUSALS
    assert harmless_request(rng).wrong == REFUSALS


def test_myths_are_the_tasks_that_careless_labellers_believe():
    rng = Random(0)
    tasks = [MAKERS["information_seeking"](rng) for _ in range(300)]
    believed = {task.latent for task in tasks if task.misbelief > 0}
    assert believed >= {"australia", "turkey", "hottest planet"}
    assert "kenya" not in believed
