"""Whether the file is a sound database, as SQLite itself tells it. Only reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from importer.store.connection import Connection
from importer.store.integrity import Finding
from importer.store.sqlite.connection import APPLICATION_ID

_MAX_LINES: Final = 20  # of a damaged database; the first ones are enough


def is_ours(conn: Connection) -> bool:
    """Return whether it is a database of this program."""
    return bool(conn.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,))


def damages(conn: Connection, *, quick: bool, at_most: int) -> list[str]:
    """Return what is damaged, as the database says it; `quick`: without comparing each index with its table."""
    pragma = "quick_check" if quick else "integrity_check"
    return [str(row[0]) for row in conn.execute(f"PRAGMA {pragma}({at_most})").fetchall() if row != ("ok",)]


def database_findings(conn: Connection) -> Iterator[Finding]:
    """Yield damage of the database file."""
    for line in damages(conn, quick=False, at_most=_MAX_LINES):
        yield Finding(check="database.damaged", text=f"The database is damaged: {line}. Restore it from a backup.")
    for table, rowid, parent, _ in conn.execute("PRAGMA foreign_key_check").fetchmany(_MAX_LINES):
        yield Finding(
            check="database.dangling", text=f"Row {rowid} of {table} points to a row of {parent} that is not there."
        )
