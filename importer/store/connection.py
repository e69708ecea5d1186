"""What statements run on, whichever database it is. Few imports, so that commands that only read start fast."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence, Sized
from datetime import datetime
from typing import Any, Protocol

Values = Sequence[Any] | Mapping[str, Any]  # for `?`, or for `:name`


class Cursor(Protocol):
    """The rows of one statement; each is a tuple. Whoever does not fetch all closes it."""

    @property
    def rowcount(self) -> int:
        """Return how many rows the statement has changed."""
        ...

    def fetchone(self) -> Any:  # noqa: ANN401 - a row, whose columns only the statement knows
        """Return the next row, None after the last one."""
        ...

    def fetchmany(self, size: int, /) -> list[Any]:
        """Return the next rows."""
        ...

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]: ...

    def close(self) -> None:
        """Give up the rows that are left."""
        ...


class Dialect(Protocol):
    """What each database says in its own words, or does its own way, in a statement."""

    def seconds_between(self, earlier: str, later: str) -> str:
        """Return what counts the seconds between two columns with times in a statement, 0 for a clock set back."""
        ...

    def in_json(self, column: str, *path: str | int) -> str:
        """Return what reads the text at a place of a column with JSON in a statement, NULL when nothing is there."""
        ...

    def pair_in_json(self, first: str, second: str) -> str:
        """Return what writes two columns with texts as a list in JSON in a statement."""
        ...

    def same_client(self, table: str, client: str) -> str:
        """Return the condition that what imports left in a table is of a client: a value, or a column."""
        ...

    def with_client(self, client: str, columns: str) -> str:
        """Return columns, or values, of a row that an import leaves there, with the client where it is noted."""
        ...

    def expect_rows(self, count: int) -> None:
        """Prepare for statements, in this transaction, that join so many rows of a table without statistics."""
        ...

    def make_work_table(self, name: str, columns: Sequence[str]) -> None:
        """Make a table of which each transaction has rows of its own, or find it; the first two columns are its key."""
        ...

    def in_its_order(self, table: str) -> str:
        """Return what reads all of a table by no index, where that is the faster way to find many rows of a client."""
        ...


class Connection(Dialect, Protocol):
    """
    A connection whose statements raise StoreError.

    A statement has its values as `?` or `:name`. Outside `importer/store` a connection is only passed on.
    """

    @property
    def host(self) -> str:
        """Return the name of this host among those that share the database, "" where nobody else does."""
        ...

    @property
    def in_transaction(self) -> bool:
        """Tell whether a transaction is open."""
        ...

    def execute(self, statement: str, values: Values = (), /) -> Cursor:
        """Run one statement."""
        ...

    def stream(self, statement: str, values: Values = (), /) -> Generator[Any, None, None]:
        """Yield the rows of a query, of which no more than some are in memory. Close it, unless it has ended."""
        ...

    def executemany(self, statement: str, rows: Iterable[Values], /) -> object:
        """Run one statement, which returns nothing, for each row of values."""
        ...

    def new_import_id(self) -> int:
        """Return the id of the next import, for the transaction that is open: above all that are known."""
        ...

    def newest_import_id(self) -> int:
        """Return the id up to which no import is under way any more; 0 for none."""
        ...

    def lock(self, client: str, *, briefly: bool = False) -> bool:
        """
        Wait until nobody else writes about a client, until the end of the transaction that is open; "": about mail.

        `briefly`: for who asks while others wait for the loop. Return whether what was read before may have changed
        meanwhile. Raises StoreLocked.
        """
        ...

    def overwrite_deleted(self, tables: Sequence[str]) -> None:
        """Let the files of the database no longer hold what was deleted from tables, as far as that is possible."""
        ...

    def close(self) -> None:
        """Close the connection; what was not committed is rolled back."""
        ...


def marks(values: Sized) -> str:
    """Return what IN compares with, a `?` for each value; nothing is in it when there is none."""
    return f"({', '.join('?' * len(values))})" if len(values) else "(SELECT NULL WHERE 1 = 0)"


def stamp(at: datetime) -> str:
    """Return a UTC time as text of fixed width, so that the order of texts is the order of times."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def stored(number: int) -> int:
    """Return a number of a file system as the ledger has it: inodes and times may be beyond 63 bits and a sign."""
    return max(-(1 << 63), min(number, (1 << 63) - 1))
