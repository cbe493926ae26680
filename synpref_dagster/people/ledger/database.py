"""The review database: append-only tables in SQLite (default) or Postgres (by URL).

Every table only grows; triggers refuse UPDATE and DELETE, so that not even a careless query can
change what a person said. What is the case now is a fold over the rows.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from hashlib import blake2b
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from synpref_dagster.settings.addresses import checked_ledger
from synpref_dagster.settings.secrets import kept, redacted, whole
from synpref_dagster.storage.private import make_private
from synpref_dagster.storage.processes import alone_beside
from synpref_dagster.storage.sealed import DamagedError
from synpref_dagster.storage.sqlite_files import BROKEN_LETTERS, is_full, refuse_damaged

BUSY_SECONDS = 30
REMEDY = "What people said is nowhere else: put back a copy of the file"
FREE = "Free space on its disk: what people said before stays, the last answer is given again"
DAMAGE = re.compile(
    "malformed|not a database|Could not decode|no such (table|column)|has no column named"
)
WRITER_LOCK = 0x5E71E3  # any number of our own: Postgres advisory lock of the one writer at a time

metadata = sa.MetaData()
_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _table(name: str, *columns: sa.Column[Any], unique: Sequence[str]) -> sa.Table:
    seq = sa.Column("seq", _SEQ, primary_key=True, autoincrement=True)
    return sa.Table(name, metadata, seq, *columns, sa.UniqueConstraint(*unique))


def _text(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, nullable=null)


def _number(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Float(53), nullable=False)


verdicts = _table(
    "review_verdicts",
    *[_text(name) for name in ("form_token", "batch_id", "pair_id", "content_id", "annotator")],
    *[_text(name) for name in ("candidate_1", "verdict", "protocol_version")],
    _number("created_at"),
    _text("edited_attributes"),
    sa.Column("confidence", sa.Integer, nullable=True),
    _text("tools"),
    _number("seconds"),
    _text("backend"),
    unique=["form_token"],
)
batches = _table(
    "review_batches",
    *[_text(name) for name in ("batch_id", "campaign", "asset", "protocol_version")],
    sa.Column("num_items", sa.Integer, nullable=False),
    sa.Column("adjudicate", sa.Boolean, nullable=False),
    _number("created_at"),
    unique=["batch_id"],
)
batch_changes = _table(
    "review_batch_changes",
    _text("batch_id"),
    _number("double_share"),
    sa.Column("adjudicate", sa.Boolean, nullable=False),
    _number("created_at"),
    unique=["batch_id", "created_at"],
)
items = _table(
    "review_items",
    *[_text(name) for name in ("batch_id", "pair_id", "content")],
    unique=["batch_id", "pair_id"],
)
assignments = _table(
    "review_assignments",
    *[_text(name) for name in ("form_token", "batch_id", "pair_id", "annotator", "candidate_1")],
    _number("created_at"),
    unique=["form_token"],
)
annotators = _table(
    "review_annotators",
    *[_text(name) for name in ("name", "token_hash")],
    sa.Column("adjudicator", sa.Boolean, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    _number("hourly_rate"),
    _number("created_at"),
    unique=["token_hash", "active"],
)
ended_sessions = _table(
    "review_ended_sessions", _text("session"), _number("ended_at"), unique=["session"]
)
keys = _table("review_keys", _text("name"), _text("value"), unique=["name"])
seals = _table(
    "review_seals",
    _text("row_of"),
    sa.Column("row_seq", sa.BigInteger, nullable=False),
    _text("seal"),
    unique=["row_of", "row_seq"],
)
_MARKS = sa.select(
    *[
        sa.select(sa.func.max(table.c.seq)).scalar_subquery()
        for table in (
            *(batches, batch_changes, items, assignments, verdicts, annotators, ended_sessions),
        )
    ]
)


class LedgerAwayError(ConnectionError):
    """The server of the ledger does not let us in; it may when it is well again."""


class LedgerFullError(OSError):
    """The disk of the ledger is full; the message says where, and what is kept."""


class NoLedgerError(ValueError):
    """There is no ledger, and who asks does not want to make one."""


class ReviewDatabase:
    """Opens the database, creates what is missing, appends rows and reads them in order."""

    def __init__(self, url: str, *, may_make: bool = True) -> None:
        """Open or create.

        Args:
            url: `sqlite:///path` or `postgresql://...`.
            may_make: whether a ledger is made where there is none.

        Raises:
            NoLedgerError: there is none.
            ValueError: another kind of database, or a file that cannot be used.
            LedgerAwayError: the server cannot be reached, or refuses.
        """
        self.url = kept(url)
        self.engine = _engine(whole(checked_ledger(url)))
        if path := _file(self.engine.url):
            refuse_damaged(path, what="the review ledger", remedy=REMEDY)
        if path and not may_make and _may_be_made(path):
            raise self._not_there()
        try:
            if not may_make and not sa.inspect(self.engine).has_table(batches.name):
                raise self._not_there()
            self._set_up()
        except UnicodeDecodeError as error:
            raise self._damaged(BROKEN_LETTERS) from error
        except (sa.exc.DatabaseError, OSError) as error:
            said = redacted(f"the review ledger {self.url} cannot be opened: {_in_one_line(error)}")
            if self.engine.dialect.name != "sqlite":
                raise LedgerAwayError(said) from error
            mend = FREE if is_full(error) else "Correct its address or your rights to it"
            raise ValueError(f"{said}. {mend}") from error

    def _not_there(self) -> NoLedgerError:
        return NoLedgerError(f"no review ledger at {self.url} yet: nobody was asked anything")

    def _set_up(self) -> None:
        # SQLite makes one table after the other, whoever else makes them at the same time.
        with _alone(self.engine.url), self.engine.begin() as connection:
            self._lock(connection)
            metadata.create_all(connection)
            for table in metadata.sorted_tables:
                for statement in _append_only(table.name, self.engine.dialect.name):
                    connection.execute(sa.text(statement))

    def append(
        self, table: sa.Table, rows: Sequence[Mapping[str, Any]], *, durable: bool = True
    ) -> int:
        """Add rows in one transaction; rows whose unique columns are known already are left out.

        Args:
            table: one of this module's tables.
            rows: values by column.
            durable: whether the rows must survive a power failure the moment this returns; they
                survive the end of the process in any case.

        Returns:
            How many rows are new.
        """
        if not rows:
            return 0
        dialect = postgresql if self.engine.dialect.name == "postgresql" else sqlite
        statement = dialect.insert(table).on_conflict_do_nothing().returning(table.c.seq)
        with self._named(), self.engine.begin() as connection:
            if dialect is sqlite:
                level = "FULL" if durable else "NORMAL"
                connection.exec_driver_sql(f"PRAGMA synchronous={level}")
            self._lock(connection)
            placed = [(connection.execute(statement, dict(row)).scalar(), row) for row in rows]
            new = [
                {"row_of": table.name, "row_seq": seq, "seal": _seal(table, row)}
                for seq, row in placed
                if seq is not None
            ]
            if new:
                connection.execute(sa.insert(seals), new)
            return len(new)

    def rows(self, table: sa.Table, *, after: int = 0) -> list[sa.RowMapping]:
        """Rows with a sequence number above `after`, in the order they were added.

        Raises:
            DamagedError: a row says something else than was added.
        """
        query = sa.select(table).where(table.c.seq > after).order_by(table.c.seq)
        kept = sa.select(seals.c.row_seq, seals.c.seal)
        kept = kept.where(seals.c.row_of == table.name, seals.c.row_seq > after)
        with self._reading() as connection:
            found = list(connection.execute(query).mappings())
            # Rows of earlier versions have no seal.
            sealed = {row.row_seq: row.seal for row in connection.execute(kept)}
        for row in found:
            if row["seq"] in sealed and sealed[row["seq"]] != _seal(table, dict(row)):
                raise self._damaged(
                    f"row {row['seq']} of {table.name} says something else than was written"
                )
        return found

    def marks(self) -> tuple[int, ...]:
        """Last sequence number of every table, in one query: what changed since is what grew."""
        with self._reading() as connection:
            return tuple(int(mark or 0) for mark in connection.execute(_MARKS).one())

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with self._named(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def _named(self) -> Iterator[None]:
        """What SQLite only finds while it reads, a broken page or letter, is told with the file."""
        try:
            yield
        except UnicodeDecodeError as error:
            raise self._damaged(BROKEN_LETTERS) from error
        except sa.exc.DatabaseError as error:
            said = _in_one_line(error)
            if is_full(error):
                shown = f"the review ledger {self.url} cannot be written: {redacted(said)}"
                raise LedgerFullError(f"{shown}. {FREE}") from error
            if self.engine.dialect.name != "sqlite" or not DAMAGE.search(said):
                raise
            raise self._damaged(said) from error

    def _damaged(self, said: str) -> DamagedError:
        shown = self.engine.url.render_as_string(hide_password=True)
        return DamagedError(f"the review ledger {shown} is damaged: {said}. {REMEDY}")

    def _lock(self, connection: sa.Connection) -> None:
        # One writer at a time: sequence numbers become visible in order, so a reader that asks for
        # rows after a number misses none. SQLite has one writer anyway.
        if self.engine.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:k)"), {"k": WRITER_LOCK})


def other_columns(url: str) -> tuple[list[str], list[str]]:
    """Where the tables of a ledger differ from ours; nothing is made or changed.

    Args:
        url: as for `ReviewDatabase`.

    Returns:
        Columns that it lacks, and columns that we do not know, as `table.column`. A table that is
        not there lacks nothing: it is made when the ledger is opened.
    """
    engine = _engine(whole(checked_ledger(url)))
    try:
        inspector = sa.inspect(engine)
        found = {
            name: {column["name"] for column in inspector.get_columns(name)}
            for name in {*metadata.tables} & {*inspector.get_table_names()}
        }
    finally:
        engine.dispose()
    ours = {name: {column.name for column in metadata.tables[name].columns} for name in found}
    return _differing(ours, found), _differing(found, ours)


def _differing(these: Mapping[str, set[str]], others: Mapping[str, set[str]]) -> list[str]:
    return sorted(
        f"{name}.{column}" for name, columns in these.items() for column in columns - others[name]
    )


def _alone(url: sa.URL) -> AbstractContextManager[None]:
    """One maker of tables at a time; Postgres has its own lock, memory is nobody else's."""
    if not (path := _file(url)):
        return nullcontext()
    path.parent.mkdir(parents=True, exist_ok=True)
    make_private(path)
    return alone_beside(path)


