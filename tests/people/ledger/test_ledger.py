"""The ledger grows and never changes, whatever arrives, and travels without loss."""

import random
import sqlite3

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings, strategies as st
from review_cases import announce, make_pair

from synpref_dagster.people.ledger import database
from synpref_dagster.people.ledger.answers import CHOICES, TOOLS, Answer, live_answers
from synpref_dagster.people.ledger.database import ReviewDatabase, metadata
from synpref_dagster.people.ledger.ledger import AnswerLedger
from synpref_dagster.storage.sealed import DamagedError

IDS = st.sampled_from([f"{n:032x}" for n in range(4)])
VERDICTS = st.builds(
    Answer,
    form_token=st.text("abcdef", min_size=1, max_size=3),
    batch_id=st.just("b"),
    pair_id=IDS,
    content_id=IDS,
    annotator=st.sampled_from(["ann", "bob", "Zoë"]),
    candidate_1=st.sampled_from(["first", "second"]),
    verdict=st.sampled_from(CHOICES),
    protocol_version=st.just("1"),
    created_at=st.floats(0, 2e9),
    edited_attributes=st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=2),
    confidence=st.sampled_from([None, 1, 2, 3]),
    tools=st.lists(st.sampled_from(TOOLS), unique=True).map(tuple),
    seconds=st.floats(0, 3600),
)


def one(**changed):
    values = {
        "form_token": "t",
        "batch_id": "b",
        "pair_id": "0" * 32,
        "content_id": "1" * 32,
        "annotator": "ann",
        "candidate_1": "first",
        "verdict": "tie",
        "protocol_version": "1",
        "created_at": 1.0,
    }
    return Answer(**{**values, **changed})


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(VERDICTS, max_size=12), again=st.integers(0, 12))
def test_the_ledger_holds_the_first_row_of_every_token_in_order(tmp_path_factory, rows, again):
    ledger = AnswerLedger(ReviewDatabase(f"sqlite:///{tmp_path_factory.mktemp('l')}/l.sqlite3"))
    first = {}
    for row in rows:
        assert ledger.append([row]) == (row.form_token not in first)
        first.setdefault(row.form_token, row)
    assert ledger.append(rows[:again]) == 0
    assert ledger.answers() == list(first.values())


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(VERDICTS, max_size=8, unique_by=lambda row: row.form_token))
@pytest.mark.parametrize("name", ["ledger.parquet", "ledger.jsonl"])
def test_export_and_import_keep_every_row(tmp_path_factory, name, rows):
    folder = tmp_path_factory.mktemp("carry")
    here = AnswerLedger(ReviewDatabase(f"sqlite:///{folder}/here.sqlite3"))
    there = AnswerLedger(ReviewDatabase(f"sqlite:///{folder}/there.sqlite3"))
    here.append(rows)
    assert here.export(folder / name) == len(rows)
    assert there.load(folder / name) == len(rows)
    assert there.load(folder / name) == 0
    assert there.answers() == here.answers() == rows


@given(rows=st.lists(VERDICTS, max_size=20))
def test_the_latest_verdict_of_a_person_counts_and_withdrawing_takes_it_back(rows):
    live = live_answers(rows)
    for (_, pair_id, annotator), verdict in live.items():
        own = [row for row in rows if (row.pair_id, row.annotator) == (pair_id, annotator)]
        assert verdict is own[-1]
        assert verdict.verdict != "withdrawn"


@pytest.mark.parametrize("table", database.metadata.sorted_tables, ids=lambda table: table.name)
@pytest.mark.parametrize("action", ["UPDATE {} SET seq = seq + 100", "DELETE FROM {}"])
def test_no_row_of_any_table_can_be_changed(store, desk, accounts, table, action):
    announce(desk, [make_pair(1)])
    desk.change("batch", double_share=1.0, adjudicate=True)
    accounts.add("ann")
    desk.open(accounts.named("ann"))
    accounts.end_session(accounts.open_session(accounts.named("ann")))
    AnswerLedger(store).append([one()])
    with pytest.raises(sa.exc.IntegrityError, match="append-only"), store.engine.begin() as c:
        c.exec_driver_sql(action.format(table.name))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"verdict": "chosen"}, "verdict is 'chosen'"),
        ({"candidate_1": "left"}, "candidate_1 is 'left'"),
        ({"confidence": 7}, "confidence is 7"),
        ({"tools": ("oracle",)}, "oracle"),
        ({"seconds": -1.0}, "seconds is -1.0"),
    ],
)
def test_illegal_verdicts_are_refused(changed, said):
    with pytest.raises(ValueError, match=said):
        one(**changed)


def test_a_file_with_one_bad_row_adds_nothing(store, tmp_path):
    path = tmp_path / "l.jsonl"
    ledger = AnswerLedger(store)
    ledger.append([one()])
    ledger.export(path)
    good = path.read_text().replace('"form_token": "t"', '"form_token": "u"')
    path.write_text(good + good.replace('"tie"', '"chosen"'))
    with pytest.raises(ValueError, match=r"row 2: verdict is 'chosen'"):
        ledger.load(path)
    assert ledger.answers() == [one()]


@pytest.mark.parametrize(
    ("side", "verdict", "sign"),
    [
        ("first", "candidate_1", 1),
        ("first", "candidate_2", -1),
        ("second", "candidate_1", -1),
        ("second", "candidate_2", 1),
        ("first", "tie", 0),
        ("second", "cannot_decide", None),
    ],
)
def test_a_verdict_is_read_against_the_sorted_order(side, verdict, sign):
    assert one(candidate_1=side, verdict=verdict).sorted_sign == sign


