"""The same ledger on a real Postgres: null bytes, idempotence, and no way to change a row."""

import subprocess
from pathlib import Path

import pytest
import sqlalchemy as sa
from review_cases import Clock, announce, make_pair
from review_servers import free_port

from synpref_dagster.people.accounts import Accounts
from synpref_dagster.people.desk import ReviewDesk
from synpref_dagster.people.ledger.database import ReviewDatabase
from synpref_dagster.people.ledger.ledger import AnswerLedger

pytestmark = pytest.mark.servers

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@pytest.fixture
def postgres():
    """URL of an empty Postgres on loopback."""
    if not PROGRAMS:
        pytest.skip("no Postgres in /usr/lib/postgresql: apt-get install postgresql")
    folder, port = Path("/tmp", f"review-postgres-{free_port()}"), free_port()
    subprocess.run(["install", "-d", "-o", "postgres", folder], check=True)
    as_postgres = ["runuser", "-u", "postgres", "--"]
    control = [*as_postgres, PROGRAMS[-1] / "pg_ctl", "-D", folder / "data"]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    quiet = {"check": True, "stdout": subprocess.DEVNULL}
    make = [PROGRAMS[-1] / "initdb", "-D", folder / "data", "-U", "synpref", "--auth=trust"]
    subprocess.run([*as_postgres, *make, "-E", "UTF8"], **quiet)
    subprocess.run([*control, "-o", options, "-l", folder / "log", "-w", "start"], **quiet)
    yield f"postgresql://synpref@127.0.0.1:{port}/postgres"
    subprocess.run([*control, "-m", "fast", "stop"], **quiet)
    subprocess.run(["rm", "-r", folder], check=True)


def test_a_ledger_on_postgres_keeps_its_promises(postgres):
    store, clock = ReviewDatabase(postgres), Clock()
    desk, accounts = ReviewDesk(store, clock=clock), Accounts(store, clock=clock)
    accounts.add("ann")
    ann = accounts.named("ann")
    announce(desk, [make_pair(1, chosen="null \x00 half \ud800"), make_pair(2)])
    case, shown = desk.open(ann)
    assert case.item.second == "null \x00 half \ud800 1"
    assert desk.submit(ann, shown.form_token, {"verdict": "tie"}) is not None
    assert desk.submit(ann, shown.form_token, {"verdict": "candidate_1"}) is None
    desk.undo(ann, shown.form_token)
    again = ReviewDatabase(postgres)
    assert [row.verdict for row in AnswerLedger(again).answers()] == ["tie", "withdrawn"]
    for action in ("UPDATE {} SET seq = 9", "DELETE FROM {}", "TRUNCATE {}"):
        with pytest.raises(sa.exc.DBAPIError, match="append-only"), store.engine.begin() as open_:
            open_.exec_driver_sql(action.format("review_verdicts"))
    store.close()
    again.close()
