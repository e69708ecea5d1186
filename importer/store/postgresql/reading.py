"""Reading a database on a server: for commands and metrics, also from a standby, or while nothing can be written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from importer.store.errors import StoreOutdated
from importer.store.postgresql.connection import PostgresqlConnection, connect
from importer.store.postgresql.migrating import version_of
from importer.store.postgresql.schema import MIGRATIONS

_BEGIN: Final = """
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL statement_timeout = '5min';
SET LOCAL idle_in_transaction_session_timeout = '15min'
"""


@contextlib.contextmanager
def reading(url: str, host: str = "", password: str = "") -> Iterator[PostgresqlConnection]:
    """Open a database for reading, one moment for all questions. Raises StoreError, StoreOutdated."""
    with contextlib.closing(connect(url, host, password, is_writing=False)) as conn:
        version = version_of(conn)
        if version == 0:
            raise StoreOutdated("it has no tables yet; the service creates them at its first start")
        if version < MIGRATIONS[-1].number:
            raise StoreOutdated("it was made by an earlier rosterd; `systemctl restart rosterd` brings it up to date")
        conn.execute(_BEGIN)
        yield conn
