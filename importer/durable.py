"""Writing a file so that after a power cut it is whole or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterable
from typing import Final

from importer import fs

_DISK_ERRORS: Final = (errno.EIO,)
_UNFINISHED: Final = re.compile(r"\.new-[0-9a-f]{16}")


class SyncFailed(Exception):
    """The disk did not take what was to be made durable. Only the top of a process may catch it, and ends it then."""


def sync(fd: int) -> None:
    """
    Make a file durable, or the names in a folder.

    Raises SyncFailed after an I/O error: the kernel may have dropped what it could not write and tells so only once, so
    a second try would succeed and mean nothing (https://wiki.postgresql.org/wiki/Fsync_Errors). Raises OSError for all
    else: a full disk or quota, of which some file systems tell only here, passes, and what we wrote is written again.
    """
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno in _DISK_ERRORS:
            raise SyncFailed(f"the disk failed: {error.strerror}") from error
        raise


def write_durably(
    folder_fd: int,
    name: bytes,
    chunks: Iterable[bytes],
    *,
    mode: int = 0o640,
    owner: tuple[int, int] | None = None,
    before_sync: Callable[[int], None] = lambda _: None,
) -> None:
    """
    Write `chunks` to `name` in the folder: temporary file, fsync, rename, fsync of the folder.

    The file belongs to `owner`, uid and gid, from the start; None for who writes it. `before_sync` is given the handle
    of the file. An older file of that name is replaced; a link is never followed. Raises SyncFailed, or OSError, and
    then no part of the file stays.
    """

    def finish(fd: int) -> None:
        if owner is not None:
            os.fchown(fd, *owner)
            os.fchmod(fd, mode)  # chown clears set-id bits
        before_sync(fd)
        sync(fd)

    _replace(folder_fd, name, chunks, mode, finish)
    sync(folder_fd)


def write_whole(
    folder_fd: int, name: bytes, chunks: Iterable[bytes], *, mode: int, before_rename: Callable[[int], None]
) -> None:
    """
    Write `chunks` to `name` in the folder, whole but not durably; `before_rename` is given the handle of the file.

    Raises OSError, and what the two raise, and then no part of the file stays.
    """
    _replace(folder_fd, name, chunks, mode, before_rename)


def replace(path: str, content: bytes, *, mode: int) -> None:
    """Put a whole file at `path`, in place of an older one or of a link, but not durably. Raises OSError."""
    folder, name = os.path.split(path)
    folder_fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _replace(folder_fd, os.fsencode(name), [content], mode, lambda _: None)
    finally:
        os.close(folder_fd)


def discard_unfinished(folder: str) -> None:
    """Remove temporary files that killed processes left in one of our folders. Raises OSError."""
    for name in filter(_UNFINISHED.fullmatch, os.listdir(folder)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, name))


def _replace(
    folder_fd: int, name: bytes, chunks: Iterable[bytes], mode: int, before_rename: Callable[[int], None]
) -> None:
    """Write a file of a new name, and give it the name it is for: others may be able to write to the folder."""
    temporary = f".new-{os.urandom(8).hex()}"
    fd = os.open(temporary, fs.NEW_FILE, mode, dir_fd=folder_fd)
    try:
        with open(fd, "wb") as file:
            os.fchmod(fd, mode)  # whatever the umask
            file.writelines(chunks)
            file.flush()
            before_rename(fd)
        os.rename(temporary, name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder_fd)
        raise
