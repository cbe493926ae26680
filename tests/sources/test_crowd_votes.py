"""Crowd votes: one seeded vote becomes the label, all become recorded verdicts."""

import pytest

from synpref_dagster.curation.pairs import canonical_sign
from synpref_dagster.sources.crowd_votes import CROWD_VOTES
from synpref_dagster.sources.records import RowRejected, SourceSpec


def row(*votes: str, debate: str = "cats", first: str = "Alpha", second: str = "Beta") -> dict:
    cast = [{"worker": f"w{number}", "value": vote} for number, vote in enumerate(votes)]
    return {
        "prompt": "Argue!",
        "response_a": first,
        "response_b": second,
        "votes": cast,
        "debate": debate,
        "gold": "b",
    }


def reader(seed: int = 0, **options):
    spec = SourceSpec(name="crowd", path="x", origin="human", licence="CC", options=options)
    return CROWD_VOTES.make_reader(spec, seed)


def test_the_label_is_one_of_the_votes_that_decide():
    parsed = reader()(row("equal", "b", "equal"), 0)
    assert (parsed.pair.chosen, parsed.pair.rejected) == ("Beta", "Alpha")


def test_every_vote_becomes_a_verdict_against_the_sorted_order():
    # "Alpha" sorts first: a vote for response_a is +1 whichever side the label took.
    for seed in range(5):
        parsed = reader(seed)(row("a", "b", "equal"), 0)
        assert [verdict.verdict for verdict in parsed.verdicts] == [1, -1, 0]
        assert {verdict.content_id for verdict in parsed.verdicts} == {parsed.pair.content_id}
    swapped = reader()(row("a", "b", "equal", first="Beta", second="Alpha"), 0)
    assert [verdict.verdict for verdict in swapped.verdicts] == [-1, 1, 0]


def test_unanimous_verdicts_agree_with_an_unflipped_label():
    for first, second in (("Alpha", "Beta"), ("Beta", "Alpha")):
        pair, verdicts = (parsed := reader()(row("a", "a", first=first, second=second), 0)).pair, ()
        verdicts = parsed.verdicts
        sign = canonical_sign(pair.chosen, pair.rejected)
        assert [verdict.verdict * sign for verdict in verdicts] == [1, 1]


def test_worker_ids_are_replaced_by_keys_that_do_not_depend_on_the_selection():
    votes = row("a", "b", "a")
    names = [verdict.annotator for verdict in reader()(votes, 1).verdicts]
    read = reader(exclude_debates=["dogs"])
    assert read(row("a", "b", debate="dogs"), 0) is None
    assert [verdict.annotator for verdict in read(votes, 1).verdicts] == names
    assert len(set(names)) == 3
    workers = {vote["worker"] for vote in votes["votes"]}
    assert not any(worker in name for worker in workers for name in names)


def test_debates_select_the_rows():
    rows = [row("a", debate=name) for name in ("cats", "dogs", "fish")]
    taken = [reader(debates=["cats", "fish"])(one, 0) is not None for one in rows]
    assert taken == [True, False, True]
    taken = [reader(exclude_debates=["cats"])(one, 0) is not None for one in rows]
    assert taken == [False, True, True]


def test_the_drawn_label_depends_on_seed_and_row_number_alone():
    votes = row("a", "b")
    labels = [reader(7)(votes, number).pair.chosen for number in range(40)]
    again = reader(7, debates=["cats"])
    assert labels == [again(votes, number).pair.chosen for number in range(40)]
    other = reader(8)
    assert labels != [other(votes, number).pair.chosen for number in range(40)]
    assert {"Alpha", "Beta"} == set(labels)


def test_flip_share_turns_that_share_of_labels_round():
    read = reader(flip_share=0.3)
    flipped = [read(row("a"), number).pair.chosen == "Beta" for number in range(1_000)]
    assert 250 < sum(flipped) < 350
    everything = reader(flip_share=1.0)
    assert everything(row("a"), 0).pair.chosen == "Beta"


def test_gold_is_not_read():
    pair = reader()(row("a"), 5).pair
    assert pair.meta == {"row": 5, "debate": "cats"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"votes": [{"worker": "w", "value": "equal"}]}, "no_preference"),
        ({"votes": []}, "no_preference"),
        ({"votes": None}, "malformed_votes"),
        ({"votes": ["a"]}, "malformed_votes"),
        ({"votes": [{"worker": "w", "value": "c"}]}, "malformed_votes"),
        ({"votes": [{"worker": "w", "value": ["a"]}]}, "malformed_votes"),
        ({"votes": [{"worker": 3, "value": "a"}]}, "malformed_votes"),
        ({"debate": ["cats"]}, "not_text"),
        ({"response_a": None}, "empty_response"),
        ({"prompt": 3}, "not_text"),
    ],
)
def test_rows_without_a_readable_preference_are_rejected(changes, reason):
    with pytest.raises(RowRejected) as caught:
        reader()({**row("a"), **changes}, 0)
    assert caught.value.reasons[0] == reason


@pytest.mark.parametrize(
    "options",
    [{"flip_share": 1.5}, {"flip_share": "0.1"}, {"flip_share": True}, {"debates": "cats"}],
)
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        reader(**options)


def test_the_ukp_arguments_are_read_row_by_row(real_data):
    from synpref_dagster.sources.reading import read_source

    spec = SourceSpec(
        name="ukp",
        path=str(real_data / "ukp_convincing_arguments" / "pairs.jsonl.gz"),
        origin="human",
        licence="CC-BY-4.0",
        options={"exclude_debates": ["is-porn-wrong-"]},
    )
    batches = list(read_source(spec, seed=0))
    assert sum(batch.num_rows for batch in batches) == 11_680
    assert sum(batch.num_outside for batch in batches) == 765
    reasons = [row.reason for batch in batches for row in batch.quarantined]
    assert (reasons.count("no_preference"), reasons.count("identical_responses")) == (102, 2)
    assert len(reasons) == 104
    assert sum(len(batch.pairs) for batch in batches) == 10_811
    verdicts = [verdict for batch in batches for verdict in batch.recorded_verdicts]
    assert len({verdict.annotator for verdict in verdicts}) > 100
    assert len(verdicts) == 53_940
