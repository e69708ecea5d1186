"""SQLite: a connection, its files and values. Few imports, so that commands that only read start fast."""

from __future__ import annotations

import contextlib
import functools
import os
import sqlite3
import struct
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from importer.store.connection import Values
from importer.store.errors import (
    StoreBusy,
    StoreCorrupt,
    StoreDiskFailed,
    StoreError,
    StoreFull,
    StoreInterrupted,
    StoreOutdated,
    StoreReadOnly,
    StoreUnavailable,
    StoreUnopened,
)
from importer.store.sqlite.dialect import Dialect

_P = ParamSpec("_P")
_T = TypeVar("_T")

VERSION: Final = sqlite3.sqlite_version
VERSION_INFO: Final = sqlite3.sqlite_version_info
NEWEST: Final = "m023_client_of_changes"  # the last migration of `schema`
APPLICATION_ID: Final = 0x526F7374  # "Rost": a database of another program is never touched

_HEAD: Final = struct.Struct(">16sH10xI36xI")  # magic text, bytes of a page, pages, application id


# By the primary code. Source: https://www.sqlite.org/rescode.html
_KINDS: Final[dict[int, type[StoreError]]] = {
    sqlite3.SQLITE_BUSY: StoreBusy,
    sqlite3.SQLITE_CANTOPEN: StoreUnopened,
    sqlite3.SQLITE_CORRUPT: StoreCorrupt,
    sqlite3.SQLITE_FULL: StoreFull,
    sqlite3.SQLITE_INTERRUPT: StoreInterrupted,
    sqlite3.SQLITE_IOERR: StoreDiskFailed,
    sqlite3.SQLITE_NOTADB: StoreCorrupt,
    sqlite3.SQLITE_READONLY: StoreReadOnly,
}


def in_our_words(error: sqlite3.Error) -> StoreError:
    """Return an error of SQLite as the rest of the program knows it, with the same text."""
    code = getattr(error, "sqlite_errorcode", 0)
    if code == sqlite3.SQLITE_IOERR_SHMSIZE:  # the index of the write-ahead log, which is a file as well, cannot grow
        return StoreFull(*error.args)
    other = StoreUnavailable if isinstance(error, sqlite3.OperationalError) else StoreError
    return _KINDS.get(code & 0xFF, other)(*error.args)


def _translating(method: Callable[_P, _T]) -> Callable[_P, _T]:
    """Return a method that raises StoreError in place of sqlite3.Error."""

    @functools.wraps(method)
    def call(*args: _P.args, **more: _P.kwargs) -> _T:
        try:
            return method(*args, **more)
        except sqlite3.Error as error:
            raise in_our_words(error) from None
        except OverflowError as error:
            raise StoreError(f"a number is larger than the database can hold: {error}") from None

    return call


class _Cursor(sqlite3.Cursor):
    """A cursor that raises StoreError."""

    execute = _translating(sqlite3.Cursor.execute)
    executemany = _translating(sqlite3.Cursor.executemany)
    fetchone = _translating(sqlite3.Cursor.fetchone)
    fetchmany = _translating(sqlite3.Cursor.fetchmany)
    fetchall = _translating(sqlite3.Cursor.fetchall)
    __next__ = _translating(sqlite3.Cursor.__next__)  # type: ignore[arg-type]  # mypy looks for an Iterator


class SqliteConnection(Dialect, sqlite3.Connection):
    """
    A connection whose statements raise StoreError: the one place where errors of SQLite are translated.

    Outside `importer/store` it is only passed on.
    """

    host: Final = ""  # it is the only one

    @_translating
    def cursor(self, _factory: object = None) -> _Cursor:  # type: ignore[override]
        """Return a cursor that translates errors."""
        return super().cursor(_Cursor)

    def execute(self, *statement: Any) -> sqlite3.Cursor:  # noqa: ANN401 - as sqlite3 has it
        """Run one statement."""
        return self.cursor().execute(*statement)

    def executemany(self, *statement: Any) -> sqlite3.Cursor:  # noqa: ANN401 - likewise
        """Run one statement for each row of values."""
        return self.cursor().executemany(*statement)

    def new_import_id(self) -> int:
        """Return the id of the next import: nobody else can write until this transaction has ended."""
        return self.newest_import_id() + 1

    def newest_import_id(self) -> int:
        """Return the id of the last import: they are committed in the order of their ids."""
        return int(self.execute("SELECT coalesce(max(id), 0) FROM imports").fetchone()[0])

    def lock(self, _client: str, *, briefly: bool = False) -> bool:  # noqa: ARG002 - as Connection has it
        """Tell that there is nobody to wait for: whoever has a transaction open writes alone."""
        return False

    def overwrite_deleted(self, _tables: Sequence[str]) -> None:
        """Fold the log into the database, and cut it: it has the old pages. A reader may keep that for later."""
        self.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def expect_rows(self, count: int) -> None:
        """Leave it to the statements: SQLite joins in the order in which they name the tables."""

    def stream(self, statement: str, values: Values = (), /) -> Generator[Any, None, None]:
        """Yield the rows of a query."""
        with contextlib.closing(self.execute(statement, values)) as rows:
            yield from rows

    def make_work_table(self, name: str, columns: Sequence[str]) -> None:
        """Make an empty temporary table; the first two columns are in its index."""
        self.execute(f"DROP TABLE IF EXISTS temp.{name}")
        self.execute(f"CREATE TEMP TABLE {name} ({', '.join(columns)})")
        self.execute(f"CREATE INDEX temp.{name}_by_key ON {name} ({', '.join(columns[:2])})")

    @_translating
    def backup(self, target: sqlite3.Connection, **options: Any) -> None:  # noqa: ANN401 - likewise
        """Copy this database over another one."""
        super().backup(target, **options)


