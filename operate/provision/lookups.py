"""
Users as the host knows them, remembered until a file of its user database changes.

One look-up takes 0.04 ms, one of groups 0.4 ms, and `rosterd doctor` makes thirty for each client. useradd, usermod and
vipw replace the files, so a changed one is another inode.
"""

from __future__ import annotations

import functools
import os
import pwd
from pathlib import Path
from typing import Final

_USERS: Final = "/etc/passwd"
_GROUPS: Final = "/etc/group"
_SHADOW: Final = "/etc/shadow"
_Version = tuple[int, int, int] | None


def user(name: str) -> pwd.struct_passwd:
    """Return the user of this name. Raises KeyError."""
    return _user(name, _version(_USERS))


def group_ids(name: str) -> list[int]:
    """Return the ids of all groups of a user. Raises KeyError."""
    return list(_group_ids(name, _version(_USERS), _version(_GROUPS)))


def shadow(name: str, field: int) -> str:
    """Return the password or an age of a user, "" for none, or without root. Source: shadow, section 5."""
    fields = _shadow(_version(_SHADOW)).get(name, [])
    return fields[field] if len(fields) > field else ""


def _version(path: str) -> _Version:
    """Return what differs once a file was changed."""
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_ino, info.st_mtime_ns, info.st_size


@functools.lru_cache(maxsize=4096)
def _user(name: str, _: _Version) -> pwd.struct_passwd:
    return pwd.getpwnam(name)


@functools.lru_cache(maxsize=4096)
def _group_ids(name: str, users: _Version, _: _Version) -> tuple[int, ...]:
    return tuple(os.getgrouplist(name, _user(name, users).pw_gid))


@functools.lru_cache(maxsize=1)
def _shadow(_: _Version) -> dict[str, list[str]]:
    try:
        lines = Path(_SHADOW).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    entries = [line.split(":") for line in reversed(lines)]  # the first of two lines counts
    return {entry[0]: entry for entry in entries}
