"""One call to a judge endpoint: attempts, waiting, typed failures, and how much runs at once.

Every outcome is an answer, a typed failure, or an error that stops the judge (wrong key, unknown
model). Concurrency grows by one per round of successes and halves when the endpoint is overloaded.
"""

import asyncio
import logging
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any

from synpref_dagster.curation.judging.replies import Failure
from synpref_dagster.judges.errors import UNPAID, Told, shown, told
from synpref_dagster.judges.forms import RequestForm
from synpref_dagster.judges.purse import Purse
from synpref_dagster.judges.requests import (
    CallFailure,
    CallResult,
    JudgeRefusedError,
    JudgeReply,
    JudgeRequest,
    failure_of,
)
from synpref_dagster.settings.judges import JudgeEndpoint
from synpref_dagster.settings.secrets import (
    all_redacted,
    from_environment,
    redacted,
    whole,
    without_known,
)

LOGGER = logging.getLogger(__name__)

OVERLOADED: tuple[Failure, ...] = ("rate_limited", "server_error", "timeout")
LASTING: tuple[Failure, ...] = ("rejected", "refused")
NEVER_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol")
"""Errors of the HTTP client from before a request is sent."""
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


@dataclass(frozen=True, slots=True)
class _Refused:
    """An endpoint answered with an error status."""

    said: Told
    asked_for: float | None
    """Seconds that it asks to wait."""


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
        form: RequestForm,
        on_form: Callable[[RequestForm, str], None],
        policy: RetryPolicy,
        purse: Purse,
        logger: logging.Logger = LOGGER,
    ) -> None:
        from openai import AsyncOpenAI

        self.endpoint = endpoint
        self.form = form
        self.limit = AdaptiveLimit(endpoint.max_concurrency)
        self.num_retries = 0
        self._on_form = on_form
        self._policy = policy
        self._purse = purse
        self._logger = logger
        self._client = AsyncOpenAI(
            base_url=whole(endpoint.base_url),
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
            if failure.stops:
                raise refused_client(self.endpoint, failure)
            if failure.failure in LASTING:
                return failure
            if failure.failure in OVERLOADED:
                self.limit.overloaded()
            if attempt + 1 < self.endpoint.max_attempts:
                await self._policy.sleep(self._policy.wait_seconds(attempt, asked_for))
        return failure

    async def _attempt(self, request: JudgeRequest) -> tuple[CallResult, float | None]:
        """One attempt; what the endpoint refuses to be sent is tried in another form at once.

        Raises:
            JudgeRefusedError: it refuses a field of the profile's `extra`.
            BudgetExhaustedError: it may cost more than is left.
        """
        form, reason = self.form, ""
        while True:
            found = await self._sent(request, form)
            if not isinstance(found, _Refused):
                if isinstance(found[0], JudgeReply):
                    self._keep_form(form, reason)
                return found
            if (other := form.without(found.said, request.body(form))) is None:
                self._refuse_extra(found.said)
                return failure_of(found.said), found.asked_for
            form, reason = other, reason or found.said.text

    async def _sent(
        self, request: JudgeRequest, form: RequestForm
    ) -> "tuple[CallResult, float | None] | _Refused":
        """What came of sending a request once, its price booked, given back or kept in mind."""
        import openai

        started = time.monotonic()
        sent = request.body(form)
        async with self._purse.attempt(request) as attempt:
            try:
                body = await self._client.post(request.path, cast_to=object, body=sent)
                answer = request.answer_in(without_known(body), form)
            except openai.APIStatusError as error:
                attempt.is_free = certainly_free(error)
                return _Refused(error_of(error), retry_after(error.response.headers))
            except openai.APIConnectionError as error:
                attempt.is_free = certainly_free(error)
                if isinstance(error, openai.APITimeoutError):
                    return CallFailure(failure="timeout", detail=redacted(str(error))), None
                said = redacted(repr(error.__cause__))
                return CallFailure(failure="connection_failed", detail=said), None
            except (openai.OpenAIError, ValueError, RecursionError) as error:
                return CallFailure(failure="server_error", detail=redacted(str(error))[:200]), None
            if isinstance(answer, JudgeReply):
                answer = replace(answer, seconds=time.monotonic() - started)
                return self._purse.book(attempt, answer), None
            # Whoever has no money or no access is charged nothing, whatever the status says.
            attempt.is_free = bool(answer.stops)
            return self._refused_in(answer, form, sent) or (answer, None)

    def _refused_in(
        self, failure: CallFailure, form: RequestForm, sent: Mapping[str, Any]
    ) -> _Refused | None:
        """The refusal of a field in a body of status 200, None for any other failure."""
        said = failure.said.as_refusal() if failure.said is not None else None
        if said is None or said.meaning != "rejected":
            return None
        is_about_us = form.without(said, sent) is not None
        return _Refused(said, None) if is_about_us or said.named(self.endpoint.extra) else None

    def _refuse_extra(self, said: Told) -> None:
        wrong = said.named(self.endpoint.extra) if said.meaning == "rejected" else None
        if wrong is not None:
            raise JudgeRefusedError(
                f"judge {self.endpoint.name!r} at {self.endpoint.base_url} answered {said.status}: "
                f"{said.text}. Take {wrong} out of its `extra`, or correct it"
            )

    def _keep_form(self, form: RequestForm, reason: str) -> None:
        if form == self.form:
            return  # or another call in flight has found out already
        self._logger.warning(
            "judge %s refused a request: %s; %s", self.endpoint.name, reason, form.told(self.form)
        )
        self.form = form
        self._on_form(form, reason)


def refused_client(endpoint: JudgeEndpoint, failure: CallFailure) -> JudgeRefusedError:
    """Why a judge is asked no further: its account, its key or its model."""
    key = endpoint.api_key_env or "(none)"
    todo = f"Check the model name {endpoint.model!r} and the key in {key}"
    if failure.stops == "no_money":
        todo = (
            f"No money is left on the account of the key in {key}: fill it up and run again, only "
            "what is missing is asked"
        )
    elif failure.said is not None and failure.said.led_to:
        todo = f"Check `base_url`: an API leads nowhere else; then the key in {key}"
    said = failure.detail.rstrip(".")
    return JudgeRefusedError(
        f"judge {endpoint.name!r} at {endpoint.base_url} answered {said}. {todo}"
    )


def certainly_free(error: Exception) -> bool:
    """Whether an endpoint surely charges nothing for a call that ended in this error.

    It was never reached, or it refused in so many words. A time-out, a broken connection and an
    error of the server may come after the work was done.
    """
    import openai

    if isinstance(error, openai.APIStatusError):
        return 400 <= error.status_code < 500 and error_of(error).meaning in UNPAID
    # By name: the library brings its own HTTP client, and changed it once.
    cause = type(error.__cause__).__name__
    return isinstance(error, openai.APIConnectionError) and cause in NEVER_SENT


def error_of(error: Any) -> Told:
    """What an `openai.APIStatusError` says."""
    said = told(_decoded(error.response), status=int(error.status_code))
    if not error.response.history:
        return said
    return replace(said, led_to=shown(all_redacted(error.response.url.path)))


def _decoded(response: Any) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError):
        return response.text


def api_key(endpoint: JudgeEndpoint) -> str:
    """The key of an endpoint from the environment.

    Raises:
        ValueError: the variable named in the profile is not set.
    """
    if endpoint.api_key_env is None:
        return "none"  # the client insists on a text; servers without keys ignore it
    key = from_environment(endpoint.api_key_env)
    if not key:
        raise ValueError(
            f"judge {endpoint.name!r} needs its key in the environment variable "
            f"{endpoint.api_key_env}, which is not set"
        )
    return key


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that an endpoint asks to wait, None when it says nothing that can be understood.

    `retry-after-ms`, or `Retry-After` as seconds or as a date.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) * unit
        except ValueError:
            try:
                # By the endpoint's clock where it says what that is: ours may be another.
                now = headers.get("date")
                since = parsedate_to_datetime(now).timestamp() if now else time.time()
                seconds = parsedate_to_datetime(value).timestamp() - since
            except (ValueError, TypeError, OverflowError):
                continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None
