"""An OpenAI-compatible server in this process that answers from a script, for tests of the client.

Start one with `serve(answer)`, where `answer(body)` gives the content of the reply, a `Reply`, or a
whole `Response`. It counts the requests it got and keeps their bodies.
"""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response

START_SECONDS = 20


@dataclass
class Reply:
    """One completion as the server sends it."""

    content: str | None
    finish_reason: str = "stop"
    refusal: str | None = None
    prompt_tokens: int = 100
    completion_tokens: int = 10

    def response(self):
        message = {"role": "assistant", "content": self.content, "refusal": self.refusal}
        body = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": "fake",
            "choices": [{"index": 0, "message": message, "finish_reason": self.finish_reason}],
            "usage": {
                "prompt_tokens": self.prompt_tokens,
                "completion_tokens": self.completion_tokens,
                "total_tokens": self.prompt_tokens + self.completion_tokens,
            },
        }
        return Response(json.dumps(body), media_type="application/json")


@dataclass
class FakeServer:
    """A running server: where it is, and what it was asked."""

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    @property
    def num_calls(self):
        return len(self.bodies)


def error(status, message="failed", **headers):
    """An error as OpenAI's API words it."""
    body = json.dumps({"error": {"message": message, "type": "error", "code": None}})
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def verdict(choice, reason="because"):
    """The content of a well-formed verdict."""
    return json.dumps({"reason": reason, "verdict": choice})


@contextmanager
def serve(answer, *, login=404) -> Iterator[FakeServer]:
    """Run the server on a free loopback port until the block ends; `login`: that page.s status."""
    fake = FakeServer()
    app = FastAPI()
    app.get("/login")(lambda: Response("<html>log in</html>", status_code=login))

    @app.post("/v1/chat/completions")
    def completions(body: dict[str, Any], request: Request):
        fake.in_flight += 1
        fake.most_in_flight = max(fake.most_in_flight, fake.in_flight)
        fake.bodies.append(body)
        fake.headers.append(dict(request.headers))
        try:
            found = answer(body)
        finally:
            fake.in_flight -= 1
        if isinstance(found, str):
            found = Reply(found)
        return found.response() if isinstance(found, Reply) else found

    with listening(app) as fake.url:
        yield fake


@contextmanager
def listening(app) -> Iterator[str]:
    """Serve an application on a free port of loopback: the address of its API."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            server.force_exit = True
            thread.join(START_SECONDS)
