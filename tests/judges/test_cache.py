"""The reply cache and the bill."""

import json
import sqlite3
from dataclasses import replace

import pandas as pd
import pytest

from synpref_dagster.curation.judging.prompts import PAIRWISE
from synpref_dagster.judges.batches.ledger import TABLE, BatchLedger
from synpref_dagster.judges.budget import Prices, estimate_usd
from synpref_dagster.judges.cache import TABLES, CacheFullError, Payer, ReplyCache
from synpref_dagster.judges.forms import RequestForm
from synpref_dagster.judges.requests import AskTally, JudgeError, JudgeReply, JudgeRequest

PAYER = Payer(campaign="c", asset="seed", judge="judge")


def request(number=0, text="hello"):
    return JudgeRequest(
        endpoint="http://one/v1",
        model="m",
        messages=[{"role": "user", "content": text}],
        prompt=PAIRWISE,
        sampling={},
        sample=number,
    )


def reply(text="{}", usd=0.5):
    return JudgeReply(
        text=text,
        finish_reason="stop",
        mode="json_schema",
        prompt_tokens=10,
        completion_tokens=2,
        usd=usd,
        seconds=0.1,
    )


@pytest.fixture
def cache(tmp_path):
    found = ReplyCache(tmp_path / "replies.sqlite")
    yield found
    found.close()


def test_a_reply_comes_back_as_it_was_also_from_another_process_or_connection(cache):
    said = reply('{"reason": "ü \\ud83d", "verdict": "tie"}')
    cache.add(request(), said, PAYER)
    assert cache.find([request().key, "unknown"]) == {request().key: said}
    other = ReplyCache(cache.path)
    assert other.find([request().key]) == {request().key: said}
    other.close()


def test_a_second_reply_of_a_key_is_neither_kept_nor_paid(cache):
    cache.add(request(), reply("first"), PAYER)
    cache.add(request(), reply("second"), PAYER)
    assert cache.find([request().key])[request().key].text == "first"
    assert cache.usd_by_judge("c") == {"judge": 0.5}


def test_the_bill_is_kept_by_campaign_judge_and_asset(cache):
    for number, (asset, judge) in enumerate([("a", "x"), ("a", "x"), ("b", "x"), ("b", "y")]):
        cache.add(request(number), reply(), Payer(campaign="c", asset=asset, judge=judge))
    cache.add(request(9), reply(), Payer(campaign="other", asset="a", judge="x"))
    spent = cache.spent("c")
    assert spent[["judge", "asset", "num_calls", "usd"]].to_numpy().tolist() == [
        ["x", "a", 2, 1.0],
        ["x", "b", 1, 0.5],
        ["y", "b", 1, 0.5],
    ]
    assert cache.usd_by_judge("c") == {"x": 1.5, "y": 0.5}


def test_thousands_of_keys_are_found_at_once(cache):
    for number in range(0, 1200, 2):
        cache.add(request(number), reply(), PAYER)
    assert len(cache.find([request(number).key for number in range(1200)])) == 600


def test_all_replies_are_exported_as_parquet(cache, tmp_path):
    for number in range(3):
        cache.add(request(number), reply(), PAYER)
    assert cache.export(tmp_path / "replies.parquet") == 3
    frame = pd.read_parquet(tmp_path / "replies.parquet")
    assert set(frame["key"]) == {request(number).key for number in range(3)}
    assert frame["refused"].tolist() == [False] * 3


def test_the_form_of_requests_is_remembered_per_endpoint_and_model(cache):
    form = RequestForm(mode="text", renamed={"seed": "", "max_tokens": "max_completion_tokens"})
    assert cache.form("http://one/v1", "m") == RequestForm()
    cache.set_form("http://one/v1/", "m", form=form, reason="no")
    assert cache.form("http://one/v1", "m") == form
    assert cache.form("http://one/v1", "n") == RequestForm()


