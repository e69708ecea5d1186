"""The folders of an inbox as an auditor sees them: nothing is made, moved or followed."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import re
import stat
from collections.abc import Iterator
from typing import Final

from watcher.spool import BAK, WORK

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CHUNK_BYTES: Final = 1 << 20


class Folders:
    """`.bak` and `.work` of one inbox; one that is missing is empty."""

    def __init__(self, bak_fd: int | None, work_fd: int | None) -> None:
        self._bak_fd = bak_fd
        self._work_fd = work_fd

    def archived(self) -> set[bytes]:
        """Return the names in `.bak`."""
        return _names(self._bak_fd)

    def claims(self) -> set[bytes]:
        """Return the names in `.work`."""
        return _names(self._work_fd)

    def size(self, name: bytes) -> int | None:
        """Return the size of a file in `.bak`; None when it is no file."""
        found = os.stat(name, dir_fd=self._bak_fd, follow_symlinks=False)
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def contains(self, name: bytes, pattern: re.Pattern[bytes]) -> bool:
        """Return whether the pattern is found in a file in `.bak`. Raises OSError."""
        if not self.size(name):
            return False
        fd = os.open(name, _FILE, dir_fd=self._bak_fd)
        with open(fd, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return pattern.search(content) is not None

    def sha256(self, name: bytes) -> str:
        """Return the hash of a file in `.bak`. Raises OSError."""
        digest = hashlib.sha256()
        with open(os.open(name, _FILE, dir_fd=self._bak_fd), "rb", buffering=0) as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest()


@contextlib.contextmanager
def opened(inbox: str) -> Iterator[Folders]:
    """Open the folders of the inbox at the absolute path. Raises OSError, also for a link in place of one of them."""
    with contextlib.ExitStack() as handles:
        inbox_fd = os.open(inbox, _FOLDER)
        handles.callback(os.close, inbox_fd)
        yield Folders(_opened_below(handles, inbox_fd, BAK), _opened_below(handles, inbox_fd, WORK))


def _opened_below(handles: contextlib.ExitStack, inbox_fd: int, name: bytes) -> int | None:
    try:
        fd = os.open(name, _FOLDER, dir_fd=inbox_fd)
    except FileNotFoundError:
        return None
    handles.callback(os.close, fd)
    return fd


def _names(fd: int | None) -> set[bytes]:
    return set() if fd is None else {os.fsencode(name) for name in os.listdir(fd)}
