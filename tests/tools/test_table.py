"""Tables name every model once and mark what is no whole benchmark."""

import json

import pandas as pd

from synpref_dagster.benchmarks.results import BenchmarkResult
from synpref_dagster.tools.benchmarking import BenchmarkReport, ModelScores
from synpref_dagster.tools.table import as_json, as_markdown, tables


def result(name, headline, **more):
    scores = {"average": headline, "chat": 0.5, "chat/easy": 1.0, "num_ties": 3.0}
    scores["auc"] = float("nan")
    return BenchmarkResult(
        benchmark=name, headline=headline, low=0.1, high=0.9, scores=scores, tie_rate=0.0,
        num_items=1200, num_truncated=0, longer=0.4, chance=0.5, **more,
    )  # fmt: skip


def report(**curves):
    models = [
        ModelScores(
            name=name, place=name, fingerprint="f", num_scored=1, num_kept=2,
            results=(result("rm_bench", headline, missing_subsets=("code",)),),
            curves=curves.get("curves"),
        )
        for name, headline in (("llama-3.1-8b", 0.25), ("mine", 1.0))
    ]  # fmt: skip
    published = pd.DataFrame(
        [{"model": "llama-3.1-8b", "kind": "release", "rm_bench": 0.928},
         {"model": "GPT-4o", "kind": "judge", "rm_bench": float("nan")}]
    )  # fmt: skip
    return BenchmarkReport(
        models=tuple(models),
        titles={"rm_bench": "RM-Bench"},
        headlines={"rm_bench": "average"},
        published=published,
        notes=("a note",),
    )


def test_headlines_stand_beside_what_is_had_for_nothing():
    headlines = tables(report())[0]
    assert headlines.columns == ["benchmark", "items", "llama-3.1-8b", "mine", "longer", "chance"]
    assert headlines.rows == [
        ["RM-Bench (partial)", "1,200", ".250 [.100 .900]", "1.000 [.100 .900]", ".400", ".500"]
    ]


def test_published_rows_stand_below_what_was_measured_and_a_part_is_marked():
    published = tables(report())[-1]
    assert published.title == "Beside published figures (* of a part)"
    assert published.rows == [
        ["llama-3.1-8b", "measured here", ".250*"],
        ["mine", "measured here", "1.000*"],
        ["llama-3.1-8b (same name)", "release", ".928"],
        ["GPT-4o", "judge", ""],
    ]


def test_scores_of_single_subsets_are_shown_when_asked_for_and_counts_never():
    some, every = (
        [row[1] for row in tables(report(), all_scores=wanted)[1].rows] for wanted in (False, True)
    )
    assert some == ["average", "chat", "auc"]
    assert every == ["average", "chat", "chat/easy", "auc"]


def test_curves_are_means_over_the_sets():
    curves = pd.DataFrame(
        {"group": ["a", "a", "b", "b"], "k": [1, 2, 1, 2],
         "achieved": [0.2, 0.4, 0.4, 0.8], "ceiling": [0.5, 1.0, 0.5, 1.0]}
    )  # fmt: skip
    table = tables(report(curves=curves))[1]
    assert table.rows == [["1", ".300", ".300", ".500"], ["2", ".600", ".600", "1.000"]]


def test_json_has_every_figure_and_no_nan():
    told = json.loads(json.dumps(as_json(report()), allow_nan=False))
    assert told["models"][1]["results"][0]["scores"]["num_ties"] == 3.0
    assert told["models"][1]["results"][0]["scores"]["auc"] is None
    assert told["published"][1] == {"model": "GPT-4o", "kind": "judge", "rm_bench": None}


def test_markdown_ends_with_the_notes():
    assert as_markdown(report()).endswith("## Notes\n\n- a note\n")
