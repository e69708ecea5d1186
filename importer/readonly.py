"""The database as readers have it: no more than SQLite itself, so that commands which only look start fast."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Final

APPLICATION_ID: Final = 0x526F7374  # "Rost": a database of another program is never touched


def read_only(path: Path) -> sqlite3.Connection:
    """Open the database so that nothing can be written; raises sqlite3.OperationalError when there is none."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def stamp(at: datetime) -> str:
    """Return a UTC time as text of fixed width, so that the order of texts is the order of times."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
