"""
What others do with the same file: load it into a table with the same keys, without a look at what is in it.

`python -m bench.peers DATABASE FILE` runs the one that is written in Python.
"""

from __future__ import annotations

import csv
import sqlite3
import sys
from pathlib import Path
from typing import Final

from bench.generate import COLUMNS

_SCHEMA: Final = (
    f"CREATE TABLE users ({', '.join(f'{name} TEXT' for name in COLUMNS)}, PRIMARY KEY (unique_id))",
    "CREATE UNIQUE INDEX users_by_email ON users (email)",
    "CREATE UNIQUE INDEX users_by_user_name ON users (user_name)",
)
_SETTINGS: Final = ("PRAGMA journal_mode = WAL",)


def shell_import(database: Path, file: Path, *, cache_kib: int = 0) -> list[str]:
    """Return the command that loads a file with the sqlite3 shell; 0: its own page cache of 2 MiB."""
    cache = (f"PRAGMA cache_size = -{cache_kib}",) if cache_kib else ()
    statements = [f"{statement};" for statement in (*_SETTINGS, *cache, *_SCHEMA)]
    return ["sqlite3", str(database), *statements, f".import --csv --skip 1 {file} users"]


def sqlite_utils_upsert(database: Path, file: Path) -> list[str]:
    """Return the command that loads a file with sqlite-utils, which makes table and types itself."""
    return [
        sys.executable,
        "-m",
        "sqlite_utils",
        "upsert",
        str(database),
        "users",
        str(file),
        "--csv",
        "--pk",
        "unique_id",
    ]


def python_loop(database: Path, file: Path) -> list[str]:
    """Return the command that loads a file with csv.DictReader and executemany."""
    return [sys.executable, "-m", "bench.peers", str(database), str(file)]


def _load(database: Path, file: Path) -> None:
    conn = sqlite3.connect(database)
    for statement in (*_SETTINGS, *_SCHEMA):
        conn.execute(statement)
    names = ", ".join(f":{name}" for name in COLUMNS)
    with conn, file.open(encoding="utf-8", newline="") as lines:
        conn.executemany(f"INSERT OR IGNORE INTO users VALUES ({names})", csv.DictReader(lines))  # noqa: S608
    conn.close()


if __name__ == "__main__":
    _load(Path(sys.argv[1]), Path(sys.argv[2]))
