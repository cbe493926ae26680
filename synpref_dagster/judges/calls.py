"""One call to a judge endpoint: attempts, waiting, typed failures, and how much runs at once.

Every outcome is an answer, a typed failure, or an error that stops the judge (wrong key, unknown
model). Concurrency grows by one per round of successes and halves when the endpoint is overloaded.
"""

import asyncio
import logging
import os
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any

from synpref_dagster.curation.judging.replies import Failure
from synpref_dagster.judges.requests import (
    COMPLETIONS,
    SCHEMA_MODES,
    CallFailure,
    CallResult,
    JudgeRefusedError,
    JudgeReply,
    JudgeRequest,
    SchemaMode,
    read_completion,
)
from synpref_dagster.settings.judges import JudgeEndpoint

LOGGER = logging.getLogger(__name__)

TRANSIENT_STATUS = (408, 409, 425)
OVERLOADED: tuple[Failure, ...] = ("rate_limited", "server_error", "timeout")
SCHEMA_WORDS = re.compile(r"response_format|json_schema|json_object|schema|guided|structured", re.I)
NO_MONEY = "insufficient_quota"
START_CONCURRENCY = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """How long to wait between attempts, in seconds."""

    first_wait: float = 0.5
    longest_wait: float = 60.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def wait_seconds(self, attempt: int, asked_for: float | None) -> float:
        """What the endpoint asked for, else doubling waits with a random part."""
        if asked_for is not None:
            return min(asked_for, self.longest_wait)
        # Jitter between clients needs no reproducible draw.
        return min(self.longest_wait, self.first_wait * 2**attempt) * random.uniform(0.5, 1.0)


class AdaptiveLimit:
    """How many calls may be in flight: one more per round of successes, half when overloaded."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.allowed = float(min(most, START_CONCURRENCY))
        self._in_flight = 0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a place and hold it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._in_flight < int(self.allowed))
            self._in_flight += 1
        try:
            yield
        finally:
            async with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def succeeded(self) -> None:
        """An answer came: allow a little more."""
        self.allowed = min(float(self.most), self.allowed + 1.0 / self.allowed)

    def overloaded(self) -> None:
        """The endpoint cannot keep up: allow half."""
        self.allowed = max(1.0, self.allowed / 2)


class EndpointCaller:
    """Calls one endpoint; open it inside a running event loop and close it there."""

    def __init__(
        self,
        endpoint: JudgeEndpoint,
        *,
        mode: SchemaMode,
        on_mode: Callable[[SchemaMode, str], None],
        policy: RetryPolicy,
        logger: logging.Logger = LOGGER,
    ) -> None:
        from openai import AsyncOpenAI

        self.endpoint = endpoint
        self.mode = mode
        self.limit = AdaptiveLimit(endpoint.max_concurrency)
        self.num_retries = 0
        self._on_mode = on_mode
        self._policy = policy
        self._logger = logger
        self._client = AsyncOpenAI(
            base_url=endpoint.base_url,
            api_key=api_key(endpoint),
            timeout=endpoint.timeout_seconds,
            max_retries=0,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def call(self, request: JudgeRequest) -> CallResult:
        """The answer to a request, or the failure of its last attempt.

        Raises:
            JudgeRefusedError: the endpoint refuses this client; no other request would do better.
        """
        failure = CallFailure(failure="server_error")
        for attempt in range(self.endpoint.max_attempts):
            if attempt:
                self.num_retries += 1
            answer, asked_for = await self._attempt(request)
            if isinstance(answer, JudgeReply):
                self.limit.succeeded()
                return answer
            failure = answer
            if failure.failure == "rejected":
                return failure
            if failure.failure in OVERLOADED:
                self.limit.overloaded()
            if attempt + 1 < self.endpoint.max_attempts:
                await self._policy.sleep(self._policy.wait_seconds(attempt, asked_for))
        return failure

    async def _attempt(self, request: JudgeRequest) -> tuple[CallResult, float | None]:
        """One attempt; a schema that is refused is asked for less strictly at once."""
        import openai

        started = time.monotonic()
        for _ in SCHEMA_MODES:
            mode = self.mode
            try:
                body = await self._client.post(COMPLETIONS, cast_to=object, body=request.body(mode))
            except openai.APIStatusError as error:
                if mode != "text" and refuses_schema(error.status_code, str(error.message)):
                    self._relax(mode, str(error.message))
                    continue
                return _status_failure(error, self.endpoint), retry_after(error.response.headers)
            except openai.APITimeoutError as error:
                return CallFailure(failure="timeout", detail=str(error)), None
            except openai.APIConnectionError as error:
                return CallFailure(failure="connection_failed", detail=repr(error.__cause__)), None
            except (openai.OpenAIError, ValueError) as error:
                return CallFailure(failure="server_error", detail=str(error)[:200]), None
            answer = read_completion(body, mode)
            if isinstance(answer, JudgeReply):
                answer = replace(answer, seconds=time.monotonic() - started)
            return answer, None
        return CallFailure(failure="rejected", detail="every form of the schema is refused"), None

    def _relax(self, refused: SchemaMode, reason: str) -> None:
        if self.mode != refused:
            return  # another call in flight has found out already
        self.mode = SCHEMA_MODES[SCHEMA_MODES.index(refused) + 1]
        self._logger.warning(
            "judge %s refuses %s, asking for %s: %s",
            self.endpoint.name,
            refused,
            self.mode,
            reason[:200],
        )
        self._on_mode(self.mode, reason)


def api_key(endpoint: JudgeEndpoint) -> str:
    """The key of an endpoint from the environment.

    Raises:
        ValueError: the variable named in the profile is not set.
    """
    if endpoint.api_key_env is None:
        return "none"  # the client insists on a text; servers without keys ignore it
    key = os.environ.get(endpoint.api_key_env)
    if not key:
        raise ValueError(
            f"judge {endpoint.name!r} needs its key in the environment variable "
            f"{endpoint.api_key_env}, which is not set"
        )
    return key


def refuses_schema(status: int, message: str) -> bool:
    """Whether an error is about the form of the reply that was asked for."""
    return status in (400, 404, 415, 422, 500, 501) and bool(SCHEMA_WORDS.search(message))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that an endpoint asks to wait, from `Retry-After` as seconds or as a date."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _status_failure(error: Any, endpoint: JudgeEndpoint) -> CallFailure:
    status, message = int(error.status_code), str(error.message)[:200]
    if status in (401, 403, 404) or NO_MONEY in message:
        raise JudgeRefusedError(
            f"judge {endpoint.name!r} at {endpoint.base_url} answered {status}: {message}. Check "
            f"the model name {endpoint.model!r} and the key in {endpoint.api_key_env or '(none)'}"
        ) from error
    if status == 429:
        return CallFailure(failure="rate_limited", detail=message)
    if status >= 500 or status in TRANSIENT_STATUS:
        return CallFailure(failure="server_error", detail=f"{status}: {message}")
    return CallFailure(failure="rejected", detail=f"{status}: {message}")
