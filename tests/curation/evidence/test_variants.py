"""What training sets are worth, pair by pair, with intervals that draw whole prompts."""

import numpy as np
import pandas as pd
import pytest

from synpref_dagster.curation.evidence.variants import Pooled, compared, variants_by_pair
from synpref_dagster.pairs.record import PreferencePair


def pair(prompt, better, worse, source="crowd"):
    return PreferencePair(
        conversation=({"role": "user", "content": prompt},),
        chosen=better,
        rejected=worse,
        source=source,
        origin="human",
    )


def table(num_prompts, pairs_per_prompt, right, *, source="crowd"):
    """Pairs of a few prompts; `right` says per prompt whether `model` is right about all of it."""
    pairs = [
        pair(f"prompt {p}", f"the better one {n}", f"bad {n}", source)
        for p in range(num_prompts)
        for n in range(pairs_per_prompt)
    ]
    margins = np.repeat([1.0 if each else -1.0 for each in right], pairs_per_prompt)
    return variants_by_pair(pairs, {"original": -margins, "filtered": margins})


def test_a_row_says_what_the_pair_is_and_how_far_each_model_prefers_the_better_response():
    found = variants_by_pair(
        [pair("Q", "long answer", "no"), pair("Q", "a", "bb", "other")],
        {"filtered": np.array([0.5, -2.0])},
    )
    assert found["filtered"].tolist() == [0.5, -2.0]
    assert found["longer_is_better"].tolist() == [9.0, -1.0]
    assert found["source"].tolist() == ["crowd", "other"]
    assert found["prompt_id"].nunique() == 1
    assert found["content_id"].nunique() == 2


def test_campaigns_are_pooled_pair_by_pair():
    pooled = Pooled.of([table(2, 5, [True, True]), table(2, 5, [True, False])])
    found = pooled.accuracy("filtered", pooled.part("all"))
    assert (found.value, found.n) == (0.75, 20)
    gain = pooled.gain("filtered", "original", pooled.part("all"))
    assert gain.value == 0.75 - 0.25


def test_pairs_of_one_prompt_count_as_one_draw():
    """A hundred pairs of four prompts tell less than a hundred prompts."""
    few = Pooled.of([table(4, 25, [True, True, True, False])])
    many = Pooled.of([table(100, 1, [number % 4 != 0 for number in range(100)])])
    widths = [
        (found := each.accuracy("filtered", each.part("all"))).high - found.low
        for each in (few, many)
    ]
    assert widths[0] > 3 * widths[1]
    assert widths[1] == pytest.approx(2 * 1.96 * (0.75 * 0.25 / 100) ** 0.5, rel=0.15)


def test_the_same_draws_serve_both_sides_of_a_gain():
    """Models that are right about the same pairs differ by exactly nothing."""
    rows = table(10, 3, [True, False] * 5).assign(twin=lambda frame: frame["filtered"])
    pooled = Pooled.of([rows])
    gain = pooled.gain("twin", "filtered", pooled.part("all"))
    assert (gain.value, gain.low, gain.high) == (0.0, 0.0, 0.0)


def test_slices_and_sources_choose_the_rows():
    rows = variants_by_pair(
        [pair("Q", "longer", "no", "a"), pair("R", "no", "longer", "a"), pair("S", "x", "y", "b")],
        {"filtered": np.array([1.0, 1.0, -1.0])},
    )
    pooled = Pooled.of([rows])
    assert pooled.part("all").tolist() == [True, True, True]
    assert pooled.part("against_length").tolist() == [False, True, True]  # equal is not longer
    assert pooled.part("against_length", source="a").tolist() == [False, True, False]
    with pytest.raises(ValueError, match="slice 'hard': choose all, against_length"):
        pooled.part("hard")


def test_a_slice_without_pairs_has_no_figure():
    pooled = Pooled.of([table(2, 2, [True, True])])
    found = pooled.accuracy("filtered", pooled.part("against_length"))
    assert (found.n, np.isnan(found.value)) == (0, True)


def test_the_table_holds_each_variant_alone_and_against_the_others():
    rows = compared(
        [table(3, 2, [True, True, False], source=name) for name in ("a", "b")],
        over=("longer_is_better", "original"),
    ).set_index(["source", "slice", "variant", "over"])
    assert rows.loc[("", "all", "filtered", ""), "value"] == pytest.approx(2 / 3)
    assert rows.loc[("a", "all", "filtered", "original"), "value"] == pytest.approx(1 / 3)
    assert rows.loc[("", "all", "filtered", "longer_is_better"), "value"] == pytest.approx(-1 / 3)
    assert ("", "all", "original", "original") not in rows.index
    assert rows.loc[("b", "against_length", "filtered", ""), "n"] == 0
    again = compared(
        [table(3, 2, [True, True, False], source=name) for name in ("a", "b")],
        over=("longer_is_better", "original"),
    )
    pd.testing.assert_frame_equal(rows.reset_index(), again)


def test_a_variant_that_one_campaign_lacks_is_left_out():
    whole = table(2, 2, [True, True])
    rows = compared([whole, whole.drop(columns="original")], over=("original",))
    assert set(rows["variant"]) == {"longer_is_better", "filtered"}
