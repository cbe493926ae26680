"""Crowd votes: one vote, drawn by content, becomes the label; all become recorded verdicts."""

import pytest

from synpref_dagster.pairs.record import canonical_sign
from synpref_dagster.sources.formats.crowd_votes import CROWD_VOTES
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
    return CROWD_VOTES.reader(spec, seed=seed)


def test_the_label_is_one_of_the_votes_that_decide():
    parsed = reader()(row("equal", "b", "equal"), 0)
    assert (parsed.pair.chosen, parsed.pair.rejected) == ("Beta", "Alpha")


def test_every_vote_becomes_a_verdict_against_the_sorted_order():
    # "Alpha" sorts first: a vote for response_a is +1 whichever side the label took.
    for seed in range(5):
        parsed = reader(seed)(row("a", "b", "equal"), 0)
        assert [verdict.verdict for verdict in parsed.verdicts] == [1, -1, 0]
        assert {verdict.content_id for verdict in parsed.verdicts} == {parsed.pair.content_id}
    turned = reader()(row("a", "b", "equal", first="Beta", second="Alpha"), 0)
    assert [verdict.verdict for verdict in turned.verdicts] == [-1, 1, 0]


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


def many_rows(*votes: str, count: int) -> list[dict]:
    """Rows of different content, the response that sorts first on either side in turn."""
    texts = [(f"Alpha {number}", f"Beta {number}") for number in range(count)]
    return [
        row(*votes, first=texts[n][n % 2], second=texts[n][1 - n % 2], debate=f"debate {n}")
        for n in range(count)
    ]


def swapped(one: dict) -> dict:
    other_side = {"a": "b", "b": "a", "equal": "equal"}
    votes = [{**vote, "value": other_side[vote["value"]]} for vote in one["votes"]]
    return {
        **one,
        "response_a": one["response_b"],
        "response_b": one["response_a"],
        "votes": votes,
    }


def labels_of(read, rows: list[dict], *, start: int = 0) -> dict[bytes, bytes]:
    """content_id -> pair_id, which names the chosen response."""
    pairs = [read(one, number).pair for number, one in enumerate(rows, start)]
    return {pair.content_id: pair.pair_id for pair in pairs}


def test_rows_in_another_order_and_place_keep_their_labels():
    rows = many_rows("a", "b", "equal", count=200)
    labels = labels_of(reader(7), rows)
    assert len(set(labels)) == 200
    assert labels_of(reader(7), rows, start=1) == labels
    assert labels_of(reader(7), rows[::-1]) == labels
    assert labels_of(reader(8), rows) != labels


def test_swapped_responses_and_votes_in_another_order_keep_label_and_verdicts():
    rows = many_rows("a", "b", "b", "equal", count=200)
    labels = labels_of(reader(7, flip_share=0.3), rows)
    mirrored = [swapped(one) for one in rows]
    assert labels_of(reader(7, flip_share=0.3), mirrored, start=1) == labels
    shuffled = [{**one, "votes": one["votes"][::-1]} for one in rows]
    assert labels_of(reader(7, flip_share=0.3), shuffled) == labels
    for one, other in zip(rows, mirrored, strict=True):
        assert reader()(one, 0).verdicts == reader()(other, 0).verdicts


def test_another_vote_for_the_side_that_won_never_turns_a_repeated_pair():
    for one in many_rows("a", "b", "equal", count=100):
        pair = reader()(one, 0).pair
        side = "a" if pair.chosen == one["response_a"] else "b"
        repeated = {**one, "votes": [*one["votes"], {"worker": "late", "value": side}]}
        assert reader()(repeated, 1).pair.pair_id == pair.pair_id


def test_the_selected_debates_do_not_change_a_label():
    rows = many_rows("a", "b", count=40)
    selected = reader(7, debates=[one["debate"] for one in rows])
    assert labels_of(selected, rows) == labels_of(reader(7), rows)


@pytest.mark.parametrize(
    ("votes", "flip_share", "expected"),
    [
        (("a", "b"), 0.0, 0.5),
        (("a", "a", "a", "b", "equal"), 0.0, 0.75),
        (("b", "a", "b", "b", "b"), 0.0, 0.2),
        (("a", "equal"), 0.3, 0.7),
        (("a", "a", "a", "b"), 0.3, 0.75 * 0.7 + 0.25 * 0.3),
    ],
)
def test_over_many_pairs_the_labels_follow_the_votes(votes, flip_share, expected):
    read = reader(flip_share=flip_share)
    rows = many_rows(*votes, count=2_000)
    # Half of the rows show the response that sorts first as the second: both halves must follow.
    for half in (rows[::2], rows[1::2]):
        first_won = [read(one, 0).pair.chosen == one["response_a"] for one in half]
        assert abs(sum(first_won) / len(half) - expected) < 0.05


def test_unanimous_votes_are_followed_and_a_full_flip_share_turns_all_round():
    for one in many_rows("a", "a", "equal", count=100):
        assert reader()(one, 0).pair.chosen == one["response_a"]
        assert reader(flip_share=1.0)(one, 0).pair.chosen == one["response_b"]


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


def test_a_share_of_the_labels_says_that_the_longer_response_is_better():
    rows = [row("a", "a", first=f"no {n}", second=f"a longer one {n}") for n in range(400)]
    said = [reader(longer_share=0.5)(one, 0).pair.chosen.startswith("a longer") for one in rows]
    assert 160 < sum(said) < 240
    always = [reader(longer_share=1)(one, 0).pair.chosen.startswith("a longer") for one in rows]
    assert all(always)
    level = row("a", "a", first="left", second="wide")
    assert reader(longer_share=1)(level, 0).pair.chosen == "left"  # neither is the longer one


def test_a_bias_changes_no_label_that_it_does_not_touch():
    rows = [row("a", "b", "b", first=f"left {n}", second=f"wide {n}") for n in range(300)]
    plain, biased = (labels_of(reader(3, **more), rows) for more in ({}, {"longer_share": 1.0}))
    assert plain == biased


@pytest.mark.parametrize("share", [-0.1, 1.5, True, "half"])
def test_a_share_is_a_number_from_0_to_1(share):
    with pytest.raises(ValueError, match=r"longer_share .* must be from 0 to 1"):
        reader(longer_share=share)
