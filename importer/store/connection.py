"""SQLite itself: a connection, and what its files and values look like. Light: commands that only look start fast."""

from __future__ import annotations

import os
import sqlite3
import struct
from datetime import datetime
from pathlib import Path
from typing import Final

APPLICATION_ID: Final = 0x526F7374  # "Rost": a database of another program is never touched

_HEAD: Final = struct.Struct(">16sH10xI36xI")  # magic text, bytes of a page, pages, application id


def read_only(path: Path) -> sqlite3.Connection:
    """Open the database so that nothing can be written; raises sqlite3.OperationalError when there is none."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def is_whole(path: Path) -> bool:
    """
    Tell whether a file is a database of ours, and as long as it should be, without opening it as one.

    Source: https://www.sqlite.org/fileformat.html section 1.3.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD.size)
        size_bytes = os.fstat(file.fileno()).st_size
    if len(head) < _HEAD.size:
        return False
    magic, page, pages, application = _HEAD.unpack(head)
    page_bytes = 65_536 if page == 1 else page
    return (magic, page_bytes * pages, application) == (b"SQLite format 3\0", size_bytes, APPLICATION_ID)


def log_files(database: Path) -> tuple[Path, Path]:
    """Return where SQLite keeps the write-ahead log of a database and its index, whether or not they are there."""
    return Path(f"{database}-wal"), Path(f"{database}-shm")


def stamp(at: datetime) -> str:
    """Return a UTC time as text of fixed width, so that the order of texts is the order of times."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def stored(number: int) -> int:
    """Return a number of a file system as the ledger has it: inodes and times may be beyond what SQLite can keep."""
    return max(-(1 << 63), min(number, (1 << 63) - 1))
