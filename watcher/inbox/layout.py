"""
The folders of an inbox, and every open and rename in them.

    inbox/                        what the client sees and writes
    inbox/.work/<claim id>/       one claim: the upload under its own name; with names that begin with a dot, its
                                  sidecar, the reason to refuse it, and the drafts of failed CSV and result
    inbox/.bak/                   `<stem>.<stamp>.csv`, `.failed.csv`, `.result.txt`, and a sidecar as `.csv.sha256`
    inbox/check/                  with `check_folder`: files that the client tries out, and the answers to them

All work is relative to folder handles, opened again for each piece of work. So a folder that was replaced, remounted or
recreated is simply used from the next piece of work on, and no mount is kept busy. Below the handle of the inbox no
path is used, no link is followed, and nothing blocks.

Durable steps of one file, and what a restart finds after each:

1. claim folder made, with the reason if the file is to be refused: it contains no upload, and is removed.
2. upload renamed into it: a claim without ledger row; it is imported under the same id. After a power cut the upload
   may be in the inbox again, and is claimed anew.
3. sidecar renamed into it: the same. Left in the inbox, it is fetched unless there is a newer upload of that name.
4. drafts written, by the importer: the same; they are written again.
5. folders, upload and drafts synced, ledger row committed, by the importer: a claim with a row; its remaining files
   are moved to `.bak`.
6. drafts and sidecar renamed into `.bak`, then the upload, folder synced: an empty claim folder, and a row to be
   marked.
7. claim folder removed, row marked, by the daemon: nothing to do.

The upload still belongs to the client, who could change it in `.bak`. So the service becomes its owner on the way: by a
change of owner where that is permitted (root), else by a copy that is durable before the original is removed. If a
crash leaves both, the copy in `.bak` counts, and the original in the claim folder is removed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import itertools
import os
import pwd
import stat
from collections.abc import Iterator
from typing import Final

import structlog

from importer import fs
from importer.durable import is_unfinished
from importer.names import BAK, CHECK, WORK
from watcher.model import InboxUnusable

log = structlog.get_logger()

ABANDONED_S: Final = 3600.0  # since the last byte of a copy that nobody completes any more
SIDECAR: Final = b".companion."  # followed by its ending: the name of a sidecar in a claim folder
DRAFT_MODE: Final = 0o640
MAX_NAME_BYTES: Final = 255

_PASSAGE: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_A_FOLDER: Final = (errno.ELOOP, errno.ENOTDIR)
_CLOSED: Final = 0o700
_CHECK_MODE: Final = 0o1770
_RENAME_NOREPLACE: Final = 1
_MAX_ENTRIES: Final = 20_000  # entries searched for sidecars; 50 ms

_libc: Final = ctypes.CDLL(None, use_errno=True)


class Uploads:
    """An open folder into which a client uploads; `folder` is the status of its inbox."""

    def __init__(self, client: str, fd: int, folder: os.stat_result, sidecar: bytes = b"") -> None:
        self.client = client
        self.sidecar = sidecar  # ending of sidecars, with its dot
        self.fd = fd
        self.folder = folder
        info = os.fstat(fd)
        self.identity = (info.st_dev, info.st_ino)

    @functools.cached_property
    def sidecars(self) -> dict[bytes, bytes]:
        """Return the names of sidecars by their lower-case forms, of a bounded number of entries."""
        with os.scandir(self.fd) as entries:
            names = [os.fsencode(entry.name) for entry in itertools.islice(entries, _MAX_ENTRIES)]
        return {name.lower(): name for name in names if name.lower().endswith(self.sidecar)}


class Inbox(Uploads):
    """The open folders of one client."""

    def __init__(self, client: str, inbox_fd: int, work_fd: int, bak_fd: int, sidecar: bytes) -> None:
        super().__init__(client, inbox_fd, os.fstat(inbox_fd), sidecar)
        self.work_fd = work_fd
        self.bak_fd = bak_fd


@contextlib.contextmanager
def opened(client: str, path: str, sidecar: str = "") -> Iterator[Inbox]:
    """
    Open the inbox at the absolute `path`, create its missing folders, check that it is safe to work in.

    `sidecar` is the ending of sidecars, if the client uses them. Raises InboxUnusable, or OSError for problems of the
    host.
    """
    with contextlib.ExitStack() as handles:
        inbox_fd = _kept(handles, _open_inbox(path))
        _check_inbox(path, inbox_fd)
        work_fd = _kept(handles, _open_own(path, inbox_fd, WORK, mode=0o700, forbidden=0o077))
        bak_fd = _kept(handles, _open_own(path, inbox_fd, BAK, mode=0o750, forbidden=0o022))
        yield Inbox(client, inbox_fd, work_fd, bak_fd, f".{sidecar}".encode() if sidecar else b"")


@contextlib.contextmanager
def opened_check(inbox: Inbox, path: str) -> Iterator[Uploads]:
    """
    Open the folder `check` of the inbox at `path`, created if it is missing; check that client and service can use it.

    Raises InboxUnusable, or OSError for problems of the host.
    """
    where = f"{path}/{CHECK.decode()}"
    try:
        fd, _ = _open_or_make(inbox.fd, CHECK)
    except OSError as error:
        if error.errno in _NOT_A_FOLDER:
            raise InboxUnusable(f"{where}: not a folder; move it away, it will be made") from None
        raise
    try:
        if _is_half_made(os.fstat(fd), _CHECK_MODE):  # as one is that was just made
            open_up(fd, inbox.folder, _CHECK_MODE)
        _check_trials(where, os.fstat(fd), inbox.folder)
        _check_inbox(where, fd)
        yield Uploads(inbox.client, fd, inbox.folder)
    finally:
        os.close(fd)


def _check_trials(where: str, status: os.stat_result, inbox: os.stat_result) -> None:
    """Raise InboxUnusable when the folder `check` is of somebody else, or the client cannot write to it."""
    ours = (os.geteuid(), 0)
    if status.st_uid not in (*ours, inbox.st_uid):
        expected = f"expected uid {os.geteuid()}"
        raise InboxUnusable(f"{where}: owned by uid {status.st_uid}; {expected}. Move it away, it will be made")
    needed = stat.S_IWGRP | stat.S_IXGRP if status.st_gid == inbox.st_gid else stat.S_IWOTH | stat.S_IXOTH
    if status.st_uid in ours and status.st_mode & needed != needed:
        found = f"gid {status.st_gid}, mode {stat.S_IMODE(status.st_mode):04o}"
        raise InboxUnusable(f"{where}: the client cannot write to it: {found}; expected gid {inbox.st_gid}, mode 3770")
    if status.st_dev != inbox.st_dev:
        raise InboxUnusable(f"{where}: on another file system than the inbox; expected the same")


def was_inbox(path: str) -> bool:
    """Return whether a folder has been an inbox: it has a `.work`."""
    return os.path.lexists(os.path.join(path, os.fsdecode(WORK)))


def _kept(handles: contextlib.ExitStack, fd: int) -> int:
    handles.callback(os.close, fd)
    return fd


def _open_inbox(path: str) -> int:
    """Open a folder one component at a time; a link anywhere on the way is refused."""
    *passages, last = [part for part in os.fsencode(path).split(b"/") if part]
    with contextlib.ExitStack() as handles:
        fd = _kept(handles, os.open("/", _PASSAGE))
        try:
            for part in passages:
                fd = _kept(handles, os.open(part, _PASSAGE, dir_fd=fd))
            return os.open(last, fs.FOLDER, dir_fd=fd)
        except OSError as error:
            if error.errno in _NOT_A_FOLDER:
                raise InboxUnusable(f"{path}: a link or a file is on the way; expected folders all along") from None
            raise


def _check_inbox(path: str, inbox_fd: int) -> None:
    """Raise InboxUnusable when owner, mode or mount do not let the service move files out of it."""
    info, uid = os.fstat(inbox_fd), os.geteuid()
    is_others = info.st_mode & stat.S_ISVTX and uid not in (0, info.st_uid)
    if is_others or not os.access(".", os.W_OK | os.X_OK, dir_fd=inbox_fd, effective_ids=True):
        mode = stat.S_IMODE(info.st_mode)
        raise InboxUnusable(
            f"{path}: uid {uid} cannot take uploads out of it; it is read-only or immutable, or owner "
            f"(uid {info.st_uid}) or mode ({mode:04o}) are wrong"
        )


def _open_own(path: str, inbox_fd: int, name: bytes, *, mode: int, forbidden: int) -> int:
    """Open `.work` or `.bak`; raises InboxUnusable when others than the service can write to it, or nobody can."""
    where = f"{path}/{name.decode()}"
    try:
        fd, made = _open_or_make(inbox_fd, name)
    except OSError as error:
        if error.errno in _NOT_A_FOLDER:
            raise InboxUnusable(f"{where}: not a folder; remove it, it will be made") from None
        raise
    try:
        if made or _is_half_made(os.fstat(fd), mode):
            open_up(fd, os.fstat(inbox_fd), mode)
        _check_own(where, fd, os.fstat(inbox_fd), forbidden)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _open_or_make(parent_fd: int, name: bytes) -> tuple[int, bool]:
    """Open a folder, made if there is none; return its handle, and whether it was made."""
    with contextlib.suppress(FileNotFoundError):
        return os.open(name, fs.FOLDER, dir_fd=parent_fd), False
    made = True
    try:
        os.mkdir(name, _CLOSED, dir_fd=parent_fd)
    except FileExistsError:  # just now
        made = False
    return os.open(name, fs.FOLDER, dir_fd=parent_fd), made


def _is_half_made(status: os.stat_result, mode: int) -> bool:
    """Return whether the service was killed before a folder had its group; it gets its mode last."""
    return status.st_uid == os.geteuid() and status.st_mode & 0o777 == _CLOSED != mode


def open_up(fd: int, inbox: os.stat_result, mode: int) -> None:
    """
    Give the client's group the group bits of `mode`, regardless of the umask.

    Only a member may give a file to a group. A service that is not a member gives the bits to all others instead, if
    only the client can enter the inbox above.
    """
    with contextlib.suppress(PermissionError):
        os.fchown(fd, -1, inbox.st_gid)
    info = os.fstat(fd)
    if info.st_gid != inbox.st_gid and not inbox.st_mode & stat.S_IXOTH:
        mode |= mode >> 3 & stat.S_IRWXO
    if info.st_mode & 0o777 != mode:  # else the set-group-id bit, which passes the group on, would be lost for nothing
        os.fchmod(fd, mode)


def _check_own(where: str, fd: int, inbox: os.stat_result, forbidden: int) -> None:
    status = os.fstat(fd)
    if status.st_uid not in (os.geteuid(), 0):
        raise InboxUnusable(f"{where}: owned by uid {status.st_uid}; expected uid {os.geteuid()}. Move it away")
    if status.st_mode & forbidden:
        mode = stat.S_IMODE(status.st_mode)
        raise InboxUnusable(f"{where}: mode {mode:04o}; expected {mode & ~forbidden:04o}")
    if status.st_dev != inbox.st_dev:
        raise InboxUnusable(f"{where}: on another file system than the inbox; expected the same")
    if not os.access(".", os.W_OK | os.X_OK, dir_fd=fd, effective_ids=True):
        raise InboxUnusable(f"{where}: uid {os.geteuid()} cannot write to it; it is read-only or immutable")


def clear_claim_folder(inbox: Inbox, claim_id: str, folder_fd: int) -> None:
    """Remove a claim folder and what is in it, unless that is an upload."""
    for name in os.listdir(folder_fd):
        if name.startswith("."):
            os.unlink(name, dir_fd=folder_fd)
    os.rmdir(claim_id, dir_fd=inbox.work_fd)


def remove_abandoned(uploads: Uploads, now_s: float) -> None:
    """
    Remove our own unfinished copies whose writers were killed: a command that puts a file there, or a check.

    `now_s` is the time of day. A file of the client stays, whatever its name.
    """
    files = 0
    with os.scandir(uploads.fd) as entries:
        names = [os.fsencode(entry.name) for entry in entries if is_unfinished(entry.name)]
    for name in names:
        info = stat_of(uploads.fd, name)
        is_ours = info is not None and stat.S_ISREG(info.st_mode) and info.st_uid in (os.geteuid(), 0)
        if info is not None and is_ours and info.st_mtime < now_s - ABANDONED_S:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=uploads.fd)
                files += 1
    if files:
        log.info("inbox.tidied", client=uploads.client, files=files)


def stat_of(folder_fd: int, name: bytes) -> os.stat_result | None:
    """Return the status of this name, no link followed; None when there is none, or the name is too long."""
    try:
        return os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENAMETOOLONG):
            return None
        raise


def exists(folder_fd: int, name: bytes) -> bool:
    """Return whether the folder has an entry of this name."""
    return stat_of(folder_fd, name) is not None


def is_foreign(status: os.stat_result, inbox: os.stat_result) -> bool:
    """
    Return whether the owner of a file is a user who does not use the inbox.

    As root the service cannot tell clients apart.
    """
    return os.geteuid() != 0 and not is_of_client(status.st_uid, status.st_gid, inbox)


def is_strangers(status: os.stat_result, inbox: os.stat_result) -> bool:
    """
    Return whether the operator, or a user who does not use the inbox, has put a file there.

    Root cannot tell, nor can a service to whose user clients log in: nobody else may write to the inbox then.
    """
    others_write = inbox.st_uid != os.geteuid() or inbox.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ours = {0, os.geteuid()} if others_write else {0}
    return os.geteuid() != 0 and (status.st_uid in ours or is_foreign(status, inbox))


def is_of_client(uid: int, gid: int, inbox: os.stat_result) -> bool:
    """
    Return whether a user with this group uses an inbox.

    Those are root, the service, the owner of the inbox or, if that is the service, the members of its group; all users
    if all may write.
    """
    ours = {0, os.geteuid()}
    if inbox.st_mode & stat.S_IWOTH or uid in ours | {inbox.st_uid}:
        return True
    return inbox.st_uid in ours and (gid == inbox.st_gid or _is_member(uid, inbox.st_gid))


def _is_member(uid: int, gid: int) -> bool:
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return False
    return gid in os.getgrouplist(user.pw_name, user.pw_gid)


def move(from_fd: int, name: bytes, to_fd: int, new_name: bytes) -> None:
    """
    Rename between two folders, never over an existing name.

    Raises FileExistsError and other OSError. On a file system without such a rename, link and unlink do it; a
    crash between them leaves both names, and the next call completes it.
    """
    if _libc.renameat2(from_fd, name, to_fd, new_name, _RENAME_NOREPLACE) == 0:
        return
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS):
        os.link(name, new_name, src_dir_fd=from_fd, dst_dir_fd=to_fd, follow_symlinks=False)
    elif code != errno.EEXIST or not _same_file(from_fd, name, to_fd, new_name):
        raise OSError(code, os.strerror(code))
    os.unlink(name, dir_fd=from_fd)


def _same_file(from_fd: int, name: bytes, to_fd: int, new_name: bytes) -> bool:
    one = os.stat(name, dir_fd=from_fd, follow_symlinks=False)
    return os.path.samestat(one, os.stat(new_name, dir_fd=to_fd, follow_symlinks=False))
