"""Pairs and votes in two files become one file that can be read; nothing else is joined."""

import csv
import gzip
import json

import pytest

from synpref_dagster.sources.survey.joining import find_joins, write_join

VOTES = [
    {"id": 0, "worker": "ann", "winner": "left"},
    {"id": 0, "worker": "bob", "winner": "left"},
    {"id": 1, "worker": "ann", "winner": "right"},
    {"id": 1, "worker": "bob", "winner": "tie"},
    {"id": 9, "worker": "bob", "winner": "tie"},
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


def written(folder, votes=VOTES, **changes):
    pairs = [
        {"id": n, "text": f"Say {n}", "slug": "say", "result_x": "yes", "result_y": "no", **changes}
        for n in range(3)
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    with (folder / "votes.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*votes[0]])
        writer.writeheader()
        writer.writerows(votes)
    return [folder / "pairs.jsonl", folder / "votes.csv"]


def test_each_pair_gets_its_votes_under_keys_and_a_majority_where_there_is_one(folder):
    [join] = find_joins(written(folder))
    target = folder.parent / "set_voted.jsonl.gz"
    said = write_join(join, target, may_replace=False)
    assert said == f"4 votes are now in {target}, 1 vote is about no pair of it"
    rows = [json.loads(line) for line in gzip.decompress(target.read_bytes()).splitlines()]
    assert [[vote["value"] for vote in row["votes"]] for row in rows] == [
        ["a", "a"],
        ["b", "equal"],
        [],
    ]
    assert [row["gold"] for row in rows] == ["a", None, None]
    assert rows[0]["prompt"] == "Say 0"
    assert (rows[0]["response_a"], rows[0]["response_b"], rows[0]["debate"]) == ("yes", "no", "say")
    assert rows[0]["votes"][0]["worker"] == rows[1]["votes"][0]["worker"] != "ann"


def test_the_same_files_give_the_same_bytes_and_another_file_stays(folder):
    [join] = find_joins(written(folder))
    target = folder.parent / "set_voted.jsonl.gz"
    write_join(join, target, may_replace=False)
    first = target.read_bytes()
    write_join(join, target, may_replace=False)
    assert target.read_bytes() == first
    target.write_bytes(b"mine")
    with pytest.raises(ValueError, match="holds something else"):
        write_join(join, target, may_replace=False)
    assert target.read_bytes() == b"mine"
    write_join(join, target, may_replace=True)
    assert target.read_bytes() == first


@pytest.mark.parametrize(
    "votes",
    [
        [{"id": 0, "winner": "left"}],  # nobody says who voted: a model, perhaps
        [{"id": 0, "worker": "ann", "winner": "Claude"}],  # no side
        [{"number": 0, "worker": "ann", "winner": "left"}],  # no number of a pair
        [{"id": 0, "worker": "ann", "winner": "1"}],  # of 1 and 2, or of 0 and 1
        [{"id": n, "worker": "ann", "winner": n % 2} for n in range(4)],  # 0 may be a tie
    ],
)
def test_votes_that_leave_a_doubt_are_not_joined(folder, votes):
    assert find_joins(written(folder, votes)) == []


def test_pairs_without_a_prompt_or_with_two_kinds_of_responses_are_not_joined(folder):
    assert find_joins(written(folder, text=3)) == []
    assert find_joins(written(folder, answer_a="x", answer_b="y")) == []


def test_a_vote_that_is_none_and_a_number_that_two_pairs_have_are_refused(folder):
    late = [*VOTES * 30, {"id": 0, "worker": "bob", "winner": "?"}]
    [join] = find_joins(written(folder, late))
    with pytest.raises(ValueError, match=r"votes\.csv: row 151 is no vote: '\?'"):
        write_join(join, folder / "x_voted.jsonl.gz", may_replace=False)
    [join] = find_joins(written(folder, id=0))
    with pytest.raises(ValueError, match=r"pairs\.jsonl: id 0 stands there twice"):
        write_join(join, folder / "x_voted.jsonl.gz", may_replace=False)
    assert not (folder / "x_voted.jsonl.gz").exists()
