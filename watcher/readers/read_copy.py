"""
The read copy of the database: made anew by a thread of its own, and renamed into its place whole.

Imports never wait for it, and it takes at most a tenth of the time: the next one begins no earlier than ten times what
the last one took.
"""

from __future__ import annotations

import math
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

from importer import fs
from importer.durable import SyncFailed, discard_unfinished, sync, unfinished_name
from importer.model import Interrupted
from importer.store.errors import StoreError
from importer.store.sqlite.for_readers import newest_import, write_copy
from watcher.health.trouble import Troubles
from watcher.settings import ServiceSettings

log = structlog.get_logger()

_LOOK_INTERVAL_S: Final = 10.0
_REST: Final = 10  # times what the last copy took
_SHORTEST_S: Final = 60.0  # from one copy to the next
_NIGHT_HOUR: Final = 2  # of the host's time
_MODE: Final = 0o640


class ReadCopy:
    """Makes the read copy when it is due. Its state survives a reload."""

    def __init__(self, service: ServiceSettings, troubles: Troubles) -> None:
        self._database = Path(service.database)
        self._path = Path(service.read_copy) if service.read_copy else None
        self._when = service.read_copy_when
        self._troubles = troubles
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._result: int | Exception = 0
        self._took_s = 0.0
        self._last_import = -1  # that the copy has; -1: not known
        self._not_before = -math.inf
        self.next_at = -math.inf if self._path else math.inf  # by the monotonic clock

    def tend(self, now: float) -> None:
        """Begin a copy if one is due, or report one that has ended."""
        if self._path is None or now < self.next_at:
            return
        self.next_at = now + _LOOK_INTERVAL_S
        if self._thread is not None:
            if not self._thread.is_alive():
                self._end(now)
        elif now >= self._not_before and self._is_due(self._path):
            self._result = OSError("it ended by an internal error")
            self._thread = threading.Thread(target=self._copy, args=(self._path,), name="read copy", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Give up the copy that is being made."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _is_due(self, path: Path) -> bool:
        try:
            made_at = path.stat().st_mtime
        except OSError:
            return True
        if self._when == "nightly":
            return is_due_tonight(datetime.fromtimestamp(made_at, UTC).astimezone(), datetime.now(UTC).astimezone())
        try:
            return newest_import(self._database) != self._last_import
        except StoreError:  # reported elsewhere, by what cannot work without it
            return False

    def _end(self, now: float) -> None:
        self._thread, self._not_before = None, now + max(_SHORTEST_S, _REST * self._took_s)
        if isinstance(self._result, Exception):
            self._troubles.report("copy.refused", reason=str(self._result))
            return
        self._last_import = self._result
        self._troubles.clear("copy.refused")
        log.info("copy.made", last_import=self._last_import, took_s=round(self._took_s, 1))

    def _copy(self, path: Path) -> None:
        """Run on a thread of its own: make a copy, and put it in its place."""
        began_at = time.monotonic()
        try:
            self._result = _replace(self._database, path, self._stopping)
        except (StoreError, OSError, SyncFailed, Interrupted) as error:
            self._result = error
        self._took_s = time.monotonic() - began_at


def is_due_tonight(made_at: datetime, now: datetime) -> bool:
    """Tell whether the last night, which begins at two, came after a copy was made; both in the host's time."""
    night = now.replace(hour=_NIGHT_HOUR, minute=0, second=0, microsecond=0)
    if night > now:
        night -= timedelta(days=1)
    return made_at < night


def _replace(database: Path, path: Path, stopping: threading.Event) -> int:
    """Write a copy next to the old one, sync it and rename it; return its last import. Raises OSError, and more."""
    discard_unfinished(str(path.parent))
    temporary = path.parent / unfinished_name()
    os.close(os.open(temporary, fs.NEW_FILE, 0o600))
    try:
        last_import = write_copy(database, temporary, datetime.now(UTC), stopping.is_set)
        with temporary.open("rb") as file:
            os.fchmod(file.fileno(), _MODE)
            sync(file.fileno())
        temporary.rename(path)
        with fs.open_folder(path.parent, flags=fs.OWN_FOLDER) as fd:
            sync(fd)
    finally:
        temporary.unlink(missing_ok=True)
    return last_import
