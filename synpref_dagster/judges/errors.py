"""What an endpoint says went wrong, in whatever shape it says it, and what that means for us.

OpenAI writes `{"error": {code, type, param, message}}`, Google a list of these with `status`,
FastAPI a list `detail` with places, OpenRouter an error inside a body or a choice of status 200,
MiniMax and Baidu a number beside or in the place of an answer, proxies a page of HTML. Codes,
types, statuses and places decide; prose is shown and never read, except for names of fields that we
sent, and for the sentence by which one provider says that an account is empty.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

from synpref_dagster.pairs.texts import storable
from synpref_dagster.settings.secrets import all_redacted

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
        "blocked_api_access",
        "arrearage",
        "402",
    }
)
MONEY = re.compile(
    r"billing|arrear|overdue|unpaid|insufficient[_-]?(?:\w+[_-])?(?:quota|balance|credit|fund|usd)"
    r"|spend(?:ing)?[_-]?limit|credit[_-]?(?:limit|balance)|payment[_-]?(?:required|instrument)"
    r"|(?:no|low|out[_-]?of|not[_-]?enough)[_-]?(?:credit|balance|money)|free[_-]?tier[_-]?only"
    r"|balance[_-]?(?:insufficient|not[_-]?enough)|(?:credit|balance|fund)s?[_-]?exhausted"
    r"|resource[_-]?pack|charge[_-]?(?:status|resource)",
    re.IGNORECASE,
)
"""What else codes of one word say of an empty account: providers invent a new one each year."""
EMPTY = ("your credit balance is too low",)
"""How messages about an empty account begin where their code is that of any bad request."""
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
        "unauthorized_client",
        "organization_restricted",
        "invalid_iam_token",
    }
)
RATE_LIMITED = frozenset(
    {"rate_limit_exceeded", "rate_limit_error", "rate_limited", "too_many_requests"}
    | {"resource_exhausted", "overloaded_error", "engine_overloaded_error", "throttling"}
    | {"service_quota_exceeded", "model_not_ready"}
)
CONTENT_FILTER = frozenset(
    {"content_filter", "content_policy_violation", "responsibleaipolicyviolation"}
    | {"data_inspection_failed", "content_filtered"}
)
SERVER_ERROR = frozenset(
    {"server_error", "internal_server_error", "api_error", "internal", "unavailable"}
    | {"deadline_exceeded", "timeout", "service_unavailable", "internal_server", "internal_failure"}
    | {"model_timeout", "model_error", "request_time_out"}
)
BAD_REQUEST = frozenset(
    {"bad_request", "badrequest", "invalid_request_error", "invalid_request", "invalid_argument"}
    | {"unsupported_parameter", "unknown_parameter", "invalid_parameter", "unsupported_value"}
    | {"invalid_value", "invalid_type", "extra_forbidden", "validation_error", "bad_request_error"}
)
"""Codes of bodies of status 200 that refuse what was sent."""
BY_CODE: tuple[tuple[Meaning, frozenset[str]], ...] = (
    ("no_money", NO_MONEY),
    ("content_filter", CONTENT_FILTER),
    ("no_access", NO_ACCESS),
    ("rate_limited", RATE_LIMITED),
    ("server_error", SERVER_ERROR),
)
"""Codes decide before statuses: an empty account is often a 429, a full server a 400."""
IN_ONE_WORD = {
    code.replace("_", ""): code for _, codes in BY_CODE for code in codes if code != "not_found"
}
"""Codes as one word -> as they stand above. A `NotFound` may be about anything that was sent."""
NUMBERS: Mapping[str, Meaning] = {
    # Zhipu
    **dict.fromkeys(["code=1113", "code=1309"], "no_money"),
    "code=1301": "content_filter",
    # MiniMax
    "status_code=1008": "no_money",
    **dict.fromkeys(["status_code=1004", "status_code=2049"], "no_access"),
    **dict.fromkeys([f"status_code={n}" for n in (1002, 1039, 1041, 2056)], "rate_limited"),
    **dict.fromkeys(["status_code=1026", "status_code=1027"], "content_filter"),
    "status_code=2013": "rejected",
    # Baidu
    **dict.fromkeys(["error_code=17", "error_code=19"], "no_money"),
    **dict.fromkeys([f"error_code={n}" for n in (6, 13, 14, 15, 110, 111)], "no_access"),
    **dict.fromkeys([f"error_code={n}" for n in (4, 18, 336501, 336502)], "rate_limited"),
    **dict.fromkeys([f"error_code={n}" for n in (100, 336003, 336006, 336007)], "rejected"),
}
"""Providers that count their errors, each in a field of its own."""
BY_STATUS: Mapping[int, Meaning] = {
    401: "no_access",
    402: "no_money",
    403: "no_access",
    404: "no_access",
    408: "server_error",
    409: "server_error",
    412: "no_access",
    424: "server_error",
    425: "server_error",
    429: "rate_limited",
}
NOT_THE_SERVER = {("server_error", status) for status in (401, 402, 403)}
UNPAID: tuple[Meaning, ...] = ("no_money", "no_access", "rate_limited", "rejected")
"""Refusals before any work. A filter is none of them: some services charge for what it read."""
NUMBERED = ("code", "error_code", "status_code")
CODE_NAMES = (*NUMBERED, "type", "status", "reason", "innererror", "__type", "errcode")
FINE = frozenset({"", "0", "200", "20000", "none", "false", "ok", "success", "succeeded"})
"""Codes of answers: some servers put one beside each."""
ECHOES = frozenset(
    {"input", "flagged_input", "messages", "ctx", "failed_generation", "body", "request"}
)
"""Where bodies repeat what was sent: texts of pairs, which must decide nothing."""
TEXT_NAMES = ("message", "msg", "detail", "error_description", "title", "error_msg", "status_msg")
BARE_CODE = re.compile(r"[A-Za-z0-9][\w.#-]*", re.ASCII)
"""A text of one word is a code, wherever an error has its text."""
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
    is_empty: bool = False
    """It begins with a sentence that says that no money is left."""
    led_to: str = ""
    """The path of the page that said it, where a redirect led away from what was asked."""

    @property
    def meaning(self) -> Meaning:
        """What it means for the calls to come."""
        if self.is_moderated:
            return "content_filter"
        if self.status == 402 or self.is_empty:
            return "no_money"
        if (found := self._by_code()) is not None:
            return found
        if self.status >= 500:
            return "server_error"
        return BY_STATUS.get(self.status, "rejected" if self.status else "server_error")

    def as_refusal(self) -> "Told":
        """The same, as if its status were the 400 that a body of status 200 leaves out.

        Where a status or a known code says what it is, it stays as it is.
        """
        if self.status or self._by_code() not in (None, "rejected"):
            return self
        return replace(self, status=400)

    def _by_code(self) -> Meaning | None:
        if any(MONEY.search(code) for code in self.codes if " " not in code):
            return "no_money"
        plain = {word for code in self.codes for word in _spellings(code)}
        for meaning, codes in BY_CODE:
            # Gateways call everything an error of theirs, also a wrong key.
            if plain & codes and (meaning, self.status) not in NOT_THE_SERVER:
                return meaning
        return next((NUMBERS[code] for code in sorted(self.codes & NUMBERS.keys())), None)

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
        status: HTTP status of the reply; a status of 200 is replaced by the one in the body, and by
            400 where the body points at a field of the request.
    """
    body = all_redacted(body)  # before anything is cut or looked at: endpoints echo keys
    parts = list(islice(_mappings(body), MAX_OBJECTS))
    codes = {*_bare_codes(body), *(code for each in parts for code in _codes(each))}
    places = tuple(_places(parts))
    if status < 400:
        status = next((int(code) for code in sorted(codes) if _is_status(code)), 0)
        is_refusal = places or not BAD_REQUEST.isdisjoint(map(_plain, codes))
        status = status or (400 if is_refusal else 0)
    return Told(
        status=status,
        codes=frozenset(codes),
        places=places,
        text=_text(body, parts),
        is_moderated=any(each.get("flagged_input") or each.get("moderation") for each in parts),
        is_empty=any(said.lower().startswith(EMPTY) for said in _said(parts)),
    )


