"""The page under attack, and as people use it; no server, no network."""

import json
import re
from html.parser import HTMLParser

import pytest
from fastapi.testclient import TestClient
from review_cases import Clock, announce, make_pair

from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.people.accounts import Accounts
from synpref_dagster.people.label_studio import _task
from synpref_dagster.people.ledger.answers import live_answers
from synpref_dagster.people.ledger.batches import Batch, make_batch
from synpref_dagster.people.ledger.ledger import AnswerLedger
from synpref_dagster.people.page.limits import refuse_leaving
from synpref_dagster.people.page.page import ReviewPage
from synpref_dagster.people.page.serving import serve

FIELD = re.compile(r'name="(csrf|form_token|undoes)" value="([^"]*)"')
ATTACKS = {
    "script": "<script>alert(1)</script>",
    "html": '<img src=x onerror=alert(1)><b onclick="alert(1)">b</b><iframe src="//x"></iframe>',
    "links": "[a](javascript:alert(1)) [b](JaVaScRiPt:x) [c](data:text/html,x) <javascript:x>",
    "image": "![x](https://evil.example/pixel.png)",
    "break out": '</div></main><form action="https://evil.example"><input name="verdict">',
    "attribute": '"><script>alert(1)</script>',
    "fence": "```html\n<script>alert(1)</script>\n```",
    "rtl": "abc \u202e gpj.exe \u2066 x",
    "null": "a\x00b\x07c",
    "surrogate": "lone \ud800 half",
    "template": "{{ 7 * 7 }} {% raw %}",
}


