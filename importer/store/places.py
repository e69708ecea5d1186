"""Where a database is, a file of this host or a server, and how it is opened: the one module that knows both kinds."""

from __future__ import annotations

import contextlib
import os
import re
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from importer.store.errors import StoreUnusable

if TYPE_CHECKING:
    from importer.store.connection import Connection
    from importer.store.database import Store

CREDENTIAL: Final = "database_password"
_VARIABLE: Final = "ROSTERD_DATABASE_PASSWORD"
_EXPECTED: Final = 'the path of a file, or a URL such as "postgresql://rosterd@db.example.org/rosterd"'


def is_server(database: str) -> bool:
    """Tell whether a setting names a server, by its URL, and not a file."""
    return "://" in database


def objections(database: str) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a setting, without its password, and what was expected."""
    if not is_server(database):
        return
    try:
        parts = urllib.parse.urlsplit(database)
    except ValueError:
        yield "...", _EXPECTED
        return
    if parts.password is not None or "password" in urllib.parse.parse_qs(parts.query):
        yield "...", f"{_EXPECTED}, without a password: that is the systemd credential {CREDENTIAL}"
    elif parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
        yield database, _EXPECTED


class Place(msgspec.Struct, frozen=True):
    """A database, without its password, which comes from systemd, the environment or libpq."""

    name: str  # an absolute path, or a URL
    host: str = ""  # what this host is called in a database on a server

    @property
    def file(self) -> Path | None:
        """Return the path of the file, None for a server."""
        return None if is_server(self.name) else Path(self.name)

    @property
    def hosts(self) -> list[str]:
        """Return the hosts that a URL names, one of which is the server; none for a file or a socket."""
        if self.file is not None:
            return []
        # `urlsplit` refuses one host in brackets among several.
        netloc = self.name.partition("://")[2].partition("/")[0].partition("?")[0]
        named = netloc.rpartition("@")[2].split(",")
        return [re.sub(r":\d*$", "", host).strip("[]") for host in named if host]

    @property
    def is_missing(self) -> bool:
        """Tell whether it is a file that is not there yet."""
        return self.file is not None and not self.file.exists()

    def open(self, waiting: Callable[[], None] | None = None) -> Store:
        """
        Open the database for writing, and bring it up to date. Raises StoreUnusable, StoreError.

        `waiting` is called some times a second while a server is to answer.
        """
        if self.file is not None:
            from importer.store.sqlite.database import SqliteStore

            return SqliteStore.open(self.file)
        with _libpq():
            from importer.store.postgresql.database import PostgresqlStore
        return PostgresqlStore.open(self.name, self.host, _password(), waiting=waiting)

    def reading(self) -> AbstractContextManager[Connection]:
        """Open the database for reading, one moment for all questions. Raises StoreError when it cannot be read."""
        if self.file is not None:
            from importer.store.queries import opened

            return opened(self.file)
        return self._reading_server()

    @contextlib.contextmanager
    def _reading_server(self) -> Iterator[Connection]:
        with _libpq():
            from importer.store.postgresql.reading import reading
        with reading(self.name, self.host, _password()) as conn:
            yield conn


@contextlib.contextmanager
def _libpq() -> Iterator[None]:
    """Import what a server needs, and SQLite does not. Raises StoreUnusable."""
    try:
        yield
    except ImportError:
        raise StoreUnusable(
            "psycopg or libpq is missing: apt-get install libpq5; without the package also rosterd[postgresql]"
        ) from None


def _password() -> str:
    """Return the password for a server, "" to leave it to libpq. Raises StoreUnusable."""
    credential = Path(os.environ.get("CREDENTIALS_DIRECTORY", os.devnull), CREDENTIAL)
    try:
        given = credential.read_text(encoding="utf-8").rstrip("\r\n") if os.path.lexists(credential) else ""
    except (OSError, UnicodeDecodeError) as error:
        raise StoreUnusable(f"{credential}: {error}; expected a readable UTF-8 file") from None
    return given or os.environ.get(_VARIABLE, "")
