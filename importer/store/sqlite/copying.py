"""SQLite as the source or the target of a copy."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from importer.store.connection import marks
from importer.store.copying import Rows
from importer.store.sqlite.connection import SqliteConnection
from importer.store.sqlite.database import SqliteStore

# In PostgreSQL these have the client as well: that of the import, or nobody's.
_WITH_CLIENT: Final = ("import_problems", "user_changes")
_CLIENT: Final = "coalesce((SELECT client FROM imports WHERE id = import_id), '')"
NOT_COPIED: Final = ("_sqlite_migrations", "hosts", "importing")
_AT_ONCE: Final = 1000


class SqliteSide:
    """See `store/copying.Side`."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    @property
    def conn(self) -> SqliteConnection:
        """Return its connection."""
        return self._store.conn

    def columns(self, table: str) -> list[str]:
        """Return the names of the columns of a table."""
        rows = self.conn.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()
        return [*(["client"] if table in _WITH_CLIENT else []), *(name for (name,) in rows)]

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Run the block in a transaction that sees one moment."""
        self.conn.execute("BEGIN")
        try:
            yield
        finally:
            if self.conn.in_transaction:
                self.conn.execute("ROLLBACK")

    def rows(self, table: str, columns: str) -> Iterator[Rows]:
        """Yield all rows of a table, some at a time."""
        if table in _WITH_CLIENT:
            table = f"(SELECT {_CLIENT} AS client, * FROM {table})"
        with contextlib.closing(self.conn.execute(f"SELECT {columns} FROM {table}")) as rows:
            while some := rows.fetchmany(_AT_ONCE):
                yield some

    @contextlib.contextmanager
    def filling(self) -> Iterator[None]:
        """Run the block in a transaction in which nobody else fills it; users that come are none edited by hand."""
        with self._store.importing():
            self.conn.execute("PRAGMA defer_foreign_keys = 1").fetchall()  # a mail may be joined into a later one
            yield

    def fill(self, table: str, columns: Sequence[str], rows: Iterable[Rows]) -> None:
        """Add rows to a table."""
        places = [at for at, name in enumerate(columns) if name != "client" or table not in _WITH_CLIENT]
        names = [columns[at] for at in places]
        insert = f"INSERT INTO {table} ({', '.join(names)}) VALUES {marks(names)}"
        for some in rows:
            self.conn.executemany(insert, map(operator.itemgetter(*places), some))

    def number_on(self) -> None:
        """Leave it to SQLite, which goes by the largest id there is."""
