"""Removes from a folder `check` what is older than it may be: uploads and answers."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from watcher.inbox.layout import Uploads, stat_of

AT_ONCE: Final = 1000


def remove_expired(uploads: Uploads, before: datetime) -> int:
    """
    Remove what nobody has changed since this time; return how many there were, at most AT_ONCE.

    Whatever it is: links and the like, too. Only folders stay. Raises OSError.
    """
    expired = list(itertools.islice(_expired(uploads, before.timestamp()), AT_ONCE))
    for name in expired:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=uploads.fd)
    return len(expired)


def _expired(uploads: Uploads, before_s: float) -> Iterator[bytes]:
    with os.scandir(uploads.fd) as entries:
        for entry in entries:
            name = os.fsencode(entry.name)
            info = stat_of(uploads.fd, name)
            if info is not None and info.st_ctime < before_s and not stat.S_ISDIR(info.st_mode):
                yield name