def is_error(body: Any) -> bool:
    """Whether a body of status 200 is an error in the place of an answer, or beside one."""
    if isinstance(body, list):
        return any(isinstance(each, Mapping) and is_error(each) for each in body)
    if not isinstance(body, Mapping):
        return False
    if body.get("error") or body.get("errors") or body.get("success") is False:
        return True
    if "error" in (body.get("object"), body.get("type")):
        return True
    inner = body.get("base_resp")
    numbers = [body.get("error_code"), body.get("errcode")]
    numbers += [inner.get("status_code")] if isinstance(inner, Mapping) else []
    return any(map(_is_bad, numbers)) or _has_bad_code(body)


def _has_bad_code(body: Mapping[str, Any]) -> bool:
    """Whether a bare code says that a body is an error; beside choices, only one that is known."""
    code = body.get("code")
    if not _is_bad(code):
        return False
    known = Told(status=0, codes=frozenset(_codes({"code": code})), places=(), text="")
    return not body.get("choices") or known._by_code() is not None


def _is_bad(code: Any) -> bool:
    return code is not None and _is_code(code) and str(code).lower() not in FINE


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


def _codes(part: Mapping[str, Any]) -> Iterator[str]:
    """Codes of one object, in lower case; numbers also with the name of their field."""
    for name, value in part.items():
        plain = str(name).lower()
        if plain in CODE_NAMES and _is_code(value):
            yield str(value).lower()
            if plain in NUMBERED:
                yield f"{plain}={value}".lower()
        elif plain in (*TEXT_NAMES, "error", "errors"):
            yield from _bare_codes(value)


