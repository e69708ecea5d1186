"""The tables of a database as sqlite-utils gives them, for tests that read what was stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from sqlite_utils import Database

from importer.store.sqlite.database import SqliteStore


def tables_of(store: SqliteStore) -> Database:
    """Return the open database of a store; of another one than SQLite what can be asked of both."""
    if isinstance(cast("object", store), SqliteStore):
        return Database(store.conn, recursive_triggers=False, execute_plugins=False)
    return cast("Database", _Tables(store))


class _Tables:
    """Answers queries as sqlite-utils does."""

    def __init__(self, store: Any) -> None:  # noqa: ANN401 - a PostgresqlStore, whose module takes libpq
        self._raw = store.conn.raw

    def query(self, statement: str) -> Iterator[dict[str, Any]]:
        """Yield the rows, by the names of columns."""
        found = self._raw.execute(statement)
        names = [column.name for column in found.description]
        yield from (dict(zip(names, row, strict=True)) for row in found.fetchall())
