import pytest

from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.people.recorded import RecordedReviewer

# "a" sorts before "b": the label of RIGHT is against the sorted order's second.
PAIR = PreferencePair(
    conversation=({"role": "user", "content": "q"},),
    chosen="b",
    rejected="a",
    source="s",
    origin="human",
)
OTHER = PreferencePair(
    conversation=({"role": "user", "content": "other"},),
    chosen="b",
    rejected="a",
    source="s",
    origin="human",
)


def row(verdict, annotator="annotator_1", pair=PAIR):
    return {"content_id": pair.content_id.hex(), "annotator": annotator, "verdict": verdict}


@pytest.mark.parametrize(
    ("recorded", "verdict", "decided"),
    [
        ("first", -1, True),
        ("second", 1, True),
        ("tie", 0, True),
        ("undecidable", 0, False),
        (1, -1, True),
        (-1, 1, True),
        (0, 0, True),
    ],
)
def test_verdicts_are_read_relative_to_the_current_label(recorded, verdict, decided):
    (answer,) = RecordedReviewer([row(recorded)]).review([PAIR])
    assert (answer["verdict"], answer["decided"]) == (verdict, decided)
    assert answer["pair_id"] == PAIR.pair_id
    assert answer["content_id"] == PAIR.content_id


def test_a_flip_turns_the_verdict_around():
    reviewer = RecordedReviewer([row("first")])
    (answer,) = reviewer.review([PAIR.flipped()])
    assert answer["verdict"] == 1


def test_only_requested_pairs_are_revealed_and_counted():
    reviewer = RecordedReviewer([row("first"), row("second", pair=OTHER)])
    answers = reviewer.review([OTHER, OTHER.flipped()])
    assert {answer["content_id"] for answer in answers} == {OTHER.content_id}
    assert reviewer.num_asked == 1
    assert reviewer.num_verdicts == 2


def test_a_pair_without_recorded_verdict_has_no_row_but_was_asked():
    reviewer = RecordedReviewer([])
    assert reviewer.review([PAIR]) == []
    assert reviewer.num_asked == 1


def test_an_annotators_first_verdict_on_a_pair_counts():
    answers = RecordedReviewer([row("first"), row("second")]).review([PAIR])
    assert [answer["verdict"] for answer in answers] == [-1]


@pytest.mark.parametrize("bad", ["third", 2, None])
def test_an_unknown_verdict_is_refused(bad):
    with pytest.raises(ValueError, match="verdict"):
        RecordedReviewer([row(bad)])


def test_an_unknown_content_id_is_refused():
    with pytest.raises(ValueError, match="content_id"):
        RecordedReviewer([{**row("first"), "content_id": "xyz"}])
