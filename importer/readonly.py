"""The database as readers have it: no more than SQLite itself, so that commands which only look start fast."""

from __future__ import annotations

import os
import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Final

APPLICATION_ID: Final = 0x526F7374  # "Rost": a database of another program is never touched


def read_only(path: Path) -> sqlite3.Connection:
    """Open the database so that nothing can be written; raises sqlite3.OperationalError when there is none."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def log_files(database: Path) -> tuple[Path, Path]:
    """Return where SQLite keeps the write-ahead log of a database and its index, whether or not they are there."""
    return Path(f"{database}-wal"), Path(f"{database}-shm")


def stamp(at: datetime) -> str:
    """Return a UTC time as text of fixed width, so that the order of texts is the order of times."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def stored(number: int) -> int:
    """Return a number of a file system as the ledger has it: inodes and times may be beyond what SQLite can keep."""
    return max(-(1 << 63), min(number, (1 << 63) - 1))


def temporary_folder() -> str:
    """Return where SQLite puts what outgrows its cache. Source: https://www.sqlite.org/tempfiles.html section 5."""
    wanted = (os.environ.get("SQLITE_TMPDIR"), os.environ.get("TMPDIR"), "/var/tmp", "/usr/tmp", "/tmp")  # noqa: S108 - SQLite's
    return next((folder for folder in wanted if folder and os.access(folder, os.W_OK | os.X_OK)), ".")
