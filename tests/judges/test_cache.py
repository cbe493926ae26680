"""The reply cache and the bill."""

import json
import sqlite3
from dataclasses import replace

import pandas as pd
import pytest

from synpref_dagster.curation.judging.prompts import PAIRWISE
from synpref_dagster.judges.batches.ledger import TABLE, BatchLedger
from synpref_dagster.judges.budget import Prices, estimate_usd
from synpref_dagster.judges.cache import TABLES, Payer, ReplyCache
from synpref_dagster.judges.forms import RequestForm
from synpref_dagster.judges.requests import JudgeReply, JudgeRequest

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
