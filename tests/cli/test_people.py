"""`synpref review`: a ledger that cannot be opened is named in one line, by every command."""

import sys

import pytest
from review_cases import ATTRIBUTES, make_pair
from rich.console import Console
from typer.testing import CliRunner

from synpref_dagster.cli import app as cli, people
from synpref_dagster.people.desk import ReviewDesk
from synpref_dagster.people.ledger.batches import Batch, make_batch
from synpref_dagster.people.ledger.database import ReviewDatabase
from synpref_dagster.settings.profile import load_profile


@pytest.fixture
def review(monkeypatch):
    monkeypatch.setattr(people, "console", Console(width=160, no_color=True))

    def run(*arguments):
        result = CliRunner().invoke(cli.app, ["review", *arguments])
        lines = [each for each in result.output.splitlines() if not each.startswith("Review ")]
        return result.exit_code, lines

    return run


COMMANDS = [["status"], ["serve"], ["add-annotator", "ann"], ["export", "all.jsonl"]]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_damaged_ledger_is_named_and_left_as_it_is(review, tmp_path, command):
    ledger = tmp_path / "ledger.db"
    ledger.write_bytes(b"no database" * 400)
    code, said = review(*command, "--ledger", f"sqlite:///{ledger}")
    assert code == 2
    assert len(said) == 1
    assert f"the review ledger {ledger} is damaged" in said[0]
    assert "file is not a database" in said[0]
    assert ledger.read_bytes() == b"no database" * 400


@pytest.mark.parametrize(
    ("command", "code"), [("status", 0), ("export all.jsonl", 2), ("close-annotator ann", 2)]
)
def test_who_only_asks_makes_no_ledger(review, tmp_path, command, code):
    url = f"sqlite:///{tmp_path}/new/ledger.db"
    found, said = review(*command.split(), "--ledger", url)
    assert (found, said) == (code, [f"no review ledger at {url} yet: nobody was asked anything"])
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_tables_is_no_ledger_and_stays_as_it_is(review, tmp_path):
    (tmp_path / "ledger.db").write_bytes(b"")
    code, [said] = review("status", "--ledger", f"sqlite:///{tmp_path}/ledger.db")
    assert (code, said.startswith("no review ledger at")) == (0, True)
    assert (tmp_path / "ledger.db").read_bytes() == b""


@pytest.mark.parametrize("command", COMMANDS[:2], ids=lambda command: command[0])
def test_a_folder_in_the_place_of_a_ledger_is_named(review, tmp_path, command):
    code, said = review(*command, "--ledger", f"sqlite:///{tmp_path}")
    assert (code, len(said)) == (2, 1)
    assert "unable to open database file" in said[0]


@pytest.mark.parametrize("command", COMMANDS[:2], ids=lambda command: command[0])
def test_a_server_that_does_not_answer_is_named_without_its_password(review, command):
    code, said = review(*command, "--ledger", "postgresql://me:secret@127.0.0.1:9/reviews")
    assert (code, len(said)) == (2, 1)
    assert "me:***@127.0.0.1:9/reviews cannot be opened" in said[0]
    assert "secret" not in " ".join(said)


@pytest.mark.parametrize("command", COMMANDS[:2], ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mongodb://me:pa55word@db/reviews", "a review database of kind 'mongodb': use sqlite"),
        ("postgresql+asyncpg://me:pa55word@db/r", "of kind 'postgresql+asyncpg': use sqlite"),
        ("me:pa55word@db/reviews", "no kind of database in it: use sqlite:///path or postgresql"),
        (
            "postgres://me:pa55word@127.0.0.1:9/r",
            "postgres://me:***@127.0.0.1:9/r cannot be opened",
        ),
        ("postgres://127.0.0.1:9/r?user=me&password=pa55word", "password=*** cannot be opened"),
        ("postgresql://me:pa55word@db:port/r", "me:***@db:port/r' cannot be read"),
        ("sqlite://host/review.sqlite3", "sqlite://host/review.sqlite3 cannot be"),
    ],
)
def test_a_ledger_that_cannot_be_is_refused_in_one_line(review, command, url, says):
    code, said = review(*command, "--ledger", url)
    assert (code, len(said)) == (2, 1)
    assert says in said[0]
    assert "pa55word" not in said[0]


def test_a_driver_that_is_not_installed_is_named(review, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    code, said = review("status", "--ledger", "postgresql://me:pa55word@127.0.0.1:9/r")
    assert (code, len(said)) == (2, 1)
    assert "pip install 'synpref-dagster[postgres]'" in said[0]
    assert "pa55word" not in said[0]


@pytest.mark.parametrize("command", COMMANDS[:2], ids=lambda command: command[0])
def test_a_folder_that_cannot_be_made_is_named(review, tmp_path, command):
    (tmp_path / "file").write_text("")
    code, said = review(*command, "--ledger", f"sqlite:///{tmp_path}/file/ledger.db")
    assert (code, len(said)) == (2, 1)
    assert "cannot be opened" in said[0]


def test_status_is_of_one_campaign_where_a_profile_is_named(review, tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.db"
    store = ReviewDatabase(url)
    desk = ReviewDesk(store, clock=lambda: 1_700_000_000.0)
    ours = load_profile("smoke").campaign_name()
    for number, campaign in enumerate((ours, "other-seed-0")):
        batch = Batch(
            batch_id=f"b{number}",
            campaign=campaign,
            asset="human_verified_seed",
            protocol_version="1",
            num_items=1,
            adjudicate=False,
            created_at=1_700_000_000.0,
        )
        pair = make_pair(number)
        known = {pair.pair_id: {"attributes": ATTRIBUTES}}
        desk.announce(batch, make_batch([pair], known, batch=batch, double_share=0.0))
    [first, second] = [line for line in review("status", "--ledger", url)[1] if "finished" in line]
    assert first.startswith(f"{ours} human_verified_seed: 0 of 1 pair finished")
    assert second.startswith("other-seed-0 ")
    code, said = review("status", "--profile", "smoke", "--ledger", url)
    assert (code, [line for line in said if "finished" in line]) == (0, [first])
    assert said[-1] == "no verdicts yet"
    _, said = review("status", "--profile", "smoke", "--seed", "7", "--ledger", url)
    assert said[0].startswith("nobody was asked anything for smoke")
    code, [line] = review("status", "--seed", "7", "--ledger", url)
    assert (code, line) == (2, "--seed is one of a profile: name it with --profile")
    assert review("status", "--profile", "nowhere.toml", "--ledger", url)[0] == 2
