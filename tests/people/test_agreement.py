"""Agreement against numbers worked out by hand and against published ones."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from synpref_dagster.pairs.record import PreferencePair, canonical_sign
from synpref_dagster.people.agreement import (
    Agreement,
    annotator_table,
    answer_counts,
    answer_frame,
    by_category,
    gate,
    krippendorff_alpha,
    measure,
    pairwise_agreement,
)
from synpref_dagster.people.ledger.answers import Answer, live_answers
from synpref_dagster.people.protocol import PROTOCOL_VERSION
from synpref_dagster.people.recorded import RecordedReviewer
from synpref_dagster.sources.reading import read_source
from synpref_dagster.sources.records import SourceSpec


def answers(rows, seconds=10.0):
    frame = pd.DataFrame(rows, columns=["pair_id", "annotator", "answer"])
    return frame.assign(batch_id="b", seconds=seconds, created_at=np.arange(len(rows), dtype=float))


def test_alpha_of_krippendorffs_own_example():
    # Krippendorff (2011), nominal, four observers, twelve units, missing values: .743
    observers = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    rows = [
        (f"unit {unit}", f"observer {who}", str(value))
        for who, values in enumerate(observers)
        for unit, value in enumerate(values)
        if value is not None
    ]
    assert krippendorff_alpha(answer_counts(answers(rows))) == pytest.approx(0.743, abs=5e-4)


def test_alpha_and_pairwise_by_hand():
    # Two pairs agreed on (1, 1) and (-1, -1), one split (1, -1); n = 6, three of each answer.
    # Observed disagreement 2 / 6, expected 2 * 3 * 3 / (6 * 5): alpha = 1 - (1/3) / (3/5) = 4/9.
    counts = np.array([[2, 0], [0, 2], [1, 1]])
    assert krippendorff_alpha(counts) == pytest.approx(4 / 9)
    assert pairwise_agreement(counts) == pytest.approx(2 / 3)


def test_pairs_seen_once_say_nothing():
    counts = np.array([[2, 0], [0, 2], [1, 1], [1, 0], [0, 1]])
    assert krippendorff_alpha(counts) == pytest.approx(4 / 9)
    assert np.isnan(krippendorff_alpha(np.array([[1, 0]])))
    assert np.isnan(krippendorff_alpha(np.array([[2, 0], [3, 0]])))
    assert np.isnan(measure(answers([])).alpha)


def test_random_answers_have_alpha_near_zero_and_equal_ones_exactly_one():
    rng = np.random.default_rng(0)
    counts = np.stack([np.bincount(rng.integers(3, size=3), minlength=3) for _ in range(4000)])
    assert abs(krippendorff_alpha(counts)) < 0.03
    assert krippendorff_alpha(np.array([[3, 0], [0, 2]])) == 1.0


def test_agreement_is_split_by_category():
    rows = [("p", "a", "1"), ("p", "b", "1"), ("q", "a", "1"), ("q", "b", "-1")]
    parts = by_category(answers(rows), {"p": "math", "q": "editing"})
    assert {name: part.pairwise for name, part in parts.items()} == {"math": 1.0, "editing": 0.0}


def test_quality_drift_time_and_cost_per_annotator():
    rows = [(f"p{n}", who, "1") for n in range(8) for who in ("ann", "bob")]
    # Carl agrees on the first four pairs and on none of the rest.
    rows += [(f"p{n}", "carl", "1" if n < 4 else "0") for n in range(8)]
    table = annotator_table(answers(rows, seconds=36.0), hourly_rates={"carl": 20.0})
    of = table.set_index("annotator")
    assert of.loc["carl", "agreement"] == pytest.approx(0.5)
    assert of.loc["carl", "drift"] == pytest.approx(-1.0)
    assert of.loc["ann", "agreement"] == pytest.approx(0.75)
    assert of.loc["carl", "cost_per_pair"] == pytest.approx(0.20)
    assert of.loc["ann", "median_seconds"] == 36.0


@pytest.mark.parametrize(
    ("alpha", "num_pairs", "floor", "said"),
    [
        (0.2, 50, 0.3, "alpha is 0.200"),
        (0.3, 50, 0.3, None),
        (0.9, 3, 0.3, "cannot be judged"),
        (float("nan"), 50, 0.3, None),
        (0.0, 0, None, None),
    ],
)
def test_the_gate_says_why_it_blocks(alpha, num_pairs, floor, said):
    pairwise = 1.0 if np.isnan(alpha) else 0.5
    measured = Agreement(alpha=alpha, pairwise=pairwise, num_pairs=num_pairs, num_verdicts=0)
    message = gate(measured, floor=floor, min_pairs=10)
    assert (message is None) if said is None else (said in message)


def recorded_as_verdicts(rows, pairs, batch_id):
    """What `RecordedReviewer.review` gives as rows of the ledger, under the annotators' names."""
    choices = {1: "candidate_1", -1: "candidate_2", 0: "tie"}
    verdicts = []
    for row in rows:
        pair = pairs[row["pair_id"]]
        sign = int(row["verdict"]) * canonical_sign(pair.chosen, pair.rejected)
        verdicts.append(
            Answer(
                form_token=f"{batch_id}:{pair.pair_id.hex()}:{row['annotator']}",
                batch_id=batch_id,
                pair_id=pair.pair_id.hex(),
                content_id=pair.content_id.hex(),
                annotator=str(row["annotator"]),
                candidate_1="first",
                verdict=choices[sign] if row["decided"] else "cannot_decide",
                protocol_version=PROTOCOL_VERSION,
                created_at=0.0,
                backend="recorded",
            )
        )
    return verdicts


