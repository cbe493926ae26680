import re
from html.parser import HTMLParser

import pytest

from synpref_dagster.publishing.report.figures import Figure
from synpref_dagster.publishing.report.page import render_report
from synpref_dagster.publishing.report.sections import sections_of

BENCHMARKS = (
    "reward_bench",
    "reward_bench_2",
    "ppe_preference",
    "ppe_correctness",
    "rmb",
    "rm_bench",
    "judge_bench",
)


def accuracy(value, n=1000):
    return {"value": value, "low": value - 0.02, "high": value + 0.02, "n": n}


@pytest.fixture
def report():
    return {
        "profile": "demo",
        "seed": 7,
        "seconds": 213.4,
        "pool": {
            "read": 9120,
            "quarantined": 84,
            "dropped": {"exact_duplicate": 12},
            "clean": 9024,
        },
        "decisions": {"kept": 4211, "flipped": 1320, "discarded": 2842},
        "label_accuracy": {
            "before": accuracy(0.672),
            "kept": accuracy(0.921),
            "flipped": accuracy(0.884),
            "after": accuracy(0.912),
            "n": 9024,
        },
        "gold_accuracy_by_iteration": [accuracy(0.71), accuracy(0.78)],
        "rm_accuracy": {
            "original": accuracy(0.691),
            "filtered": accuracy(0.792),
            "filtered_corrected": accuracy(0.801),
        },
        "judge_agreement": {
            "none": accuracy(0.55),
            "random": accuracy(0.7),
            "retrieved": accuracy(0.84),
        },
        "leaderboard": [
            {"model_size": "qwen3-0.6b", **dict.fromkeys(BENCHMARKS, 0.55), "average": 0.5512}
        ],
        "claims": [
            {
                "name": "labels_improve",
                "claim": "Curation raises label accuracy",
                "verdict": "held",
                **accuracy(0.24),
                "threshold": 0,
            },
            {
                "name": "flips",
                "claim": "Flips add accuracy",
                "verdict": "not held",
                **accuracy(0.009),
                "threshold": "> 0.01",
            },
        ],
        "simulated": ["Judges: exemplar judge"],
        "next_steps": ["Add your own sources"],
    }


def words(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.split("</style>")[1]))


class Opened(HTMLParser):
    """What every section says closed, and what it says when it is opened."""

    def __init__(self, page):
        super().__init__()
        self.sections, self.within = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag == "details":
            assert "details" not in self.within
            self.sections.append({"key": dict(attributes)["id"], "closed": "", "opened": ""})
        if tag in ("details", "summary"):
            self.within.append(tag)

    def handle_endtag(self, tag):
        if tag in ("details", "summary"):
            assert self.within.pop() == tag

    def handle_data(self, data):
        if self.within:
            self.sections[-1]["closed" if self.within[-1] == "summary" else "opened"] += data


def test_one_screen_comes_first_and_the_rest_is_closed(report):
    page = render_report(report)
    text = words(page.split("<details")[0])
    blocks = ["What was asked", "What came out", "What to worry about", "What it cost"]
    places = [text.index(block) for block in blocks]
    assert places == sorted(places)
    assert "67.2% → 91.2%" in text
    assert "1 of 2 claims held" in text
    assert "Flips add accuracy" in text[places[2] : places[3]]
    assert "<details open" not in page


def test_every_section_opens_to_something_and_says_what_when_closed(report):
    found = Opened(render_report(report)).sections
    assert [each["key"] for each in found] == [each.key for each in sections_of(report)]
    assert {"claims", "labels", "decisions", "models", "releases", "judges"} <= {
        each["key"] for each in found
    }
    for each in found:
        assert each["closed"].strip(), each["key"]
        assert len(each["opened"].split()) >= 3, each["key"]


def test_claims_that_failed_come_before_those_that_held(report):
    text = words(render_report(report)).split("What held, and what did not")[1]
    assert text.index("Flips add accuracy") < text.index("Curation raises label accuracy")
    assert "needed &gt; 0.01" in text


def test_every_figure_has_its_interval_and_count(report):
    text = words(render_report(report))
    for value in (
        "67.2% 65.2% to 69.2%, n = 1,000",
        "80.1% 78.1% to 82.1%",
        "84.0% 82.0% to 86.0%",
    ):
        assert value in text
    assert "9,120 rows read, 84 quarantined, 12 dropped while cleaning, 9,024 clean." in text
    assert "kept 4,211 50.3%" in text
    assert "qwen3-0.6b 55.1 55.0" in text
    assert "3 min 33 s" in text


def test_the_page_loads_nothing(report):
    figure = Figure(title="Curve", png=b"\x89PNG", caption="It rises.")
    page = render_report(report, {"iterations": figure})
    assert "default-src 'none'" in page
    assert 'src="data:image/png;base64,iVBORw=="' in page
    assert not re.search(r"https?://|<script|@import|url\(|loading=", page)


