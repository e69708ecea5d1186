"""Whether the database can be written, checked before an upload needs it; recovers without a restart."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import stat
from pathlib import Path
from typing import Final

import structlog

from importer.store.database import Store
from importer.store.errors import StoreBusy, StoreReadOnly, StoreUnavailable
from importer.store.places import Place
from importer.store.sqlite.connection import log_files
from watcher.health.obstacle import obstacle
from watcher.health.trouble import Troubles, raise_if_fatal, reason

log = structlog.get_logger()

_LOOK_INTERVAL_S: Final = 10.0  # a check costs some system calls and no write


class Storage:
    """Checks regularly whether the database can be written, and opens it again once it can."""

    def __init__(self, store: Store, database: Place, troubles: Troubles) -> None:
        self._store = store
        self._database = database
        self._troubles = troubles
        self.trouble = ""  # why it cannot be written
        self.next_at = -math.inf  # by the monotonic clock

    def tend(self, now: float) -> None:
        """Check, if it is time. Raises StoreUnusable; StoreError when a disk fails; OSError to restart the service."""
        if now < self.next_at:
            return
        self.next_at = now + _LOOK_INTERVAL_S
        before, self.trouble = self.trouble, self._look()
        is_server = self._database.file is None
        if self.trouble:
            self._troubles.report_database(self.trouble, is_server=is_server)
        elif (is_server and self._troubles.server_is_back()) or before:
            self._troubles.clear("store.refused")
            log.info("store.restored")

    def _look(self) -> str:
        """Return what prevents writing; open the database again if only our handle does, or our connection is lost."""
        file = self._database.file
        if file is not None:
            _make_log_writable(file)
            what, remedy = obstacle(file, os.geteuid())
            if what:
                return f"{what}: {remedy}"
            if self._store.is_replaced():
                return self._replaced(file)
        try:
            self._store.check_writable()
        except StoreBusy:  # by somebody who writes, or by what was given up and the server has not ended
            return "" if file is not None else self.trouble
        except StoreUnavailable as error:
            raise_if_fatal(error)
            return self._opened_again(error) if file is None or isinstance(error, StoreReadOnly) else ""
        return ""

    def _replaced(self, file: Path) -> str:
        """
        End the process if the file that replaced the database can be opened; else return why not.

        It is not opened here: mail that is being sent, and more, is in the old one. Raises OSError.
        """
        trouble = f"{file} was replaced under the service"
        if self._store.may_give_up():
            # Further writes would be in the log of the old database; a restart would apply it to the new one.
            self._store.close()
            raise OSError(errno.ESTALE, trouble)
        # With the log of the old one it would be a damaged database.
        return f"{trouble}: restore it again while the service is stopped"

    def _opened_again(self, error: StoreUnavailable) -> str:
        try:
            self._store.open_again()
            self._store.check_writable()
        except StoreBusy:
            return f"{self._database.name}: {reason(error)}"
        except StoreUnavailable as again:
            raise_if_fatal(again)
            return f"{self._database.name}: {reason(again)}"
        return ""


def _make_log_writable(file: Path) -> None:
    """
    Give the files of the write-ahead log the mode of a writable database.

    A process that opened it earlier, such as `rosterd status`, created an empty log with the mode of that time.
    """
    with contextlib.suppress(FileNotFoundError, PermissionError):
        mode = stat.S_IMODE(file.stat().st_mode)
        for path in filter(Path.exists, log_files(file)):
            if mode & stat.S_IWUSR and not path.stat().st_mode & stat.S_IWUSR:
                path.chmod(mode)
