"""Differences are those of the margins, pair by pair; the second call scores nothing."""

import numpy as np
import pandas as pd
import pytest

from synpref_dagster.benchmarks.results import difference_interval, share_stratum
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.reward.linear.model import LinearConfig, train_linear_reward_model
from synpref_dagster.tools.benchmarking import benchmark
from synpref_dagster.tools.comparing import compare


def _preferring(folder, *, longer):
    """A linear model of nothing but length."""
    texts = ("many words " * 3, "few")
    pairs = [
        PreferencePair(
            conversation=({"role": "user", "content": f"question {n}"},),
            chosen=texts[not longer] + " word" * (n % 3),
            rejected=texts[longer],
            source="world",
            origin="human",
        )
        for n in range(12)
    ]
    config = LinearConfig(num_buckets=0)
    train_linear_reward_model(pairs, [], config=config, output_dir=folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model that prefers the longer response, and one that prefers the shorter."""
    folder = tmp_path_factory.mktemp("models")
    return _preferring(folder / "long", longer=True), _preferring(folder / "short", longer=False)


def rows(num=20):
    """Of every five pairs the longer response is chosen in four, all of category a in those."""
    return [
        {
            "id": str(n),
            "prompt": f"question {n}",
            "chosen": "one" if n % 5 == 0 else "one two three four",
            "rejected": "one two three four" if n % 5 == 0 else "one",
            "category": "b" if n % 5 == 0 else "a",
        }
        for n in range(num)
    ]


def test_differences_are_those_of_the_pairs_by_category_and_length(models, write_lines, tmp_path):
    file = write_lines("pairs.jsonl", rows())
    report = compare(*models, file, cache=tmp_path / "cache", num_examples=2)
    found = report.rows.set_index(["by", "value"])
    whole = found.loc[("", "all")]
    assert (whole.n, whole["first"], whole.second) == (20, 0.8, 0.2)
    assert whole.difference == pytest.approx(0.6)
    assert 0 < whole.low < whole.difference < whole.high
    assert (whole.only_first, whole.only_second) == (16, 4)
    assert found.loc[("category", "b"), "difference"] == -1
    assert found.loc[("length", "longer preferred"), "difference"] == 1
    assert found.loc[("length", "shorter preferred"), "n"] == 4
    shown = [(each.right, each.where) for each in report.examples]
    assert shown[:2] == [("long", "pairs.jsonl row 1"), ("long", "pairs.jsonl row 2")]
    assert [right for right, _ in shown] == ["long", "long", "short", "short"]
    assert all(
        (each.first_margin > 0) == (each.right == "long") and each.second_margin != 0
        for each in report.examples
    )
    assert report.num_scored == (40, 40)
    again = compare(*models, pd.DataFrame(rows()), cache=tmp_path / "cache")
    assert again.num_scored == (0, 0)
    pd.testing.assert_frame_equal(again.rows, report.rows)


def test_pairs_are_told_apart_by_columns_that_are_named_and_by_file(models, tmp_path, write_lines):
    one = write_lines("one.jsonl", [{**row, "level": 1} for row in rows(5)])
    two = write_lines("two.jsonl", [{**row, "level": 2} for row in rows(10)[5:]])
    report = compare(*models, [one, two], by=["level"], cache=tmp_path / "cache")
    told = {(row.by, row.value): row.n for row in report.rows.itertuples()}
    assert told.keys() >= {("level", "1"), ("level", "2"), ("file", "one.jsonl")}
    assert ("category", "a") not in told


def test_headlines_are_those_of_benchmark_and_drawn_on_the_same_items(
    models, write_lines, tmp_path
):
    suites = {"mine": str(write_lines("mine.jsonl", rows()))}
    cache = tmp_path / "cache"
    measured = benchmark(models, suites=suites, cache=cache)
    report = compare(*models, suites=suites, cache=cache)
    assert report.num_scored == (0, 0)
    [headline] = report.headlines.to_dict("records")
    assert [headline["first"], headline["second"]] == [
        model.results[0].headline for model in measured.models
    ]
    assert headline["low"] < headline["difference"] < headline["high"]
    assert report.rows["by"].tolist() == ["", "length", "length"]  # one benchmark is all of them


def test_a_model_is_no_better_than_itself_on_items_drawn_again():
    right = share_stratum("all", 1.0, np.arange(50) % 3 == 0)
    assert difference_interval([right], [right], seed=0) == (0.0, 0.0)
    worse = share_stratum("all", 1.0, np.arange(50) % 6 == 0)
    low, high = difference_interval([right], [worse], seed=0)
    assert 0 < low < np.mean(right.rows[:, 0]) - np.mean(worse.rows[:, 0]) < high
    with pytest.raises(ValueError, match="different items"):
        difference_interval([right], [share_stratum("all", 1.0, [1.0])], seed=0)


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"on": "gone.jsonl"}, "no file at 'gone.jsonl'"),
        ({"on": "pairs.jsonl", "by": ["level"]}, "no row has a column 'level'"),
        ({"on": "pairs.jsonl", "suites": {"mine": "pairs.jsonl"}}, "one of them at a time"),
        (
            {"suites": {"mine": "pairs.jsonl"}, "by": ["level"]},
            "benchmarks have subsets of their own",
        ),
        ({"on": "none.jsonl"}, "there is no pair to compare on"),
        ({"suites": {"mine": "gone.jsonl"}}, "mine: no file or folder"),
        ({"first": "gone", "on": "pairs.jsonl"}, "gone is no folder"),
        ({"second": "SAME", "on": "pairs.jsonl"}, "named twice"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_line(
    named, words, models, write_lines, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_lines("pairs.jsonl", rows(3))
    write_lines("none.jsonl", [{"prompt": "Hi", "chosen": "a", "rejected": "a"}])
    given = {"first": models[0], "second": models[1], **named}
    if given["second"] == "SAME":
        given["second"] = given["first"]
    with pytest.raises(ValueError, match=r"(?s).") as refused:
        compare(given.pop("first"), given.pop("second"), cache=tmp_path / "cache", **given)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
