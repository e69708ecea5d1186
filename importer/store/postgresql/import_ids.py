"""
Ids of imports, of which several are under way at a time: those who follow changes must not pass one that is open.

An id is taken from a row and noted as open in a short transaction of its own, so that all see it, and the note is
deleted by the transaction of the import: it goes with the commit, and while that is open its row is locked. A note that
is old and not locked is of an import that was rolled back. Sequences, which some engines hand out in blocks, would not
do: an id must be above all that were taken before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from importer.store.connection import marks
from importer.store.errors import StoreBusy, StoreError

if TYPE_CHECKING:
    from importer.store.postgresql.connection import PostgresqlConnection

_BOUNDS: Final = """SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    SET LOCAL lock_timeout = '30s'; SET LOCAL statement_timeout = '30s'"""
_FORGET: Final = """DELETE FROM open_imports WHERE id IN (
    SELECT id FROM open_imports WHERE began_at < now() - INTERVAL '1 minute' FOR UPDATE SKIP LOCKED)"""
_TAKE: Final = """WITH taken AS (UPDATE import_ids SET last = last + 1 RETURNING last)
    INSERT INTO open_imports (id) SELECT last FROM taken RETURNING id"""
_NEWEST: Final = "SELECT coalesce((SELECT min(id) - 1 FROM open_imports), last) FROM import_ids"
_TRIES: Final = 10
_MOST_TAKEN: Final = 1000  # in one transaction


class ImportIds:
    """Takes ids, by a connection next to that of the imports; it is opened when the first one is taken."""

    def __init__(self, connect: Callable[[], PostgresqlConnection]) -> None:
        self._connect = connect
        self._conn: PostgresqlConnection | None = None
        self._taken: deque[int] = deque(maxlen=_MOST_TAKEN)

    def take(self, importing: PostgresqlConnection) -> int:
        """Return an id above all that were taken, for the transaction that is open. Raises StoreError."""
        for _ in range(_TRIES):
            import_id = self._noted()
            # Whoever takes a minute to come here finds it taken for that of an import that was rolled back.
            if importing.execute("DELETE FROM open_imports WHERE id = ?", (import_id,)).rowcount:
                self._taken.append(import_id)
                return import_id
        raise StoreBusy("no id of an import could be taken: each was forgotten at once")

    def give_back(self) -> None:
        """Let nobody wait for imports that were just rolled back; those of a lost connection may still be committed."""
        if self._conn and self._taken:
            of_us = f"SELECT id FROM open_imports WHERE id IN {marks(self._taken)} FOR UPDATE SKIP LOCKED"
            try:
                self._conn.execute(f"DELETE FROM open_imports WHERE id IN ({of_us})", (*self._taken,))
            except StoreError:  # a minute later the next import does it
                self.close()
        self._taken.clear()

    def _noted(self) -> int:
        conn = self._conn = self._conn or self._connect()
        try:
            # What is in one message is one transaction.
            (import_id,) = conn.execute(f"{_BOUNDS}; {_FORGET}; {_TAKE}").fetchone()
        except StoreError:
            self.close()
            raise
        return int(import_id)

    def close(self) -> None:
        """Close the connection."""
        if self._conn:
            self._conn.close()
            self._conn = None


def newest(conn: PostgresqlConnection) -> int:
    """Return the id up to which all imports have ended; 0 for none."""
    return int(conn.execute(_NEWEST).fetchone()[0])
