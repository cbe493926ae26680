"""What is asked of a judge endpoint and what comes back, as plain records.

A request's key hashes everything that the reply may depend on: endpoint, model, messages, schema,
sampling and the sample's number. Nothing else enters it, so that time-outs, prices or concurrency
never ask anything again.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

from synpref_dagster.curation.judging.prompts import JudgePrompt, Message
from synpref_dagster.curation.judging.replies import Failure, ParsedReply, parse_reply
from synpref_dagster.judges.errors import Told, is_error, shown, told
from synpref_dagster.judges.forms import RequestForm, SchemaMode
from synpref_dagster.pairs.texts import storable
from synpref_dagster.settings.secrets import all_redacted

COMPLETIONS = "/chat/completions"
TOKEN_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
ANSWER_PARTS = ("text", "output_text")
CUT_SHORT = frozenset({"length", "max_tokens", "model_length", "max_output_tokens"})
"""`finish_reason` of a reply without its end, in lower case, as providers call it."""
FILTERED = frozenset(
    {"content_filter", "refusal", "sensitive", "safety", "recitation", "blocklist"}
    | {"prohibited_content", "spii", "image_safety", "content_filtered", "guardrail_intervened"}
)
"""`finish_reason` of a reply that a filter took."""
BROKEN_OFF = frozenset(
    {"error", "network_error", "insufficient_system_resource", "abort", "aborted", "cancelled"}
    | {"canceled", "timeout", "timed_out", "time_limit", "server_error", "internal_error", "failed"}
    | {"interrupted", "preempted", "repetition", "repetition_truncation", "malformed_response"}
    | {"malformed_function_call", "unexpected_tool_call", "too_many_tool_calls"}
)
"""`finish_reason` of what is no reply: the server stopped in the middle of it."""
MAX_TOKENS = 2**53


class JudgeError(Exception):
    """A judge cannot be asked any further. What was answered before is in the cache."""

    permanent = True
    """Whether trying again without a change by people is useless."""


class JudgeUnavailableError(JudgeError):
    """An endpoint failed again and again; a later attempt may find it well."""

    permanent = False


class JudgeRefusedError(JudgeError):
    """An endpoint refuses this client: wrong key, no access, unknown model."""


class BatchPendingError(JudgeError):
    """The replies are being made elsewhere; run again when the batch is collected."""


@dataclass(frozen=True, kw_only=True)
class JudgeRequest:
    """One call to one model. Equal requests are one call, whoever asks."""

    path: ClassVar[str] = COMPLETIONS
    """Below the base URL."""

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
    leave_out: tuple[str, ...] = ()
    """Fields that the profile does not want sent."""

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
            # Only when set: replies that were bought before it could be are found again.
            **({"leave_out": sorted(self.leave_out)} if self.leave_out else {}),
        }
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def num_bytes(self) -> int:
        """UTF-8 bytes of all that a model may be shown: no tokenizer makes more tokens than that.

        These are the messages, the schema, and what `extra` puts into the request.
        """
        texts = [message["content"] for message in self.messages]
        texts += [
            json.dumps(each, ensure_ascii=False) for each in (self.prompt.schema, self.fields)
        ]
        return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)

    @property
    def most_tokens(self) -> int:
        """Tokens that the reply may have at most; 0 when nothing that is sent says it."""
        given = [self.fields.get(name) for name in TOKEN_LIMITS]
        return max((limit for limit in given if isinstance(limit, int)), default=0)

    @cached_property
    def fields(self) -> dict[str, Any]:
        """What goes into the request beside model, messages and schema."""
        fields = {"seed": self.sample, **self.sampling}
        return {name: value for name, value in fields.items() if name not in self.leave_out}

    def body(self, form: RequestForm) -> dict[str, Any]:
        """The request as sent to `/chat/completions`."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": list(self.messages),
            **form.fields(self.fields),
        }
        if "response_format" in self.leave_out or "response_format" in body:
            return body
        if form.mode == "json_schema":
            schema = {"name": self.prompt.name, "strict": True, "schema": self.prompt.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif form.mode == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body

    def answer_in(self, body: Any, form: RequestForm) -> "CallResult":
        """What the decoded body of a response answers to this request."""
        return read_completion(body, form.mode)

    def kept_as(self, reply: "JudgeReply") -> "list[tuple[JudgeRequest, JudgeReply]]":
        """A reply as the cache keeps it: under each request that it answers, with its price."""
        return [(self, reply)]


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
        if self.finish_reason.lower() in CUT_SHORT and (
            parsed.fields is None or parsed.reading == "tolerant"
        ):
            return ParsedReply(failure="truncated", reading=parsed.reading)
        return parsed


@dataclass(frozen=True, kw_only=True, slots=True)
class CallFailure:
    """A call without an answer after all attempts; never cached, so that a re-run asks again."""

    failure: Failure
    detail: str = ""
    stops: Literal["no_money", "no_access", ""] = ""
    """It is about the account, the key or the model: no other request would do better."""
    said: Told | None = field(default=None, compare=False, repr=False)
    """The error that the endpoint told, where it told one."""


CallResult = JudgeReply | CallFailure


@dataclass(kw_only=True, slots=True)
class AskTally:
    """What became of the requests of one judge in one asset."""

    num_asked: int = 0
    num_cached: int = 0
    num_damaged: int = 0
    """Cached replies that no longer say what was kept, and are asked again."""
    num_calls: int = 0
    """Calls that were answered in this run."""
    num_retries: int = 0
    num_left_by_batches: int = 0
    """Requests that batches failed to answer and that are asked alone."""
    usd: float = 0.0
    """Spent in this run."""
    possible_usd: float = 0.0
    """The most that attempts without an answer may have cost on top, in this run."""
    estimated_usd: float | None = None
    """What the pilot said all missing replies would cost."""
    failures: dict[str, int] = field(default_factory=dict)


def read_completion(body: Any, mode: SchemaMode) -> CallResult:
    """The answer in the JSON body of a chat completion.

    Only the answer counts: of a message in parts its text, never what a model thinks. An error in
    the place of the body or of a choice is one, and not an answer without words.

    Args:
        body: the decoded body; anything that is no completion is a `server_error`.
        mode: how the schema was asked for.
    """
    body = _from_text(body)
    if is_error(body):
        return failure_of(told(body))
    choices = body.get("choices") if isinstance(body, Mapping) else None
    if not isinstance(choices, list):
        return _no_completion(body)
    if not choices:
        return CallFailure(failure="empty_choices")
    choice = choices[0]
    if not isinstance(choice, Mapping):
        return _no_completion(body)
    native = _reason(choice, "native_finish_reason")
    finish_reason = _reason(choice, "finish_reason") or native
    ends = {finish_reason.lower(), native.lower()}
    message = choice.get("message")
    error = choice.get("error") or (isinstance(message, Mapping) and message.get("error"))
    if error or ends & BROKEN_OFF:
        why = " ".join(sorted(ends & BROKEN_OFF))
        return failure_of(told(error or {"message": f"ended by {why}"}))
    if message is None and ends & (CUT_SHORT | FILTERED):
        message = {}  # why it says nothing is all that it says
    if not isinstance(message, Mapping):
        return _no_completion(body)
    text = _answer_text(message.get("content"))
    if text is None:
        return _no_completion(body)
    # Routers call what a filter took a plain stop, and say beside it what their provider called it.
    is_filtered = finish_reason.lower() in FILTERED or (not text.strip() and bool(ends & FILTERED))
    prompt_tokens, completion_tokens = tokens_used(body.get("usage"))
    return JudgeReply(
        text=storable(text),
        finish_reason=finish_reason,
        mode=mode,
        refused=bool(message.get("refusal")) or is_filtered,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
    )


def _reason(choice: Mapping[str, Any], name: str) -> str:
    return storable(str(choice.get(name) or ""))[:100]


def failure_of(error: Told) -> CallFailure:
    """The typed failure that an error of an endpoint is."""
    failures: Mapping[str, Failure] = {
        "content_filter": "refused",
        "rate_limited": "rate_limited",
        "server_error": "server_error",
    }
    said = f"{error.status or ''}: {error.text}".removeprefix(": ")
    if error.led_to:
        said += f" (a redirect led to {error.led_to!r})"
    return CallFailure(
        failure=failures.get(error.meaning, "rejected"),
        detail=said,
        stops=error.meaning if error.meaning in ("no_money", "no_access") else "",
        said=error,
    )


def _from_text(body: Any) -> Any:
    """A body that was sent as text, though it is JSON."""
    if isinstance(body, str) and body.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return body
    return body


def _no_completion(body: Any) -> CallFailure:
    """Not even an error in a known place; its codes are looked at all the same."""
    # What a model writes must not be taken for what its server says.
    has_choices = isinstance(body, Mapping) and bool(body.get("choices"))
    error = told(None if has_choices else body)
    detail = f"the reply is no chat completion: {shown(all_redacted(body))}"
    # A page that happens to name a field refuses nothing.
    return replace(failure_of(error), detail=detail, said=error if error.status else None)


def _answer_text(content: Any) -> str | None:
    """The text of a message, without the parts that are no answer; None for no text at all."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        return None
    texts = [
        part if isinstance(part, str) else part["text"]
        for part in content
        if isinstance(part, str)
        or (
            isinstance(part, Mapping)
            and part.get("type") in ANSWER_PARTS
            and isinstance(part.get("text"), str)
        )
    ]
    return "".join(texts)


def tokens_used(usage: Any, *, needs_reply: bool = True) -> tuple[int, int]:
    """Tokens of request and reply; (0, 0) unless both are said, for half a bill is none.

    Args:
        usage: what a body says.
        needs_reply: whether the reply has tokens of its own.
    """
    prompt, completion = (_count(usage, f"{name}_tokens") for name in ("prompt", "completion"))
    if not needs_reply:
        completion = completion or 0
    return (prompt, completion) if prompt and completion is not None else (0, 0)


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value < MAX_TOKENS else None