def _bare_codes(value: Any) -> Iterator[str]:
    """The codes in the place of a text, or of a list of texts, in lower case."""
    for each in value[:20] if isinstance(value, list) else [value]:
        word = each.strip().rstrip(".!") if isinstance(each, str) else ""
        if _is_code(word) and BARE_CODE.fullmatch(word):
            yield word.lower()


def _plain(code: str) -> str:
    return code.replace("-", "_")


def _spellings(code: str) -> Iterator[str]:
    """A code as our tables may have it: `space#RateLimited.sort` is `rate_limited` there."""
    own = _plain(code.rpartition("#")[2])
    for part in (own, own.partition(".")[0]):
        for word in (part, part.removesuffix("exception").rstrip("_")):
            yield word
            yield IN_ONE_WORD.get(word, word)


def _is_code(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and len(str(value)) < 100


def _is_status(code: str) -> bool:
    return code.isascii() and code.isdecimal() and 400 <= int(code) < 600


def _places(parts: list[Mapping[str, Any]]) -> Iterator[str]:
    for each in parts:
        for name in ("param", "field"):
            if isinstance(each.get(name), str) and each[name].strip():
                yield each[name].partition(".")[0].partition("[")[0]
        if isinstance(each.get("loc"), list):
            yield from (str(step) for step in each["loc"] if step != "body")


def _said(parts: list[Mapping[str, Any]]) -> Iterator[str]:
    for each in parts:
        for name in (*TEXT_NAMES, "error"):
            if isinstance(each.get(name), str) and each[name].strip():
                yield each[name]


def _text(body: Any, parts: list[Mapping[str, Any]]) -> str:
    said = list(_said(parts))
    if not said:
        said = [shown(body)]
    elif places := [
        ".".join(map(str, each["loc"])) for each in parts if isinstance(each.get("loc"), list)
    ]:
        said.append(f"at {', '.join(places)}")
    return "; ".join(dict.fromkeys(map(shown, said)))[:MAX_SAID]