@_translating
def connect(database: str) -> SqliteConnection:
    """Open a database by its URI, without transactions that begin by themselves. Raises StoreError."""
    conn = sqlite3.connect(database, uri=True, isolation_level=None, factory=SqliteConnection)
    conn.create_function("casefolded", 1, _casefolded, deterministic=True)
    return conn


def _casefolded(text: str | None) -> str | None:
    """Return the key of an address or a user name, as `rows/validate` makes it of a cell."""
    return text.casefold() if text else None


def read_only(path: Path) -> SqliteConnection:
    """Open the database so that nothing can be written; raises StoreUnopened when there is none."""
    return connect(f"{path.absolute().as_uri()}?mode=ro")


def current(path: Path) -> SqliteConnection:
    """Open the database likewise; raises StoreOutdated when it is of an earlier build, whose tables lack columns."""
    conn = read_only(path)
    try:
        _check_is_current(conn)
    except BaseException:
        conn.close()
        raise
    return conn


@contextlib.contextmanager
def reading(path: Path) -> Iterator[SqliteConnection]:
    """
    Open a current database for reading, one moment for all questions. Raises StoreError.

    Whoever may not write in its folder can read it while its log has an index, which the service keeps as long as it
    runs and leaves when it is killed; and without a log as a file that nobody writes to. If somebody did, all that was
    read is discarded, by StoreBusy. Source: https://www.sqlite.org/wal.html section 6.
    """
    if os.access(path.parent, os.W_OK) or _has_log(path):
        with contextlib.closing(current(path)) as conn:
            conn.execute("BEGIN")
            yield conn
        return
    before = _identity(path)
    with contextlib.closing(connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1")) as conn:
        try:
            _check_is_current(conn)
            yield conn
        finally:
            if _identity(path) != before:
                raise StoreBusy("the service began to write to it meanwhile; try again")


def _has_log(path: Path) -> bool:
    log, index = log_files(path)
    return index.exists() or (log.exists() and log.stat().st_size > 0)


def _identity(path: Path) -> tuple[int, ...]:
    with contextlib.suppress(FileNotFoundError):
        info = path.stat()
        return info.st_ino, info.st_mtime_ns, info.st_size
    return ()


def _check_is_current(conn: SqliteConnection) -> None:
    is_ours = conn.execute("SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'").fetchone()
    if is_ours and not conn.execute("SELECT 1 FROM _sqlite_migrations WHERE name = ?", (NEWEST,)).fetchone():
        raise StoreOutdated("it was made by an earlier rosterd; `systemctl restart rosterd` brings it up to date")


def is_whole(path: Path) -> bool:
    """
    Tell whether a file is a database of rosterd, with its full length, without opening it as a database.

    Source: https://www.sqlite.org/fileformat.html section 1.3.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD.size)
        size_bytes = os.fstat(file.fileno()).st_size
    if len(head) < _HEAD.size:
        return False
    magic, page, pages, application = _HEAD.unpack(head)
    page_bytes = 65_536 if page == 1 else page
    return (magic, page_bytes * pages, application) == (b"SQLite format 3\0", size_bytes, APPLICATION_ID)


def log_files(database: Path) -> tuple[Path, Path]:
    """Return where SQLite keeps the write-ahead log of a database and its index, whether or not they are there."""
    return Path(f"{database}-wal"), Path(f"{database}-shm")
