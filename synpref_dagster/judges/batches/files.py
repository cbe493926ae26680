"""The files of batch mode: requests as lines of a batch file, the lines that come back as replies.

OpenAI's batch format, which vLLM's `run_batch` reads and writes too. A line is named by the key of
its request, so that a reply enters the cache as if it had been asked for alone.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from synpref_dagster.judges.batches.ledger import BatchLedger
from synpref_dagster.judges.budget import Prices
from synpref_dagster.judges.cache import Payer, ReplyCache
from synpref_dagster.judges.errors import UNPAID, told
from synpref_dagster.judges.forms import RequestForm, SchemaMode
from synpref_dagster.judges.requests import (
    CallFailure,
    CallResult,
    JudgeRequest,
    failure_of,
    read_completion,
)
from synpref_dagster.pairs.texts import storable

BATCH_URL: Literal["/v1/chat/completions"] = "/v1/chat/completions"
MAX_PER_BATCH = 50_000  # requests that OpenAI takes in one batch
MAX_FILE_BYTES = 150_000_000  # OpenAI takes 200 MB
CUT_OFF = ("batch_expired", "batch_cancelled")  # errors about the batch, not about the request
REPLY_COLUMNS = ("campaign", "asset", "judge", "key", "endpoint", "model", "prompt", "sample")


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What came back from a batch file."""

    num_replies: int
    """Replies that are in the cache now."""
    num_failed: int
    """Requests that the service gave an error for: they are asked one by one."""
    num_unanswered: int
    """Requests that the batch ended without: they go into another one."""
    num_unknown: int
    """Lines about requests that no pending batch knows; they are ignored."""
    stopped_by: CallFailure | None = None
    """What the service says about the account or the key, where that left requests unanswered."""


def write_batch(  # noqa: PLR0913 - what is asked, then whose money and books it goes into
    path: str | Path,
    requests: Sequence[JudgeRequest],
    *,
    batch: str,
    cache: ReplyCache,
    payer: Payer,
    prices: Prices | None = None,
    reservation: int | None = None,
) -> int:
    """Write the requests that the cache cannot answer as a batch file.

    Args:
        path: the JSONL file to write.
        requests: requests of one judge; repeated ones are written once.
        batch: name under which the batch is remembered until it is collected.
        cache: where replies are looked up and will be kept.
        payer: on whose account the batch runs.
        prices: what its tokens cost; the most they may come to counts against the budget.
        reservation: money set aside for the batch, which it takes over.

    Returns:
        How many requests were written: not those that somebody else is asking at this moment.
    """
    wanted = {request.key: request for request in requests}
    known = cache.find(list(wanted))
    missing = [request for key, request in wanted.items() if key not in known]
    forms = [cache.form(request.endpoint, request.model) for request in missing]
    rows: list[dict[str, str | int | float]] = [
        {
            **asdict(payer),
            **_about(request),
            "mode": form.mode,
            "most_usd": prices.most_usd(request, request.most_tokens) if prices else 0.0,
        }
        for request, form in zip(missing, forms, strict=True)
    ]
    carried = BatchLedger(cache).add(batch, rows, reservation=reservation)
    with Path(path).open("wb") as file:
        for request, form in zip(missing, forms, strict=True):
            if request.key in carried:
                file.write(_line(request, form))
    return len(carried)