def _file(url: sa.URL) -> Path | None:
    """The file of a SQLite database; None for a server and for memory."""
    name = (url.database or "").removeprefix("file:").partition("?")[0]
    is_file = url.get_backend_name() == "sqlite" and name not in ("", ":memory:")
    return Path(name) if is_file else None


def _may_be_made(path: Path) -> bool:
    """Whether a file is missing or empty, in a place where one could be."""
    if path.exists():
        return path.is_file() and path.stat().st_size == 0
    return next(each for each in path.parents if each.exists()).is_dir()


def _seal(table: sa.Table, row: Mapping[str, Any]) -> str:
    """Hash of what a row says, the same before it is written and after it is read."""
    said = [_as_read(row.get(each.name), each.type) for each in table.columns if each.name != "seq"]
    return blake2b(json.dumps(said, default=repr).encode(), digest_size=16).hexdigest()


def _as_read(value: Any, kind: sa.types.TypeEngine[Any]) -> Any:
    """A value as the database gives it back."""
    if value is None:
        return None
    if isinstance(kind, sa.Float):
        return float(value) + 0.0  # SQLite has no negative zero
    return bool(value) if isinstance(kind, sa.Boolean) else value


def _in_one_line(error: Exception) -> str:
    """What the driver says, without the query that it was busy with."""
    return " ".join(str(getattr(error, "orig", None) or error).split())


