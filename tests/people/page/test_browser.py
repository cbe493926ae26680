"""Two annotators label a batch of thirty with the keyboard, in a real browser."""

import re
import time
from pathlib import Path

import pytest
from review_cases import announce
from review_servers import coding_pair, free_port, launched_browser, preverified, review_page

from synpref_dagster.people.accounts import Accounts
from synpref_dagster.people.desk import ReviewDesk
from synpref_dagster.people.ledger.answers import live_answers
from synpref_dagster.people.ledger.database import ReviewDatabase
from synpref_dagster.people.ledger.ledger import AnswerLedger

pytestmark = pytest.mark.servers

SCREENSHOT = Path(__file__).resolve().parents[3] / "docs" / "images" / "review_page.png"
NUM_PAIRS = 30
CONTRARY = (4, 11, 12, 20, 29)  # requests on which the second annotator says the opposite


class Annotator:
    """A person at the keyboard."""

    def __init__(self, browser, address, token, *, contrary=()):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        self.page = context.new_page()
        self.elsewhere, self.errors = [], []
        self.page.on(
            "request",
            lambda r: None if r.url.startswith(address) else self.elsewhere.append(r.url),
        )
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.contrary = contrary
        self.page.goto(address)
        self.page.fill("input[name=token]", token)
        self.page.click("button")
        self.page.wait_for_selector("#verdict")

    @property
    def request(self):
        text = self.page.inner_text(".conversation")
        return int(re.search(r"request (\d+)", text)[1])

    def better(self):
        """The key of the response that this person finds better."""
        first = self.page.locator(".candidate").nth(0).inner_text()
        good_is_first = "raise ValueError" in first
        return "1" if good_is_first != (self.request in self.contrary) else "2"

    def done(self):
        return int(self.page.inner_text("#num-done"))

    def answer(self, act=None):
        # A key pressed before the page's script has run is nobody's.
        self.page.wait_for_load_state("domcontentloaded")
        key, before = self.better(), self.done()
        if act == "double click":
            self.page.dblclick(f"[data-key='{key}']", no_wait_after=True)
        else:
            self.page.keyboard.press(key)
        from playwright.sync_api import expect

        expect(self.page.locator("#num-done")).to_have_text(str(before + 1), timeout=30_000)


@pytest.fixture
def browser():
    with launched_browser() as opened:
        yield opened


@pytest.mark.timeout(300)
def test_two_annotators_label_thirty_pairs_with_the_keyboard(browser, tmp_path):
    url = f"sqlite:///{tmp_path}/review.sqlite3"
    store = ReviewDatabase(url)
    desk, accounts = ReviewDesk(store, clock=time.time), Accounts(store, clock=time.time)
    pairs = [coding_pair(number) for number in range(NUM_PAIRS)]
    about = {pair.pair_id: preverified(pair) for pair in pairs}
    announce(desk, pairs, double_share=1.0, about=about)
    tokens = {name: accounts.add(name) for name in ("ann", "bob")}
    tokens["carol"] = accounts.add("carol", adjudicator=True)

    with review_page(url, free_port()) as address:
        ann = Annotator(browser, address, tokens["ann"])
        bob = Annotator(browser, address, tokens["bob"], contrary=CONTRARY)
        for turn in range(NUM_PAIRS):
            if turn == 7:
                shown = ann.request
                ann.page.reload()
                assert ann.request == shown
            if turn == 8:
                photograph(ann.page)
            ann.answer("double click" if turn == 15 else None)
            bob.answer()
        assert "Nothing is waiting for you" in ann.page.content()
        assert len(AnswerLedger(store).answers()) == 2 * NUM_PAIRS
        check_ledger(store, pairs)
        assert len(desk.in_adjudication()) == len(CONTRARY)

        carol = Annotator(browser, address, tokens["carol"])
        assert carol.page.inner_text("#num-adjudication") == str(len(CONTRARY))
        for _ in CONTRARY:
            carol.answer()
        everybody = (ann, bob, carol)
        assert [person.elsewhere for person in everybody] == [[], [], []]
        assert [person.errors for person in everybody] == [[], [], []]
    assert desk.in_adjudication() == []
    assert desk.batch("batch").complete
    store.close()


def check_ledger(store, pairs):
    """One verdict per annotator and pair, each as that person meant it."""
    live = live_answers(AnswerLedger(store).answers())
    assert len(live) == 2 * NUM_PAIRS
    for number, pair in enumerate(pairs):
        right = 1 if pair.chosen < pair.rejected else -1
        contrary = number in CONTRARY
        assert live["batch", pair.pair_id.hex(), "ann"].sorted_sign == right
        assert live["batch", pair.pair_id.hex(), "bob"].sorted_sign == right * (1 - 2 * contrary)


def photograph(page):
    """The picture in docs/, and that nothing sticks out on a phone."""
    page.click("details summary >> nth=0")
    page.check("input[name=tools][value=code]")
    page.check("input[name=confidence][value='3']")
    SCREENSHOT.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOT, full_page=True)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.screenshot(path=SCREENSHOT.with_name("review_page_phone.png"))
    page.set_viewport_size({"width": 1280, "height": 900})
    page.evaluate("document.activeElement.blur()")
