"""What the ledger tells of a client's earlier files, for judging the next one."""

from __future__ import annotations

import sqlite3


def last_rows(db: sqlite3.Connection, client: str) -> int:
    """Return how many rows the last file had of which something was applied; 0 when there was none."""
    row = db.execute(
        "SELECT created + updated + unchanged + failed + repeated FROM imports"
        " WHERE client = ? AND outcome <> 'refused' ORDER BY id DESC LIMIT 1",
        (client,),
    ).fetchone()
    return row[0] if row else 0
