"""What is asked of a judge endpoint and what comes back, as plain records.

A request's key hashes everything that the reply may depend on: endpoint, model, messages, schema,
sampling and the sample's number. Nothing else enters it, so that time-outs, prices or concurrency
never ask anything again.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from synpref_dagster.curation.judging.prompts import JudgePrompt, Message
from synpref_dagster.curation.judging.replies import Failure, ParsedReply, parse_reply

SchemaMode = Literal["json_schema", "json_object", "text"]
SCHEMA_MODES: tuple[SchemaMode, ...] = ("json_schema", "json_object", "text")
COMPLETIONS = "/chat/completions"


class JudgeError(Exception):
    """A judge cannot be asked any further. What was answered before is in the cache."""

    permanent = True
    """Whether trying again without a change by people is useless."""


class JudgeUnavailableError(JudgeError):
    """An endpoint failed again and again; a later attempt may find it well."""

    permanent = False


class JudgeRefusedError(JudgeError):
    """An endpoint refuses this client: wrong key, no access, unknown model."""


@dataclass(frozen=True, kw_only=True)
class JudgeRequest:
    """One call to one model. Equal requests are one call, whoever asks."""

    endpoint: str
    """Base URL."""
    model: str
    """The model's name at the endpoint."""
    messages: Sequence[Message]
    """The whole conversation sent, system message included."""
    prompt: JudgePrompt
    """The task, with the schema of its reply."""
    sampling: Mapping[str, Any]
    """Temperature, most tokens and whatever else goes into the request as it is."""
    sample: int
    """Which of several samples this is; sent as the seed."""

    @cached_property
    def key(self) -> str:
        """64 hex digits: identity of the complete request."""
        parts = {
            "endpoint": self.endpoint.rstrip("/"),
            "model": self.model,
            "messages": list(self.messages),
            "schema": self.prompt.schema,
            "sampling": dict(self.sampling),
            "sample": self.sample,
        }
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def num_bytes(self) -> int:
        """UTF-8 bytes of all messages: no tokenizer makes more tokens than that."""
        texts = [message["content"] for message in self.messages]
        return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)

    def body(self, mode: SchemaMode) -> dict[str, Any]:
        """The request as sent to `/chat/completions`."""
        body = {
            "model": self.model,
            "messages": list(self.messages),
            "seed": self.sample,
            **self.sampling,
        }
        if mode == "json_schema":
            schema = {"name": self.prompt.name, "strict": True, "schema": self.prompt.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif mode == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeReply:
    """One paid answer, as it came."""

    text: str
    finish_reason: str
    mode: SchemaMode
    refused: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    seconds: float = 0.0

    def parsed(self, request: JudgeRequest) -> ParsedReply:
        """The reply's fields, or the typed reason why it has none."""
        if self.refused:
            return ParsedReply(failure="refused")
        parsed = parse_reply(self.text, request.prompt.schema)
        if self.finish_reason == "length" and (
            parsed.fields is None or parsed.reading == "tolerant"
        ):
            return ParsedReply(failure="truncated", reading=parsed.reading)
        return parsed


@dataclass(frozen=True, kw_only=True, slots=True)
class CallFailure:
    """A call without an answer after all attempts; never cached, so that a re-run asks again."""

    failure: Failure
    detail: str = ""


CallResult = JudgeReply | CallFailure


@dataclass(kw_only=True, slots=True)
class AskTally:
    """What became of the requests of one judge in one asset."""

    num_asked: int = 0
    num_cached: int = 0
    num_calls: int = 0
    """Calls that were answered in this run."""
    num_retries: int = 0
    num_left_by_batches: int = 0
    """Requests that batches failed to answer and that are asked alone."""
    usd: float = 0.0
    """Spent in this run."""
    estimated_usd: float | None = None
    """What the pilot said all missing replies would cost."""
    failures: dict[str, int] = field(default_factory=dict)


def read_completion(body: Any, mode: SchemaMode) -> CallResult:
    """The answer in the JSON body of a chat completion.

    Args:
        body: the decoded body; anything that is no completion is a `server_error`.
        mode: how the schema was asked for.
    """
    if not isinstance(body, dict) or not isinstance(body.get("choices"), list):
        return CallFailure(failure="server_error", detail="the reply is no chat completion")
    if not body["choices"]:
        return CallFailure(failure="empty_choices")
    choice = body["choices"][0] or {}
    message, usage = choice.get("message") or {}, body.get("usage") or {}
    finish_reason = str(choice.get("finish_reason") or "")
    return JudgeReply(
        text=str(message.get("content") or ""),
        finish_reason=finish_reason,
        mode=mode,
        refused=bool(message.get("refusal")) or finish_reason == "content_filter",
        prompt_tokens=int(usage.get("prompt_tokens") or 0),
        completion_tokens=int(usage.get("completion_tokens") or 0),
    )
