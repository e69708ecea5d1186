"""Bringing the tables of a database up to date, and telling which version it has."""

from __future__ import annotations

from typing import Final

from importer.store.errors import StoreBusy, StoreError, StoreUnavailable, StoreUnusable
from importer.store.postgresql.connection import PostgresqlConnection
from importer.store.postgresql.schema import MIGRATIONS, Migration

# A row is the lock of whoever migrates: not all that speak PostgreSQL have advisory locks.
_VERSION: Final = """
CREATE TABLE IF NOT EXISTS rosterd_schema (is_ours BIGINT PRIMARY KEY CHECK (is_ours = 1), version BIGINT NOT NULL);
INSERT INTO rosterd_schema VALUES (1, 0) ON CONFLICT (is_ours) DO NOTHING;
"""
# A statement may take as long as an index of all users does; who waits for it comes again, and who hangs is ended.
_BEGIN: Final = """
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL lock_timeout = '10s';
SET LOCAL idle_in_transaction_session_timeout = '1min';
SET LOCAL client_connection_check_interval = '10s'
"""


def migrate(conn: PostgresqlConnection) -> None:
    """
    Bring the tables up to date, in one transaction; whoever comes meanwhile waits for its row for a while.

    Raises StoreUnusable for tables of a newer build, StoreBusy when they cannot be made now.
    """
    try:
        if not version_of(conn):  # else the role need not have the right to create tables
            conn.execute(_VERSION)
    except StoreUnavailable:
        raise
    except StoreError as error:
        # Of two that create the first table at one moment, one fails on PostgreSQL's own key.
        refused = StoreBusy(f"the tables cannot be made: {error}")
        refused.remedy = "let this role create tables in a schema of its search_path, unless another host is doing it"
        raise refused from error
    conn.execute(_BEGIN)
    try:
        (version,) = conn.execute("SELECT version FROM rosterd_schema FOR UPDATE").fetchone()
        for migration in _missing(int(version)):
            conn.execute(migration.statements)
            conn.execute("UPDATE rosterd_schema SET version = ?", (migration.number,))
        conn.execute("COMMIT")
    except BaseException:
        conn.roll_back()
        raise


def _missing(version: int) -> list[Migration]:
    """Return the migrations that come after this one. Raises StoreUnusable when it is newer than all."""
    if version > MIGRATIONS[-1].number:
        raise StoreUnusable(f"the database was made by a newer rosterd (migration {version}); install that version")
    return [migration for migration in MIGRATIONS if migration.number > version]


def version_of(conn: PostgresqlConnection) -> int:
    """Return the number of the last migration of a database, 0 for one without our tables. Raises StoreError."""
    (table,) = conn.execute("SELECT to_regclass('rosterd_schema')::TEXT").fetchone()
    if table is None:
        return 0
    row = conn.execute("SELECT version FROM rosterd_schema").fetchone()
    return int(row[0]) if row else 0