def test_prices_are_per_million_tokens():
    prices = Prices(usd_per_million_input=2.0, usd_per_million_output=8.0)
    assert prices.usd(1_000_000, 500_000) == 6.0
    # Five bytes and one message's frame in, the schema and the fields beside it; ten tokens out.
    beside = len(json.dumps(PAIRWISE.schema)) + len('{"seed": 0}')
    assert prices.most_usd(request(), 10) == pytest.approx(((21 + beside) * 2 + 10 * 8) / 1e6)


def test_an_estimate_is_the_pilots_mean_times_what_is_missing():
    assert estimate_usd([reply(usd=1.0), reply(usd=3.0)], 10) == 20.0
    with pytest.raises(ValueError, match="no replies"):
        estimate_usd([], 10)


def test_a_damaged_cache_is_named_with_what_to_do(tmp_path):
    (tmp_path / "replies.sqlite").write_bytes(b"no database" * 500)
    with pytest.raises(ValueError, match=r"replies\.sqlite cannot be opened: .* move it away"):
        ReplyCache(tmp_path / "replies.sqlite")


@pytest.mark.parametrize(("version", "ended"), [(0, "error"), (1, "MALFORMED_FUNCTION_CALL")])
def test_errors_that_were_once_kept_as_replies_are_asked_again_and_stay_paid(
    tmp_path, version, ended
):
    cache = ReplyCache(tmp_path / "replies.sqlite")
    for number, finish in enumerate(["stop", ended, "length"]):
        cache.add(request(number), replace(reply(), finish_reason=finish), PAYER)
    with cache.transaction() as connection:
        connection.execute(f"PRAGMA user_version = {version}")  # as files from before have it
    cache.close()
    for _ in range(2):
        cache = ReplyCache(cache.path)
        assert set(cache.find([request(n).key for n in range(3)])) == {
            request(0).key,
            request(2).key,
        }
        assert cache.usd_by_judge("c") == {"judge": 1.5}
        cache.close()


def test_a_cache_whose_making_was_killed_after_any_table_is_completed(tmp_path):
    def schema(path):
        with sqlite3.connect(path) as connection:
            return set(connection.execute("SELECT type, name, sql FROM sqlite_master"))

    BatchLedger(ReplyCache(tmp_path / "whole.db")).cache.close()
    statements = [*TABLES.strip().rstrip(";").split(";"), TABLE.strip().rstrip(";")]
    for number in range(len(statements) + 1):
        path = tmp_path / f"{number}.db"
        with sqlite3.connect(path) as connection:
            for statement in statements[:number]:
                connection.execute(statement)
        BatchLedger(ReplyCache(path)).cache.close()
        assert schema(path) == schema(tmp_path / "whole.db"), number


def changed(cache, statement, *values):
    with cache.transaction() as connection:
        assert connection.execute(statement, values).rowcount == 1


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("text", '{"verdict": "B"}'),  # a letter that became another one
        ("text", b"\xff\xfe".decode("latin-1")),
        ("finish_reason", "stor"),
        ("mode", "text"),
        ("refused", 1),
        ("prompt_tokens", 11),
        ("completion_tokens", 3),
        ("usd", 0.25),
        ("seconds", 0.2),
        ("seal", "0123456789abcdef"),
    ],
)
def test_a_damaged_reply_is_named_counted_and_asked_again(cache, caplog, column, value):
    for number in range(2):
        cache.add(request(number), reply('{"verdict": "A"}'), PAYER)
    key = request(0).key
    changed(cache, f"UPDATE replies SET {column} = ? WHERE key = ?", value, key)
    tally = AskTally()
    assert set(cache.find([key, request(1).key], tally=tally)) == {request(1).key}
    assert tally.num_damaged == 1
    [said] = [each.getMessage() for each in caplog.records]
    assert said == (
        f"1 replies in {cache.path} no longer say what was kept ({key}): they are asked again"
    )
    cache.add(request(0), reply("again"), PAYER)  # it was paid twice, and the bill says so
    assert cache.find([key])[key].text == "again"
    assert cache.usd_by_judge("c") == {"judge": 1.5}


