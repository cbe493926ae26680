"""Vectors of texts from an endpoint: asked for many at a time, kept and paid for one by one."""

import base64

import fake_embedding_server as server
import fake_judge_server as fake
import numpy as np
import pytest

from synpref_dagster.judges.budget import Budget, BudgetExhaustedError
from synpref_dagster.judges.cache import Payer, ReplyCache
from synpref_dagster.judges.calls import RetryPolicy
from synpref_dagster.judges.client import JudgeClient
from synpref_dagster.judges.endpoint import PROBE, EndpointEmbedder
from synpref_dagster.judges.requests import JudgeRefusedError, JudgeUnavailableError
from synpref_dagster.judges.reservations import Reservations
from synpref_dagster.settings.embedding import BILLED, EndpointEmbedding

TEXTS = [f"text {number}" for number in range(5)]
PRICE = 1.0  # US dollars per million tokens


def unit(text):
    vector = np.array(server.vector(text))
    return vector / np.linalg.norm(vector)


@pytest.fixture
def cache(tmp_path):
    found = ReplyCache(tmp_path / "replies.sqlite")
    yield found
    found.close()


@pytest.fixture
def embedder(cache):
    def make(url, *, budget=None, **changes):
        async def at_once(_):
            pass

        settings = EndpointEmbedding(
            **{
                "kind": "endpoint",
                "base_url": url,
                "model": "m",
                "batch_size": 2,
                "max_attempts": 3,
                "usd_per_million_input": PRICE,
                **changes,
            }
        )
        client = JudgeClient(
            settings.as_judge(),
            cache=cache,
            budget=budget or Budget(),
            payer=Payer(campaign="test", asset="pair_embeddings", judge=BILLED),
            policy=RetryPolicy(sleep=at_once),
        )
        return EndpointEmbedder(client, settings)

    return make


def usd(cache):
    return cache.usd_by_judge("test").get(BILLED, 0.0)


def inputs(running):
    return [body["input"] for body in running.bodies]


def test_texts_go_in_batches_and_vectors_come_back_in_order_with_length_one(embedder, cache):
    with server.serve() as running:
        found = embedder(running.url).embed([*TEXTS, TEXTS[0]])
    np.testing.assert_allclose(found, [unit(text) for text in [*TEXTS, TEXTS[0]]], atol=1e-6)
    assert found.dtype == np.float32
    assert sorted(map(len, inputs(running))) == [1, 2, 2]
    assert sorted(text for each in inputs(running) for text in each) == TEXTS
    assert running.bodies[0].keys() == {"model", "input"}
    assert usd(cache) == pytest.approx(5 * 10 * PRICE / 1e6)
    assert cache.spent("test")["prompt_tokens"].tolist() == [50]
    assert Reservations(cache).possible("test").empty


def test_what_is_known_is_not_asked_again_in_whichever_batch_it_was(embedder, cache):
    with server.serve() as running:
        first = embedder(running.url).embed(TEXTS[:3])
        before = usd(cache)
        again = embedder(running.url).embed([TEXTS[1], "new", TEXTS[2]])
        assert inputs(running)[-1] == ["new"]
        assert len(running.bodies) == 3
    np.testing.assert_array_equal(again[[0, 2]], first[[1, 2]])
    assert usd(cache) == pytest.approx(before + 10 * PRICE / 1e6)


def test_a_batch_that_fails_loses_nothing_that_was_answered(embedder, cache):
    broken = {"text 3"}

    def answer(body):
        return fake.error(500) if broken & set(body["input"]) else server.answered(body)

    with server.serve(answer) as running:
        asking = embedder(running.url, max_concurrency=1)
        with pytest.raises(JudgeUnavailableError, match=r"server_error 500.*run again"):
            asking.embed(TEXTS)
        assert asking.client.tally.num_retries == 2
        broken.clear()
        asked = len(running.bodies)
        embedder(running.url).embed(TEXTS)
        assert inputs(running)[asked:] == [["text 2", "text 3"]]
    # The three attempts that failed may stand on the endpoint's bill.
    assert Reservations(cache).possible("test")["num_calls"].tolist() == [3]