def test_texts_are_escaped(report):
    report["claims"][0]["claim"] = report["simulated"][0] = "<script>alert(1)</script>"
    report["pool"]["dropped"] = {"<b>reason": 1}
    report["warnings"] = [{"code": "c", "sentence": "Gold is <i>.", "advice": "Ask <u>."}]
    figure = Figure(title='"><img src=x>', png=b"", caption="<i>")
    page = render_report(report, {"iterations": figure})
    assert "<script>" not in page
    assert "<b>reason" not in page
    assert "<img src=x>" not in page
    assert "<i>" not in page
    assert "<u>" not in page
    assert "Gold is &lt;i&gt;." in page


def test_what_was_not_measured_is_said_and_never_shown_as_zero(report):
    for key in ("label_accuracy", "rm_accuracy", "judge_agreement", "leaderboard", "simulated"):
        report[key] = None
    report["gold_accuracy_by_iteration"] = []
    report["claims"] = [{"claim": "C", "verdict": "not measured", "value": None, "threshold": 0.5}]
    text = words(render_report(report))
    assert "No claim was measured" in text
    assert "Not measured in this campaign" in text
    assert "no truth is known" in text
    assert "0.0%" not in text


def test_a_minimal_report_renders_and_a_missing_key_is_named(report):
    keys = ("profile", "seed", "seconds", "pool", "decisions")
    assert "<!doctype html>" in render_report({key: report[key] for key in keys})
    with pytest.raises(ValueError, match="pool"):
        render_report({"profile": "demo", "seed": 1, "seconds": 1, "decisions": {}})


def test_further_evidence_is_shown_when_it_is_there(report):
    report |= {
        "test_accuracy_by_iteration": [accuracy(0.61), accuracy(0.62)],
        "rm_accuracy_against_length": {"filtered": accuracy(0.5)},
        "filter_precision": {"gold_rm": {"kept": accuracy(0.9), "flipped": None}},
        "judge_agreement_by_objectivity": {"objective": {"none": accuracy(0.57)}},
        "decisions_by_reason": {"kept: human_agrees": 99},
        "flip_guard": {"floor": 0.7, "precision_on_gold": accuracy(0.88)},
    }
    report["rm_accuracy"] = {"my_own_set": accuracy(0.6), **report["rm_accuracy"]}
    report["pool"]["quarantined_by_reason"] = {"empty_response": 84}
    report["pool"]["unread_columns"] = [{"source": "web", "column": "stance", "num_rows": 1200}]
    text = words(render_report(report))
    assert "1 78.0% 76.0% to 80.0% n = 1,000 62.0%" in text
    assert "kept pairs; 50.0% where length misleads" in text
    assert "gold rm 90.0% 88.0% to 92.0% n = 1,000 –" in text
    assert "57.0% 55.0%" in text
    assert "kept: human agrees 99" in text
    assert "empty response 84" in text
    assert "rows in which it holds something web stance 1,200" in text
    assert "at least 70.0% at the lower end" in text
    assert text.index("Filtered and corrected") < text.index("my own set")


def test_a_claim_that_is_not_decided_stands_by_itself_with_its_interval(report):
    report["claims"][1]["verdict"] = "not decided"
    text = words(render_report(report))
    assert "1 of 2 claims held, 1 not decided" in text
    assert "not decided Flips add accuracy 0.009 -0.011 to 0.029, n = 1,000 needed" in text
    assert "Did not hold" not in text


def test_without_a_test_set_the_page_names_gold_validation_instead(report):
    report["test_set"] = "gold validation (no clean test set)"
    text = words(render_report(report))
    assert "Accuracy on gold validation (no clean test set)" in text
    assert "the clean test set" not in text


def test_a_leaderboard_without_benchmarks_is_one_sentence(report):
    nothing = dict.fromkeys((*BENCHMARKS, "average"))
    report["leaderboard"] = [{"model_size": "qwen3-0.6b", **nothing}]
    text = words(render_report(report))
    assert "No benchmark was named" in text
    assert "model average" not in text


def test_a_plot_stands_in_its_section_with_title_and_caption(report):
    figure = Figure(title="Curve", png=b"\x89PNG", caption="It rises, n = 7.")
    page = render_report(report, {"iterations": figure, "nobody_asks_for_it": figure})
    assert page.count("<figure>") == 1
    inside = page.split('id="iterations"')[1].split("</details>")[0]
    assert "<b>Curve</b>It rises, n = 7." in inside


def test_each_source_is_a_row_and_estimates_are_called_that(report):
    share = {"value": 0.7, "low": 0.6, "high": 0.8, "n": 90}
    report["by_source"] = [
        {
            "source": "<hh>", "num_rows": 2312, "num_quarantined": 13, "num_clean": 2299,
            "quarantined_as": {"tied": 13}, "dropped_as": {}, "longer_before": share,
            "label_accuracy": {**share, "by": "people", "covers": 1.0},
        }
    ]  # fmt: skip
    page = render_report(report)
    assert "&lt;hh&gt;" in page
    assert "2,312" in page
    assert "right labels, estimated" in page
    assert "60.0% to 80.0%" in page
    assert 'id="sources"' not in render_report({**report, "by_source": []})


def test_warnings_come_before_every_figure(report):
    report["warnings"] = [{"code": "c", "sentence": "Gold is length.", "advice": "Ask again."}]
    page = render_report(report)
    assert page.index("Gold is length.") < page.index("Ask again.") < page.index("<details")
