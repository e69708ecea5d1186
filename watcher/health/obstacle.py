"""Why the database cannot be written, by the state of its files: for the service, `rosterd status` and `doctor`."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from pathlib import Path
from typing import Final

from importer.store.sqlite.connection import log_files
from watcher.owner import user_name

# This much of each disk must be free after the largest possible use by an import (importer/disk_space.py).
FREE_BYTES: Final = 64 << 20
_MB: Final = 1 << 20
_AT_FDCWD: Final = -100
_STATX_BYTES: Final = 256
_ATTRIBUTES: Final = slice(8, 16)
_IMMUTABLE: Final = 0x10


def obstacle(database: Path, uid: int) -> tuple[str, str]:
    """Return why a user cannot write the database, and what to do; "" when nothing on the disk prevents it."""
    for path in (database, database.parent, *(file for file in log_files(database) if file.exists())):
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return f"{path} is missing", "stop the service, restore the database from a backup, start the service"
        if os.statvfs(path).f_flag & os.ST_RDONLY:
            return f"{path} is on a disk mounted read-only", "see dmesg for the cause, then mount it for writing"
        if _is_immutable(path):
            return f"{path} is immutable, not even root may write it", f"chattr -i {shlex.quote(str(path))}"
        is_owner, name = uid == status.st_uid, shlex.quote(str(path))
        # Another user may write by the mode bits of group or others: group membership is not examined.
        if not uid or status.st_mode & (stat.S_IWUSR if is_owner else stat.S_IWGRP | stat.S_IWOTH):
            continue
        if not is_owner:
            return f"{path} belongs to {user_name(status.st_uid)}", f"chown {uid} {name}"
        return f"{path} has mode {stat.S_IMODE(status.st_mode):04o}, which no user may write", f"chmod u+w {name}"
    return "", ""


def full_disk(folder: str) -> str:
    """Return that a disk is too full for any import, and what to do; "" when it is not."""
    disk = os.statvfs(folder)
    free_bytes = disk.f_bavail * disk.f_frsize
    if free_bytes >= FREE_BYTES:
        return ""
    return f"the disk of {folder} has {free_bytes // _MB} MB free; expected {FREE_BYTES // _MB} MB: make room on it"


def _is_immutable(path: Path) -> bool:
    """
    Return whether chattr has made a file immutable, which its mode does not show. Source: statx(2).

    Does not open the database: closing any handle of it releases the locks of all.
    """
    if os.access(path, os.W_OK, effective_ids=True):
        return False
    import ctypes  # slow to import, and only needed for diagnosis

    status = ctypes.create_string_buffer(_STATX_BYTES)
    if ctypes.CDLL(None).statx(_AT_FDCWD, os.fsencode(path), 0, 0, status):
        return False
    return bool(int.from_bytes(status.raw[_ATTRIBUTES], sys.byteorder) & _IMMUTABLE)
