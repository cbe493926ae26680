"""What the majority of a crowd says, and where it says nothing."""

import gzip
import json

import pytest

from synpref_dagster.pairs.record import canonical_sign
from synpref_dagster.sources.majorities import majority_gold


@pytest.fixture
def votes(tmp_path):
    """Writes rows of (debate, response a, response b, gold); gives the file."""

    def write(name, *rows):
        names = ("debate", "response_a", "response_b", "gold")
        lines = [{"prompt": "Which?", **dict(zip(names, row, strict=True))} for row in rows]
        with gzip.open(tmp_path / name, "wt", encoding="utf-8") as file:
            file.write("\n".join(map(json.dumps, lines)))
        return str(tmp_path / name)

    return write


def test_pairs_of_held_out_debates_have_the_better_response_first(votes):
    file = votes("one.gz", ("tea", "x", "y", "a"), ("sea", "v", "w", "b"), ("sea", "t", "u", "a"))
    signs, pairs = majority_gold({file: "crowd"}, test_debates={"sea"})
    assert {(pair.chosen, pair.rejected, pair.source) for pair in pairs} == {
        ("w", "v", "crowd"),
        ("t", "u", "crowd"),
    }
    assert pairs == sorted(pairs, key=lambda pair: pair.content_id)
    assert len(signs) == 3
    for pair in pairs:
        assert signs[pair.content_id] == canonical_sign(pair.chosen, pair.rejected)


def test_ties_and_responses_that_are_one_settle_nothing(votes):
    file = votes("one.gz", ("sea", "x", "y", "equal"), ("sea", "x", " x", "a"))
    assert majority_gold({file: "crowd"}, test_debates={"sea"}) == ({}, [])


def test_opposite_majorities_of_two_files_settle_nothing(votes):
    one, two = votes("one.gz", ("sea", "x", "y", "a")), votes("two.gz", ("sea", "y", "x", "a"))
    assert majority_gold({one: "p", two: "q"}, test_debates={"sea"}) == ({}, [])
    [pair] = majority_gold({one: "p"}, test_debates={"sea"})[1]
    assert (pair.chosen, pair.rejected) == ("x", "y")


def test_a_prompt_may_be_a_conversation(votes):
    turns = [{"role": "user", "content": "Which?"}]
    file = votes("one.gz", ("sea", "x", "y", "a"))
    with gzip.open(file, "wt", encoding="utf-8") as rows:
        answers = {"response_a": "x", "response_b": "y", "gold": "a", "debate": "sea"}
        rows.write("\n".join(json.dumps({"prompt": p, **answers}) for p in (turns, "Which?")))
    signs, _ = majority_gold({file: "crowd"}, test_debates=set())
    assert len(signs) == 1  # the same pair, written in two ways