class Tags(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def fields(html):
    return dict(FIELD.findall(html))


def give(browser, verdict, **extra):
    html = browser.get("/").text
    known = fields(html)
    data = {"csrf": known["csrf"], "form_token": known["form_token"], "verdict": verdict, **extra}
    return browser.post("/verdict", data=data), data


def attack_pair(text):
    return PreferencePair(
        conversation=({"role": "user", "content": text}, {"role": text, "content": text}),
        chosen=text,
        rejected=text + " other",
        source="s",
        origin="human",
    )


@pytest.mark.parametrize("text", ATTACKS.values(), ids=ATTACKS)
def test_nothing_in_a_response_becomes_active(desk, sign_in, text):
    pair = attack_pair(text)
    about = {
        pair.pair_id: {
            "attributes": {
                "desired_attributes": text,
                "annotation_guideline": "</textarea>" + text,
            },
            "preverification": {"first": text, "second": text},
        }
    }
    announce(desk, [pair], about=about)
    response = sign_in("ann").get("/")
    assert response.status_code == 200
    tags = Tags(response.text).found
    scripts = [attrs for tag, attrs in tags if tag == "script"]
    assert scripts == [{"src": "/static/review.js", "defer": None}]
    assert not [tag for tag, _ in tags if tag in ("img", "iframe", "object", "embed", "base")]
    assert not [name for _, attrs in tags for name in attrs if name.startswith("on")]
    actions = {attrs["action"] for tag, attrs in tags if tag == "form"}
    assert actions == {"/verdict", "/undo", "/sign-out"}
    links = [attrs.get("href", "") for tag, attrs in tags if tag == "a"]
    assert all(link.startswith(("https://", "http://", "#")) for link in links)
    assert not re.search("[\x00-\x08\u202a-\u202e\u2066-\u2069\ud800]", response.text)


@pytest.mark.parametrize("text", ATTACKS.values(), ids=ATTACKS)
def test_hostile_texts_survive_storage_unchanged(desk, text):
    pair = attack_pair(text)
    announce(desk, [pair])
    [case] = desk.cases("batch")
    assert {case.item.first, case.item.second} == {pair.chosen, pair.rejected}


def test_a_response_of_one_megabyte_is_shown_whole(desk, sign_in):
    long = "0123456789abcde " * 65_536
    pair = PreferencePair(
        conversation=({"role": "user", "content": "q"},),
        chosen=long + "END",
        rejected="short",
        source="s",
        origin="human",
    )
    announce(desk, [pair])
    assert long + "END" in sign_in("ann").get("/").text


def test_markdown_and_code_are_rendered(desk, sign_in):
    pair = make_pair(
        1, chosen="**bold** `x < 1`\n\n```python\nif a < b: pass\n```\n\n", rejected="r"
    )
    announce(desk, [pair])
    html = sign_in("ann").get("/").text
    assert "<strong>bold</strong>" in html
    assert "<code>x &lt; 1</code>" in html
    assert '<pre tabindex="0"><code class="language-python">if a &lt; b: pass' in html


def test_every_answer_carries_the_security_headers(desk, sign_in):
    browser = sign_in(None)
    for path in ("/", "/sign-in", "/static/review.js", "/nowhere"):
        headers = browser.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_the_page_never_says_which_response_was_chosen(desk, sign_in):
    announce(desk, [make_pair(1)])
    html = sign_in("ann").get("/").text
    assert not re.search(r"chosen|rejected|source", html)


def test_the_sides_are_balanced_over_pairs_and_recorded(desk, sign_in, store, clock):
    announce(desk, [make_pair(number) for number in range(60)])
    browser = sign_in("ann")
    for _ in range(60):
        clock.now += 5
        html = browser.get("/").text
        first = html.index("Candidate 1</h2>")
        shown = re.search(r"(good|bad) \d+", html[first:])[1]
        give(browser, "candidate_1" if shown == "good" else "candidate_2")
    rows = AnswerLedger(store).answers()
    # "bad" sorts first: the good response is always the sorted second.
    assert [row.sorted_sign for row in rows] == [-1] * 60
    assert 20 <= sum(row.candidate_1 == "first" for row in rows) <= 40


@pytest.mark.parametrize("token", ["", "spr_wrong", "x" * 100_00, "' OR 1=1 --", "ann"])
def test_wrong_tokens_do_not_sign_in(desk, sign_in, accounts, token):
    announce(desk, [make_pair(1)])
    accounts.add("ann")
    browser = sign_in(None)
    assert browser.post("/sign-in", data={"token": token}).status_code == 403
    assert "question 1" not in browser.get("/").text


def test_guessing_tokens_is_slowed_down(sign_in):
    browser = sign_in(None)
    codes = [browser.post("/sign-in", data={"token": f"spr_{n}"}).status_code for n in range(15)]
    assert codes == [403] * 10 + [429] * 5


def test_without_a_session_nothing_is_shown_or_written(desk, sign_in, store):
    announce(desk, [make_pair(1)])
    _, data = give(sign_in("ann"), "cannot_decide")
    stranger = sign_in(None)
    assert "question 1" not in stranger.get("/").text
    assert stranger.post("/verdict", data=data).status_code == 401
    assert len(AnswerLedger(store).answers()) == 1


@pytest.mark.parametrize("cookie", ["ann~1700000000~00~00", "ann", "~~~", "ann~x~y~z", ""])
def test_a_forged_session_is_none(desk, sign_in, accounts, cookie):
    accounts.add("ann")
    announce(desk, [make_pair(1)])
    browser = sign_in(None)
    browser.cookies.set("synpref_review", cookie)
    assert "question 1" not in browser.get("/").text


def test_a_session_opens_for_its_name_time_and_key_alone(accounts, clock: Clock):
    for name in ("ann", "bob"):
        accounts.add(name)
    cookie = accounts.open_session(accounts.named("ann"))
    assert accounts.with_session(cookie) == accounts.named("ann")
    name, nonce, time, signature = cookie.split("~")
    clock.now += 60
    later = accounts.open_session(accounts.named("ann")).split("~")[2]
    assert later != time
    for forged in (
        f"bob~{nonce}~{time}~{signature}",
        f"{name}~{nonce}~{later}~{signature}",
        f"{name}~{nonce[:-1]}~{time}~{signature}",
        f"{name}~{nonce}~{time}~{accounts.csrf_token(cookie)}",
    ):
        assert accounts.with_session(forged) is None


def test_one_session_has_one_name_however_its_signature_is_spelt(accounts):
    cookie = accounts.open_session(accounts.named("ann") or _added(accounts, "ann"))
    for spelt in (f"{cookie}=", f"{cookie[:-3]}+{cookie[-3:]}"):
        assert accounts.session_name(spelt) == accounts.session_name(cookie)
        assert accounts.csrf_token(spelt) == accounts.csrf_token(cookie)
    assert accounts.with_session(f"{cookie[:-3]}\u00e9{cookie[-3:]}") is None
    assert accounts.with_session(f"{cookie}\ud800") is None


def _added(accounts, name):
    accounts.add(name)
    return accounts.named(name)


def test_a_session_that_was_signed_out_is_refused_to_whoever_kept_its_cookie(
    desk, sign_in, accounts, store, clock: Clock
):
    announce(desk, [make_pair(1)])
    browser, thief = sign_in("ann"), sign_in(None)
    cookie = browser.cookies["synpref_review"]
    thief.cookies.set("synpref_review", cookie)
    html = thief.get("/").text
    assert "question 1" in html  # as long as ann is there
    sent = {**fields(html), "verdict": "tie"}
    browser.post("/sign-out", data={"csrf": sent["csrf"]})
    thief.cookies.set("synpref_review", cookie)
    assert "question 1" not in thief.get("/").text
    assert thief.post("/verdict", data=sent).status_code == 401
    assert AnswerLedger(store).answers() == []
    # However the signature is spelt, in another process, and after a restart.
    again = Accounts(store, clock=clock)
    for spelt in (cookie, f"{cookie}="):
        assert accounts.with_session(spelt) is None
        assert again.with_session(spelt) is None
    # Another session of the same account goes on, and a new one begins.
    other = accounts.open_session(accounts.named("ann"))
    assert accounts.with_session(other) == accounts.named("ann")


def test_a_new_token_ends_old_sessions(desk, sign_in, accounts):
    announce(desk, [make_pair(1)])
    browser = sign_in("ann")
    assert "question 1" in browser.get("/").text
    accounts.add("ann")
    assert "question 1" not in browser.get("/").text


def test_a_closed_account_and_an_old_session_are_none(desk, sign_in, accounts, clock: Clock):
    announce(desk, [make_pair(1)])
    ann, bob = sign_in("ann"), sign_in("bob")
    accounts.close("ann")
    assert "question 1" not in ann.get("/").text
    clock.now += 13 * 3600
    assert "question 1" not in bob.get("/").text


def test_nothing_is_written_for_another_annotator(desk, sign_in, store):
    announce(desk, [make_pair(1), make_pair(2)])
    ann, mallory = sign_in("ann"), sign_in("mallory")
    of_ann = fields(ann.get("/").text)
    of_mallory = fields(mallory.get("/").text)
    forged = {**of_mallory, "form_token": of_ann["form_token"], "verdict": "tie"}
    assert mallory.post("/verdict", data=forged).status_code == 403
    named = {**of_mallory, "verdict": "tie", "annotator": "ann", "pair_id": "00", "batch_id": "b"}
    assert mallory.post("/verdict", data=named).status_code == 200
    [row] = AnswerLedger(store).answers()
    assert row.annotator == "mallory"


@pytest.mark.parametrize("csrf", ["", "0" * 64, "foreign"])
def test_a_form_without_its_sessions_token_is_refused(desk, sign_in, store, csrf):
    announce(desk, [make_pair(1)])
    ann = sign_in("ann")
    known = fields(ann.get("/").text)
    if csrf == "foreign":
        csrf = fields(sign_in("bob").get("/").text)["csrf"]
    data = {"csrf": csrf, "form_token": known["form_token"], "verdict": "tie"}
    assert ann.post("/verdict", data=data).status_code == 403
    assert AnswerLedger(store).answers() == []


def test_foreign_origins_and_hosts_are_refused(desk, sign_in, store):
    announce(desk, [make_pair(1)])
    ann = sign_in("ann")
    known = {**fields(ann.get("/").text), "verdict": "tie"}
    evil = {"origin": "http://evil.example"}
    assert ann.post("/verdict", data=known, headers=evil).status_code == 403
    assert ann.get("/", headers={"host": "evil.example"}).status_code == 421
    assert AnswerLedger(store).answers() == []


def test_a_replayed_form_is_recorded_once(desk, sign_in, store):
    announce(desk, [make_pair(1), make_pair(2)])
    ann = sign_in("ann")
    _, data = give(ann, "candidate_1")
    again = ann.post("/verdict", data={**data, "verdict": "candidate_2"})
    assert "had been recorded already" in again.text
    assert [row.verdict for row in AnswerLedger(store).answers()] == ["candidate_1"]


@pytest.mark.parametrize(
    "bad",
    [
        {"verdict": "withdrawn"},
        {"verdict": "chosen"},
        {"verdict": ""},
        {"verdict": "tie", "confidence": "9"},
        {"verdict": "tie", "attribute_objectivity": "<script>"},
    ],
)
def test_illegal_answers_are_refused(desk, sign_in, store, bad):
    announce(desk, [make_pair(1)])
    response, _ = give(sign_in("ann"), **bad)
    assert response.status_code == 400
    assert AnswerLedger(store).answers() == []


def test_too_large_and_unreadable_forms_are_refused(desk, sign_in):
    browser = sign_in("ann")
    assert browser.post("/verdict", content=b"a=" + b"x" * 70_000).status_code == 413
    assert browser.post("/verdict", content=b"&".join([b"a=1"] * 100)).status_code == 400
    assert browser.post("/verdict", content=b"\xff\xfe=1").status_code == 400


def test_requests_are_rate_limited_per_annotator(desk, sign_in):
    announce(desk, [make_pair(1)])
    ann, bob = sign_in("ann"), sign_in("bob")
    codes = [ann.get("/").status_code for _ in range(80)]
    assert codes[0] == 200
    assert codes[-1] == 429
    assert bob.get("/").status_code == 200


def test_undo_is_a_new_row_and_shows_the_pair_again(desk, sign_in, store):
    announce(desk, [make_pair(1), make_pair(2)])
    ann = sign_in("ann")
    give(ann, "candidate_1")
    known = fields(ann.get("/").text)
    undo = {"csrf": known["csrf"], "undoes": known["undoes"]}
    assert "question 1" in ann.post("/undo", data=undo).text
    # A double click takes back nothing else.
    assert "nothing to take back in this session" in ann.post("/undo", data=undo).text
    give(ann, "tie")
    rows = AnswerLedger(store).answers()
    assert [row.verdict for row in rows] == ["candidate_1", "withdrawn", "tie"]
    assert [row.verdict for row in live_answers(rows).values()] == ["tie"]


def test_corrected_attributes_confidence_tools_and_time_are_recorded(desk, sign_in, store, clock):
    announce(desk, [make_pair(1)])
    ann = sign_in("ann")
    ann.get("/")
    clock.now += 30
    give(
        ann,
        "tie",
        attribute_objectivity="subjective",
        attribute_task_category="coding_and_debugging",
        attribute_annotation_guideline="Read twice.\r\nThen decide.",
        confidence="2",
        tools=["code", "nonsense"],
        seconds="12.5",
    )
    [row] = AnswerLedger(store).answers()
    assert row.edited_attributes == {
        "objectivity": "subjective",
        "annotation_guideline": "Read twice.\nThen decide.",
    }
    assert (row.confidence, row.tools, row.seconds) == (2, ("code",), 12.5)
    assert row.protocol_version == "1"


def test_time_cannot_be_claimed_that_did_not_pass(desk, sign_in, store, clock):
    announce(desk, [make_pair(1)])
    give(sign_in("ann"), "tie", seconds="9999")
    assert AnswerLedger(store).answers()[0].seconds == 0


def test_a_reload_and_a_restart_resume_at_the_same_pair(store, desk, sign_in, accounts, clock):
    from synpref_dagster.people.desk import ReviewDesk

    announce(desk, [make_pair(number) for number in range(5)])
    ann = sign_in("ann")
    give(ann, "tie")
    shown = fields(ann.get("/").text)["form_token"]
    assert fields(ann.get("/").text)["form_token"] == shown
    restarted = ReviewDesk(store, clock=clock)
    session = accounts.session_name(ann.cookies["synpref_review"])
    case, again = restarted.open(accounts.named("ann"), session=session)
    assert again.form_token == shown
    # Somebody who signs in anew resumes at the same pair, with a form of the new session.
    other_case, other = restarted.open(accounts.named("ann"), session="another")
    assert (other_case, other.form_token == shown) == (case, False)


def test_undo_reaches_back_to_the_sign_in_and_no_further(desk, sign_in, accounts, store):
    announce(desk, [make_pair(number) for number in range(5)])
    yesterday = sign_in("ann")
    give(yesterday, "tie")
    undoes = fields(yesterday.get("/").text)["undoes"]
    today = sign_in(None)
    today.cookies.set("synpref_review", accounts.open_session(accounts.named("ann")))
    html = today.get("/").text
    assert fields(html)["undoes"] == ""
    assert re.search(r'<button id="undo"[^>]*disabled', html)
    csrf = fields(html)["csrf"]
    assert "nothing to take back" in today.post("/undo", data={"csrf": csrf, "undoes": undoes}).text
    give(today, "cannot_decide")
    mine = fields(today.get("/").text)
    assert "was taken back" in today.post("/undo", data=mine).text
    rows = [(row.verdict, row.form_token.startswith(mine["undoes"])) for row in _rows(store)]
    assert rows == [("tie", False), ("cannot_decide", True), ("withdrawn", False)]
    assert fields(yesterday.get("/").text)["undoes"] == undoes


def _rows(store):
    return AnswerLedger(store).answers()


def test_an_empty_response_says_so(desk, sign_in):
    pair = PreferencePair(
        conversation=({"role": "user", "content": "q"},),
        chosen="x",
        rejected="",
        source="s",
        origin="human",
    )
    announce(desk, [pair])
    assert "This response is empty" in sign_in("ann").get("/").text


def test_a_risky_pair_says_why_and_not_which_side(desk, sign_in):
    pair = make_pair(1)
    announce(desk, [pair], about={pair.pair_id: {"risk": "contradictory, low_margin"}})
    ann, twin = sign_in("ann"), make_pair(2)
    html = ann.get("/").text
    assert "risky: contradictory, low margin" in html
    give(ann, "tie")
    announce(desk, [twin], name="plain", about={})
    assert "risky" not in ann.get("/").text


def preverified_pair():
    """A pair, and what an LLM says about each response; "bad" sorts before "good"."""
    pair = make_pair(1)
    checks = {"first": "the bad one is wrong", "second": "the good one is right"}
    return pair, {pair.pair_id: {"preverification": checks}}


@pytest.mark.parametrize("name", ["ann", "bob", "carol", "dan", "eve", "finn"])
def test_what_an_llm_says_is_behind_a_fold_beside_its_own_response(desk, sign_in, name):
    pair, about = preverified_pair()
    announce(desk, [pair], about=about)
    html = sign_in(name).get("/").text
    folds = [attrs for tag, attrs in Tags(html).found if tag == "details"]
    assert folds == [{"class": "fold"}] * 2  # no `open`: closed until somebody looks
    for side in html.split('<section class="candidate"')[1:]:
        shown, _, fold = side.partition("<details")
        assert "one is" not in shown
        assert ("bad 1" in shown) == ("the bad one is wrong" in fold)
        assert ("good 1" in shown) == ("the good one is right" in fold)


def test_what_an_llm_says_never_decides_on_which_side_a_response_is_shown(desk, accounts):
    pair, about = preverified_pair()
    sides = []
    for number in range(20):
        name = f"a{number}"
        accounts.add(name)
        announce(desk, [pair], name=f"plain {number}", about={})
        announce(desk, [pair], name=f"checked {number}", about=about)
        for _ in range(2):
            case, shown = desk.open(accounts.named(name))
            sides.append((name, bool(case.item.preverification), shown.candidate_1))
            desk.submit(accounts.named(name), shown.form_token, {"verdict": "tie"})
    plain, checked = (
        {name: side for name, known, side in sides if known is seen} for seen in (False, True)
    )
    assert plain == checked
    assert set(plain.values()) == {"first", "second"}


def test_label_studio_is_sent_no_opinion_of_any_model():
    pair, about = preverified_pair()
    about[pair.pair_id]["risk"] = "low_margin"
    batch = Batch(
        batch_id="b",
        campaign="c",
        asset="a",
        protocol_version="1",
        num_items=1,
        adjudicate=False,
        created_at=0.0,
    )
    [item] = make_batch([pair], about, batch=batch, double_share=0)
    sent = json.dumps(_task(item))
    assert "one is" not in sent
    assert "low_margin" not in sent
    assert not {"preverification", "risk", "predictions"} & set(_task(item))


def test_a_pair_that_may_not_leave_is_searched_for_nowhere_and_shown_here_only(
    desk, accounts, sign_in, clock
):
    announce(desk, [make_pair(1), make_pair(2)], staying=["s"])
    html = sign_in("ann").get("/").text
    assert "question" in html
    assert "Search for it" not in html
    assert "https://" not in html
    page = ReviewPage(desk, accounts, clock=clock, hosts=["review.lan", "127.0.0.1"]).app()
    browser = TestClient(page, base_url="http://review.lan", follow_redirects=True)
    browser.post("/sign-in", data={"token": accounts.add("bob")})
    answer = browser.get("/")
    assert answer.status_code == 403
    assert "may not leave the machine" in answer.text
    assert "question" not in answer.text


def test_a_pair_that_may_leave_is_shown_wherever_the_page_is_open(desk, accounts, clock):
    announce(desk, [make_pair(1)])
    page = ReviewPage(desk, accounts, clock=clock, hosts=["review.lan"]).app()
    browser = TestClient(page, base_url="http://review.lan", follow_redirects=True)
    browser.post("/sign-in", data={"token": accounts.add("bob")})
    assert "Search for it" in browser.get("/").text


@pytest.mark.parametrize(
    ("host", "names"), [("0.0.0.0", ["review.lan"]), ("127.0.0.1", ["review.lan"]), ("::", ["a"])]
)
def test_the_page_is_not_opened_to_others_while_pairs_may_not_leave(
    desk, accounts, store, host, names
):
    accounts.add("ann")
    announce(desk, [make_pair(1), make_pair(2)], staying=["s"])
    assert desk.num_staying() == 2
    with pytest.raises(ValueError, match="2 pairs before people may not leave this machine"):
        serve(store.url, host=host, port=0, public_hosts=names)


def test_a_page_on_this_machine_may_show_them():
    refuse_leaving("127.0.0.1", num_staying=3, public_hosts=["localhost"])
    refuse_leaving("0.0.0.0", num_staying=0, public_hosts=["review.lan"])
