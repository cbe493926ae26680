"""Lines that come back from a batch: replies, failures of a request, or about the batch itself."""

import json

import pytest
from fake_batch_server import answered
from hypothesis import given, settings, strategies as st
from odd_replies import ODD, mutated

from synpref_dagster.curation.judging.prompts import PAIRWISE
from synpref_dagster.judges.batches.files import collect_batch, write_batch
from synpref_dagster.judges.batches.ledger import BatchLedger
from synpref_dagster.judges.budget import Prices
from synpref_dagster.judges.cache import Payer, ReplyCache
from synpref_dagster.judges.forms import DROPPED, RequestForm
from synpref_dagster.judges.requests import JudgeRequest

PAYER = Payer(campaign="c", asset="seed", judge="judge")
PRICES = Prices(usd_per_million_input=10.0)


@pytest.fixture
def cache(tmp_path):
    found = ReplyCache(tmp_path / "replies.sqlite")
    yield found
    found.close()


def make_requests(count=4):
    return [
        JudgeRequest(
            endpoint="http://one/v1",
            model="m",
            messages=[{"role": "user", "content": "2 + 2?"}],
            prompt=PAIRWISE,
            sampling={"max_tokens": 10},
            sample=number,
        )
        for number in range(count)
    ]


def collected(cache, folder, make_lines):
    """What became of a batch of four, given the lines of its requests."""
    path = folder / "in.jsonl"
    write_batch(path, make_requests(), batch="b", cache=cache, payer=PAYER)
    (folder / "out.jsonl").write_bytes(b"\n".join(make_lines(path.read_text().splitlines())))
    return collect_batch(folder / "out.jsonl", batch="b", cache=cache, prices=PRICES)


def line(asked, **changes):
    return answered(asked, **changes).encode()


def body(**error):
    return {"status_code": 200, "body": {"error": error}}


def test_an_error_within_a_line_is_no_reply(cache, tmp_path):
    found = collected(
        cache,
        tmp_path,
        lambda asked: [
            line(asked[0], response=body(message="down", code=502)),
            line(asked[1], response={"status_code": 429, "body": [{"error": {"message": "x"}}]}),
            line(asked[2], response="no", error="a text"),
            line(asked[3]),
        ],
    )
    assert (found.num_replies, found.num_failed, found.num_unanswered) == (1, 3, 0)
    assert found.stopped_by is None
    assert len(cache.find([each.key for each in make_requests()])) == 1


def test_an_empty_account_is_no_failure_of_the_request(cache, tmp_path):
    found = collected(
        cache,
        tmp_path,
        lambda asked: [
            line(asked[0], response=body(code="insufficient_quota")),
            line(asked[1], response=None, error={"code": "billing_error"}),
            line(asked[2], response={"status_code": 402, "body": ""}),
            line(asked[3], response=None, error={"code": "batch_expired"}),
        ],
    )
    assert (found.num_replies, found.num_failed, found.num_unanswered) == (0, 0, 4)
    assert found.stopped_by.stops == "no_money"


def test_lines_that_name_no_request_are_counted_and_a_second_one_is_not_paid_twice(cache, tmp_path):
    found = collected(
        cache,
        tmp_path,
        lambda asked: [
            line(asked[0]),
            line(asked[0]),
            b"\xff\xfe",
            b"[1]",
            b"null",
            b"[" * 5000,
            line(asked[1], custom_id=None),
            line(asked[1], custom_id=["x"]),
            line(asked[1], custom_id="\ud83d"),
        ],
    )
    assert (found.num_replies, found.num_unanswered, found.num_unknown) == (1, 3, 8)
    assert cache.usd_by_judge("c")["judge"] == pytest.approx(0.001)


def test_a_batch_is_written_in_the_form_that_its_endpoint_takes(cache, tmp_path):
    form = RequestForm(
        mode="text", renamed={"seed": DROPPED, "max_tokens": "max_completion_tokens"}
    )
    cache.set_form("http://one/v1", "m", form=form, reason="no")
    path = tmp_path / "in.jsonl"
    write_batch(path, make_requests(1), batch="b", cache=cache, payer=PAYER, prices=PRICES)
    sent = json.loads(path.read_text())["body"]
    assert sent == {
        "model": "m",
        "messages": [{"role": "user", "content": "2 + 2?"}],
        "max_completion_tokens": 10,
    }


@settings(max_examples=100, deadline=None, derandomize=True)
@given(bodies=st.lists(mutated(), min_size=4, max_size=4), status=ODD, error=ODD)
def test_any_line_is_a_reply_a_failure_or_unanswered(tmp_path_factory, bodies, status, error):
    folder = tmp_path_factory.mktemp("batch")
    cache = ReplyCache(folder / "replies.sqlite")

    def lines(asked):
        plain, with_status, with_error, odd = asked
        yield line(plain, response={"status_code": 200, "body": bodies[0]})
        yield line(with_status, response={"status_code": status, "body": bodies[1]})
        yield line(with_error, response={"status_code": 200, "body": bodies[2]}, error=error)
        yield line(odd, response=bodies[3])

    found = collected(cache, folder, lines)
    assert found.num_replies + found.num_failed + found.num_unanswered == 4
    kept = cache.find([each.key for each in make_requests()])
    assert len(kept) == found.num_replies
    for reply in kept.values():
        reply.text.encode()
    assert BatchLedger(cache).pending("b").empty
    cache.close()
