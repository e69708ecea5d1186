"""Can the database be written? Asked before an upload has to wait for the answer, and healed without a restart."""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import sqlite3
import stat
from pathlib import Path
from typing import Final

import structlog

from importer.store import Store
from watcher.owner import user_name
from watcher.trouble import Troubles, raise_if_fatal

log = structlog.get_logger()

_LOOK_INTERVAL_S: Final = 10.0  # a look costs some system calls and no write


def obstacle(database: Path, uid: int) -> tuple[str, str]:
    """Return why a user cannot write the database, and what to do; "" when nothing on the disk is in the way."""
    for path in (database, database.parent, *_log_files(database)):
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return f"{path} is missing", "stop the service, restore the database from a backup, start the service"
        if os.statvfs(path).f_flag & os.ST_RDONLY:
            return f"{path} is on a disk mounted read-only", "see dmesg for the cause, then mount it for writing"
        is_owner, name = uid == status.st_uid, shlex.quote(str(path))
        # Who is not the owner may write by the rights of a group, or of all: not looked into further.
        if not uid or status.st_mode & (stat.S_IWUSR if is_owner else stat.S_IWGRP | stat.S_IWOTH):
            continue
        if not is_owner:
            return f"{path} belongs to {user_name(status.st_uid)}", f"chown {uid} {name}"
        return f"{path} has mode {stat.S_IMODE(status.st_mode):04o}, nobody may write it", f"chmod u+w {name}"
    return "", ""


def _log_files(database: Path) -> list[Path]:
    files = (database.with_name(f"{database.name}{ending}") for ending in ("-wal", "-shm"))
    return [file for file in files if file.exists()]


class Storage:
    """Looks now and then whether the database can be written, and opens it anew once it can be again."""

    def __init__(self, store: Store, path: Path, troubles: Troubles) -> None:
        self._store = store
        self._path = path
        self._troubles = troubles
        self.trouble = ""  # why it cannot be written
        self.next_at = -math.inf  # by the monotonic clock

    def tend(self, now: float) -> None:
        """Look if it is time to. Raises StoreUnusable, or sqlite3.Error where a disk fails."""
        if now < self.next_at:
            return
        self.next_at = now + _LOOK_INTERVAL_S
        before, self.trouble = self.trouble, self._look()
        if self.trouble:
            self._troubles.tell("store.refused", reason=self.trouble)
        elif before:
            self._troubles.clear("store.refused")
            log.info("store.restored")

    def _look(self) -> str:
        """Say what is in the way; open the database anew where that is only the handle we have."""
        self._mend_log()
        what, remedy = obstacle(self._path, os.geteuid())
        if what:
            return f"{what}: {remedy}"
        if self._store.is_replaced():
            # Its log is still that of the old one: together they would be a damaged database.
            return f"{self._path} was replaced under the service: restore it again while the service is stopped"
        try:
            self._store.check_writable()
        except sqlite3.OperationalError as error:
            raise_if_fatal(error)
            return self._opened_again(error) if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_READONLY else ""
        return ""

    def _mend_log(self) -> None:
        """
        Give the files of the log the mode of a database that may be written.

        Whoever opened it while it might not, `rosterd status` for one, has given an empty log the mode it had then.
        """
        with contextlib.suppress(FileNotFoundError, PermissionError):
            mode = stat.S_IMODE(self._path.stat().st_mode)
            for path in _log_files(self._path):
                if mode & stat.S_IWUSR and not path.stat().st_mode & stat.S_IWUSR:
                    path.chmod(mode)

    def _opened_again(self, error: sqlite3.OperationalError) -> str:
        try:
            self._store.open_again()
            self._store.check_writable()
        except sqlite3.OperationalError as again:
            raise_if_fatal(again)
            return f"{self._path}: {error}"
        return ""
