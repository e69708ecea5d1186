"""
The hosts that share one database: what each of them has done, and when it was last there.

With SQLite there is one host, which has no name in the database, and nothing is in the table `hosts`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from importer.store.connection import Connection, stamp

# `host`: whose inbox a file was in, who has a mail or an event in hand. Whoever sends one leases it before: until then
# no other host does. Names that are never imported belong to the inbox of one host, so its name is part of their key.
CHANGES: Final = (
    "ALTER TABLE imports ADD COLUMN host TEXT NOT NULL DEFAULT ''",
    *(
        f"ALTER TABLE {table} ADD COLUMN {column} TEXT NOT NULL DEFAULT ''"
        for table in ("outbox", "hook_events")
        for column in ("host", "leased_until")
    ),
    "CREATE INDEX outbox_leased ON outbox (client) WHERE leased_until <> ''",
    """CREATE TABLE strays_by_host (
        client TEXT NOT NULL,
        host TEXT NOT NULL,
        path BLOB NOT NULL,
        seen_at TEXT NOT NULL,
        gone_at TEXT,
        mailed_at TEXT,
        PRIMARY KEY (client, host, path)
    ) STRICT, WITHOUT ROWID""",
    "INSERT INTO strays_by_host SELECT client, '', path, seen_at, gone_at, mailed_at FROM strays",
    "DROP TABLE strays",
    "ALTER TABLE strays_by_host RENAME TO strays",
    "CREATE TABLE hosts (host TEXT PRIMARY KEY, last_seen TEXT NOT NULL) STRICT, WITHOUT ROWID",
)


def note(conn: Connection, at: datetime) -> None:
    """Note that this host is there."""
    if conn.host:
        conn.execute(
            """INSERT INTO hosts (host, last_seen) VALUES (?, ?)
               ON CONFLICT (host) DO UPDATE SET last_seen = excluded.last_seen""",
            (conn.host, stamp(at)),
        )


def is_known(conn: Connection) -> bool:
    """Tell whether this host was ever there."""
    return conn.execute("SELECT 1 FROM hosts WHERE host = ?", (conn.host,)).fetchone() is not None


def note_pass(conn: Connection, began_at: datetime) -> None:
    """Note when this host last removed what is old of its own."""
    at = stamp(began_at)
    conn.execute(
        """INSERT INTO hosts (host, last_seen, passed_at) VALUES (?, ?, ?)
           ON CONFLICT (host) DO UPDATE SET passed_at = excluded.passed_at""",
        (conn.host, at, at),
    )
