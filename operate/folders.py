"""The folders of an inbox, for reading only: nothing is created, moved or followed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import sys
from collections.abc import Iterator
from typing import Final

from importer import fs
from importer.fs import open_file
from importer.names import BAK, WORK
from watcher.inbox.archive import filled

_CHUNK_BYTES: Final = 1 << 20
_OVERLAP_BYTES: Final = 4096  # longer than anything that is looked for


class Folders:
    """An inbox with its `.bak` and `.work`; one of these that is missing is empty."""

    def __init__(self, inbox_fd: int, bak_fd: int | None, work_fd: int | None, searched_bytes: int) -> None:
        self._inbox_fd = inbox_fd
        self._bak_fd = bak_fd
        self._work_fd = work_fd
        self._searched_bytes = searched_bytes

    def archived(self) -> set[bytes]:
        """Return the names in `.bak`."""
        return _names(self._bak_fd)

    def claims(self) -> set[bytes]:
        """Return the names in `.work`."""
        return _names(self._work_fd)

    def size(self, name: bytes) -> int | None:
        """Return the size of a file in `.bak`; None when it is not a regular file."""
        found = os.stat(name, dir_fd=self._bak_fd, follow_symlinks=False)
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def contains(self, name: bytes, pattern: re.Pattern[bytes]) -> bool | None:
        """Return whether the pattern is found in a file in `.bak`, None if that is too large. Raises OSError."""
        return self._bak_fd is not None and self._contains(self._bak_fd, name, pattern)

    def unfinished(self, pattern: re.Pattern[bytes]) -> Iterator[tuple[bytes, bool | None]]:
        """Yield the files in the inbox and in claim folders, and whether each contains the pattern. Raises OSError."""
        for name in sorted(_names(self._inbox_fd)):
            yield name, self._contains(self._inbox_fd, name, pattern)
        for claim in sorted(self.claims()):
            with contextlib.ExitStack() as handles, contextlib.suppress(NotADirectoryError):
                claim_fd = _opened_below(handles, self._work_fd, claim)
                for name in sorted(_names(claim_fd)):
                    if claim_fd is not None:
                        yield b"/".join((WORK, claim, name)), self._contains(claim_fd, name, pattern)

    def _contains(self, folder_fd: int, name: bytes, pattern: re.Pattern[bytes]) -> bool | None:
        """Return whether the pattern is found in a file, None if that is too large; what is none has nothing."""
        try:
            if not stat.S_ISREG(os.stat(name, dir_fd=folder_fd, follow_symlinks=False).st_mode):
                return False
            with open_file(name, folder_fd) as file:
                size_bytes = os.fstat(file.fileno()).st_size
                return (
                    None if size_bytes > self._searched_bytes else _holds(_pieces(file.fileno(), size_bytes), pattern)
                )
        except FileNotFoundError:  # gone meanwhile
            return False

    def sha256(self, name: bytes) -> str:
        """Return the hash of a file in `.bak`. Raises OSError."""
        digest = hashlib.sha256()
        with open_file(name, self._bak_fd) as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest()


@contextlib.contextmanager
def opened(inbox: str, *, searched_bytes: int = sys.maxsize) -> Iterator[Folders]:
    """
    Open the folders of the inbox at the absolute path. Raises OSError, also for a link in place of one of them.

    Files larger than `searched_bytes` are not searched.
    """
    with contextlib.ExitStack() as handles:
        inbox_fd = os.open(inbox, fs.FOLDER)
        handles.callback(os.close, inbox_fd)
        yield Folders(
            inbox_fd, _opened_below(handles, inbox_fd, BAK), _opened_below(handles, inbox_fd, WORK), searched_bytes
        )


def _opened_below(handles: contextlib.ExitStack, folder_fd: int | None, name: bytes) -> int | None:
    try:
        fd = os.open(name, fs.FOLDER, dir_fd=folder_fd)
    except FileNotFoundError:
        return None
    handles.callback(os.close, fd)
    return fd


def _names(fd: int | None) -> set[bytes]:
    return set() if fd is None else {os.fsencode(name) for name in os.listdir(fd)}


def _pieces(fd: int, size_bytes: int) -> Iterator[bytes]:
    """Yield what a file had in it when it was looked at; holes, which cost a client nothing, as one byte each."""
    for start, end in filled(fd, size_bytes):
        yield b"\0"
        at = start
        while at < end and (piece := os.pread(fd, min(end - at, _CHUNK_BYTES), at)):
            yield piece
            at += len(piece)


def _holds(pieces: Iterator[bytes], pattern: re.Pattern[bytes]) -> bool:
    """Search a file piece by piece: one in an inbox may shrink meanwhile, which a memory map would not survive."""
    text, start = next(pieces, b""), 0
    while text:
        more = next(pieces, b"")
        # A match at the end of a piece may continue in the next one.
        if any(found.end() < len(text) or not more for found in pattern.finditer(text, start)):
            return True
        text, start = (text[-_OVERLAP_BYTES:] + more, 1) if more else (b"", 0)
    return False
