"""What one shard says about each source, on pairs that fit on a page."""

import pyarrow as pa
import pytest

from synpref_dagster.curation.evidence.source_counts import (
    COUNT_SCHEMA,
    UNSEEN,
    cells,
    count_decided,
    count_lengths,
    response_signs,
    vote_majorities,
)
from synpref_dagster.curation.filtering.content_labels import ContentLabels
from synpref_dagster.pairs.record import PreferencePair, id_array, pairs_to_table

ASKED = ({"role": "user", "content": "Which?"},)
LONG = PreferencePair(
    conversation=ASKED, chosen="a long answer", rejected="short", source="crowd", origin="human"
)
SHORT = PreferencePair(
    conversation=ASKED, chosen="é", rejected="ab", source="crowd", origin="human"
)
EQUAL = PreferencePair(
    conversation=ASKED, chosen="one", rejected="two", source="llm", origin="synthetic"
)
RAW = pairs_to_table([LONG, SHORT, EQUAL])
NOBODY = ContentLabels.from_table(vote_majorities([]))
ATTRIBUTES = pa.table(
    {
        "pair_id": id_array([LONG.pair_id, SHORT.pair_id]),
        "objectivity": ["objective", "subjective"],
        "controversiality": ["low", "high"],
    }
)


def decided(*rows):
    """Pairs of `RAW` in another order than there, each with its decision and what witnesses say."""
    pairs, decisions, judges, margins, risky = zip(*rows, strict=True)
    return pa.table(
        {
            "pair_id": id_array([pair.pair_id for pair in pairs]),
            "content_id": id_array([pair.content_id for pair in pairs]),
            "source": [pair.source for pair in pairs],
            "risky": list(risky),
            "decision": list(decisions),
            "judge_label": pa.array(judges, pa.int8()),
            "best_margin": pa.array(margins, pa.float32()),
        }
    )


DECIDED = decided(
    (EQUAL, "discarded", 0, None, True),
    (LONG, "flipped", -1, -2.0, False),
    (SHORT, "kept", 1, 0.5, True),
)


def counted(table):
    assert table.schema == COUNT_SCHEMA
    return {(r["source"], r["measure"], r["value"]): r["num_pairs"] for r in table.to_pylist()}


def votes(*said):
    """Each (pair, +1 for the response that sorts first and -1 against it)."""
    return pa.table(
        {
            "content_id": id_array([pair.content_id for pair, _ in said]),
            "verdict": pa.array([sign for _, sign in said], pa.int8()),
        }
    )


def test_signs_say_which_response_is_longer_in_characters():
    assert response_signs(RAW)["longer"].to_pylist() == [1, -1, 0]


def test_lengths_are_those_of_the_pairs_that_stayed():
    clean = RAW.take([2, 0]).select(["pair_id", "source"])
    assert counted(count_lengths(clean, response_signs(RAW))) == {
        ("llm", "length", "neither"): 1,
        ("crowd", "length", "for"): 1,
    }


def test_a_pair_counts_for_its_source_under_every_measure_that_knows_it():
    found = counted(
        count_decided(DECIDED, attributes=ATTRIBUTES, signs=response_signs(RAW), votes=NOBODY)
    )
    assert found == {
        ("llm", "decision", "discarded"): 1,
        ("crowd", "decision", "flipped"): 1,
        ("crowd", "decision", "kept"): 1,
        ("llm", "length", "neither"): 1,
        ("crowd", "length", "for"): 1,
        ("crowd", "length", "against"): 1,
        # LONG is flipped: its longer response is the worse one now. What is discarded is gone.
        ("crowd", "length_after", "against"): 2,
        ("crowd", "judges", "for"): 1,
        ("crowd", "judges", "against"): 1,
        ("crowd", "best_rm", "for"): 1,
        ("crowd", "best_rm", "against"): 1,
        ("crowd", "cell", "plain objective low"): 1,
        ("crowd", "cell", "risky subjective high"): 1,
        ("llm", "cell", UNSEEN): 1,
    }


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ([(LONG, 1)], "for"),
        ([(LONG, -1)], "against"),
        ([(LONG, 1), (LONG, -1)], "neither"),
        ([(LONG, 1), (LONG, -1), (LONG, -1)], "against"),
        ([(SHORT, -1)], "for"),  # its chosen response sorts last
        ([(SHORT, 1)], "against"),
    ],
)
def test_votes_are_for_or_against_the_label_whichever_response_sorts_first(said, value):
    majorities = ContentLabels.from_table(vote_majorities([votes(each) for each in said]))
    found = counted(
        count_decided(DECIDED, attributes=ATTRIBUTES, signs=response_signs(RAW), votes=majorities)
    )
    assert [key for key in found if key[1] == "votes"] == [("crowd", "votes", value)]


def test_a_shard_without_pairs_counts_nothing():
    empty = count_decided(
        DECIDED.slice(0, 0),
        attributes=ATTRIBUTES.slice(0, 0),
        signs=response_signs(RAW),
        votes=NOBODY,
    )
    assert empty.num_rows == 0
    assert empty.schema == COUNT_SCHEMA


def test_a_pair_whose_texts_nobody_saw_is_an_error():
    with pytest.raises(ValueError, match="1 pairs have no longer"):
        count_lengths(RAW.select(["pair_id", "source"]), response_signs(RAW.take([0, 1])))


def test_a_cell_is_what_decides_whether_people_were_asked():
    assert cells(DECIDED, ATTRIBUTES).to_pylist() == [
        UNSEEN,
        "plain objective low",
        "risky subjective high",
    ]
