"""How far the clock of this host is from that of a file system, such as one that another host serves."""

from __future__ import annotations

import errno
import os
import time
from typing import Final

from importer.fs import FOLDER

SLACK_S: Final = 300


def ahead_s(folder: str) -> float:
    """
    Return by how much the file system of one of the service's own folders is ahead of this host. Raises OSError.

    A file without a name shows it; where there is none of these, as on NFS, the time of the folder is set.
    """
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        fd = os.open(folder, FOLDER)
        try:
            os.utime(fd)
        except OSError:
            os.close(fd)
            raise
    try:
        return os.fstat(fd).st_mtime - time.time()
    finally:
        os.close(fd)


def difference(folder: str, ahead: float) -> str:
    """Return what a difference says of the clock of this host, "" if it is small enough."""
    if abs(ahead) <= SLACK_S:
        return ""
    return f"is {abs(ahead):.0f} s {'behind' if ahead > 0 else 'ahead of'} that of the file system of {folder}"
