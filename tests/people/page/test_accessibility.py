"""Whoever works on the page: by keyboard, with a screen reader, in the dark, on a phone."""

import time
from contextlib import ExitStack

import pytest
from review_cases import announce
from review_servers import coding_pair, free_port, launched_browser, preverified, review_page

from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.people.accounts import Accounts
from synpref_dagster.people.desk import ReviewDesk
from synpref_dagster.people.ledger.database import ReviewDatabase

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
TOUCH_PIXELS = 44
WIDE = (
    "```\n"
    + "x = "
    + " + ".join(str(n) for n in range(80))
    + "\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |"
)
WIDE_PAIR = PreferencePair(
    conversation=(
        {"role": "user", "content": f"Sum it\n\n{WIDE}"},
        {"role": "assistant", "content": "## How?\n\nDone."},
        {"role": "user", "content": "Thanks " * 600},
    ),
    chosen=f"# Result\n\n{WIDE}",
    rejected="",
    source="s",
    origin="human",
)
PAIRS = {"coding": coding_pair(1), "wide": WIDE_PAIR}


@pytest.fixture(scope="module")
def browser():
    with launched_browser() as opened:
        yield opened


@pytest.fixture
def open_page(browser, tmp_path):
    """Puts a pair before somebody who signs in; the server ends with the test."""
    with ExitStack() as servers:

        def opened(pair, *, viewport, scheme="light", look=lambda page: None):
            store = ReviewDatabase(f"sqlite:///{tmp_path}/review.sqlite3")
            about = {pair.pair_id: preverified(pair) | {"risk": "contradictory"}}
            announce(ReviewDesk(store, clock=time.time), [pair], about=about)
            token = Accounts(store, clock=time.time).add("ann", adjudicator=True)
            store.close()
            address = servers.enter_context(review_page(store.url, free_port()))
            page = browser.new_context(viewport=viewport, color_scheme=scheme).new_page()
            page.goto(address)
            look(page)
            page.fill("input[name=token]", token)
            page.click("button")
            page.wait_for_selector("#verdict")
            page.wait_for_load_state("load")  # the style sheet too: boxes are measured
            return page

        yield opened


def violations(page):
    """What axe finds wrong (names, contrast, landmarks, headings, focus), with the elements."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response
    assert len(found["passes"]) > 20
    return {rule["id"]: [node["html"] for node in rule["nodes"]] for rule in found["violations"]}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing_wrong(open_page, name, scheme, viewport):
    def sign_in_form(page):
        assert violations(page) == {}

    page = open_page(PAIRS[name], viewport=viewport, scheme=scheme, look=sign_in_form)
    assert violations(page) == {}
    page.click("details summary >> nth=0")
    assert violations(page) == {}
    page.keyboard.press("Escape")
    page.keyboard.press("x")
    page.wait_for_selector("text=Nothing is waiting for you")
    assert violations(page) == {}


def test_axe_would_find_a_button_without_a_name(open_page):
    page = open_page(PAIRS["coding"], viewport=DESK)
    page.evaluate("document.querySelector('[data-key=t]').textContent = ''")
    assert "button-name" in violations(page)


@pytest.mark.parametrize("name", PAIRS)
def test_at_1280_pixels_both_responses_stand_side_by_side_and_buttons_stay_in_sight(
    open_page, name
):
    page = open_page(PAIRS[name], viewport=DESK)
    one, two = (page.locator(".candidate").nth(n).bounding_box() for n in (0, 1))
    assert one["y"] == two["y"]
    assert one["x"] + one["width"] <= two["x"]
    assert abs(one["width"] - two["width"]) < 2
    check_buttons(page, DESK)


@pytest.mark.parametrize("name", PAIRS)
def test_on_a_phone_nothing_sticks_out_and_buttons_fit_a_thumb(open_page, name):
    page = open_page(PAIRS[name], viewport=PHONE)
    one, two = (page.locator(".candidate").nth(n).bounding_box() for n in (0, 1))
    assert one["y"] + one["height"] <= two["y"]
    check_buttons(page, PHONE)


def check_buttons(page, viewport):
    """All four verdicts are on the screen, large enough, and nothing sticks out."""
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    for key in "1tx2":
        box = page.locator(f"[data-key='{key}']").bounding_box()
        assert box["height"] >= TOUCH_PIXELS
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= viewport["width"]
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= viewport["height"]


def test_the_tabulator_goes_through_the_page_in_reading_order(open_page):
    page = open_page(PAIRS["coding"], viewport=DESK)
    order = []
    for _ in range(40):
        page.keyboard.press("Tab")
        name = page.evaluate(
            """() => { const at = document.activeElement;
            return at === document.body ? "" : (at.dataset.key || at.getAttribute("name")
              || at.getAttribute("aria-label") || at.className || at.textContent.trim()); }"""
        )
        if not name:
            break
        order.append(name)
    steps = ["skip", "Web", "Text of Candidate 1", "Text of Candidate 2", "1", "t", "x", "2"]
    steps += ["confidence", "attribute_task_category", "attribute_annotation_guideline"]
    assert [name for name in order if name in steps] == steps
    page.keyboard.press("Home")


def test_the_skip_link_leads_to_the_verdict_and_shows_itself(open_page):
    page = open_page(PAIRS["coding"], viewport=DESK)
    page.keyboard.press("Tab")
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.key") == "1"


def test_every_step_of_the_keyboard_shows_where_it_is(open_page):
    page = open_page(PAIRS["coding"], viewport=DESK)
    for _ in range(12):
        page.keyboard.press("Tab")
        width = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert float(width.removesuffix("px")) >= 2
