"""What an endpoint says went wrong, in whatever shape it says it, and what that means for us.

OpenAI writes `{"error": {code, type, param, message}}`, Google a list of these with `status`,
FastAPI a list `detail` with places, OpenRouter an error inside a body or a choice of status 200,
proxies a page of HTML. Codes, types, statuses and places decide; prose is shown and never read,
except for names of fields that we sent.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from synpref_dagster.pairs.texts import storable

MAX_OBJECTS = 200
MAX_SAID = 300
"""Characters of an error that are kept and shown."""
Meaning = Literal[
    "no_money", "no_access", "rate_limited", "content_filter", "server_error", "rejected"
]
NO_MONEY = frozenset(
    {
        "insufficient_quota",
        "insufficient_balance",
        "insufficient_credits",
        "insufficient_funds",
        "insufficient_user_quota",
        "billing_error",
        "billing_hard_limit_reached",
        "billing_not_active",
        "payment_required",
        "credit_balance_too_low",
        "exceeded_current_quota_error",
        "arrearage",
        "402",
    }
)
MONEY = re.compile(
    r"billing|arrear|overdue|insufficient[_-]?(?:quota|balance|credit|fund|usd)|spend(?:ing)?[_-]?limit"
    r"|credit[_-]?(?:limit|balance)|(?:no|out[_-]?of)[_-]?credit|payment[_-]?required",
    re.IGNORECASE,
)
"""What else codes of one word say of an empty account: providers invent a new one each year."""
NO_ACCESS = frozenset(
    {
        "invalid_api_key",
        "api_key_invalid",
        "authentication_error",
        "permission_error",
        "permission_denied",
        "unauthenticated",
        "unauthorized",
        "access_denied",
        "access_terminated",
        "account_deactivated",
        "invalid_authentication_error",
        "model_not_found",
        "not_found_error",
        "not_found",
        "deploymentnotfound",
    }
)
RATE_LIMITED = frozenset(
    {"rate_limit_exceeded", "rate_limit_error", "rate_limited", "too_many_requests"}
    | {"resource_exhausted", "overloaded_error", "engine_overloaded_error"}
)
CONTENT_FILTER = frozenset(
    {"content_filter", "content_policy_violation", "responsibleaipolicyviolation"}
    | {"data_inspection_failed", "content_filtered"}
)
SERVER_ERROR = frozenset(
    {"server_error", "internal_server_error", "api_error", "internal", "unavailable"}
    | {"deadline_exceeded", "timeout", "service_unavailable", "internalservererror"}
)
BY_CODE: tuple[tuple[Meaning, frozenset[str]], ...] = (
    ("no_money", NO_MONEY),
    ("content_filter", CONTENT_FILTER),
    ("no_access", NO_ACCESS),
    ("rate_limited", RATE_LIMITED),
    ("server_error", SERVER_ERROR),
)
"""Codes decide before statuses: an empty account is often a 429, a full server a 400."""
BY_STATUS: Mapping[int, Meaning] = {
    401: "no_access",
    402: "no_money",
    403: "no_access",
    404: "no_access",
    408: "server_error",
    409: "server_error",
    425: "server_error",
    429: "rate_limited",
}
NOT_THE_SERVER = {("server_error", status) for status in (401, 402, 403)}
UNPAID: tuple[Meaning, ...] = ("no_money", "no_access", "rate_limited", "rejected")
"""Refusals before any work. A filter is none of them: some services charge for what it read."""
CODE_NAMES = ("code", "type", "status", "reason", "innererror")
ECHOES = frozenset(
    {"input", "flagged_input", "messages", "ctx", "failed_generation", "body", "request"}
)
"""Where bodies repeat what was sent: texts of pairs, which must decide nothing."""
TEXT_NAMES = ("message", "msg", "detail", "error_description", "title")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUOTED = re.compile(r"[\"'`]([A-Za-z_][A-Za-z0-9_]*)[\"'`]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """An error of an endpoint."""

    status: int
    """HTTP status, or the one that a body of status 200 names; 0 when there is none."""
    codes: frozenset[str]
    """Every code, type, status and reason in it, in lower case."""
    places: tuple[str, ...]
    """Fields of the request that it points at (`param`, `loc`), without our nesting."""
    text: str
    """What it says, cut and storable."""
    is_moderated: bool = False
    """It is about what this one request says: a filter flagged it."""

    @property
    def meaning(self) -> Meaning:
        """What it means for the calls to come."""
        if self.is_moderated:
            return "content_filter"
        if any(MONEY.search(code) for code in self.codes if " " not in code):
            return "no_money"
        for meaning, codes in BY_CODE:
            # Gateways call everything an error of theirs, also a wrong key.
            if self.codes & codes and (meaning, self.status) not in NOT_THE_SERVER:
                return meaning
        if self.status >= 500:
            return "server_error"
        return BY_STATUS.get(self.status, "rejected" if self.status else "server_error")

    def field(self, sent: Collection[str]) -> str | None:
        """The field of the request that it refuses: one that it points at, else one that it names.

        Args:
            sent: fields that were sent and could be left out.
        """
        for place in self.places:
            if place in sent:
                return place
        return next((word for word in _WORD.findall(self.text) if word in sent), None)

    def named(self, sent: Collection[str]) -> str | None:
        """The field that it points at or names in quotes: surer than `field`, which may be tried.

        Args:
            sent: fields that were sent.
        """
        names = (*self.places, *_QUOTED.findall(self.text))
        return next((name for name in names if name in sent), None)


def told(body: Any, *, status: int = 0) -> Told:
    """What a body says went wrong.

    Args:
        body: decoded JSON, or a text that is none.
        status: HTTP status of the reply; a status of 200 is replaced by the one in the body.
    """
    parts = list(islice(_mappings(body), MAX_OBJECTS))
    codes = {
        str(each[name]).lower() for each in parts for name in CODE_NAMES if _is_code(each.get(name))
    }
    if status < 400:
        status = next((int(code) for code in sorted(codes) if _is_status(code)), 0)
    return Told(
        status=status,
        codes=frozenset(codes),
        places=tuple(_places(parts)),
        text=_text(body, parts),
        is_moderated=any(each.get("flagged_input") or each.get("moderation") for each in parts),
    )


def is_error(body: Any) -> bool:
    """Whether a body of status 200 is an error in the place of an answer."""
    if isinstance(body, list):
        return any(isinstance(each, Mapping) and bool(each.get("error")) for each in body)
    if not isinstance(body, Mapping):
        return False
    return bool(body.get("error") or body.get("errors")) or body.get("object") == "error"


def shown(body: Any) -> str:
    """The beginning of a body in one line, for people."""
    if not isinstance(body, str):
        try:
            body = json.dumps(body, default=str)
        except (ValueError, RecursionError):
            body = f"a body of {type(body).__name__} nested too deep to be shown"
    return storable(" ".join(body[: 4 * MAX_SAID].split()))[:MAX_SAID]


def _mappings(value: Any, depth: int = 6) -> Iterator[Mapping[str, Any]]:
    """Every object of a body, outermost first; what is nested deeper says nothing to us."""
    if depth == 0:
        return
    if isinstance(value, Mapping):
        yield value
        for name, inner in value.items():
            if name not in ECHOES:
                yield from _mappings(inner, depth - 1)
    elif isinstance(value, list):
        for inner in value[:20]:
            yield from _mappings(inner, depth - 1)
    elif isinstance(value, str) and value.lstrip().startswith("{"):
        # Routers pass on what their provider said as a text.
        try:
            yield from _mappings(json.loads(value), depth - 1)
        except (ValueError, RecursionError):
            return


def _is_code(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and len(str(value)) < 100


def _is_status(code: str) -> bool:
    return code.isascii() and code.isdecimal() and 400 <= int(code) < 600


def _places(parts: list[Mapping[str, Any]]) -> Iterator[str]:
    for each in parts:
        if isinstance(each.get("param"), str):
            yield each["param"].partition(".")[0].partition("[")[0]
        if isinstance(each.get("field"), str):
            yield each["field"].partition(".")[0].partition("[")[0]
        if isinstance(each.get("loc"), list):
            yield from (str(step) for step in each["loc"] if step != "body")


def _text(body: Any, parts: list[Mapping[str, Any]]) -> str:
    said = [
        each[name]
        for each in parts
        for name in (*TEXT_NAMES, "error")
        if isinstance(each.get(name), str) and each[name].strip()
    ]
    if not said:
        said = [shown(body)]
    elif places := [
        ".".join(map(str, each["loc"])) for each in parts if isinstance(each.get("loc"), list)
    ]:
        said.append(f"at {', '.join(places)}")
    return "; ".join(dict.fromkeys(map(shown, said)))[:MAX_SAID]
