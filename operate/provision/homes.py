"""
What a client has on the host: its folders, as sshd and the service need them, and its file of keys.

    /srv/sftp/acme/               root:root     0755   sshd's chroot: only for root
    /srv/sftp/acme/upload/        rosterd:acme  1770   the inbox: owner and sticky bit keep `.bak` from being renamed
    /srv/sftp/acme/upload/.work/  rosterd:acme  2700   new entries get the client's group
    /srv/sftp/acme/upload/.bak/   rosterd:acme  2750   the client reads, and cannot change
    /srv/sftp/acme/upload/check/  rosterd:acme  3770   only with check_folder: where the client tries files out
    /srv/sftp/acme/dev/           rosterd:acme  2710   only with log_socket: where its sessions find the socket "log"

The set-group-id bits are needed because the service has no right to change the group of files and sockets.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from typing import Final

import msgspec

from importer.fs import open_folder
from importer.names import CHECK
from watcher import owner

SFTP_ROOT: Final = "/srv/sftp"
KEYS: Final = "/etc/ssh/sftpdrop"
LOGIN_GROUP: Final = "sftpdrop"
SERVICE_USER: Final = owner.SERVICE_USER
LOG_SOCKET: Final = "dev/log"  # the log socket of internal-sftp, in the chroot


class Folder(msgspec.Struct, frozen=True):
    """One folder as it should be. Its parents are owned by root, or are Folders made before it."""

    path: str
    owner: str
    group: str
    mode: int

    def __str__(self) -> str:
        """Return the command that does the same as `make`, which follows no link."""
        return f"install -d -o {self.owner} -g {self.group} -m {self.mode:04o} {self.path}"


def chroot(login: str) -> str:
    """Return the chroot of a login."""
    return f"{SFTP_ROOT}/{login}"


def inbox(login: str) -> str:
    """Return the folder for uploads of a login."""
    return f"{chroot(login)}/upload"


def keys(login: str) -> str:
    """Return the file with the public keys of a login."""
    return f"{KEYS}/{login}"


def is_below(path: str, folder: str) -> bool:
    """Return whether a path is a folder, or below it."""
    return f"{os.path.realpath(path)}/".startswith(f"{os.path.realpath(folder)}/")


def folders(login: str, log_socket: str = "", *, has_check: bool = False) -> tuple[Folder, ...]:
    """Return the folders of a login, each after its parent; the service makes the log socket in the last one."""
    own = (
        Folder(chroot(login), "root", "root", 0o755),
        Folder(inbox(login), SERVICE_USER, login, 0o1770),
        Folder(f"{inbox(login)}/.work", SERVICE_USER, login, 0o2700),
        Folder(f"{inbox(login)}/.bak", SERVICE_USER, login, 0o2750),
    )
    log = Folder(os.path.dirname(f"{chroot(login)}/{LOG_SOCKET}"), SERVICE_USER, login, 0o2710)
    return (*own, *([check_folder(login)] if has_check else []), *([log] if log_socket else []))


def check_folder(login: str) -> Folder:
    """Return the folder in which a client tries files out."""
    return Folder(f"{inbox(login)}/{CHECK.decode()}", SERVICE_USER, login, 0o3770)


def is_made(folder: Folder) -> bool:
    """Return whether the folder exists with the right owner, group and mode."""
    try:
        info = os.lstat(folder.path)
        ids = _ids(folder)
    except (FileNotFoundError, NotADirectoryError, KeyError):
        return False
    return stat.S_ISDIR(info.st_mode) and (*ids, folder.mode) == (
        info.st_uid,
        info.st_gid,
        stat.S_IMODE(info.st_mode),
    )


def make(folder: Folder) -> None:
    """
    Make a folder, or correct owner, group and mode of an existing one.

    Raises OSError, and KeyError when its owner or group does not exist. No link is followed, because
    a client may be able to write to the parent.
    """
    parent, name = os.path.split(folder.path)
    with open_folder(parent) as parent_fd:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent_fd)
        with open_folder(name, parent_fd) as fd:
            os.fchown(fd, *_ids(folder))
            os.fchmod(fd, folder.mode)


def _ids(folder: Folder) -> tuple[int, int]:
    return pwd.getpwnam(folder.owner).pw_uid, grp.getgrnam(folder.group).gr_gid


def missing(*paths: str) -> Iterator[str]:
    """Yield which of the folders that the package makes does not exist, and what to do."""
    for path in paths:
        if not os.path.isdir(path):
            yield f"{path}: does not exist; systemd-tmpfiles --create creates it: deploy/tmpfiles.d/rosterd.conf"


def obstacles(folder: Folder) -> Iterator[str]:
    """Yield why `make` must not change what is there: not a folder, or of another user who may have filled it."""
    try:
        info = os.lstat(folder.path)
    except (FileNotFoundError, NotADirectoryError):
        return
    if not stat.S_ISDIR(info.st_mode):
        yield f"{folder.path}: is not a folder. Move it away"
    elif os.path.basename(folder.path).startswith((".", CHECK.decode())) and info.st_uid not in _trusted():
        restored = f"if it was restored from a backup, chown -hR {folder.owner} {folder.path}"
        yield f"{folder.path}: belongs to uid {info.st_uid}; expected {folder.owner}. Move it away, or, {restored}"


def _trusted() -> set[int]:
    with contextlib.suppress(KeyError):
        return {0, pwd.getpwnam(SERVICE_USER).pw_uid}
    return {0}
