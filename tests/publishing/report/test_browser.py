"""The report page in a browser: everything can be opened, nothing sticks out on a phone."""

import pytest
from review_servers import launched_browser

from synpref_dagster.publishing.report.figures import report_figures
from synpref_dagster.publishing.report.page import render_report

pytestmark = pytest.mark.servers

WIDTHS = (1280, 390)
LONG = "a_source_whose_name_is_as_long_as_people_make_them_2026_11_30"


def accuracy(value, n=1000):
    return {"value": value, "low": value - 0.02, "high": value + 0.02, "n": n}


REPORT = {
    "profile": "a-profile-with-a-long-name",
    "seed": 7,
    "seconds": 213.4,
    "pool": {"read": 9120, "quarantined": 84, "dropped": {"duplicate": 12}, "clean": 9024},
    "decisions": {"kept": 4211, "flipped": 1320, "discarded": 2842},
    "decisions_by_source": {LONG: {"kept": 4211, "flipped": 1320, "discarded": 2842}},
    "label_accuracy": {"before": accuracy(0.67), "after": accuracy(0.91)},
    "gold_accuracy_by_iteration": [accuracy(0.71), accuracy(0.78)],
    "rm_accuracy": {"original": accuracy(0.69), "filtered_corrected": accuracy(0.8)},
    "judge_agreement": {"none": accuracy(0.55), "retrieved": accuracy(0.84)},
    "releases": [
        {
            "model_size": "a-model-of-ones-own-with-a-long-name",
            "average": accuracy(0.55),
            "benchmarks": {f"own_suite_{number}": accuracy(0.5) for number in range(12)},
        }
    ],
    "leaderboard": [{"model_size": "a-model-of-ones-own-with-a-long-name"}],
    "claims": [
        {"claim": "Curation raises label accuracy", "verdict": "held", "threshold": 0}
        | accuracy(0.24)
    ],
    "sources": [{"name": LONG, "licence": "mit", "place": "x" * 90, "fingerprint": "f" * 16}],
    "fingerprints": {"clean_pool": "0" * 65},
    "warnings": [{"code": "c", "sentence": "W" * 80, "advice": "/a/path/" + "x" * 80}],
    "simulated": ["Judges: exemplar judge"],
    "next_steps": ["synpref run --profile " + "p" * 90],
}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    page = tmp_path_factory.mktemp("report") / "report.html"
    page.write_text(render_report(REPORT, report_figures(REPORT)), encoding="utf-8")
    return page.as_uri()


@pytest.fixture(scope="module")
def browser():
    with launched_browser() as found:
        yield found


@pytest.mark.parametrize("width", WIDTHS)
def test_every_section_opens_and_the_page_never_scrolls_sideways(browser, address, width):
    page = browser.new_page(viewport={"width": width, "height": 800})
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    titles = page.locator("details > summary")
    assert titles.count() >= 8
    for number in range(titles.count()):
        body = page.locator("details > .body").nth(number)
        assert not body.is_visible()
        titles.nth(number).click()
        assert body.is_visible()
        assert body.inner_text().strip()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for image in page.locator("img").all():
        assert image.evaluate("image => image.naturalWidth") > 0
    assert [url for url in asked if not url.startswith(("data:", address))] == []


def test_a_section_opens_by_the_keyboard_too(browser, address):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(address)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is not None