def _engine(address: str) -> sa.Engine:
    """The engine of a database.

    Raises:
        ValueError: its driver is not installed, or nobody can read its address.
    """
    try:
        url = sa.make_url(address)
        if url.get_backend_name() != "sqlite":
            # SQLAlchemy 2.1 reads a plain postgresql:// as psycopg 3, which is not what we install.
            return sa.create_engine(url.set(drivername="postgresql+psycopg2"), pool_pre_ping=True)
        engine = sa.create_engine(
            url, connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS}
        )
    except ImportError as error:
        raise ValueError(
            f"the review ledger {kept(address)} needs {error.name}: pip install "
            "'synpref-dagster[postgres]'"
        ) from error
    except (sa.exc.ArgumentError, ValueError) as error:
        raise ValueError(
            f"the review ledger {kept(address)} cannot be read: {redacted(_in_one_line(error))}"
        ) from error

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    return engine


def _append_only(table: str, dialect: str) -> list[str]:
    message = f"{table} is append-only"
    if dialect == "postgresql":
        function = (
            "CREATE OR REPLACE FUNCTION review_append_only() RETURNS trigger AS $$ BEGIN "
            "RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$ LANGUAGE plpgsql"
        )
        trigger = (
            f"CREATE OR REPLACE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE "
            f"ON {table} FOR EACH STATEMENT EXECUTE FUNCTION review_append_only()"
        )
        return [function, trigger]
    return [
        f"CREATE TRIGGER IF NOT EXISTS {table}_no_{action.lower()} BEFORE {action} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
        for action in ("UPDATE", "DELETE")
    ]
