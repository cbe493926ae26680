"""The same batch through a real Label Studio gives the same rows as the review page."""

import os
import subprocess
import time
from pathlib import Path

import pytest
import requests
from review_cases import announce, make_pair
from review_servers import free_port

from synpref_dagster.people.label_studio import LabelStudio
from synpref_dagster.people.ledger.answers import live_answers
from synpref_dagster.people.ledger.ledger import AnswerLedger

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "0123456789abcdef0123456789abcdef01234567"
START_SECONDS = 300
NUM_PAIRS = 30
TIES, UNDECIDED = (3, 17), (8,)


@pytest.fixture
def server(tmp_path):
    """Address of a Label Studio on loopback, with its data in a folder of this test."""
    port = free_port()
    command = [ROOT / "scripts/services/label_studio.sh", "start", tmp_path / "ls", str(port)]
    (tmp_path / "ls").mkdir()
    environment = {**os.environ, "LABEL_STUDIO_TOKEN": TOKEN}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START_SECONDS
        try:
            while not answers(address):
                assert process.poll() is None, "Label Studio ended"
                assert time.monotonic() < deadline, "Label Studio did not start"
                time.sleep(1)
            yield address
        finally:  # also when it did not start: nothing else ends it
            process.kill()  # SIGTERM it may ignore while it starts
            process.wait(timeout=60)


def answers(address):
    try:
        return requests.get(f"{address}/health", timeout=5).ok
    except requests.RequestException:
        return False


class Person:
    """Somebody who works in Label Studio over its own API."""

    def __init__(self, address):
        self.address = address
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Token {TOKEN}"

    def tasks(self, project):
        path = f"projects/{project}/export?exportType=JSON&download_all_tasks=true"
        return self.call("GET", path)

    def call(self, method, path, body=None):
        response = self.session.request(method, f"{self.address}/api/{path}", json=body)
        assert response.ok, response.text
        return response.json()


def opinion(text):
    """What the person thinks of a pair: tie, undecided, or that the good response is better."""
    number = int(text.split()[-1])
    if number in TIES:
        return "tie"
    return "cannot_decide" if number in UNDECIDED else None


def result(choice):
    return [
        {
            "from_name": "verdict",
            "to_name": "conversation",
            "type": "choices",
            "value": {"choices": [choice]},
        },
        {
            "from_name": "confidence",
            "to_name": "conversation",
            "type": "rating",
            "value": {"rating": 3},
        },
    ]


def test_label_studio_and_the_page_give_the_same_rows(server, desk, accounts, store):
    announce(desk, [make_pair(number) for number in range(NUM_PAIRS)])
    on_page(desk, accounts)
    page_rows = live_answers(AnswerLedger(store).answers())

    batch = desk.batch("batch").batch
    items = [case.item for case in desk.cases("batch")]
    studio, person = LabelStudio(server, token=TOKEN), Person(server)
    [project] = studio.announce(batch, items)
    assert studio.announce(batch, items) == [project]
    tasks = person.tasks(project)
    assert len(tasks) == NUM_PAIRS
    assert all(task["total_predictions"] == 0 for task in tasks)
    assert {task["data"]["candidate_1_is"] for task in tasks} == {"first", "second"}
    assert not any("chosen" in task["data"] or "source" in task["data"] for task in tasks)
    for task in tasks:
        shown = task["data"]
        good = "candidate_1" if "good" in shown["candidate_1"] else "candidate_2"
        choice = opinion(shown["candidate_1"]) or good
        person.call("POST", f"tasks/{task['id']}/annotations/", {"result": result(choice)})

    found = studio.pull(batch, items)
    assert found.left_out == []
    pulled = found.answers
    assert {(row.pair_id, row.sorted_sign) for row in pulled} == {
        (row.pair_id, row.sorted_sign) for row in page_rows.values()
    }
    assert len(pulled) == NUM_PAIRS
    assert {row.annotator for row in pulled} == {"admin@example.test"}
    assert {row.confidence for row in pulled} == {3}
    assert pulled[0].edited_attributes == {}
    ledger = AnswerLedger(store)
    assert (ledger.append(pulled), ledger.append(studio.pull(batch, items).answers)) == (
        NUM_PAIRS,
        0,
    )

    first = person.tasks(project)[0]
    change = {"result": result("tie")}
    person.call("PATCH", f"annotations/{first['annotations'][0]['id']}/", change)
    assert ledger.append(studio.pull(batch, items).answers) == 1
    live = live_answers(ledger.answers())
    assert live["batch", first["data"]["pair_id"], "admin@example.test"].verdict == "tie"


def on_page(desk, accounts):
    """The same opinions given at the desk behind the page."""
    accounts.add("ann")
    ann = accounts.named("ann")
    while (opened := desk.open(ann)) is not None:
        case, shown = opened
        candidate_1, _ = case.item.candidates(shown.candidate_1)
        good = "candidate_1" if "good" in candidate_1 else "candidate_2"
        desk.submit(ann, shown.form_token, {"verdict": opinion(candidate_1) or good})