def test_bits_that_are_no_letters_any_more_hold_up_no_other_reply(cache):
    for number in range(2):
        cache.add(request(number), reply(f"number {number}"), PAYER)
    statement = "UPDATE replies SET text = CAST(X'6EFF' AS TEXT) WHERE key = ?"
    changed(cache, statement, request(0).key)
    assert set(cache.find([request(0).key, request(1).key])) == {request(1).key}
    assert cache.find([request(0).key]) == {}


def test_replies_of_an_earlier_version_are_taken_as_they_are_and_sealed(tmp_path):
    path = tmp_path / "replies.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(TABLES)
        connection.execute(
            "INSERT INTO replies VALUES (?, 'c', 'a', 'j', 'http://one/v1', 'm', 'p', 0, 'text', "
            "'stop', 'text', 0, 1, 2, 0.5, 1.5, 9.0)",
            [request().key],
        )
    cache = ReplyCache(path)
    kept = replace(reply("text"), mode="text", prompt_tokens=1, completion_tokens=2, seconds=1.5)
    assert cache.find([request().key]) == {request().key: kept}
    changed(cache, "UPDATE replies SET text = 'next' WHERE key = ?", request().key)
    cache.close()
    cache = ReplyCache(path)
    assert cache.find([request().key]) == {}
    # One that an earlier version adds later, in the meantime.
    changed(cache, "INSERT INTO replies VALUES ('k', 'c', 'a', 'j', 'e', 'm', 'p', 0, 'text', "
        "'stop', 'text', 0, 1, 2, 0.5, 1.5, 9.0, '')")  # fmt: skip
    assert set(cache.find(["k"])) == {"k"}
    cache.close()
    cache = ReplyCache(path)
    assert cache.table("SELECT COUNT(*) AS n FROM replies WHERE seal = ''")["n"].tolist() == [0]
    cache.close()


def full(cache):
    """Let the file grow no more, which is what SQLite takes a full disk for."""
    with cache.transaction() as connection:
        [pages] = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_is_said_with_its_file_and_loses_nothing(cache):
    cache.add(request(), reply(), PAYER)
    full(cache)
    num_kept = 1
    with pytest.raises(CacheFullError) as caught:  # noqa: PT012 - some may still find room
        while True:
            cache.add(request(num_kept), reply("x" * 9000), PAYER)
            num_kept += 1
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"the judges' reply cache {cache.path} cannot be written: database or ")
    assert "Free space on its disk: replies that are in it stay" in line
    assert "bought again" not in line
    with cache.transaction() as connection:
        connection.execute("PRAGMA max_page_count = 1000000")
    cache.add(request(num_kept), reply("x" * 9000), PAYER)
    assert len(cache.find([request(number).key for number in range(100)])) == num_kept + 1
    assert cache.usd_by_judge("c") == {"judge": 0.5 * (num_kept + 1)}


@pytest.mark.parametrize(
    ("code", "said", "told"),
    [
        (sqlite3.SQLITE_FULL, "database or disk is full", "cannot be written: .* Free space"),
        (sqlite3.SQLITE_BUSY, "database is locked", "cannot be opened: .* Correct its place"),
        (sqlite3.SQLITE_CORRUPT, "malformed", "cannot be opened: .* all replies are bought again"),
    ],
)
def test_only_a_damaged_cache_is_said_to_be_bought_again(tmp_path, monkeypatch, code, said, told):
    def fail(cache):
        error = sqlite3.OperationalError(said)
        error.sqlite_errorcode = code
        raise error

    monkeypatch.setattr(ReplyCache, "_refuse_others", fail)
    with pytest.raises(JudgeError, match=told):
        ReplyCache(tmp_path / "replies.sqlite")
