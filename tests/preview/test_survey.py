"""What one pass over the sources counts, on files that fit on a page."""

from itertools import permutations

import pytest
from own_files import BENCHMARK, specs

from synpref_dagster.curation.contamination.rules import BenchmarkPrompt, build_index
from synpref_dagster.pairs.record import digest
from synpref_dagster.preview import survey as surveying
from synpref_dagster.preview.prompts import Spread
from synpref_dagster.preview.survey import Votes, survey
from synpref_dagster.sources.records import SourceSpec

INDEX = build_index([BenchmarkPrompt("mine", "1", BENCHMARK)])


@pytest.fixture
def found(tmp_path):
    return survey(specs(tmp_path), seed=0, indexes=[INDEX])


def counts(found, name):
    return {row["source"]: row[name] for row in found.sources}


def test_every_row_is_a_pair_or_in_quarantine_with_its_reason(found):
    assert counts(found, "num_rows") == {"a": 12, "b": 3, "votes": 2}
    assert counts(found, "num_pairs") == {"a": 8, "b": 3, "votes": 2}
    reasons = {(each.source, each.reason): each.num_rows for each in found.quarantined}
    assert reasons == {("a", "identical_responses"): 3, ("a", "empty_response"): 1}


def test_of_each_reason_two_rows_are_kept_with_their_numbers(found):
    first = found.quarantined[0]
    assert (first.reason, len(first.examples)) == ("identical_responses", 2)
    assert {row.row for row in first.examples} < {9, 10, 11}
    assert all('"prompt": "Same"' in row.raw for row in first.examples)


def test_repetitions_and_contradictions_are_counted_within_and_between(found):
    assert counts(found, "num_repeated") == {"a": 1, "b": 0, "votes": 0}
    assert counts(found, "num_elsewhere") == {"a": 1, "b": 1, "votes": 0}
    assert counts(found, "num_both_ways") == {"a": 1, "b": 0, "votes": 0}
    assert counts(found, "num_opposed") == {"a": 1, "b": 1, "votes": 0}
    # 13 pairs, of which the first of a stands there three times, once in b
    assert (found.num_pairs, found.num_distinct) == (13, 11)


def test_a_pair_on_a_benchmark_is_no_clean_one(found):
    assert found.contaminated == {("a", "mine"): 1}
    assert (found.num_contaminated, found.num_clean) == (1, 10)


def test_pairs_for_people_are_contents_of_human_origin_without_a_benchmark(found):
    # tea twice, road, hello (one content under both labels), mail, and two with votes
    assert found.num_for_people == 7


def test_personal_data_are_counted_by_pair_and_kind(found):
    assert found.personal == {("a", "email"): 1}
    assert found.num_personal == 1


def test_votes_are_counted_by_person_and_pair(found):
    assert found.votes == (Votes(source="votes", num_votes=3, num_people=2, num_pairs=2),)
    assert found.num_voted == 2


def test_columns_that_nobody_reads_are_named(found):
    assert found.unread == {("a", "note"): 1}


def test_pairs_are_spread_over_prompts(found):
    # tea 3, hello 2, road, benchmark, mail
    assert found.prompts["a"] == Spread(8, 5, 3, 2)
    assert found.prompts[""].num_prompts == 8


def test_the_longer_response_is_that_of_more_characters(found):
    shares = {
        name: (each["value"], each["n"]) for name, each in counts(found, "longer_before").items()
    }
    # Of a's clean pairs: longer for one tea, one of two hellos, mail; of b's: no, one is shared.
    assert shares["a"] == (3 / 6, 6)
    assert shares["b"] == (1 / 2, 2)


def test_every_row_adds_up_to_what_the_clean_pool_will_have(found):
    for row in found.sources:
        assert row["num_rows"] + row["num_unfolded"] == (
            row["num_outside"] + row["num_quarantined"] + row["num_pairs"]
        )
        assert row["num_pairs"] == row["num_duplicates"] + row["num_dropped"] + row["num_clean"]
    assert counts(found, "num_clean") == {"a": 6, "b": 2, "votes": 2}
    assert counts(found, "dropped_as") == {"a": {"contaminated": 1}, "b": {}, "votes": {}}
    # road in both, hello under both labels in a
    assert counts(found, "num_contradictory") == {"a": 3, "b": 1, "votes": 0}


