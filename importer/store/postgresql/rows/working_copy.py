"""
A throw-away SQLite database with the users of one client whom a file concerns, in which the file is recorded.

So what a row changes, what conflicts and what a guard counts is said once, for both databases. It is in a temporary
file of SQLite's own, without a log: nothing of it outlives the import.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Final

from importer.rows.copy_lines import lines_of
from importer.store.connection import Connection
from importer.store.sqlite.checks import new_tables
from importer.store.sqlite.connection import SqliteConnection, connect

_TABLES: Final = ("users", "imports", "import_problems", "user_changes", "feeds", "guard_pauses")
_PRAGMAS: Final = {"journal_mode": "OFF", "synchronous": 0, "cache_size": -16 * 1024}
_STEPS_BETWEEN_LOOKS: Final = 200_000
_UNIQUE: Final = ("CREATE UNIQUE INDEX", "CREATE TABLE")
_AT_ONCE: Final = 500  # rows
_NUMBERS: Final = ("import_id", "created_import", "import_line", "line", "line_before")


def made(stopping: Callable[[], bool]) -> SqliteConnection:
    """Return an empty working copy; when `stopping` is true, its statements are interrupted."""
    conn = connect("")
    for name, value in _PRAGMAS.items():
        conn.execute(f"PRAGMA {name} = {value}").fetchall()
    for statement in _statements():
        if not _is_later(statement):
            conn.execute(statement)
    conn.execute("BEGIN")
    conn.set_progress_handler(stopping, _STEPS_BETWEEN_LOOKS)
    return conn


def complete(copy: SqliteConnection) -> None:
    """Make the indexes that nothing needs until the users are fetched: then it is quicker."""
    for statement in _statements():
        if _is_later(statement):
            copy.execute(statement)


def _is_later(statement: str) -> bool:
    return "ON users" in statement and not statement.startswith(_UNIQUE)


@functools.cache
def _statements() -> tuple[str, ...]:
    """Return what makes the tables and their indexes, as the migrations have them in the end."""
    with contextlib.closing(connect("file::memory:")) as model:
        new_tables(model)
        names = ", ".join(f"'{name}'" for name in _TABLES)
        query = f"""SELECT sql FROM sqlite_master WHERE tbl_name IN ({names}) AND type IN ('table', 'index')
            AND sql IS NOT NULL ORDER BY type DESC"""
        return tuple(sql for (sql,) in model.execute(query).fetchall())


def add(copy: Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Add rows to a table, but for those that are there; an empty text is NULL."""
    values = ", ".join(["nullif(?, '')"] * len(columns))
    copy.executemany(f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({values})", rows)


def lines(
    copy: SqliteConnection, columns: Iterable[str], source: str, named: dict[str, str | int]
) -> Generator[str, None, None]:
    """Yield what COPY takes: these columns, or expressions, of a part of the working copy."""
    texts = ", ".join(f"CAST({each} AS TEXT)" if each in _NUMBERS else f"ifnull({each}, '')" for each in columns)
    with contextlib.closing(copy.execute(f"SELECT {texts} FROM {source}", named)) as found:
        while rows := found.fetchmany(_AT_ONCE):
            yield lines_of(rows)
