"""A copy of the users of one client in a file, taken from a database on a server: what a dry run imports into."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from importer.roster.removals import DAYS
from importer.store.connection import Connection, stamp
from importer.store.sqlite.database import COPIED, SqliteStore

_AT_ONCE: Final = 2000  # users: a server sends all rows of a statement before the first one can be used


def copy_users(store: SqliteStore, source: Connection, client: str) -> None:
    """Do as `SqliteStore.copy_users` does, from a server."""
    named = {"client": client, "since": stamp(datetime.now(UTC) - timedelta(days=DAYS))}
    with store.importing():
        for table, condition in COPIED.items():
            rows = store.conn.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()
            columns = [name for (name,) in rows]
            values = ", ".join("0" if (table, name) == ("users", "import_id") else name for name in columns)
            where = condition.replace("source.", "")
            query = f"SELECT {values} FROM {table} WHERE client = :client AND ({where})"
            places = ", ".join("?" * len(columns))
            insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"
            parts = _users(source, query, named) if table == "users" else [source.execute(query, named).fetchall()]
            for part in parts:
                store.conn.executemany(insert, part)


def _users(source: Connection, query: str, named: dict[str, str]) -> Iterator[list[Any]]:
    """Yield the rows of users by their keys, a part at a time."""
    last = ""
    while True:
        part = source.execute(
            f"SELECT unique_id AS id_, own.* FROM ({query} AND unique_id > :last ORDER BY unique_id LIMIT {_AT_ONCE})"
            " AS own ORDER BY unique_id",
            {**named, "last": last},
        ).fetchall()
        if not part:
            return
        last = part[-1][0]
        yield [row[1:] for row in part]
