"""
The read copy: what readers see of the database, with views whose names and columns stay.

It is a database of its own, without a write-ahead log, so that a reader needs no right to write next to it, and without
what readers have no use for: mail, problems, and what later files are compared with.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from importer.attributes import ATTRIBUTES
from importer.model import Interrupted
from importer.store.connection import stamp
from importer.store.sqlite.connection import SqliteConnection, connect, read_only

_PAGES_AT_ONCE: Final = 1000  # 4 MiB, 2 ms
_PAUSE_S: Final = 0.005  # between them: a copy takes a third of the disk's time at most
_UNREAD: Final = (
    "outbox",
    "baselines",
    "importing",
    "import_problems",
    "strays",
    "hook_events",
    "hook_totals",
    "hosts",
)
_COLUMNS: Final = ", ".join(("client", *ATTRIBUTES, "created_at", "updated_at", "import_id"))
VIEWS: Final = {
    "people": f"SELECT {_COLUMNS} FROM users WHERE inactive_by IS NULL",
    "former_people": f"SELECT {_COLUMNS}, inactive_by FROM users WHERE inactive_by IS NOT NULL",
    "uploads": """SELECT id, client, file, feed, outcome, code, created, updated, reinstated, unchanged, failed,
        repeated, deactivated, finished_at FROM imports WHERE kind = 'file'""",
    "read_copy": "SELECT made_at, last_import FROM copied",
}


def newest_import(database: Path) -> int:
    """Return the id of the last import; every change of users has one. Raises StoreError."""
    with contextlib.closing(read_only(database)) as conn:
        return int(conn.execute("SELECT coalesce(max(id), 0) FROM imports").fetchone()[0])


def write_copy(database: Path, target: Path, made_at: datetime, stopping: Callable[[], bool]) -> int:
    """
    Write a read copy of this moment to an empty file, a little at a time, and return the id of its last import.

    The service writes meanwhile; nothing waits for the copy. Raises Interrupted, StoreError.
    """

    def pause(_status: int, remaining: int, _total: int) -> None:
        if stopping():
            raise Interrupted
        if remaining:
            time.sleep(_PAUSE_S)

    with contextlib.closing(read_only(database)) as source, contextlib.closing(connect(target.as_uri())) as copy:
        # A reading transaction is one moment; without it SQLite would begin anew after each commit of the service.
        source.execute("BEGIN")
        source.execute("SELECT 1 FROM imports LIMIT 1").fetchall()
        source.backup(copy, pages=_PAGES_AT_ONCE, progress=pause)
        last_import = int(source.execute("SELECT coalesce(max(id), 0) FROM imports").fetchone()[0])
        _make_readable(copy, made_at, last_import)
    return last_import


def _make_readable(copy: SqliteConnection, made_at: datetime, last_import: int) -> None:
    """Remove what readers have no use for, and add the views. Synced as a whole, by the caller."""
    for pragma in ("journal_mode = DELETE", "synchronous = OFF", "secure_delete = ON", "foreign_keys = OFF"):
        copy.execute(f"PRAGMA {pragma}").fetchall()
    copy.execute("BEGIN")
    others = "SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'view')"
    for kind, name in copy.execute(others).fetchall():
        copy.execute(f"DROP {kind} {name}")
    for table in _UNREAD:
        copy.execute(f"DROP TABLE IF EXISTS {table}")
    copy.execute("CREATE TABLE copied (made_at TEXT NOT NULL, last_import INTEGER NOT NULL) STRICT")
    copy.execute("INSERT INTO copied VALUES (?, ?)", (stamp(made_at), last_import))
    for name, query in VIEWS.items():
        copy.execute(f"CREATE VIEW {name} AS {query}")
    copy.execute("COMMIT")
