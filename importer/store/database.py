"""What the importer and the service ask of a database, whichever it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from importer.store.connection import Connection


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

    def transaction(self) -> AbstractContextManager[None]:
        """Run the block in one transaction that nobody else writes beside; roll back when it raises."""
        ...

    def importing(self) -> AbstractContextManager[None]:
        """Run the block in a transaction in which changes of users are those of an import."""
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

    def shrink_log(self) -> None:
        """Free the disk space of the log, if the database has one and nobody reads."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...
