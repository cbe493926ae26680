"""The judges' bill and replies on the command line."""

import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from synpref_dagster.cli import app as cli, judges
from synpref_dagster.curation.judging.prompts import PAIRWISE
from synpref_dagster.judges.batches.ledger import BatchLedger
from synpref_dagster.judges.cache import Payer, ReplyCache
from synpref_dagster.judges.receipts import Receipts
from synpref_dagster.judges.requests import JudgeReply, JudgeRequest
from synpref_dagster.judges.reservations import Reservations
from synpref_dagster.settings.profile import load_profile

PAYER = Payer(campaign="smoke-seed-0", asset="silver_seed", judge="gpt")


@pytest.fixture
def synpref(monkeypatch, tmp_path):
    monkeypatch.setenv("SYNPREF_STORE", str(tmp_path))
    monkeypatch.setattr(judges, "console", Console(width=160, no_color=True))

    def run(*arguments):
        result = CliRunner().invoke(cli.app, ["judges", *arguments])
        return result.exit_code, result.output

    return run


@pytest.fixture
def cache(tmp_path):
    cache = ReplyCache(tmp_path / "judge_replies.sqlite")
    for number in range(3):
        request = JudgeRequest(
            endpoint="http://one/v1",
            model="m",
            messages=[{"role": "user", "content": "hello"}],
            prompt=PAIRWISE,
            sampling={},
            sample=number,
        )
        reply = JudgeReply(
            text="{}", finish_reason="stop", mode="text", prompt_tokens=1000, usd=0.25
        )
        cache.add(request, reply, PAYER)
    row = {"key": "k", "endpoint": "e", "model": "m", "prompt": "p", "sample": 0, "mode": "text"}
    account = {"campaign": "smoke-seed-0", "asset": "silver_seed", "judge": "gpt"}
    BatchLedger(cache).add("b", [{**row, **account, "most_usd": 1.5}])
    yield cache
    cache.close()


def test_the_bill_names_judge_asset_calls_tokens_and_price(synpref, cache):
    code, output = synpref("bill", "--profile", "smoke")
    assert code == 0
    [line] = [line for line in output.splitlines() if "silver_seed" in line]
    assert line.split() == ["gpt", "silver_seed", "3", "3,000", "0", "0.7500"]
    assert "spent $0.7500" in output
    assert "gpt: batches under way may cost $1.5000 more" in output


def test_the_bill_shows_what_calls_without_an_answer_may_have_cost_apart(synpref, cache):
    for _ in range(2):
        Reservations(cache).reserve(PAYER, 0.125, fits=lambda _: True)
    output = synpref("bill", "--profile", "smoke")[1]
    assert "spent $0.7500" in output
    said = "gpt: 2 calls for silver_seed without an answer so far may have cost $0.2500 more"
    assert said in output
    # Those of the last hour may be under way.
    assert "0 calls" in synpref("forgive", "--profile", "smoke")[1]
    assert said in synpref("bill", "--profile", "smoke")[1]
    code, output = synpref("forgive", "--profile", "smoke", "--hours", "0")
    assert code == 0
    assert output == "2 calls without an answer are forgiven: $0.2500 may be spent again\n"
    assert "without an answer" not in synpref("bill", "--profile", "smoke")[1]


def test_another_campaign_has_its_own_bill(synpref, cache):
    bill = synpref("bill", "--profile", "smoke", "--seed", "1")
    assert bill == (0, "$0: profile smoke has exemplar judges, which cost nothing\n")


def test_replies_are_exported_as_parquet(synpref, cache, tmp_path):
    code, output = synpref("export", str(tmp_path / "replies.parquet"), "--profile", "smoke")
    assert code == 0
    assert output.startswith("3 replies in ")
    assert pd.read_parquet(tmp_path / "replies.parquet")["usd"].tolist() == [0.25] * 3


def test_batches_are_given_up_only_when_people_say_so(synpref, cache):
    asked = "forgive", "--profile", "smoke", "--hours", "0"
    assert synpref(*asked)[1].splitlines() == [
        "0 calls without an answer are forgiven: $0.0000 may be spent again"
    ]
    assert "1 requests in batches are forgiven: $1.5000 may" in synpref(*asked, "--batches")[1]
    assert "batches under way" not in synpref("bill", "--profile", "smoke")[1]


def test_a_cache_that_is_gone_is_still_on_the_bill(synpref, cache, tmp_path):
    store = load_profile("smoke").store_root()
    Receipts(store, cache, campaign="smoke-seed-0").keep(at_once=True)
    cache.close()
    for path in tmp_path.glob("judge_replies.sqlite*"):
        path.unlink()
    code, output = synpref("forgive", "--profile", "smoke")
    assert code == 2
    assert "campaign smoke-seed-0 has spent $2.2500, which still counts: put a copy" in output
    ReplyCache(tmp_path / "judge_replies.sqlite").close()
    code, output = synpref("bill", "--profile", "smoke")
    assert "spent $0.0000" in output
    assert "gpt: $2.2500 stood in a reply cache that is gone" in output
    assert "$2.2500 may be spent again" in synpref("forgive", "--profile", "smoke")[1]
    assert "gone" not in synpref("bill", "--profile", "smoke")[1]


def test_without_a_cache_or_a_profile_the_command_says_so(synpref):
    code, output = synpref("export", "replies.parquet", "--profile", "smoke")
    assert code == 2
    assert "no reply cache at" in output
    code, output = synpref("bill", "--profile", "smkoe")
    assert code == 2
    assert "smkoe" in output
