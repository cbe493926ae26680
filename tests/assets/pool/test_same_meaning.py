"""Vectors from an endpoint for a pool of a few rows: what they find, and what a night asks for."""

import json

import fake_embedding_server as server
import pytest
from two_sources import POOL

from synpref_dagster.judges.cache import ReplyCache
from synpref_dagster.settings.embedding import EndpointEmbedding
from synpref_dagster.storage import read_frame

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]
EMBEDDED = [*POOL, "vocabulary", "attribute_labels", "pair_embeddings", "semantic_duplicates"]
TOPICS = ("rain", "harbour", "cooking")
ROWS = [
    ("Why does it rain?", "Because of clouds over the rain", "No idea about rain"),
    ("What makes rain fall, please?", "Rain comes out of heavy skies", "Rain? Ask others"),
    ("Where is the harbour?", "The harbour lies down the hill", "That harbour is far away"),
]


def by_topic(body):
    """Vectors that are nearly the same for texts of one topic, whatever their words."""
    found = server.answered(body)
    for each in found["data"]:
        text = body["input"][each["index"]].lower()
        topic = [float(word in text) for word in TOPICS]
        each["embedding"] = topic + [0.02 * number for number in each["embedding"]]
    return found


def write(place, rows):
    lines = [{"prompt": ask, "chosen": good, "rejected": bad} for ask, good, bad in rows]
    (place.folder / "chats.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (place.folder / "web.jsonl").write_text(
        json.dumps(
            {"prompt": "Say how cooking works", "chosen": "Cooking is heat", "rejected": "x"}
        )
    )


def test_who_says_the_same_in_other_words_is_found_and_a_night_asks_for_new_texts_only(place):
    write(place, ROWS)
    with server.serve(by_topic) as running:
        settings = EndpointEmbedding(
            kind="endpoint",
            base_url=running.url,
            model="m",
            usd_per_million_input=1.0,
            min_cosine=0.9,
        )
        found = place.run(EMBEDDED, embedding=settings)
        told = found["semantic_duplicates"].metadata
        assert (told["num_links"].value, told["num_in_links"].value) == (1, 2)
        assert "chats" in told["links_by_source"].value
        assert "heavy skies" in told["examples"].value
        links = read_frame(place.ref("semantic_duplicates"))
        assert links["cosine"].between(0.9, 1).all()
        assert (links["similarity"] < 0.8).all()
        vectors = found["pair_embeddings"].metadata
        assert vectors["num_vectors"].value == 3  # those of stage 1
        texts = [text for body in running.bodies for text in body["input"]]
        assert len(texts) == len(set(texts)) == 3 + 2 * 4 + 1  # and what tells a vector's length
        assert told["embedding_usd"].value == pytest.approx(len(texts) * 10 / 1e6)
        asked = running.num_calls

        again = place.run(EMBEDDED, embedding=settings)
        assert running.num_calls == asked
        assert again["pair_embeddings"].metadata["num_shards_computed"].value == 0

        write(place, [*ROWS, ("Is the harbour deep?", "This harbour is deep", "A harbour, maybe")])
        grown = place.run([e for e in EMBEDDED if e != "vocabulary"], embedding=settings)
        assert grown["pair_embeddings"].metadata["num_vectors"].value == 4
        new = [text for body in running.bodies[asked:] for text in body["input"]]
        assert len(new) == 3
        assert all("harbour" in text for text in new)
        assert grown["semantic_duplicates"].metadata["num_links"].value == 2
    cache = ReplyCache(place.folder / "store" / "judge_replies.sqlite")
    spent = cache.spent("smoke-seed-0")
    assert spent[["judge", "asset", "num_calls"]].to_numpy().tolist() == [
        ["embedding", "pair_embeddings", len(texts) + 3]
    ]
    cache.close()