def collect_batch(
    path: str | Path,
    *,
    batch: str,
    cache: ReplyCache,
    prices: Prices,
    num_worked: int | None = None,
) -> Collected:
    """Put the replies of a finished batch file into the cache.

    What may be charged without a reply is set aside from now on: lines with an error from after the
    work, and requests without a line that the service does not say it left undone.

    Args:
        path: the output file, in OpenAI's batch format, lines of its error file included.
        batch: its name, as given to `write_batch`.
        cache: the reply cache.
        prices: what the batch cost per token, batch discount included.
        num_worked: requests that the service says it worked on; None when it does not say.
    """
    ledger = BatchLedger(cache)
    pending = {row["key"]: row for row in ledger.pending(batch).to_dict("records")}
    num_asked = len(pending)
    answered: list[str] = []
    failed: list[str] = []
    uncertain: list[str] = []
    num_unknown = 0
    stopped_by: CallFailure | None = None
    for key, line in _lines(Path(path)):
        row = pending.pop(key, None)
        if row is None:
            num_unknown += 1
            continue
        answer = _answer(line, row["mode"])
        if isinstance(answer, CallFailure):
            # What is about the batch or the account is no failure of this request.
            if answer.stops:
                stopped_by = stopped_by or answer
            elif not _is_cut_off(line):
                failed.append(key)
                if not _is_unpaid(line):
                    uncertain.append(key)
            continue
        about = {name: row[name] for name in REPLY_COLUMNS}
        usd = prices.charged_usd(answer, most_usd=row["most_usd"])
        cache.add_row({**about, **asdict(answer), "usd": usd}, batch=batch)
        answered.append(key)
    uncertain += _silent(pending, num_asked=num_asked, num_worked=num_worked)
    ledger.close(batch, answered=answered, failed=failed, uncertain=uncertain)
    return Collected(
        num_replies=len(answered),
        num_failed=len(failed),
        num_unanswered=num_asked - len(answered) - len(failed),
        num_unknown=num_unknown,
        stopped_by=stopped_by,
    )


def batch_files(requests: Sequence[JudgeRequest]) -> Iterator[list[JudgeRequest]]:
    """The requests in files that a service takes."""
    part: list[JudgeRequest] = []
    size = 0
    for request in requests:
        length = len(_line(request, RequestForm()))
        if part and (len(part) == MAX_PER_BATCH or size + length > MAX_FILE_BYTES):
            yield part
            part, size = [], 0
        part.append(request)
        size += length
    if part:
        yield part


def _line(request: JudgeRequest, form: RequestForm) -> bytes:
    body = request.body(form)
    row = {"custom_id": request.key, "method": "POST", "url": BATCH_URL, "body": body}
    return json.dumps(row).encode() + b"\n"


def _lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(custom_id, whole line) of every line; one that is no JSON object names no request."""
    with path.open("rb") as file:
        for line in file:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if isinstance(row, dict):
                yield storable(str(row.get("custom_id"))), row
            elif line.strip():
                yield "", {}


def _silent(
    pending: Mapping[str, Mapping[str, Any]], *, num_asked: int, num_worked: int | None
) -> list[str]:
    """The requests without a line that may be charged: the dearest, as many as were worked on."""
    num_told = num_asked - len(pending)
    num_silent = len(pending) if num_worked is None else max(0, num_worked - num_told)
    dearest = sorted(pending, key=lambda key: (-float(pending[key]["most_usd"]), key))
    return dearest[:num_silent]


def _is_unpaid(line: Mapping[str, Any]) -> bool:
    """Whether a line that is no reply certainly cost nothing: it was refused before any work."""
    if line.get("error"):
        return told(line["error"]).meaning in UNPAID
    status, body = _response(line)
    return 400 <= status < 500 and told(body, status=status).meaning in UNPAID


def _response(line: Mapping[str, Any]) -> tuple[int, Any]:
    """Status and body of a line; vLLM leaves the status out when all went well."""
    response = line.get("response")
    response = response if isinstance(response, Mapping) else {}
    status = response.get("status_code", 200)
    status = 200 if status is None else status
    is_number = isinstance(status, int) and not isinstance(status, bool)
    return status if is_number else 500, response.get("body")


def _answer(line: Mapping[str, Any], mode: SchemaMode) -> CallResult:
    if line.get("error"):
        return failure_of(told(line["error"]))
    status, body = _response(line)
    if status != 200:
        return failure_of(told(body, status=status))
    return read_completion(body, mode)


def _is_cut_off(line: Mapping[str, Any]) -> bool:
    error = line.get("error")
    return isinstance(error, Mapping) and error.get("code") in CUT_OFF


def _about(request: JudgeRequest) -> dict[str, str | int]:
    return {
        "key": request.key,
        "endpoint": request.endpoint.rstrip("/"),
        "model": request.model,
        "prompt": f"{request.prompt.name}/{request.prompt.fingerprint}",
        "sample": request.sample,
    }
