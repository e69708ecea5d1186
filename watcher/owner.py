"""
Only the owner of the state directory writes in it; files of others could not be used by the service.

One file in it belongs to the console's user, and root alone writes that one.

A command run by root switches to that user before it writes, permanently, and keeps the two capabilities that the unit
gives the service. All other users are refused.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
from pathlib import Path
from typing import Final

from importer.model import printable
from importer.store.errors import StoreReadOnly, StoreUnopened
from importer.store.places import Place
from importer.store.sqlite.connection import log_files

SERVICE_USER: Final = "rosterd"
CONSOLE_USER: Final = "rosterd-console"  # reads what the group of the service may, and gives orders
SERVICE_STATE_DIR: Final = "/var/lib/rosterd"  # made for that user, also when another runs first
_RIGHTS: Final = 1 << 2 | 1 << 28  # CAP_DAC_READ_SEARCH, CAP_LEASE
_KEEP_CAPS: Final = 8  # PR_SET_KEEPCAPS of prctl(2)
_CAPABILITY_VERSION: Final = 0x20080522  # _LINUX_CAPABILITY_VERSION_3 of capget(2)


class NotOwner(PermissionError):
    """The state directory belongs to another user; the message says what to do."""


def raise_if_denied(error: Exception, database: Place) -> None:
    """Raise PermissionError for SQLite's error when a reader may not write the index of the write-ahead log."""
    file = database.file
    is_other_user = file is not None and os.geteuid() != 0 and not os.access(file.parent, os.W_OK)
    if isinstance(error, StoreReadOnly | StoreUnopened) and is_other_user:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file)) from error


def permission_sentence(error: PermissionError) -> str:
    """Return what was not permitted, to which user, and what to do."""
    if isinstance(error, NotOwner):
        return str(error)
    where = f"{printable(os.fsencode(error.filename))}: " if isinstance(error.filename, str | bytes) else ""
    return (
        f"{where}permission denied to {user_name(os.geteuid())}. Run it as root or as the user of the service; "
        "`rosterd doctor`, run by root, names files of a wrong owner"
    )


def owner_of(state_dir: str) -> tuple[int, int]:
    """Return user and group of the service: those of the state directory, or those it will get."""
    if os.path.normpath(state_dir) == SERVICE_STATE_DIR:
        try:
            service = pwd.getpwnam(SERVICE_USER)
        except KeyError:
            pass
        else:
            return service.pw_uid, service.pw_gid
    try:
        info = os.stat(state_dir)
    except FileNotFoundError:
        return os.geteuid(), os.getegid()
    return info.st_uid, info.st_gid


def console_of(state_dir: str) -> tuple[int, int] | None:
    """Return user and group of the console, None where it runs as the user of the service."""
    if os.path.normpath(state_dir) != SERVICE_STATE_DIR:
        return None
    try:
        user = pwd.getpwnam(CONSOLE_USER)
    except KeyError:
        return None
    return user.pw_uid, user.pw_gid


def user_name(uid: int) -> str:
    """Return the name of a user, or its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def check_access(database: Place, flags: int) -> None:
    """
    Raise PermissionError, or OSError, for a file of the database that this process may not open with these flags.

    SQLite says "unable to open database file" or "attempt to write a readonly database", and not which file. Call it
    before this process opens the database: closing any handle releases the locks of all. A server says so itself.
    """
    for path in () if database.file is None else (database.file, *log_files(database.file)):
        with contextlib.suppress(FileNotFoundError):
            os.close(os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK))


def become_owner(state_dir: str) -> None:
    """
    Make the state directory if there is none, and switch to its owner.

    Raises NotOwner; OSError.
    """
    make(state_dir)
    info = os.stat(state_dir)
    if info.st_uid == os.geteuid():
        return
    if os.geteuid() != 0:
        owner, we = user_name(info.st_uid), user_name(os.geteuid())
        raise NotOwner(f"{state_dir}: belongs to {owner}, and this is run by {we}; run it as root or as {owner}")
    become(info.st_uid, info.st_gid, rights=_RIGHTS)


def make(state_dir: str) -> None:
    """Make the state directory, for its owner, if there is none. Raises OSError."""
    if os.path.isdir(state_dir):
        return
    uid, gid = owner_of(state_dir)
    os.makedirs(state_dir, mode=0o700, exist_ok=True)
    if os.geteuid() == 0 != uid:
        os.chown(state_dir, uid, gid)


def become(uid: int, gid: int, *, rights: int = 0) -> None:
    """Switch from root to another user; keep these capabilities, as far as root has them."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_KEEP_CAPS, 1, 0, 0, 0)
    os.setgroups(_groups(uid, gid))
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    rights &= _permitted()
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    # Effective, permitted, inheritable; twice, as there are more than 32.
    if libc.capset(header, (ctypes.c_uint32 * 6)(rights, rights, 0, 0, 0, 0)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "capset")


def _groups(uid: int, gid: int) -> list[int]:
    try:
        return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        return [gid]


def _permitted() -> int:
    """Return the capabilities that this process may have. Source: /proc/PID/status."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("CapPrm:")[2].split()[0], 16)