def test_ukp_votes_have_the_published_agreement(real_data):
    path = real_data / "ukp_convincing_arguments" / "pairs.jsonl.gz"
    spec = SourceSpec(
        name="ukp", path=str(path), origin="human", format="crowd_votes", licence="CC BY 4.0"
    )
    batches = list(read_source(spec, seed=0))
    pairs = {pair.pair_id: pair for batch in batches for pair in batch.pairs}
    reviewer = RecordedReviewer(
        {"content_id": v.content_id, "annotator": v.annotator, "verdict": v.verdict}
        for batch in batches
        for v in batch.recorded_verdicts
    )
    rows = recorded_as_verdicts(reviewer.review(list(pairs.values())), pairs, batch_id="ukp")
    agreement = measure(answer_frame(list(live_answers(rows).values())))
    print("ukp", agreement)
    assert agreement.num_pairs > 11_000
    assert agreement.alpha == pytest.approx(0.267, abs=0.03)


def test_pandalm_annotators_have_the_published_agreement(real_data):
    with gzip.open(real_data / "pandalm_test" / "testset-v1.json.gz", "rt") as file:
        items = json.load(file)
    signs = {0: 0, 1: 1, 2: -1}
    pairs, recorded = {}, []
    for number, item in enumerate(items):
        pair = PreferencePair(
            conversation=({"role": "user", "content": f"{number} {item['instruction']}"},),
            chosen=f"1 {item['response1']}",
            rejected=f"2 {item['response2']}",
            source="pandalm",
            origin="human",
        )
        pairs[pair.pair_id] = pair
        sign = canonical_sign(pair.chosen, pair.rejected)
        recorded += [
            {"content_id": pair.content_id, "annotator": who, "verdict": signs[item[who]] * sign}
            for who in ("annotator1", "annotator2", "annotator3")
        ]
    reviewer = RecordedReviewer(recorded)
    rows = recorded_as_verdicts(reviewer.review(list(pairs.values())), pairs, batch_id="pandalm")
    agreement = measure(answer_frame(rows))
    print("pandalm", agreement)
    assert agreement.num_pairs == len(items)
    assert agreement.alpha == pytest.approx(0.864, abs=0.01)
