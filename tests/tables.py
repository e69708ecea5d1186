"""The tables of a store, as sqlite-utils has them."""

from __future__ import annotations

from sqlite_utils import Database

from importer.store.sqlite.database import SqliteStore


def tables_of(store: SqliteStore) -> Database:
    """Return the open database of a store."""
    return Database(store.conn, recursive_triggers=False, execute_plugins=False)
