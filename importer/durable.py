"""Writing a file so that after a power cut it is whole or not there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable


def write_durably(folder_fd: int, name: bytes, chunks: Iterable[bytes], *, mode: int = 0o640) -> None:
    """
    Write `chunks` to `name` in the folder: temporary file, fsync, rename, fsync of the folder.

    An older file of that name is replaced; a link is never followed. Raises OSError, and then leaves nothing.
    """
    temporary = b".new-" + os.urandom(8).hex().encode()
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=folder_fd)
    try:
        with open(fd, "wb") as file:
            os.fchmod(fd, mode)  # whatever the umask
            file.writelines(chunks)
            file.flush()
            os.fsync(fd)
        os.rename(temporary, name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder_fd)
        raise
    os.fsync(folder_fd)
