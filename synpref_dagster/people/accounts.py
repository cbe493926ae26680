"""Annotator accounts: a name and a token whose hash alone is kept, and signed session cookies.

Tokens have 256 random bits, so that a plain hash is enough. Adding a name again gives it a new
token; the old token and every session opened with it end at once.
"""

import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from itsdangerous import TimestampSigner

from synpref_dagster.people.ledger import database
from synpref_dagster.people.ledger.database import ReviewDatabase

TOKEN_BYTES = 32
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
SESSION_SECONDS = 12 * 3600
MAX_TOKEN_CHARACTERS = 200
SESSION_NAME_CHARACTERS = 12
MAX_HOURLY_RATE = 1_000_000
_SESSION_KEY = "session"


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotator:
    """An account."""

    name: str
    """What the ledger calls this person."""
    token_hash: str
    """SHA-256 of the token, hex."""
    adjudicator: bool
    """Whether disagreements of others come to this person."""
    hourly_rate: float
    """What an hour costs, for the cost per pair; 0 when unknown."""
    active: bool
    """Whether the account may sign in."""


class Accounts:
    """The accounts of a review database; reads what is new before every answer."""

    def __init__(self, store: ReviewDatabase, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._seen = self._seen_ended = 0
        self._ended: set[str] = set()
        self._marks: tuple[int, ...] = ()
        self._by_name: dict[str, Annotator] = {}
        self._key = _session_key(store)

    def add(self, name: str, *, adjudicator: bool = False, hourly_rate: float = 0.0) -> str:
        """Open an account, or give it a new token; returns the token, which is kept nowhere.

        Raises:
            ValueError: the name has other characters than letters, digits and _ . -, or an hour
                costs less than nothing.
        """
        if not 0 <= hourly_rate <= MAX_HOURLY_RATE:
            raise ValueError(f"hourly rate {hourly_rate}: use a number from 0 to {MAX_HOURLY_RATE}")
        if not NAME.fullmatch(name):
            raise ValueError(f"annotator name {name!r}: 1 to 40 letters, digits, or _ . -")
        token = f"spr_{secrets.token_urlsafe(TOKEN_BYTES)}"
        self._write(
            Annotator(
                name=name,
                token_hash=_hash(token),
                adjudicator=adjudicator,
                hourly_rate=hourly_rate,
                active=True,
            )
        )
        return token

    def close(self, name: str) -> None:
        """End an account; its answers stay.

        Raises:
            ValueError: there is no such account.
        """
        annotator = self.named(name)
        if annotator is None:
            raise ValueError(f"annotator {name!r} is unknown")
        self._write(
            Annotator(
                name=name,
                token_hash=annotator.token_hash,
                adjudicator=annotator.adjudicator,
                hourly_rate=annotator.hourly_rate,
                active=False,
            )
        )

    def named(self, name: str) -> Annotator | None:
        """The active account of this name."""
        self._refresh()
        annotator = self._by_name.get(name)
        return annotator if annotator is not None and annotator.active else None

    def all(self) -> list[Annotator]:
        """Active accounts, by name."""
        self._refresh()
        return sorted((a for a in self._by_name.values() if a.active), key=lambda a: a.name)

    def with_token(self, token: str) -> Annotator | None:
        """The active account that a token belongs to."""
        if not token or len(token) > MAX_TOKEN_CHARACTERS:
            return None
        wanted = _hash(token)
        found = None
        for annotator in self.all():
            if secrets.compare_digest(annotator.token_hash, wanted):
                found = annotator
        return found

    def open_session(self, annotator: Annotator) -> str:
        """A cookie value: who, since when, signed under the account's current token."""
        session = f"{annotator.name}~{secrets.token_hex(8)}"
        return self._signer(annotator.token_hash).sign(session).decode()

    def with_session(self, cookie: str | None) -> Annotator | None:
        """The account behind a cookie; None if that is forged, ended, old or of an old token."""
        annotator = self.named((cookie or "").partition("~")[0])
        if cookie is None or annotator is None or not cookie.isascii():
            return None
        if self.session_name(cookie) in self._ended:
            return None
        signer = self._signer(annotator.token_hash)
        return annotator if signer.validate(cookie, max_age=SESSION_SECONDS) else None

    def end_session(self, cookie: str) -> None:
        """End a session for whoever has its cookie; it stays ended when the page starts again."""
        row = {"session": self.session_name(cookie), "ended_at": self._clock()}
        self._store.append(database.ended_sessions, [row])

    def session_name(self, cookie: str) -> str:
        """A short name of a session, the same for all its requests; opens nothing."""
        signed = f"session~{_signed_part(cookie)}".encode()
        return hashlib.sha256(signed).hexdigest()[:SESSION_NAME_CHARACTERS]

    def csrf_token(self, cookie: str) -> str:
        """What a form of this session must carry."""
        return self._signer("csrf").get_signature(_signed_part(cookie)).decode()

    def _signer(self, salt: str) -> TimestampSigner:
        signer = TimestampSigner(self._key, salt, sep="~", digest_method=hashlib.sha256)
        # By the clock of the desk, as all times here are.
        signer.get_timestamp = lambda: int(self._clock())  # type: ignore[method-assign]
        return signer

    def _write(self, annotator: Annotator) -> None:
        row = {
            "name": annotator.name,
            "token_hash": annotator.token_hash,
            "adjudicator": annotator.adjudicator,
            "hourly_rate": annotator.hourly_rate,
            "active": annotator.active,
            "created_at": self._clock(),
        }
        self._store.append(database.annotators, [row])

    def _refresh(self) -> None:
        marks = self._store.marks()
        if marks == self._marks:
            return
        self._marks = marks
        for row in self._store.rows(database.ended_sessions, after=self._seen_ended):
            self._seen_ended = row["seq"]
            self._ended.add(row["session"])
        for row in self._store.rows(database.annotators, after=self._seen):
            self._seen = row["seq"]
            self._by_name[row["name"]] = Annotator(
                name=row["name"],
                token_hash=row["token_hash"],
                adjudicator=row["adjudicator"],
                hourly_rate=row["hourly_rate"],
                active=row["active"],
            )


def _signed_part(cookie: str) -> str:
    # Base64 has several spellings of one signature; of what is signed there is one.
    return cookie.rpartition("~")[0]


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _session_key(store: ReviewDatabase) -> bytes:
    fresh = {"name": _SESSION_KEY, "value": secrets.token_hex(TOKEN_BYTES)}
    store.append(database.keys, [fresh])
    [key] = [row["value"] for row in store.rows(database.keys) if row["name"] == _SESSION_KEY]
    return bytes.fromhex(key)
