"""Who has had a file imported again, or decided on a held one: noted by its identity, before it can become a claim."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from importer.store.connection import Connection, stamp, stored

# The console user who asked for a replay or an undo. The replayed file is recognised by its inode and time.
CHANGES: Final = (
    "ALTER TABLE imports ADD COLUMN requested_by TEXT NOT NULL DEFAULT ''",
    """CREATE TABLE replays (
        client TEXT NOT NULL,
        inode INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        requested_by TEXT NOT NULL,
        requested_at TEXT NOT NULL,
        PRIMARY KEY (client, inode, mtime_ns)
    ) STRICT, WITHOUT ROWID""",
)
_KEEP: Final = timedelta(days=30)  # a copy that never became a claim


def add(conn: Connection, client: str, inode: int, mtime_ns: int, by: str, at: datetime) -> None:
    """Note who asked for this file in the inbox of a client, and forget what was noted long ago."""
    conn.execute("DELETE FROM replays WHERE requested_at < ?", (stamp(at - _KEEP),))
    conn.execute(
        """INSERT INTO replays (client, inode, mtime_ns, requested_by, requested_at) VALUES (?, ?, ?, ?, ?)
           ON CONFLICT (client, inode, mtime_ns)
           DO UPDATE SET requested_by = excluded.requested_by, requested_at = excluded.requested_at""",
        (client, stored(inode), stored(mtime_ns), by, stamp(at)),
    )


def requested_by(conn: Connection, client: str, inode: int, mtime_ns: int) -> str:
    """Return who asked for an upload with this identity, "" for nobody."""
    row = conn.execute(
        "SELECT requested_by FROM replays WHERE client = ? AND inode = ? AND mtime_ns = ?",
        (client, stored(inode), stored(mtime_ns)),
    ).fetchone()
    return str(row[0]) if row else ""
