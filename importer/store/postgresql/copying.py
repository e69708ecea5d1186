"""PostgreSQL as the source or the target of a copy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, cast

import psycopg

from importer.store.copying import Rows
from importer.store.errors import StoreError
from importer.store.postgresql.connection import PostgresqlConnection, translating
from importer.store.postgresql.database import PostgresqlStore
from importer.store.roster import work

NOT_COPIED: Final = (
    "rosterd_schema",
    "hosts",
    "import_ids",
    "locks",
    "open_imports",
    "work_rows",
    "work_users",
    *work.TABLES,
)
_AT_ONCE: Final = 1000
# No statement of a copy is short; nobody else waits for it.
_LIMITS: Final = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '30s'"
_IDENTITIES: Final = ("outbox", "hook_events")


class PostgresqlSide:
    """See `store/copying.Side`."""

    def __init__(self, store: PostgresqlStore) -> None:
        self._store = store

    @property
    def conn(self) -> PostgresqlConnection:
        """Return its connection."""
        return self._store.conn

    def columns(self, table: str) -> list[str]:
        """Return the names of the columns of a table."""
        query = """SELECT column_name FROM information_schema.columns
            WHERE table_schema = current_schema() AND table_name = ? ORDER BY ordinal_position"""
        return [name for (name,) in self.conn.execute(query, (table,)).fetchall()]

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Run the block in a transaction that sees one moment."""
        self.conn.execute(f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_LIMITS}")
        try:
            yield
        finally:
            self.conn.roll_back()

    def rows(self, table: str, columns: str) -> Iterator[Rows]:
        """Yield all rows of a table, some at a time."""
        self.conn.execute(f"DECLARE copied NO SCROLL CURSOR FOR SELECT {columns} FROM {table}")
        while some := self.conn.execute(f"FETCH {_AT_ONCE} FROM copied").fetchall():
            yield some
        self.conn.execute("CLOSE copied")

    @contextlib.contextmanager
    def filling(self) -> Iterator[None]:
        """Run the block in a transaction in which nobody else fills it, or changes its tables."""
        with self._store.transaction():
            self.conn.execute(_LIMITS)
            self.conn.execute("SELECT version FROM rosterd_schema FOR UPDATE")
            yield

    def fill(self, table: str, columns: Sequence[str], rows: Iterable[Rows]) -> None:
        """Add rows to a table. Raises StoreError, also for a text that PostgreSQL cannot have."""
        with translating(), self.conn.raw.cursor() as cursor:
            command = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
            with cursor.copy(cast("Any", command)) as copied:
                for some in rows:
                    for row in some:
                        try:
                            copied.write_row(row)
                        except psycopg.DataError:
                            raise _unfit(table, columns, row) from None

    def number_on(self) -> None:
        """Let identities and ids of imports begin above those that were copied."""
        for table in _IDENTITIES:
            self.conn.execute(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), coalesce(max(id), 0) + 1, false) FROM {table}"
            )
        self.conn.execute("UPDATE import_ids SET last = (SELECT coalesce(max(id), 0) FROM imports)")
        self.conn.execute("ANALYZE")


def _unfit(table: str, columns: Sequence[str], row: Sequence[object]) -> StoreError:
    """Return why a row cannot be stored: which column has NUL, without the text."""
    unfit = [column for column, value in zip(columns, row, strict=True) if isinstance(value, str) and "\0" in value]
    return StoreError(f"{table}.{', '.join(unfit)}: got a text with the character NUL, which PostgreSQL cannot store")
