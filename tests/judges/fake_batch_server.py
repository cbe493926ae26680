"""OpenAI's files and batches in this process, as far as they are used: answers when told to finish.

A batch stays `in_progress` until `finish` says how it ended: how many of its lines were answered,
and for how many the service gave an error. Single completions are answered too, and counted.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import fake_judge_server as fake
from fastapi import FastAPI, Request, Response


@dataclass
class Batch:
    """A batch as the service keeps it."""

    lines: list[str]
    metadata: dict[str, str]
    input_file: str
    status: str = "in_progress"
    output: str | None = None
    errors: str | None = None
    counts: dict[str, int] | None = None
    """What the service says of how many requests it worked on."""
    refusal: str | None = None
    """The code of an error about the whole batch."""


@dataclass
class BatchServer:
    """A running service: where it is, and what it has."""

    answer: Any
    url: str = ""
    files: dict[str, str] = field(default_factory=dict)
    batches: dict[str, Batch] = field(default_factory=dict)
    num_calls: int = 0
    """Single completions that were asked for."""

    def finish(self, name, *, status="completed", num_answered=None, num_errors=0, counts=None):
        """End a batch: the first lines are answered, the next ones fail, the rest is left."""
        batch = self.batches[name]
        end = len(batch.lines) if num_answered is None else num_answered
        done = [answered(line, self.answer(body_of(line))) for line in batch.lines[:end]]
        failed = [refused(line) for line in batch.lines[end : end + num_errors]]
        batch.status, batch.counts = status, counts
        batch.output = self._kept(f"out-{name}", done)
        batch.errors = self._kept(f"err-{name}", failed)

    def under_way(self):
        """Names of the batches that have not ended, in the order in which they came."""
        return [name for name, each in self.batches.items() if each.status == "in_progress"]

    def model(self, name):
        """The model that a batch asks."""
        [model] = {body_of(line)["model"] for line in self.batches[name].lines}
        return model

    def _kept(self, name, lines):
        if not lines:
            return None
        self.files[name] = "\n".join(lines)
        return name


def body_of(line):
    return json.loads(line)["body"]


def answered(line, reply=None, **changes):
    """A line of the output file for a line of the input file."""
    reply = reply if isinstance(reply, fake.Reply) else fake.Reply(reply or WELL)
    row = {
        "id": "batch_req_1",
        "custom_id": json.loads(line)["custom_id"],
        "response": {
            "status_code": 200,
            "request_id": "1",
            "body": json.loads(reply.response().body),
        },
        "error": None,
    }
    return json.dumps({**row, **changes})


def refused(line):
    """A line of the error file."""
    body = {"error": {"message": "the server had an error", "type": "server_error"}}
    return answered(line, response={"status_code": 500, "request_id": "1", "body": body})


WELL = fake.verdict("candidate_1")


@contextmanager
def batch_server(answer=lambda body: WELL) -> Iterator[BatchServer]:
    """Run the service on a free port of loopback until the block ends."""
    app, state = FastAPI(), BatchServer(answer=answer)

    @app.post("/v1/files")
    async def upload(request: Request):
        form = await request.body()
        start = form.index(b'{"custom_id"')
        name = f"file-{len(state.files)}"
        state.files[name] = form[start : form.index(b"\r\n--", start)].decode()
        return {
            "id": name, "object": "file", "bytes": 1, "created_at": 0, "filename": "f",
            "purpose": "batch", "status": "processed",
        }  # fmt: skip

    def shown(name):
        batch = state.batches[name]
        return {
            "id": name, "object": "batch", "endpoint": "/v1/chat/completions", "created_at": 0,
            "input_file_id": batch.input_file, "completion_window": "24h",
            "status": batch.status, "output_file_id": batch.output,
            "error_file_id": batch.errors, "metadata": batch.metadata,
            "request_counts": batch.counts,
            "errors": batch.refusal and {"data": [{"code": batch.refusal, "message": "no"}]},
        }  # fmt: skip

    @app.post("/v1/batches")
    def create(body: dict[str, Any]):
        name = f"batch-{len(state.batches)}"
        lines = state.files[body["input_file_id"]].splitlines()
        state.batches[name] = Batch(lines, body.get("metadata") or {}, body["input_file_id"])
        return shown(name)

    @app.get("/v1/batches")
    def every():
        data = [shown(name) for name in state.batches]
        return {"object": "list", "data": data, "has_more": False}

    @app.get("/v1/batches/{name}")
    def retrieve(name: str):
        if name not in state.batches:
            return fake.error(404, f"no batch {name}")
        return shown(name)

    @app.get("/v1/files/{name}/content")
    def content(name: str):
        return Response(state.files[name])

    @app.post("/v1/chat/completions")
    def completions(body: dict[str, Any]):
        state.num_calls += 1
        found = state.answer(body)
        return (found if isinstance(found, fake.Reply) else fake.Reply(found)).response()

    with fake.listening(app) as state.url:
        yield state
