"""
One database copied into another one, of the same kind or not, and compared with it.

All of it is one transaction of the target: killed before its commit nothing was copied, after it everything, and the
same command tells so. Nothing is committed unless each table has the same rows.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

import msgspec

from importer.store.connection import Connection
from importer.store.errors import StoreError

# A row comes after those that it refers to.
TABLES: Final = (
    *("imports", "import_problems", "users", "user_changes", "outbox", "retention", "baselines", "on_hold"),
    *("guard_pauses", "feeds", "strays", "hook_events", "hook_totals", "replays"),
)
_MADE_WITH_THE_TABLES: Final = ("retention",)  # has a row in a new database, too
_DIGEST_BYTES: Final = 16

Rows = Sequence[tuple[Any, ...]]


class Side(Protocol):
    """A database to copy from or to."""

    @property
    def conn(self) -> Connection:
        """Return its connection."""
        ...

    def columns(self, table: str) -> list[str]:
        """Return the names of the columns of a table."""
        ...

    def reading(self) -> AbstractContextManager[None]:
        """Run the block in a transaction that sees one moment."""
        ...

    def rows(self, table: str, columns: str) -> Iterator[Rows]:
        """Yield all rows of a table, some at a time."""
        ...

    def filling(self) -> AbstractContextManager[None]:
        """Run the block in a transaction in which nobody else fills it."""
        ...

    def fill(self, table: str, columns: Sequence[str], rows: Iterable[Rows]) -> None:
        """Add rows to a table."""
        ...

    def number_on(self) -> None:
        """Let new rows have ids that no copied row has; called once all rows are there."""
        ...


class CopiedTable(msgspec.Struct, frozen=True):
    """A table that is the same in both databases."""

    name: str
    rows: int
    digest: str  # of all rows, whatever their order


class Copied(msgspec.Struct, frozen=True):
    """What is the same in both databases."""

    tables: tuple[CopiedTable, ...]
    is_new: bool  # False: it was all there before


class TargetInUse(Exception):
    """The target has other data. The message says in which table."""


def count(side: Side) -> int:
    """Return how many rows there are to copy. Raises StoreError."""
    return sum(_count(side, table) for table in TABLES)


def copy(source: Side, target: Side, advance: Callable[[int], None]) -> Copied:
    """
    Copy all rows into a database that has none, and compare; one that has the same rows already is left as it is.

    `advance` is told of each row twice: once it is copied, and once it is compared. Raises TargetInUse, StoreError.
    """
    with source.reading(), target.filling():
        columns = {table: _columns(source, target, table) for table in TABLES}
        filled = [table for table in TABLES if table not in _MADE_WITH_THE_TABLES and _count(target, table)]
        if not filled:
            tables = tuple(_copied(source, target, table, columns[table], advance) for table in TABLES)
            target.number_on()
            return Copied(tables, is_new=True)
        expected = [_digest(table, _named(source, target, table, columns[table]), advance) for table in TABLES]
        actual = [_digest(table, target.rows(table, ", ".join(columns[table])), advance) for table in TABLES]
        if expected != actual:
            raise TargetInUse(f"has other data already, such as {_count(target, filled[0]):,} rows in {filled[0]}")
        return Copied(tuple(expected), is_new=False)


def _columns(source: Side, target: Side, table: str) -> list[str]:
    columns = source.columns(table)
    if {*columns} != {*target.columns(table)}:
        raise StoreError(f"the table {table} has other columns in the two databases")
    return columns


def _copied(
    source: Side, target: Side, table: str, columns: Sequence[str], advance: Callable[[int], None]
) -> CopiedTable:
    listed = ", ".join(columns)
    if table in _MADE_WITH_THE_TABLES:
        target.conn.execute(f"DELETE FROM {table}")
    digest = _Digest(advance)
    # Closed with its statement, or SQLite would be closed first when the target refuses a row.
    with contextlib.closing(digest.following(_named(source, target, table, columns))) as rows:
        target.fill(table, columns, rows)
    expected, actual = digest.of(table), _digest(table, target.rows(table, listed), advance)
    if expected != actual:
        raise StoreError(
            f"the table {table} is not the same after it was copied: expected {expected.rows} rows, {expected.digest};"
            f" got {actual.rows}, {actual.digest}"
        )
    return expected


def _named(source: Side, target: Side, table: str, columns: Sequence[str]) -> Iterator[Rows]:
    """Yield the rows of a table, in which this host is named as the target names it: SQLite has no name for it."""
    rows, ours, theirs = source.rows(table, ", ".join(columns)), source.conn.host, target.conn.host
    if "host" not in columns or ours == theirs:
        yield from rows
        return
    at = columns.index("host")
    for some in rows:
        yield [(*row[:at], theirs, *row[at + 1 :]) if row[at] == ours else row for row in some]


class _Digest:
    """The sum of the digests of rows, which is the same in any order."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._advance = advance
        self._rows = self._sum = 0

    def following(self, rows: Iterable[Rows]) -> Generator[Rows, None, None]:
        """Yield the same rows, and add them up."""
        encode = msgspec.msgpack.Encoder().encode
        for some in rows:
            for row in some:
                digest = hashlib.blake2b(encode(row), digest_size=_DIGEST_BYTES).digest()
                self._sum += int.from_bytes(digest, "big")
            self._rows += len(some)
            yield some
            self._advance(len(some))

    def of(self, table: str) -> CopiedTable:
        """Return what was added up."""
        total = self._sum % (1 << 8 * _DIGEST_BYTES)
        return CopiedTable(table, self._rows, f"{total:0{2 * _DIGEST_BYTES}x}")


def _digest(table: str, rows: Iterable[Rows], advance: Callable[[int], None]) -> CopiedTable:
    digest = _Digest(advance)
    for _ in digest.following(rows):
        pass
    return digest.of(table)


def _count(side: Side, table: str) -> int:
    return int(side.conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
