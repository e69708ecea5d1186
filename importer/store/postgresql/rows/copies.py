"""The working copy of the file that is being imported, if there is one. Few imports: see `working_copy`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from importer.store.sqlite.connection import SqliteConnection


class WorkingCopies:
    """Makes a working copy for each file."""

    def __init__(self) -> None:
        self.stopping: Callable[[], bool] = lambda: False
        self._copy: SqliteConnection | None = None
        self._closing = contextlib.ExitStack()

    def take(self) -> SqliteConnection:
        """Return the one that has been begun, or an empty one."""
        return self._copy or self.renewed()

    def renewed(self) -> SqliteConnection:
        """Return an empty one."""
        from importer.store.postgresql.rows import working_copy

        self.close()
        self._copy = self._closing.enter_context(contextlib.closing(working_copy.made(self.stopping)))
        return self._copy

    def close_with_it(self, close: Callable[[], None]) -> None:
        """Have something else closed, too, when the import ends."""
        self._closing.callback(close)

    def close(self) -> None:
        """Throw it away."""
        self._copy = None
        self._closing.close()
