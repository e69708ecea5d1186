"""How files and folders are opened to which others have access: links are not followed, nothing is waited for."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OWN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC  # links in its path are the operator's
FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_GROUP_ENTERS: Final = 0o010  # and nobody else, nor may the group list it
NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def open_file(name: bytes | str | Path, folder_fd: int | None = None) -> BinaryIO:
    """Open a file of the folder to read it. Raises OSError."""
    # By an opener: if it is a folder by now, open() fails and closes the handle.
    return open(name, "rb", opener=lambda path, _: os.open(path, FILE, dir_fd=folder_fd))


def read_regular(path: str | Path, most_bytes: int) -> bytes:
    """Return the content of a file of the operator's; never block on what is no regular file. Raises OSError."""
    with open(path, "rb", opener=_open_regular) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"has more than {most_bytes >> 20} MiB")
    return content


def _open_regular(path: str, _flags: int) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "is not a regular file")
    return fd


def own_mode(folder: str | Path) -> int:
    """
    Return the mode of the service's files in a folder of its own: the group reads them if it may enter that folder.

    Only of mode 0710, as the package makes it for the console's user: no umask leads to that by accident.
    """
    with contextlib.suppress(OSError):
        if os.stat(folder).st_mode & 0o077 == _GROUP_ENTERS:
            return 0o640
    return 0o600


@contextlib.contextmanager
def open_folder(path: bytes | str | Path, parent_fd: int | None = None, *, flags: int = FOLDER) -> Iterator[int]:
    """Yield the handle of a folder. Raises OSError."""
    fd = os.open(path, flags, dir_fd=parent_fd)
    try:
        yield fd
    finally:
        os.close(fd)


def temporary_folder() -> str:
    """Return where SQLite puts what outgrows its cache. Source: https://www.sqlite.org/tempfiles.html section 5."""
    wanted = (os.environ.get("SQLITE_TMPDIR"), os.environ.get("TMPDIR"), "/var/tmp", "/usr/tmp", "/tmp")  # noqa: S108 - SQLite's
    return next((folder for folder in wanted if folder and os.access(folder, os.W_OK | os.X_OK)), ".")
