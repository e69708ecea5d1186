"""
The steps that put the files of a backup in their places.

Each file is whole under its name or not there, and one that is there already is passed over, so that all of it can be
killed and run again. Folders are opened without following links, below places that only root and the service can write.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import msgspec

from importer import fs
from importer.durable import discard_unfinished, write_durably, write_whole
from importer.file.unwrap.gnupg import PRIVATE_KEYS, PUBLIC_KEYS
from importer.names import BAK, WORK
from importer.store.sqlite.connection import log_files
from operate.backup.gathering import Place
from operate.backup.manifest import Member, parts_of
from operate.backup.reading import Backup
from operate.output import counted
from operate.provision.steps import Step

BEFORE = ".before-restore"  # what a restore replaces keeps its name, with this ending


class Owners(msgspec.Struct, frozen=True):
    """User and group of the service, and of the client by its login: looked up when it exists."""

    service: tuple[int, int]
    login: str  # "" for a client without one: the group of its inbox reads the answers
    inbox: str

    def of(self, member: Member) -> tuple[int, int]:
        """Return who is to own a file of an inbox."""
        if not self.login:
            return self.service[0], os.stat(self.inbox).st_gid
        user = pwd.getpwnam(self.login)
        return (user.pw_uid if member.owner == "client" else self.service[0]), user.pw_gid


def own_file(backup: Backup, member: Member, path: Path, owner: tuple[int, int] = (0, 0)) -> Step:
    """Return the step that puts a file of the operator in its place; another one that is there is kept aside."""
    content = partial(backup.content, member)

    def is_done() -> bool:
        return _is_there(path, member) and path.read_bytes() == b"".join(content())

    def make() -> None:
        if os.path.lexists(path) and path.read_bytes() != b"".join(content()):
            path.rename(f"{path}{BEFORE}")
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        discard_unfinished(str(path.parent))
        with fs.open_folder(path.parent, flags=fs.OWN_FOLDER) as fd:
            write_durably(
                fd, os.fsencode(path.name), content(), mode=member.mode & (0o755 if owner[1] else 0o777), owner=owner
            )

    return Step(f"write {path}", is_done, make)


def database(backup: Backup, member: Member, path: Path, owner: tuple[int, int]) -> Step:
    """Return the step that puts the database in its place; the one that is there is kept aside, with its log."""

    def is_done() -> bool:
        is_same = _is_there(path, member) and path.stat().st_mtime_ns == member.mtime_ns
        return is_same and not any(map(Path.exists, log_files(path)))

    def make() -> None:
        for old, new in zip((path, *log_files(path)), (kept := Path(f"{path}{BEFORE}"), *log_files(kept)), strict=True):
            with contextlib.suppress(FileNotFoundError):
                old.rename(new)
        with fs.open_folder(path.parent, flags=fs.OWN_FOLDER) as fd:
            _write(backup, member, fd, os.fsencode(path.name), owner)
            os.fsync(fd)

    return Step(f"write {path}, of {member.size_bytes} bytes", is_done, make)


def files_of(backup: Backup, place: Place, owners: Owners) -> Step:
    """Return the step that fills the inbox of a client, with `.work` and `.bak`."""
    members = [each for each in backup.below("files/") if parts_of(each.name)[1] == place.client.encode()]

    def each(act: Callable[[Member, int, bytes], bool], *, makes: bool) -> bool:
        with fs.open_folder(place.inbox) as fd:
            return all(_in_folder(fd, member, owners, act, makes=makes) for member in members)

    def is_done() -> bool:
        with contextlib.suppress(OSError, KeyError):
            return each(lambda member, fd, name: _is_placed(member, fd, name, owners), makes=False)
        return False

    def make() -> None:
        for folder in (place.inbox, os.path.join(place.inbox, os.fsdecode(BAK))):
            with contextlib.suppress(FileNotFoundError), fs.open_folder(folder) as fd:
                discard_unfinished(f"/proc/self/fd/{fd}")  # of this restore, when it was killed
        each(lambda member, fd, name: _place(backup, member, fd, name, owners), makes=True)

    return Step(f"write {counted(len(members), 'file', 'files')} into {place.inbox}", is_done, make)


def mail(backup: Backup, maildir: Path, owner: tuple[int, int]) -> list[Step]:
    """Return the step that fills the Maildir, if there was mail in it."""
    members = backup.below("mail/")

    def path_of(member: Member) -> Path:
        return maildir / os.fsdecode(b"/".join(parts_of(member.name)[1:]))

    def make() -> None:
        for folder in (maildir, *(maildir / name for name in ("new", "cur", "tmp"))):
            folder.mkdir(mode=0o700, exist_ok=True)
            os.chown(folder, *owner)
        for member in members:
            with fs.open_folder(path_of(member).parent) as fd:
                _write(backup, member, fd, os.fsencode(path_of(member).name), owner)

    def is_done() -> bool:
        return all(path_of(member).exists() for member in members)

    return [Step(f"write {counted(len(members), 'mail', 'mails')} into {maildir}", is_done, make)] if members else []


def pgp(backup: Backup, key_home: Path, owner: tuple[int, int]) -> list[Step]:
    """Return the steps that put our PGP key in its place, if there was one: its public part last, as `init` does."""
    members = sorted(backup.below("pgp/"), key=lambda member: member.name.endswith(PUBLIC_KEYS))
    folders = (key_home, key_home / PRIVATE_KEYS) if members else ()

    def make(folder: Path) -> None:
        folder.mkdir(mode=0o700)
        os.chown(folder, *owner)

    return [
        *(Step(f"mkdir -m 0700 {folder}", folder.is_dir, partial(make, folder)) for folder in folders),
        *(own_file(backup, each, key_home.joinpath(*each.name.split("/")[1:]), owner) for each in members),
    ]


def kept_aside(paths: Iterable[Path]) -> list[Step]:
    """Return the steps that rename files so that nothing reads them any more."""
    return [
        Step(f"mv {path} {path}{BEFORE}", lambda path=path: not path.exists(), partial(path.rename, f"{path}{BEFORE}"))  # type: ignore[misc]  # mypy does not infer defaults
        for path in paths
    ]


def _in_folder(
    inbox_fd: int, member: Member, owners: Owners, act: Callable[[Member, int, bytes], bool], *, makes: bool
) -> bool:
    """Call `act` with the open folder of a file of an inbox; `makes`: after making it. Raises OSError."""
    _, _, kind, *inner, name = parts_of(member.name)
    folders = {b"inbox": [], b"bak": [(BAK, 0o750)], b"work": [(WORK, 0o700), *((claim, 0o700) for claim in inner)]}
    with contextlib.ExitStack() as handles:
        fd = inbox_fd
        for folder, mode in folders[kind]:
            if makes:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder, mode, dir_fd=fd)
                os.chown(folder, *owners.of(member), dir_fd=fd, follow_symlinks=False)
            fd = handles.enter_context(fs.open_folder(folder, fd))
        return act(member, fd, name)


def _is_placed(member: Member, folder_fd: int, name: bytes, owners: Owners) -> bool:
    """Tell whether a file is in its place; in an inbox a newer upload of that name is not overwritten."""
    try:
        info = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if member.owner == "client":
        return True
    is_same = (info.st_size, info.st_mtime_ns) == (member.size_bytes, member.mtime_ns)
    return stat.S_ISREG(info.st_mode) and is_same and (info.st_uid, info.st_gid) == owners.of(member)


def _place(backup: Backup, member: Member, folder_fd: int, name: bytes, owners: Owners) -> bool:
    if not _is_placed(member, folder_fd, name, owners):
        _write(backup, member, folder_fd, name, owners.of(member))
    return True


def _write(backup: Backup, member: Member, folder_fd: int, name: bytes, owner: tuple[int, int]) -> None:
    """Write a file with owner, mode and time. Not durably: a restore syncs all at its end."""

    def set_up(fd: int) -> None:
        os.fchown(fd, *owner)
        os.utime(fd, ns=(member.mtime_ns, member.mtime_ns))

    write_whole(folder_fd, name, backup.content(member), mode=member.mode, before_rename=set_up)


def _is_there(path: Path, member: Member) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size == member.size_bytes
