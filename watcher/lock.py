"""The lock of the state directory: only the process that holds it writes to the database."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from typing import Final

from importer import fs
from watcher.owner import NotOwner, become_owner

RESTORING: Final = "restoring.json"  # a restore has begun; until it has ended nothing else may write
RESTORED: Final = "restored.json"  # it has ended, and the service has not told so yet
_NAME: Final = "lock"
# Commands that test the lock, or change something while the daemon is down, hold it only for a moment.
_PATIENCE_S: Final = 0.5
_PAUSE_S: Final = 0.02


class RunningAlready(Exception):
    """Another process holds the state directory."""


@contextlib.contextmanager
def locked(state_dir: str) -> Iterator[None]:
    """
    Lock the state directory; the lock ends with the process.

    The process runs as the owner of the state directory from then on. Raises RunningAlready; NotOwner, also while a
    restore is not finished; OSError.
    """
    become_owner(state_dir)
    if os.path.lexists(os.path.join(state_dir, RESTORING)):
        raise NotOwner(f"{state_dir}: a restore has begun and not ended: run `rosterd restore FILE --apply` again")
    fd = os.open(os.path.join(state_dir, _NAME), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(fd, "rb"):
        _lock(fd)
        os.fchmod(fd, fs.own_mode(state_dir))
        yield


def _lock(fd: int) -> None:
    until = time.monotonic() + _PATIENCE_S
    while not _try_to_lock(fd, fcntl.LOCK_EX):
        if time.monotonic() >= until:
            raise RunningAlready
        time.sleep(_PAUSE_S)


def is_locked(state_dir: str) -> bool:
    """Return whether a daemon, or a command in its place, holds the lock. Raises PermissionError."""
    try:
        fd = os.open(os.path.join(state_dir, _NAME), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    with open(fd, "rb"):
        return not _try_to_lock(fd, fcntl.LOCK_SH)


def _try_to_lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