def test_a_text_that_is_refused_is_a_line_that_says_what_to_do(embedder):
    said = r"too many tokens.*embedding.max_characters"
    with (
        server.serve(lambda _: fake.error(400, "too many tokens")) as running,
        pytest.raises(JudgeRefusedError, match=said),
    ):
        embedder(running.url).embed(TEXTS)


def test_a_long_text_loses_its_end_before_it_is_sent(embedder):
    with server.serve() as running:
        found = embedder(running.url, max_characters=4).embed(["abcdefgh", "abcdxyz"])
    assert inputs(running) == [["abcd"]]
    np.testing.assert_array_equal(found[0], found[1])


def test_the_cap_holds_before_anything_is_sent_and_its_setting_is_named(embedder):
    budget = Budget(max_usd_by_judge={BILLED: 0.000_001})
    with server.serve() as running:
        with pytest.raises(BudgetExhaustedError, match=r"embedding.max_usd = \$0\.0000"):
            embedder(running.url, budget=budget).embed(TEXTS)
        assert running.num_calls == 0


def test_a_server_that_does_not_say_what_it_charged_is_booked_at_the_most(embedder, cache):
    def answer(body):
        return {**server.answered(body), "usage": None}

    with server.serve(answer) as running:
        embedder(running.url).embed(["abc"])
    assert usd(cache) > 3 * PRICE / 1e6


def test_the_key_is_sent_and_never_said(embedder, monkeypatch):
    monkeypatch.setenv("VECTORS_KEY", "topsecret-0123456789")

    def answer(_):
        return fake.error(401, "wrong key topsecret-0123456789")

    with (
        server.serve(answer) as running,
        pytest.raises(JudgeRefusedError, match="VECTORS_KEY") as refused,
    ):
        embedder(running.url, api_key_env="VECTORS_KEY").embed(TEXTS)
    assert running.headers[0]["authorization"] == "Bearer topsecret-0123456789"
    assert "topsecret" not in str(refused.value)
    monkeypatch.delenv("VECTORS_KEY")
    with pytest.raises(ValueError, match="VECTORS_KEY, which is not set"):
        embedder("http://127.0.0.1:9/v1", api_key_env="VECTORS_KEY").embed(["other"])


def test_vectors_may_come_as_bytes(embedder):
    def answer(body):
        [text] = body["input"]
        raw = np.array(server.vector(text), dtype="<f4").tobytes()
        return {"data": [{"embedding": base64.b64encode(raw).decode()}]}

    with server.serve(answer) as running:
        found = embedder(running.url).embed(["abc"])
    np.testing.assert_allclose(found, [unit("abc")], atol=1e-6)


@pytest.mark.parametrize(
    "data",
    [
        [],
        [{"index": 0, "embedding": [0.1, 0.2]}, {"index": 1, "embedding": [0.1, 0.2]}],
        [{"index": 1, "embedding": [0.1, 0.2]}],
        [{"index": 0, "embedding": []}],
        [{"index": 0, "embedding": [0.1, "much"]}],
        [{"index": 0, "embedding": [0.1, True]}],
        [{"index": 0, "embedding": "no bytes!"}],
        ["a vector"],
        None,
    ],
)
def test_what_is_no_vector_for_each_text_is_never_taken_for_one(embedder, cache, data):
    with (
        server.serve(lambda _: {"data": data}) as running,
        pytest.raises(JudgeUnavailableError, match="no vector for each text"),
    ):
        embedder(running.url, max_attempts=1).embed(["abc"])
    assert usd(cache) == 0
    assert len(Reservations(cache).possible("test")) == 1  # it may be charged all the same


def test_vectors_have_one_length_that_is_the_one_asked_for(embedder):
    with server.serve() as running:
        with pytest.raises(JudgeRefusedError, match=r"of 6 numbers, not 3: correct embedding\.dim"):
            embedder(running.url, dimensions=3).embed(["abc"])
        assert running.bodies[-1]["dimensions"] == 3
        assert embedder(running.url, dimensions=6).embed(["abc"]).shape == (1, 6)
        assert running.num_calls == 2  # another length is another question


def test_no_text_is_no_row_of_the_same_length(embedder):
    with server.serve() as running:
        assert embedder(running.url).embed([]).shape == (0, server.DIM)
        assert embedder(running.url).embed([]).shape == (0, server.DIM)
    assert inputs(running) == [[PROBE]]
