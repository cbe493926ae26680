"""People who answer on a running page, over HTTP like a browser without JavaScript."""

import re
import time

import requests

from synpref_dagster.people.desk import ReviewDesk
from synpref_dagster.people.ledger import database
from synpref_dagster.people.ledger.database import ReviewDatabase
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.resources.sources import PoolSources

FIELD = re.compile(r'name="(csrf|form_token|undoes)" value="([^"]*)"')


def recorded_signs(profile):
    """content_id -> sign of the better response against sorted order, as recorded people said."""
    campaign = Campaign(profile_json=profile.model_dump_json(), store_root=profile.store_root())
    signs = {"first": 1, "second": -1}
    rows = PoolSources(campaign=campaign).recorded_verdicts()
    return {row["content_id"]: signs.get(row["verdict"], 1) for row in rows}


def sign_in(address, token):
    """A browser with a session of its own."""
    browser = requests.Session()
    browser.post(f"{address}/sign-in", data={"token": token})
    return browser


def answer(address, browser, *, url, signs, at_most=None, **more):
    """Answer what is waiting for whoever is signed in, as recorded people did; how many.

    Further fields (`attribute_objectivity="subjective"`) are sent with every answer.
    """
    store = ReviewDatabase(url)
    num_given = 0
    while num_given != at_most:
        page = browser.get(address)
        if page.status_code == 429:  # faster than people are
            time.sleep(0.5)
            continue
        fields = dict(FIELD.findall(page.text))
        if "form_token" not in fields:
            break
        give(browser, address, fields, _verdict(store, fields["form_token"], signs), **more)
        num_given += 1
    store.close()
    return num_given


def give(browser, address, fields, verdict, **more):
    """Send the form of a pair."""
    form = {**fields, "verdict": verdict, **more}
    while (response := browser.post(f"{address}/verdict", data=form)).status_code == 429:
        time.sleep(0.5)
    assert response.ok, response.text


def correct_the_last_verdict(address, browser, verdict="tie", **more):
    """Take the last verdict of this session back and say something else about the pair."""
    fields = dict(FIELD.findall(browser.get(address).text))
    page = browser.post(f"{address}/undo", data=fields)
    assert "was taken back" in page.text
    give(browser, address, dict(FIELD.findall(page.text)), verdict, **more)


def _verdict(store, form_token, signs):
    [shown] = [row for row in store.rows(database.assignments) if row["form_token"] == form_token]
    [item] = [
        case.item
        for case in ReviewDesk(store, clock=float).cases(shown["batch_id"])
        if case.item.pair_id == shown["pair_id"]
    ]
    first_is_better = signs.get(item.content_id, 1) > 0
    return "candidate_1" if first_is_better == (shown["candidate_1"] == "first") else "candidate_2"
