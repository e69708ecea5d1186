"""
A connection to PostgreSQL by psycopg: how it is opened, its statements, its errors in our words.

Values are put into the statement on our side: then each statement is one message of the simple protocol, which leaves
nothing on the server (PgBouncer in transaction mode), and PostgreSQL need not guess the type of each value.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import itertools
import math
import re
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar, cast

import psycopg
from psycopg import pq
from psycopg.abc import PQGen
from psycopg.adapt import Dumper, Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.waiting import Ready

from importer.store.connection import Values
from importer.store.errors import (
    StoreBusy,
    StoreConflict,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
    StoreUnavailable,
    StoreUnreachable,
    StoreUnusable,
)
from importer.store.postgresql import import_ids
from importer.store.postgresql.dialect import Dialect
from importer.store.postgresql.import_ids import ImportIds
from importer.store.postgresql.statements import for_psycopg

# A peer that is gone is noticed within a minute. Without `tcp_user_timeout` a client once hung for two hours.
LOCK_TIMEOUT: Final = "30s"
_CONNECTING: Final = {
    "application_name": "rosterd",
    "client_encoding": "utf8",
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "target_session_attrs": "read-write",
}
# In a message of its own, within a transaction whose other statements may wait longer: others have files meanwhile.
_LOCK: Final = f"""
SET LOCAL lock_timeout = '{{}}';
INSERT INTO locks VALUES (?, 1) ON CONFLICT (client) DO UPDATE SET is_held = 1;
SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'
"""
_WHILE_IMPORTING: Final = "3s"
_BRIEFLY: Final = "200ms"
_PATIENCE_S: Final = 30.0  # for a statement that nothing on the server bounds: one of its own, or a COMMIT
_OWN_PATIENCE_S: Final = {"COMMIT": _PATIENCE_S, "VACUUM": math.inf}
_ASK_S: Final = 10.0  # after it, and again, an answer is so late that the server is asked whether it is there
_PING_S: Final = 5
_SILENT: Final = "the server does not answer"
_CANCEL_S: Final = 5.0  # for asking the server to cancel a statement; that ends by itself anyway
_MANY: Final = 2000  # rows
_BY_HASH: Final = """
SELECT set_config('enable_nestloop', 'off', true) FROM pg_settings WHERE name = 'enable_nestloop'"""
_AT_ONCE: Final = 500  # statements in one message
_STREAMED: Final = 1000  # rows
_INSERT: Final = re.compile(r"(INSERT INTO \w+(?: \([\w, ]+\))? VALUES )(\([^()]*\))")
_T = TypeVar("_T")
_VERIFIED: Final = "verify-full"

# By SQLSTATE, the longest beginning that fits. Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
_KINDS: Final[dict[str, type[StoreError]]] = {
    "08": StoreUnreachable,  # connection
    "25006": StoreReadOnly,
    "25P03": StoreUnreachable,  # the session was idle in a transaction for too long, and has been ended
    "40001": StoreConflict,  # could not be serialised
    "40P01": StoreConflict,  # deadlock
    "53": StoreUnavailable,
    "53100": StoreFull,
    "53300": StoreUnreachable,  # too many connections
    "55P03": StoreBusy,  # lock_timeout
    "57": StoreUnreachable,  # is starting, stopping, or was told to end us
    "57014": StoreBusy,  # statement_timeout
    "58": StoreUnreachable,  # its disk fails: other than a disk of ours it may be replaced by another server
    "XX001": StoreCorrupt,
    "XX002": StoreCorrupt,
}
_REMEDIES: Final[dict[type[StoreError], str]] = {
    StoreUnreachable: "start the server, or see its log and the network",
    StoreReadOnly: "promote this server or name the primary; or take back default_transaction_read_only",
    StoreFull: "make room on the disk of the database server",
    StoreUnavailable: "see the log of the database server",
}
# What to do about what libpq or the server says while connecting; a server may say it in its own language.
_WHERE_TO_PUT_IT: Final = "put it into /etc/rosterd/database_password, ROSTERD_DATABASE_PASSWORD or ~/.pgpass"
_REMEDIES_OF_TEXTS: Final = (
    ("password authentication failed", _WHERE_TO_PUT_IT),
    ("no password supplied", _WHERE_TO_PUT_IT),
    ("pg_hba.conf", "let this host and this role in there"),
    ("root certificate file", "name its authority in the URL: ?sslrootcert=/etc/ssl/certs/ca-certificates.crt"),
    ("certificate verify failed", "name its authority in the URL: ?sslrootcert=FILE"),
    ("does not match host name", "name the server in the URL as its certificate does"),
    ("server does not support SSL", "set ssl = on there"),
    ("too many c", "end other sessions, or raise max_connections"),  # clients; connections for a role or database
    ("connection slots", "end other sessions, or raise max_connections"),
    ("statement timeout", "see why the database server takes so long; a statement has 15 minutes"),
    ("lock timeout", "end the session of the database server that holds the lock, which pg_locks names"),
    (_SILENT, "see whether the server hangs, or its commits wait for a synchronous standby that is away"),
)


def in_our_words(error: psycopg.Error) -> StoreError:
    """Return an error of PostgreSQL as the rest of the program knows it, without the row that it may quote."""
    code, text = error.sqlstate or "", error.diag.message_primary or _one_line(str(error))
    kind = next((_KINDS[code[:length]] for length in (5, 2) if code[:length] in _KINDS), StoreError)
    if not code and isinstance(error, psycopg.OperationalError):  # so libpq tells whatever keeps it from connecting
        kind = StoreReadOnly if "read-only" in text else StoreUnreachable
    known = kind(text)
    known.remedy = next((what for part, what in _REMEDIES_OF_TEXTS if part in text), _REMEDIES.get(kind, ""))
    return known


def _one_line(text: str) -> str:
    """Return the first line, or, of several servers that were tried, what each of them said."""
    first, *more = text.splitlines()
    return "; ".join(line.removeprefix("- ") for line in more) if more and first.endswith(":") else first


@contextlib.contextmanager
def translating() -> Iterator[None]:
    """Raise StoreError in place of psycopg.Error."""
    try:
        yield
    except psycopg.Error as error:
        raise in_our_words(error) from None


class PostgresqlCursor:
    """The rows of one statement, all of which are here already."""

    def __init__(self, cursor: psycopg.Cursor[tuple[Any, ...]]) -> None:
        self._cursor = cursor

    @property
    def rowcount(self) -> int:
        """Return how many rows the statement has changed."""
        return self._cursor.rowcount

    def fetchone(self) -> Any:  # noqa: ANN401 - as Cursor has it
        """Return the next row, None after the last one."""
        return self._cursor.fetchone()

    def fetchmany(self, size: int, /) -> list[Any]:
        """Return the next rows."""
        return self._cursor.fetchmany(size)

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""
        return self._cursor.fetchall()

    def __iter__(self) -> Iterator[Any]:
        yield from self._cursor

    def close(self) -> None:
        """Give up the rows that are left."""
        self._cursor.close()


class _Watched(psycopg.Connection[tuple[Any, ...]]):
    """
    Watches the wait for an answer.

    Calls `waiting` some times a second, and asks `stopping`, after which the server cancels the statement. A server
    that hangs, or waits for a standby that is away, keeps to no timeout of its own: after `patience_s`, or when it does
    not answer others either, the connection is given up.
    """

    waiting: Callable[[], None] | None = None
    stopping: Callable[[], bool] | None = None
    is_given_up = False
    patience_s: float | None = None  # None: for a statement of its own, and without end in a transaction

    def wait(self, gen: PQGen[_T], *args: Any, **more: Any) -> _T:  # noqa: ANN401 - as psycopg has it
        """Wait for what the server answers."""
        return super().wait(self._asking(gen), *args, **more)

    def _asking(self, gen: PQGen[_T]) -> PQGen[_T]:
        may_cancel, now = self.stopping is not None, time.monotonic()
        is_alone = self.info.transaction_status == pq.TransactionStatus.IDLE
        most_s = self.patience_s or (_PATIENCE_S if is_alone else math.inf)
        ask_at, until = now + _ASK_S, now + most_s
        try:
            state = next(gen)
            while True:
                ready = yield state
                if ready == Ready.NONE and self.waiting:
                    self.waiting()
                if ready == Ready.NONE and may_cancel and self.stopping and self.stopping():
                    may_cancel = False
                    self._cancel()
                if ready == Ready.NONE and (now := time.monotonic()) >= ask_at:
                    if now >= until + _CANCEL_S * is_alone or not self._is_there():
                        self.is_given_up = True
                        self.close()
                        raise psycopg.OperationalError(_SILENT)
                    ask_at = time.monotonic() + _ASK_S
                    if now >= until and is_alone:  # a COMMIT that is cancelled says that it went well
                        ask_at = now + _CANCEL_S
                        self._cancel()
                state = gen.send(ready)
        except StopIteration as end:
            return cast("_T", end.value)

    def _cancel(self) -> None:
        """Ask the server to cancel the statement; by a thread, as libpq before 17 waits without end for the answer."""
        asking = threading.Thread(target=self._try_cancel, kwargs={"timeout": _CANCEL_S}, name="cancel", daemon=True)
        asking.start()
        asking.join(_CANCEL_S)

    def _is_there(self) -> bool:
        """Ask the server by another connection; one that answers at all is there, also if it refuses that."""
        dsn = make_conninfo(self.info.dsn, connect_timeout=_PING_S)
        return pq.PGconn.ping(dsn.encode()) in (pq.Ping.OK, pq.Ping.REJECT)


class PostgresqlConnection(Dialect):
    """A connection whose statements raise StoreError. No transaction begins by itself."""

    def __init__(self, raw: _Watched, host: str, connect: Callable[[], PostgresqlConnection]) -> None:
        self.raw = raw
        self.host: Final = host
        self._ids = ImportIds(connect)
        self._numbers = itertools.count()  # of cursors
        self._later: list[str] = []  # statements that go with the next one
        self.before_each: Callable[[], None] = lambda: None

    @property
    def in_transaction(self) -> bool:
        """Return whether a transaction is open, whatever its state."""
        return bool(self._later) or self.raw.info.transaction_status not in (
            pq.TransactionStatus.IDLE,
            pq.TransactionStatus.UNKNOWN,
        )

    def execute(self, statement: str, values: Values = (), /) -> PostgresqlCursor:
        """Run one statement, or several whose last one has a result."""
        begin(self)
        self.raw.patience_s = _OWN_PATIENCE_S.get(statement.partition(" ")[0])
        with translating():
            self.execute_later(statement, values)  # without values psycopg would leave `%%` as it is
            return self._run()

    def execute_later(self, statement: str, values: Values = (), /) -> None:
        """Run a statement with the next one, in one message. It begins a transaction, or is within one."""
        with translating():
            if self.raw.is_given_up:
                raise psycopg.OperationalError(_SILENT)
            cursor = cast("psycopg.ClientCursor[Any]", self.raw.cursor())
            self._later.append(cursor.mogrify(cast("Any", for_psycopg(statement)), values))

    def flush(self) -> None:
        """Run what is still to be run, before a statement that has a message of its own."""
        if self._later:
            begin(self)
            with translating():
                self._run()

    def _run(self) -> PostgresqlCursor:
        """Run what is to be run; return what the last statement returns."""
        later, self._later = self._later, []
        cursor = self.raw.cursor()
        cursor.execute(cast("Any", ";\n".join(later)))
        while cursor.nextset():
            pass
        return PostgresqlCursor(cursor)

    def stream(self, statement: str, values: Values = (), /) -> Generator[tuple[Any, ...], None, None]:
        """
        Yield the rows of a query; within a transaction some at a time, for which the server keeps a cursor.

        A cursor ends with its transaction, so that a pooler can give the next one to another session.
        """
        if not self.in_transaction:
            yield from self.execute(statement, values)
            return
        name = f"streamed_{next(self._numbers)}"
        self.execute(f"DECLARE {name} NO SCROLL CURSOR FOR {statement}", values)
        try:
            while rows := self.execute(f"FETCH {_STREAMED} FROM {name}").fetchall():
                yield from rows
        finally:
            with contextlib.suppress(StoreError):  # a transaction that has failed has no cursor any more
                self.execute(f"CLOSE {name}")

    def executemany(self, statement: str, rows: Iterable[Values], /) -> None:
        """Run one statement for each row of values, many in one message; all of a message are applied, or none."""
        left, query = iter(rows), for_psycopg(statement)
        # An INSERT of many rows is the same, and takes a fraction of as many INSERTs.
        values_of = _INSERT.fullmatch(query)
        head, each, between = (
            (values_of[1], cast("Any", values_of[2]), ",") if values_of else ("", cast("Any", query), ";")
        )
        with translating():
            cursor = cast("psycopg.ClientCursor[Any]", self.raw.cursor())
            while some := [*itertools.islice(left, _AT_ONCE)]:
                self.flush()
                begin(self)
                message = between.join(cursor.mogrify(each, cast("Any", values)) for values in some)
                cursor.execute(cast("Any", f"{head}{message}"))

    def new_import_id(self) -> int:
        """Return the id of the next import; where a transaction is rolled back, or several run, some are missing."""
        return self._ids.take(self)

    def newest_import_id(self) -> int:
        """Return the id up to which no import is under way any more; 0 for none."""
        return import_ids.newest(self)

    def lock(self, client: str, *, briefly: bool = False) -> bool:
        """Write the row of a client under its key: that waits for any other transaction which has done so."""
        try:
            self.execute(_LOCK.format(_BRIEFLY if briefly else _WHILE_IMPORTING), (client,))
        except StoreConflict:
            raise
        except StoreBusy as error:
            raise StoreLocked(f"another host is working on a file of this client: {error}") from None
        return True

    def overwrite_deleted(self, tables: Sequence[str]) -> None:
        """Remove dead rows now, and not once there are many: their place may be overwritten from then on."""
        for table in tables:
            with contextlib.suppress(StoreError):  # who may not, or is in the way of another, leaves it to the server
                self.execute(f"VACUUM {table}")

    def expect_rows(self, count: int) -> None:
        """
        Let many rows be joined by hash, in this transaction.

        PostgreSQL takes a few rows for granted where it has no statistics, and looks each up by an index. An engine
        that does not know the setting is left alone.
        """
        if count >= _MANY:
            self.execute(_BY_HASH)

    def roll_back(self) -> None:
        """Roll back, if a transaction is open; with the connection it would end by itself."""
        self._later.clear()
        if self.in_transaction:
            with contextlib.suppress(psycopg.Error):
                self.raw.execute("ROLLBACK")
        self._ids.give_back()

    def close(self) -> None:
        """Close the connection; what was not committed is rolled back."""
        self._ids.close()
        self.raw.close()


def begin(conn: PostgresqlConnection) -> None:
    """Do what comes before each statement."""
    conn.before_each()


class _Flag(Dumper):
    """True and False as 1 and 0, which is how all tables have them."""

    def dump(self, obj: Any) -> bytes:  # noqa: ANN401 - as psycopg has it
        return b"1" if obj else b"0"


class _Number(Loader):
    """A numeric, which is what PostgreSQL makes of a sum of integers, as SQLite has it."""

    def load(self, data: Any) -> int | float:  # noqa: ANN401 - likewise
        text = bytes(data).decode()
        return int(text) if text.lstrip("-").isdigit() else float(text)


def connect(
    url: str,
    host: str = "",
    password: str = "",
    *,
    is_writing: bool = True,
    waiting: Callable[[], None] | None = None,
) -> PostgresqlConnection:
    """
    Open a database; `host`: what this one is called among those that share it, `is_writing`: it may be written.

    `waiting` is called some times a second while the server is to answer.

    Raises StoreError, StoreUnusable when the URL or the encoding of the database will not do.
    """
    try:
        settings = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise StoreUnusable(f"[service] database: {error}") from None
    check_is_verified(settings)
    wanted: dict[str, Any] = {"sslmode": _VERIFIED, **_CONNECTING, **settings}
    wanted |= {"password": password} if password else {}
    wanted |= {} if is_writing else {"target_session_attrs": "any"}
    if waiting:
        waiting()
    with translating():
        raw = _Watched.connect(
            autocommit=True, prepare_threshold=None, cursor_factory=cast("Any", psycopg.ClientCursor), **wanted
        )
    if (encoding := raw.info.parameter_status("server_encoding")) not in (None, "UTF8"):
        raw.close()
        raise StoreUnusable(f"the database has the encoding {encoding}; expected one made with ENCODING 'UTF8'")
    raw.waiting = waiting
    raw.adapters.register_dumper(bool, _Flag)
    raw.adapters.register_loader("numeric", _Number)
    return PostgresqlConnection(raw, host, functools.partial(connect, url, host, password, waiting=waiting))


def check_is_verified(settings: dict[str, Any]) -> None:
    """Raise StoreUnusable when a server that is not on this host would not be verified."""
    hosts = str(settings.get("hostaddr") or settings.get("host") or "").split(",")
    mode = str(settings.get("sslmode") or "")
    if all(map(_is_here, hosts)):
        settings["sslmode"] = mode or "prefer"
    elif mode not in ("", _VERIFIED):
        raise StoreUnusable(
            f"[service] database: got sslmode={mode} for a server on another host; expected {_VERIFIED}. Leave it out"
        )


def _is_here(host: str) -> bool:
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
