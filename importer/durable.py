"""Writing a file so that after a power cut it is whole or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Self

from importer import fs

_DISK_ERRORS: Final = (errno.EIO,)
_UNFINISHED: Final = re.compile(r"\.new-[0-9a-f]{16}")
_SYNCED_AT_ONCE: Final = 16
_SLOW_AT_ONCE: Final = 64  # a thread takes 0.06 ms
_SLOW_S: Final = 0.002  # what a sync takes at least on a slow disk
_OF_ONE_FILE: Final = 8  # starting threads for so few took 1 to 2 ms more than they saved on a fast disk


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


class Unsynced:
    """
    Files and folders that have to be durable before something that relies on them is; a context manager.

    Those of several files are synced at once, by threads: their file system then writes its journal a few times, not
    once for each. For 32 new files in folders of their own ext4 took 25 ms in place of 500. How long the first one
    takes says by how many.
    """

    def __init__(self) -> None:
        self._fds: dict[tuple[int, int], int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.forget()

    def add(self, fd: int) -> None:
        """Add an open file or folder, which its owner may close before it is synced."""
        info = os.fstat(fd)
        if (info.st_dev, info.st_ino) not in self._fds:
            self._fds[info.st_dev, info.st_ino] = os.dup(fd)

    def sync(self) -> None:
        """Make all of them durable, and forget them. Raises as `sync` does, once all were tried."""
        errors: list[BaseException] = []

        def work(fds: Sequence[int]) -> None:
            for fd in fds:
                try:
                    sync(fd)
                except BaseException as error:  # noqa: BLE001 - raised below
                    errors.append(error)

        fds, at_once = [*self._fds.values()], 1
        if len(fds) > _OF_ONE_FILE:
            started = time.monotonic()
            work([fds.pop()])
            at_once = _SYNCED_AT_ONCE if time.monotonic() < started + _SLOW_S else _SLOW_AT_ONCE
        shares = [fds[first::at_once] for first in range(at_once)]
        threads = []
        for share in filter(None, shares[1:]):
            thread = threading.Thread(target=work, args=(share,))
            try:
                thread.start()
            except RuntimeError:  # no more threads
                work(share)
            else:
                threads.append(thread)
        work(shares[0])
        for thread in threads:
            thread.join()
        self.forget()
        if errors:
            raise next((error for error in errors if isinstance(error, SyncFailed)), errors[0])

    def forget(self) -> None:
        """Forget what was added: nothing relies on it."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()


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


def unfinished_name() -> str:
    """Return a new name for a file that gets its own once it is whole. No name that begins with a dot is an upload."""
    return f".new-{os.urandom(8).hex()}"


def is_unfinished(name: str) -> bool:
    """Return whether it is such a name."""
    return _UNFINISHED.fullmatch(name) is not None


def discard_unfinished(folder: str) -> None:
    """Remove temporary files that killed processes left in one of our folders. Raises OSError."""
    for name in filter(is_unfinished, os.listdir(folder)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, name))


def _replace(
    folder_fd: int, name: bytes, chunks: Iterable[bytes], mode: int, before_rename: Callable[[int], None]
) -> None:
    """Write a file of a new name, and give it the name it is for: others may be able to write to the folder."""
    temporary = unfinished_name()
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
