"""Three commands and no edit: from a folder with four public sets to a report, counted again here.

The expected side reads the files with json, gzip and csv alone: no reader of the project.
"""

import csv
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
SETS = ("hh_rlhf_harmless_base_test", "pandalm_test", "oasst_sample", "llmfao")
CROWD = "llmfao"
SPEAKER = re.compile(r"\n\n(Human|Assistant): ?")
SYNPREF = Path(sys.executable).parent / "synpref"


def lines(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def folder(real_data, tmp_path_factory):
    """A folder with the four sets, their licences and notes on where they come from."""
    base = tmp_path_factory.mktemp("own")
    for name in SETS:
        shutil.copytree(real_data / name, base / "data" / name)
    return base


@pytest.fixture(scope="module")
def said(folder):
    """What each of the three commands printed; all of them ended with 0."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SYNPREF")}
    kept.pop("DAGSTER_HOME", None)
    told = {}
    for name, *more in (
        ("init", "data"),
        ("check", "synpref.toml"),
        ("run", "--profile", "synpref.toml"),
    ):
        done = subprocess.run(
            [SYNPREF, name, *more],
            cwd=folder,
            env=kept,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"synpref {name}: {done.stdout}"
        told[name] = done.stdout
    return told


@pytest.fixture(scope="module")
def report(folder, said):
    """The report of the campaign, whose page lies beside it."""
    [found] = (folder / ".synpref").rglob("report.json")
    assert found.with_suffix(".html").stat().st_size > 10_000
    return json.loads(found.read_text())


@pytest.fixture(scope="module")
def held_out(folder, said):
    """The debates that the profile holds out."""
    [line] = re.findall(r"^test_debates = (.*)$", (folder / "synpref.toml").read_text(), re.M)
    return json.loads(line)


@pytest.fixture(scope="module")
def row_of(report):
    """Source -> its row of the report's table."""
    return {row["source"]: row for row in report["by_source"]}


def spoken(text):
    """(text before the first speaker, roles, what each says) of a transcript."""
    before, *parts = SPEAKER.split(text)
    return before, parts[::2], [each.strip() for each in parts[1::2]]


def is_pair(row):
    """Whether both sides are one dialogue of two speakers up to two different last replies."""
    sides = [spoken(row[side]) for side in ("chosen", "rejected")]
    for before, roles, texts in sides:
        if before.strip() or roles != ["Human", "Assistant"] * (len(roles) // 2) or not all(texts):
            return False
    (_, _, chosen), (_, _, rejected) = sides
    return chosen[:-1] == rejected[:-1] and chosen[-1] != rejected[-1]


def test_transcripts_are_counted_as_the_file_says(folder, row_of):
    rows = lines(folder / "data" / SETS[0] / "harmless-base" / "test.jsonl.gz")
    num_pairs = sum(map(is_pair, rows))
    assert (len(rows), num_pairs) == (2312, 2299)
    told = row_of[SETS[0]]
    assert (told["num_rows"], told["num_pairs"]) == (len(rows), num_pairs)
    assert told["num_quarantined"] == sum(told["quarantined_as"].values()) == len(rows) - num_pairs


def outcome(row):
    """What becomes of a row that three people judged."""
    votes = Counter(int(row[f"annotator{number}"]) for number in (1, 2, 3))
    [(winner, count)] = votes.most_common(1)
    texts = row["response1"], row["response2"]
    if count < 2 or winner == 0:
        return "tied"
    if not all(isinstance(text, str) for text in texts):
        return "not_text"
    return "pair" if all(text.strip() for text in texts) else "empty_response"


def test_majorities_of_three_are_counted_as_the_file_says(folder, row_of):
    with gzip.open(
        folder / "data" / SETS[1] / "testset-v1.json.gz", "rt", encoding="utf-8"
    ) as file:
        rows = json.load(file)
    found = Counter(map(outcome, rows))
    assert found == {"pair": 836, "tied": 105, "empty_response": 52, "not_text": 6}
    told = row_of[SETS[1]]
    assert (told["num_rows"], told["num_pairs"]) == (len(rows), found.pop("pair"))
    assert told["quarantined_as"] == found


def ranked_pairs(message):
    """Two replies to one message under different ranks, in a tree."""
    replies = message.get("replies", [])
    ranks = [each["rank"] for each in replies if each.get("rank") is not None]
    below = sum(map(ranked_pairs, replies))
    return below + sum(one != two for one, two in combinations(ranks, 2))


def test_trees_are_counted_as_the_file_says(folder, row_of):
    trees = lines(folder / "data" / SETS[2] / "en_100_tree.jsonl.gz")
    told = row_of[SETS[2]]
    assert told["num_rows"] == len(trees) == 100
    assert told["num_pairs"] == sum(ranked_pairs(tree["prompt"]) for tree in trees) == 754


def test_crowd_votes_are_counted_as_the_files_say(folder, held_out, row_of):
    place = folder / "data" / CROWD
    rows = lines(place / "pairs-crowd.jsonl.gz")
    with gzip.open(place / "crowd-comparisons.csv.gz", "rt", encoding="utf-8") as file:
        decided = {vote["id"] for vote in csv.DictReader(file) if vote["winner"] != "tie"}
    inside = [row for row in rows if row["slug"] not in held_out]
    told = row_of[CROWD]
    assert told["num_rows"] == len(rows) == 2139
    assert told["num_outside"] == len(rows) - len(inside) > 0
    undecided = [row for row in inside if str(row["id"]) not in decided]
    voted = [row for row in inside if str(row["id"]) in decided]
    # A zero-width space is an answer in which nobody sees anything.
    sides = [[row[name].strip(" \n\t\u200b") for name in ("result_x", "result_y")] for row in voted]
    num_empty = sum(not all(both) for both in sides)
    reasons = dict(told["quarantined_as"])
    assert reasons.pop("no_preference") == len(undecided)
    # An answer with the template of a chat in it is told by that, though the other be empty.
    assert set(reasons) == {"empty_response", "rendered_chat"}
    assert reasons["empty_response"] <= num_empty <= sum(reasons.values())
    assert told["num_pairs"] + told["num_quarantined"] == len(inside)


def test_every_row_of_a_source_is_somewhere(row_of):
    assert set(row_of) == set(SETS)
    for told in row_of.values():
        read = told["num_rows"] + told["num_unfolded"]
        assert read == told["num_pairs"] + told["num_quarantined"] + told["num_outside"]
        decided = (told[f"num_{each}"] for each in ("kept", "flipped", "discarded"))
        assert told["num_clean"] == sum(decided)


def test_what_the_first_two_commands_count_is_what_the_campaign_read(said, row_of, held_out):
    checked = " ".join(said["check"].split())
    assert "Nothing has to change: synpref run can begin." in checked
    crowd = row_of[CROWD]
    told = f"{crowd['num_outside']:,} rows of {CROWD} lie outside the pool, in the test set"
    assert f"{told} ({', '.join(held_out)})" in checked
    assert ".gold" not in checked
    assert f"source {CROWD}: not read: gold" not in said["run"]
    for name in SETS[:3]:
        row = row_of[name]
        counts = f"{row['num_pairs']:,} pairs of {row['num_rows']:,} rows"
        assert any(name in line and counts in line for line in said["init"].splitlines())
    for name in (SETS[0], SETS[2]):  # nobody voted on them
        assert f"mind: nobody verifies anything of {name} (it has no votes)" in said["init"]
        assert row_of[name]["votes"]["n"] == row_of[name]["label_accuracy"]["n"] == 0
