"""An OpenAI-compatible server of embeddings in this process, for tests of what asks one."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager

import fake_judge_server as fake
from fastapi import FastAPI, Request, Response

DIM = 6


def vector(text):
    """Some numbers that only this text has."""
    return [byte / 255 + 0.01 for byte in hashlib.sha256(text.encode()).digest()[:DIM]]


def answered(body):
    """The vectors of all texts of a request, ten tokens each, last one first."""
    texts = body["input"]
    data = [
        {"object": "embedding", "index": index, "embedding": vector(text)}
        for index, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": 10 * len(texts), "total_tokens": 10 * len(texts)}
    return {"object": "list", "data": data[::-1], "model": body["model"], "usage": usage}


@contextmanager
def serve(answer=answered) -> Iterator[fake.FakeServer]:
    """Run the server on a free loopback port; `answer(body)` gives a body or a `Response`."""
    server = fake.FakeServer()
    app = FastAPI()

    @app.post("/v1/embeddings")
    def embeddings(body: dict, request: Request):
        server.bodies.append(body)
        server.headers.append(dict(request.headers))
        found = answer(body)
        if isinstance(found, Response):
            return found
        return Response(json.dumps(found), media_type="application/json")

    with fake.listening(app) as server.url:
        yield server
