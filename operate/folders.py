"""The folders of an inbox, for reading only: nothing is created, moved or followed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from typing import Final

from importer import fs
from importer.file.unwrap.gnupg import GnuPGFailed
from importer.file.unwrap.unpack import unwrapped
from importer.fs import open_file
from importer.model import FileRejected
from importer.names import BAK, CHECK, WORK
from importer.settings import ClientSettings, FileSettings
from watcher.inbox.archive import filled

_CHUNK_BYTES: Final = 1 << 20
_OVERLAP_BYTES: Final = 4096  # longer than anything that is searched for


class Folders:
    """An inbox with its `.bak` and `.work`; one of these that is missing is empty."""

    def __init__(self, inbox_fd: int, bak_fd: int | None, work_fd: int | None) -> None:
        self._inbox_fd = inbox_fd
        self._bak_fd = bak_fd
        self._work_fd = work_fd

    def archived(self) -> set[bytes]:
        """Return the names in `.bak`."""
        return _names(self._bak_fd)

    def claims(self) -> set[bytes]:
        """Return the names in `.work`."""
        return _names(self._work_fd)

    def status(self, name: bytes) -> os.stat_result | None:
        """Return the status of a file in `.bak`; None when it is not a regular file."""
        info = os.stat(name, dir_fd=self._bak_fd, follow_symlinks=False)
        return info if stat.S_ISREG(info.st_mode) else None

    def contains(self, name: bytes, pattern: re.Pattern[bytes], limits: FileSettings) -> bool | None:
        """Return whether the pattern is found in a file in `.bak`, None if it cannot be searched. Raises OSError."""
        return self._bak_fd is not None and _contains(self._bak_fd, name, pattern, limits)

    def unfinished(self, pattern: re.Pattern[bytes], limits: FileSettings) -> Iterator[tuple[bytes, bool | None]]:
        """
        Yield the files in the inbox, in `check` and in claim folders, and whether each contains the pattern.

        Raises OSError.
        """
        for name in sorted(_names(self._inbox_fd)):
            yield name, _contains(self._inbox_fd, name, pattern, limits)
        with contextlib.ExitStack() as handles:
            check_fd = None
            with contextlib.suppress(OSError):  # a file or link of the client
                check_fd = _opened_below(handles, self._inbox_fd, CHECK)
            for name in sorted(_names(check_fd)):
                if check_fd is not None:
                    yield b"/".join((CHECK, name)), _contains(check_fd, name, pattern, limits)
        for claim in sorted(self.claims()):
            with contextlib.ExitStack() as handles, contextlib.suppress(NotADirectoryError):
                claim_fd = _opened_below(handles, self._work_fd, claim)
                for name in sorted(_names(claim_fd)):
                    if claim_fd is not None:
                        yield b"/".join((WORK, claim, name)), _contains(claim_fd, name, pattern, limits)

    def sha256(self, name: bytes) -> str:
        """Return the hash of a file in `.bak`. Raises OSError."""
        digest = hashlib.sha256()
        with open_file(name, self._bak_fd) as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest()


_ANY: Final = ClientSettings(name="any", inbox="/")  # whose names of columns do not matter


def _contains(folder_fd: int, name: bytes, pattern: re.Pattern[bytes], limits: FileSettings) -> bool | None:
    """
    Return whether the pattern is found in a file, None if that cannot be searched; what is no file has nothing.

    A file that is larger than an upload may be is not searched.
    """
    try:
        if not stat.S_ISREG(os.stat(name, dir_fd=folder_fd, follow_symlinks=False).st_mode):
            return False
        with open_file(name, folder_fd) as file:
            if os.fstat(file.fileno()).st_size > limits.max_file_bytes:
                return None
            with unwrapped(file, limits, _ANY) as upload:
                fd = upload.csv.fileno()
                return _holds(_pieces(fd, os.fstat(fd).st_size), pattern)
    except FileNotFoundError:  # gone meanwhile
        return False
    except (FileRejected, GnuPGFailed):  # not to be searched, or not without gpg and our key
        return None


@contextlib.contextmanager
def opened(inbox: str) -> Iterator[Folders]:
    """Open the folders of the inbox at the absolute path. Raises OSError, also for a link in place of one of them."""
    with contextlib.ExitStack() as handles:
        inbox_fd = os.open(inbox, fs.FOLDER)
        handles.callback(os.close, inbox_fd)
        yield Folders(inbox_fd, _opened_below(handles, inbox_fd, BAK), _opened_below(handles, inbox_fd, WORK))


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
    """Yield the content of a file as large as it was at the start; holes, which cost a client nothing, as one byte."""
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
        if any(match.end() < len(text) or not more for match in pattern.finditer(text, start)):
            return True
        text, start = (text[-_OVERLAP_BYTES:] + more, 1) if more else (b"", 0)
    return False
