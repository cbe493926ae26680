"""The review page: server-rendered, keyboard first, no build step, no request to anywhere else.

Every route but sign-in needs a session; every form carries the session's CSRF token; everything
shown is escaped, and a content security policy forbids all scripts but the page's own file.
"""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from synpref_dagster.pairs.record import first_user_turn
from synpref_dagster.people.accounts import SESSION_SECONDS, Accounts, Annotator
from synpref_dagster.people.desk import ForeignFormError, ReviewDesk
from synpref_dagster.people.ledger.answers import TOOLS
from synpref_dagster.people.page.forms import LEGAL_ATTRIBUTES, field, read_answer, read_form
from synpref_dagster.people.page.limits import LOOPBACK_HOSTS, MAX_FORM_BYTES, RateLimiter
from synpref_dagster.people.page.rendering import plain, render
from synpref_dagster.people.protocol import instructions, search_links

COOKIE = "synpref_review"
FOLDER = Path(__file__).parent
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: browsers would then send forms with the origin "null".
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
HERE_ONLY = (
    "This pair may not leave the machine it is on (may_leave = false): serve the page on 127.0.0.1 "
    "and open it there."
)
Form = dict[str, list[str]]


class Refusal(Exception):
    """An answer other than the page, with its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ReviewPage:
    """The page's routes over a desk and its accounts."""

    def __init__(
        self,
        desk: ReviewDesk,
        accounts: Accounts,
        *,
        clock: Callable[[], float],
        hosts: Sequence[str] = LOOPBACK_HOSTS,
    ) -> None:
        self._desk = desk
        self._accounts = accounts
        self._hosts = frozenset(host.lower() for host in hosts)
        self._is_here_only = self._hosts <= frozenset(LOOPBACK_HOSTS)
        self._requests = RateLimiter(per_second=10, burst=60, clock=clock)
        self._sign_ins = RateLimiter(per_second=0.2, burst=10, clock=clock)
        self._templates = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
        )
        self._templates.filters.update(markdown=render, plain=plain)

    def app(self) -> FastAPI:
        """The ASGI application."""
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app.mount("/static", StaticFiles(directory=FOLDER / "static"))
        app.add_api_route("/", self.show, methods=["GET"], response_model=None)
        app.add_api_route("/sign-in", self.ask_token, methods=["GET"], response_model=None)
        app.add_api_route("/health", self.health, methods=["GET"], response_model=None)
        for path, handle in {
            "/sign-in": self._sign_in,
            "/sign-out": self._sign_out,
            "/verdict": self._verdict,
            "/undo": self._undo,
        }.items():
            app.add_api_route(path, self._post(handle), methods=["POST"], response_model=None)
        app.middleware("http")(self._guard)
        app.add_exception_handler(Refusal, self._refused)
        return app

    def show(self, request: Request) -> Response:
        """The pair that is open for whoever is signed in."""
        annotator = self._signed_in(request)
        if annotator is None:
            return RedirectResponse("/sign-in", status_code=303)
        if not self._requests.allows(annotator.name):
            raise Refusal(429, "Too many requests; wait a moment.")
        shared: dict[str, Any] = {
            "annotator": annotator,
            "csrf": self._accounts.csrf_token(request.cookies[COOKIE]),
            "notice": request.query_params.get("notice", ""),
        }
        session = self._session(request)
        opened = self._desk.open(annotator, session=session)
        shared["progress"] = self._desk.progress(annotator, session=session)
        if opened is None:
            return self._page("done.html.jinja", missing=self._desk.missing(), **shared)
        case, assignment = opened
        may_leave = case.item.may_leave
        if not (may_leave or self._is_here_only):
            raise Refusal(403, HERE_ONLY)
        question = first_user_turn(case.item.conversation) if may_leave else ""  # type: ignore[arg-type]
        candidate_1, candidate_2 = case.item.candidates(assignment.candidate_1)
        checked = case.item.preverification
        sides = ("first", "second") if assignment.candidate_1 == "first" else ("second", "first")
        return self._page(
            "pair.html.jinja",
            **shared,
            form_token=assignment.form_token,
            item=case.item,
            candidates=[candidate_1, candidate_2],
            preverification=[checked[side] for side in sides if side in checked],
            protocol=instructions(case.item.attributes.get("task_category", "other")),
            searches=search_links(question),
            legal=LEGAL_ATTRIBUTES,
            tools=TOOLS,
            adjudicating=case.in_adjudication,
        )

    def ask_token(self, request: Request) -> Response:
        """The sign-in form."""
        return self._page("sign_in.html.jinja", error="")

    def health(self) -> Response:
        """Whether the page runs; says nothing else."""
        return PlainTextResponse("ok")

    def _sign_in(self, request: Request, form: Form) -> Response:
        client = request.client.host if request.client else "unknown"
        annotator = self._accounts.with_token(field(form, "token").strip())
        if annotator is None:
            # Only failures count: many annotators may share one address.
            if not self._sign_ins.allows(client):
                raise Refusal(429, "Too many wrong tokens; wait a minute.")
            return self._page(
                "sign_in.html.jinja", status=403, error="This token is not known here."
            )
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(
            COOKIE,
            self._accounts.open_session(annotator),
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    def _sign_out(self, request: Request, form: Form) -> Response:
        self._author(request, form)
        self._accounts.end_session(request.cookies[COOKIE])
        response = RedirectResponse("/sign-in", status_code=303)
        response.delete_cookie(COOKIE)
        return response

    def _verdict(self, request: Request, form: Form) -> Response:
        annotator = self._author(request, form)
        try:
            recorded = self._desk.submit(annotator, field(form, "form_token"), read_answer(form))
        except ForeignFormError as error:
            raise Refusal(403, str(error)) from error
        except ValueError as error:
            raise Refusal(400, str(error)) from error
        return RedirectResponse("/" if recorded else "/?notice=again", status_code=303)

    def _undo(self, request: Request, form: Form) -> Response:
        author = self._author(request, form)
        undone = self._desk.undo(author, field(form, "undoes"), session=self._session(request))
        return RedirectResponse(f"/?notice={'undone' if undone else 'nothing'}", status_code=303)

    def _post(
        self, handle: Callable[[Request, Form], Response]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def route(request: Request) -> Response:
            body = b""
            try:
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > MAX_FORM_BYTES:
                        raise Refusal(413, "This form is too large.")
            except ClientDisconnect as error:
                raise Refusal(408, "This form did not arrive as a whole.") from error
            try:
                form = read_form(body)
            except ValueError as error:
                raise Refusal(400, "This form cannot be read.") from error
            return await run_in_threadpool(handle, request, form)

        return route

    def _author(self, request: Request, form: Form) -> Annotator:
        """Who sends a form; the CSRF token must belong to the very session."""
        annotator = self._signed_in(request)
        if annotator is None:
            raise Refusal(401, "Please sign in; nothing was recorded.")
        if not self._requests.allows(annotator.name):
            raise Refusal(429, "Too many requests; nothing was recorded, wait a moment.")
        expected = self._accounts.csrf_token(request.cookies[COOKIE])
        if field(form, "csrf") != expected:
            raise Refusal(403, "This form is not from this session; nothing was recorded.")
        return annotator

    def _signed_in(self, request: Request) -> Annotator | None:
        return self._accounts.with_session(request.cookies.get(COOKIE))

    def _session(self, request: Request) -> str:
        return self._accounts.session_name(request.cookies[COOKIE])

    async def _guard(
        self, request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        origin = request.headers.get("origin")
        host = request.headers.get("host", "")
        if (request.url.hostname or "").lower() not in self._hosts:
            response: Response = PlainTextResponse("Unknown host.", status_code=421)
        elif request.method == "POST" and origin and origin.split("://", 1)[-1] != host:
            response = PlainTextResponse("Foreign form.", status_code=403)
        else:
            response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    async def _refused(self, request: Request, error: Exception) -> Response:
        status = error.status if isinstance(error, Refusal) else 500
        return self._page("refused.html.jinja", status=status, message=str(error))

    def _page(self, name: str, *, status: int = 200, **values: Any) -> Response:
        return HTMLResponse(self._templates.get_template(name).render(**values), status_code=status)