def test_other_databases_are_refused_without_showing_a_password():
    with pytest.raises(ValueError, match="sqlite:///") as refusal:
        ReviewDatabase("mysql://user:secret@host/db")
    assert "secret" not in str(refusal.value)


def test_a_row_that_says_something_else_than_was_written_is_refused_by_name(tmp_path):
    path = tmp_path / "review.sqlite3"
    ledger = AnswerLedger(ReviewDatabase(f"sqlite:///{path}"))
    ledger.append([one(annotator="ann")])
    ledger.append([one(form_token="u", annotator="bob")])
    ledger._store.close()
    content = path.read_bytes()
    assert content.count(b"bob") == 1
    path.write_bytes(content.replace(b"bob", b"rob"))
    with pytest.raises(DamagedError, match=r"review\.sqlite3 is damaged: row 2 of review_verdicts"):
        AnswerLedger(ReviewDatabase(f"sqlite:///{path}")).answers()


def test_a_flipped_bit_anywhere_leaves_the_answers_or_is_refused_by_name(tmp_path):
    path = tmp_path / "l.sqlite3"
    ledger = AnswerLedger(ReviewDatabase(f"sqlite:///{path}"))
    ledger.append([one(form_token=f"t{n}") for n in range(60)])
    answers = ledger.answers()
    ledger._store.close()
    rng, content, refused = random.Random(0), path.read_bytes(), {}
    for number in range(60):
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        file = tmp_path / f"{number}.sqlite3"
        file.write_bytes(flipped)
        try:
            assert AnswerLedger(ReviewDatabase(f"sqlite:///{file}")).answers() == answers
        except ValueError as error:
            refused[file.name] = str(error)
    assert len(refused) > 5
    assert [s for name, s in refused.items() if name not in s or len(s.splitlines()) > 1] == []


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (b"protocol_version TEXT", b"protocol_wersion TEXT", "no such column"),
        (b"seq INTEGER NOT NULL, \n", b"seq`INTEGER NOT NULL, \n", "unrecognized token"),
        (b"CREATE TABLE", b"CREATE T\xf6BLE", "letters of a name are broken"),
    ],
)
def test_damage_of_the_tables_themselves_is_told_in_one_line_with_the_file(
    tmp_path, before, after, said
):
    path = tmp_path / "l.sqlite3"
    AnswerLedger(store := ReviewDatabase(f"sqlite:///{path}")).append([one()])
    store.close()
    content = path.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, after))
    with pytest.raises(DamagedError, match=r"l\.sqlite3 is damaged: ") as caught:
        AnswerLedger(ReviewDatabase(f"sqlite:///{path}")).answers()
    [line] = str(caught.value).splitlines()
    assert said in line
    assert line.endswith("put back a copy of the file")


def test_rows_of_an_earlier_version_have_no_seal_and_are_read(tmp_path):
    url = f"sqlite:///{tmp_path / 'review.sqlite3'}"
    AnswerLedger(ReviewDatabase(url)).append([one()])
    with sqlite3.connect(tmp_path / "review.sqlite3") as connection:
        connection.execute("DROP TABLE review_seals")
    assert AnswerLedger(ReviewDatabase(url)).answers() == [one()]


def test_a_file_that_is_no_ledger_is_named_with_what_to_do(tmp_path):
    (tmp_path / "review.sqlite3").write_bytes(b"no database" * 500)
    with pytest.raises(ValueError, match=r"review\.sqlite3 is damaged: .* put back a copy"):
        ReviewDatabase(f"sqlite:///{tmp_path}/review.sqlite3")


def test_a_ledger_whose_making_was_killed_after_any_statement_is_completed(tmp_path):
    def schema(path):
        with sqlite3.connect(path) as connection:
            return set(connection.execute("SELECT type, name FROM sqlite_master"))

    def killed_after(number, path):
        def count(*_):
            nonlocal number
            number -= 1
            if number < 0:
                raise KeyboardInterrupt

        sa.event.listen(sa.Engine, "before_cursor_execute", count)
        try:
            ReviewDatabase(f"sqlite:///{path}").close()
        except KeyboardInterrupt:
            return True
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", count)
        return False

    ReviewDatabase(f"sqlite:///{tmp_path / 'whole.db'}").close()
    whole = schema(tmp_path / "whole.db")
    number = 0
    while killed_after(number, path := tmp_path / f"{number}.db"):
        ReviewDatabase(f"sqlite:///{path}").close()
        assert schema(path) == whole, number
        number += 1
    assert number > len(metadata.sorted_tables)


def test_a_full_disk_is_said_with_the_file_and_what_was_said_before_stays(tmp_path):
    ledger = AnswerLedger(ReviewDatabase(f"sqlite:///{tmp_path / 'ledger.db'}"))
    ledger.append([one()])
    engine = ledger._store.engine

    @sa.event.listens_for(engine, "begin")
    def full(connection):
        [pages] = connection.exec_driver_sql("PRAGMA page_count").one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    many = [one(form_token=f"{number}", annotator="x" * 9000) for number in range(100)]
    with pytest.raises(database.LedgerFullError) as caught:
        ledger.append(many)
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"the review ledger sqlite:///{tmp_path / 'ledger.db'} cannot be ")
    assert line.endswith(database.FREE)
    assert ledger.answers() == [one()]
