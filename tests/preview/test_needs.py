"""What a profile asks for, held against what is there."""

import json

import pytest
from own_files import profile, specs

from synpref_dagster.preview.needs import look_at, must_change, sizes
from synpref_dagster.preview.survey import survey


@pytest.fixture
def check(tmp_path):
    """What must change and what to look at under a profile on the small files."""
    found = survey(specs(tmp_path), seed=0)

    def run(**changes):
        chosen = profile(tmp_path, **changes)
        return must_change(chosen, found), look_at(chosen, found)

    return run


def test_a_profile_that_asks_for_what_there_is_needs_no_change(check):
    assert check()[0] == []


def test_gold_beyond_the_recorded_votes_must_change_and_says_of_how_many(check):
    [line] = check(seed_set={"num_gold": 12_000, "num_silver": 2})[0]
    assert line == "seed_set.num_gold is 12,000 of 2 pairs with a recorded vote: lower it"


def test_gold_beyond_the_pool_must_change_where_people_are_asked(check):
    changes = check(seed_set={"num_gold": 9, "num_silver": 1}, people={"backend": "page"})[0]
    assert changes == [
        "seed_set.num_gold is 9 of 8 pairs for people: lower it",
        "seed_set.num_silver is 1 of 0 pairs that gold leaves to judges: lower it",
    ]


def test_silver_is_what_gold_leaves(check):
    assert check(seed_set={"num_gold": 2, "num_silver": 6})[0] == []
    [line] = check(seed_set={"num_gold": 2, "num_silver": 7})[0]
    assert line.startswith("seed_set.num_silver is 7 of 6 pairs")


def test_iterations_beyond_the_pool_are_worth_a_look(check):
    changes, looks = check(iterations={"num_iterations": 3, "max_retrieved": 4, "num_human": 1})
    assert changes == []
    assert any("would label 16 pairs of 8 in all: 4 are left to them" in line for line in looks)


def test_few_pairs_that_validate_and_few_prompts_are_worth_a_look(check):
    looks = check(seed_set={"num_gold": 2, "num_silver": 2, "validation_share": 0.5})[1]
    assert any(line.startswith("1 gold pair validates") for line in looks)
    assert any("prompts hold half of the pairs" in line for line in looks)


def test_no_recorded_vote_and_nobody_asked_must_change(tmp_path):
    [a, b, _] = specs(tmp_path)
    found = survey([a, b], seed=0)
    [line] = must_change(profile(tmp_path), found)
    assert "no pair for people has a recorded vote" in line
    assert sizes(profile(tmp_path), found).num_answerable == 0


def test_a_pool_without_a_human_label_must_change(tmp_path):
    [_, b, _] = specs(tmp_path)
    [line] = must_change(profile(tmp_path), survey([b], seed=0))
    assert "origin = 'human'" in line


def test_sources_without_a_pair_must_change(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"prompt": "a", "chosen": "b", "rejected": "b"}\n' * 3)
    [a, *_] = specs(tmp_path)
    from dataclasses import replace

    found = survey([replace(a, path=str(path))], seed=0)
    assert must_change(profile(tmp_path), found) == [
        "3 rows read, no pair among them: see the quarantine"
    ]
    assert look_at(profile(tmp_path), found)[0] == (
        "source 'a' lost 3 of 3 rows (100%) to quarantine, most often as identical_responses (3): "
        "is it read in the right layout?"
    )


@pytest.mark.parametrize(
    ("num_bad", "line"),
    [
        (1, None),
        (2, "source 'a' lost 2 of 10 rows (20%) to quarantine, most often as empty_response (2)"),
    ],
)
def test_a_fifth_of_the_rows_lost_is_said_with_the_largest_reason(tmp_path, num_bad, line):
    [a, *_] = specs(tmp_path)
    rows = [{"prompt": f"p{n}", "chosen": "b", "rejected": "c"} for n in range(10)]
    for row in rows[:num_bad]:
        row["chosen"] = ""
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = survey([a], seed=0)  # before the profile writes its own files there
    looks = look_at(profile(tmp_path), found)
    assert [each for each in looks if "quarantine" in each] == ([line] if line else [])
