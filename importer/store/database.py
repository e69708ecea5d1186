"""What the importer and the service ask of a database, whichever it is."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from importer.store.connection import Connection
from importer.store.errors import StoreError

if TYPE_CHECKING:  # what only imports need
    from importer.model import Change
    from importer.rows.batches import Examination
    from importer.settings import FeedSettings
    from importer.store.recording import Recorder


class Store(Protocol):
    """
    The database. Everything that writes goes through one instance, on the thread that opened it.

    `conn` is what the functions of this folder take.
    """

    @property
    def conn(self) -> Connection:
        """Return the connection; another one after `open_again`."""
        ...

    @property
    def size_bytes(self) -> int:
        """Return the size of the database without its log."""
        ...

    def shared_time(self, now: datetime) -> datetime:
        """Return what it is by the clock that all hosts share, while it is `now` by ours. Raises StoreError."""
        ...

    def transaction(self, before_commit: Callable[[], None] = ...) -> AbstractContextManager[None]:
        """
        Run the block in one transaction that nobody else writes beside; roll back when it raises.

        `before_commit` is called when all is done but the commit.
        """
        ...

    def together(self) -> AbstractContextManager[None]:
        """Make one transaction of all those in the block: they are committed at its end, or none of them is."""
        ...

    def importing(self, before_commit: Callable[[], None] = ...) -> AbstractContextManager[None]:
        """Run the block in a transaction in which changes of users are those of an import."""
        ...

    def recorder(
        self, examination: Examination, feed: FeedSettings, *, import_id: int, at: datetime, approved: Sequence[Change]
    ) -> Recorder:
        """Return what records a file in the transaction that is open; somebody has `approved` changes of it."""
        ...

    def note_gone(self, unique_ids: Iterable[str]) -> None:
        """Keep ids in lines of the last file that this one does not have, for its recorder."""
        ...

    def interruptible(self, stopping: Callable[[], bool]) -> AbstractContextManager[None]:
        """Ask `stopping` now and then, also within one statement. Raises Interrupted, and what `stopping` raises."""
        ...

    def check_writable(self) -> None:
        """Raise StoreUnavailable when nothing could be written now; StoreBusy when another process writes."""
        ...

    def is_replaced(self) -> bool:
        """Tell whether another database is in the place of the one that is open."""
        ...

    def may_give_up(self) -> bool:
        """Tell whether a complete database has replaced the open one, and nothing is lost by closing that."""
        ...

    def open_again(self) -> None:
        """Open the database again: a connection that once could not write may stay so."""
        ...

    def fold_log(self, *, shrink: bool = False) -> None:
        """
        Do what a large transaction has left for when its answers are out, if the database has a log.

        `shrink`: free the disk space of the log as well, if nobody reads.
        """
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Transactions(abc.ABC):
    """Transactions that can become parts of one: alike for all databases."""

    conn: Connection
    _parts: contextlib.ExitStack | None = None  # what is called before the commit of `together`

    def shared_time(self, now: datetime) -> datetime:
        """Return it as it is: with SQLite there is one host."""
        return now

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Make one transaction of all those in the block: they are committed at its end, or none of them is."""
        parts = contextlib.ExitStack()
        with self._whole(parts.close):
            self._parts = parts
            try:
                yield
            finally:
                self._parts = None

    @contextlib.contextmanager
    def transaction(self, before_commit: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Run the block in one transaction, or in a part of that of `together`; roll back when it raises."""
        if self._parts is None:
            with self._whole(before_commit):
                yield
        else:
            with self._part():
                yield
            self._parts.callback(before_commit)

    @abc.abstractmethod
    def _whole(self, before_commit: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
        """Run the block, then `before_commit`, in a transaction; roll back when one of them raises."""

    @contextlib.contextmanager
    def _part(self) -> Iterator[None]:
        """Run the block as a part of an open transaction, of which nothing else is rolled back when it raises."""
        if not self.conn.in_transaction:
            raise StoreError("a transaction of several files was rolled back")
        self.conn.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            if self.conn.in_transaction:  # else the database has rolled back all of it by itself
                self.conn.execute("ROLLBACK TO part")
                self.conn.execute("RELEASE part")
            raise
        self.conn.execute("RELEASE part")