def test_texts_are_measured_in_bytes(found):
    # "Which tea?" with "ox" or "cow", the longer of them
    assert min(found.bytes_of_sides["a"]) == len("Which tea?" + "cow")
    whole = sum(
        len(text)
        for pairs in found.sample.values()
        for pair in pairs
        for text in (pair.conversation[0]["content"], pair.chosen, pair.rejected)
    )
    assert found.bytes_per_pair is not None
    assert found.bytes_per_pair * found.num_pairs == pytest.approx(whole, rel=0.1)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_order_of_the_sources_decides_which_of_them_repeats_a_pair_and_nothing_else(
    tmp_path, order
):
    listed = specs(tmp_path)
    expected = survey(listed, seed=0, indexes=[INDEX])
    again = survey([listed[place] for place in order], seed=0, indexes=[INDEX])
    for name in surveying.Survey.__slots__:
        if name not in ("bytes_of_sides", "sources"):
            assert getattr(again, name) == getattr(expected, name), name
    # The pair that a and b share is clean in the first of them; a repeats a pair itself.
    a_is_first = order.index(0) < order.index(1)
    repeated = {"a": 1, "b": 1} if a_is_first else {"a": 2, "b": 0}
    assert counts(again, "num_duplicates") == {**repeated, "votes": 0}
    assert counts(again, "num_pairs") == counts(expected, "num_pairs")
    assert counts(again, "num_repeated") == counts(expected, "num_repeated")
    assert sum(counts(again, "num_clean").values()) == expected.num_clean


def test_the_order_of_rows_and_files_changes_no_figure_and_no_example(tmp_path, monkeypatch):
    monkeypatch.setattr(surveying, "SAMPLED", 4)
    [whole, *_] = specs(tmp_path)
    lines = (tmp_path / "a.jsonl").read_text().splitlines(keepends=True)
    folder = tmp_path / "turned"
    folder.mkdir()
    (folder / "0.jsonl").write_text("".join(lines[6:]))
    (folder / "1.jsonl").write_text("".join(lines[:6]))
    turned = SourceSpec(name="a", path=str(folder), origin="human", licence="x")
    one, other = survey([whole], seed=0), survey([turned], seed=0)
    assert one.sources == other.sources
    assert one.num_distinct == other.num_distinct
    assert [pair.pair_id for pair in one.sample["a"]] == [p.pair_id for p in other.sample["a"]]
    assert len(one.sample["a"]) == 4
    said = [[sorted(row.raw for row in q.examples) for q in s.quarantined] for s in (one, other)]
    assert said[0] == said[1]


def test_a_source_that_cannot_be_read_is_a_line_and_the_others_are_read(tmp_path):
    listed = specs(tmp_path)
    gone = SourceSpec(name="gone", path=str(tmp_path / "gone.jsonl"), origin="human", licence="x")
    odd = tmp_path / "odd.jsonl"
    odd.write_text('{"x": 1}\n')
    strange = SourceSpec(name="odd", path=str(odd), origin="human", licence="x")
    found = survey([gone, strange, *listed], seed=0)
    assert set(found.unreadable) == {"gone", "odd"}
    assert all(len(line.splitlines()) == 1 for line in found.unreadable.values())
    assert found.num_pairs == 13


def test_votes_beside_the_sources_count_for_the_pairs_they_are_about(tmp_path):
    [a, *_] = specs(tmp_path)
    plain = survey([a], seed=0)
    voted = [pair.content_id for pair in plain.sample["a"][:2]]
    found = survey([a], seed=0, recorded=[*voted, voted[0], digest("nobody's")])
    assert (plain.num_voted, found.num_voted) == (0, len(set(voted)))
