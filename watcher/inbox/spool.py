"""
The folders of an inbox, and every open and rename in them.

    inbox/                        what the client sees and writes
    inbox/.work/<claim id>/       one claim: the upload under its own name; beside it, with names that begin with a dot,
                                  its companion, the reason to refuse it, and the drafts of failed CSV and result
    inbox/.bak/                   `<stem>.<stamp>.csv`, `.failed.csv`, `.result.txt`, and a companion as `.csv.sha256`

All work is relative to folder handles that are opened anew for each piece of it, so that a folder that was replaced,
remounted or made again is simply the one we find next time, and none is kept busy. Below the handle of the inbox no
path is used, no link followed, nothing waited for.

Durable steps of one file, and what a restart finds after each:

1. claim folder made, with the reason if the file is to be refused: it holds no upload, and is removed.
2. upload renamed into it, folders synced: a claim without ledger row; it is imported under the same id.
3. companion renamed into it: the same. Left in the inbox, it is fetched unless a newer upload of that name is there.
4. drafts written, by the importer: the same; they are written again.
5. ledger row committed, by the importer: a claim with a row; what is left of it is moved to `.bak`.
6. drafts and companion renamed into `.bak`, then the upload, folder synced: an empty claim folder, and a row to be
   marked.
7. claim folder removed, row marked, by the daemon: nothing to do.

The upload still belongs to the client, who could change it through the path in `.bak`. So it becomes ours on the way:
by a change of owner where we have the right (root), else by a copy that is durable before the original goes. Should a
crash leave both, the copy in `.bak` is the file and the original in the claim folder is removed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import heapq
import itertools
import math
import os
import pwd
import re
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import BinaryIO, Final

import msgspec

from importer import fs
from importer.durable import sync, write_durably
from importer.file.upload import Upload
from importer.fs import open_file
from importer.model import Claim
from importer.names import BAK, FAILED_CSV, RESULT_TXT, WORK, failed_csv, result_txt
from watcher.model import Capture, ClaimGone, Identity, InboxUnusable, Kind, Look, Writer

_PASSAGE: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_A_FOLDER: Final = (errno.ELOOP, errno.ENOTDIR)
_REPLACED: Final = (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EISDIR)  # what was a file a moment ago
_CLOSED: Final = 0o700
_RENAME_NOREPLACE: Final = 1
_MAX_NAME_BYTES: Final = 255
_MAX_COMPANION_BYTES: Final = 4096
_COMPANION: Final = b".companion."  # then its ending
_REFUSAL: Final = b".refusal"
_RELEASED: Final = b".released"
_COPY: Final = b".copy"
_COPIED_AT_ONCE_BYTES: Final = 16 << 20  # a second on a slow disk
_TIMES_LISTED: Final = 5  # to find those that came first; 50,000 names took 0.2 to 0.5 s
_STRAY_AGE_S: Final = 86_400
_MAX_STRAYS: Final = 100  # of one sweep
_MAX_SUSPECTS: Final = 2_000  # likewise: to open so many folders takes 50 ms
_MAX_ENTRIES: Final = 20_000  # likewise, to find them among; as long
_DRAFT_MODE: Final = 0o640
_STAMP: Final = "%Y%m%dT%H%M%SZ"
_CLAIM_ID: Final = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")

_libc: Final = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def opened(client: str, path: str, companion: str = "") -> Iterator[Inbox]:
    """
    Open the inbox at the absolute `path`, make what it lacks, check that it is safe to work in.

    `companion` is the ending of the files that vouch for others, if there are any. Raises InboxUnusable, or OSError for
    host trouble.
    """
    with contextlib.ExitStack() as handles:
        inbox_fd = _kept(handles, _open_inbox(path))
        _check_inbox(path, inbox_fd)
        work_fd = _kept(handles, _open_own(path, inbox_fd, WORK, mode=0o700, forbidden=0o077))
        bak_fd = _kept(handles, _open_own(path, inbox_fd, BAK, mode=0o750, forbidden=0o022))
        yield Inbox(client, inbox_fd, work_fd, bak_fd, f".{companion}".encode() if companion else b"")


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
    """Raise InboxUnusable when nothing can be taken out of it: it is not ours, and its mode or mount keeps us out."""
    found, uid = os.fstat(inbox_fd), os.geteuid()
    is_others = found.st_mode & stat.S_ISVTX and uid not in (0, found.st_uid)
    if is_others or not os.access(".", os.W_OK | os.X_OK, dir_fd=inbox_fd, effective_ids=True):
        mode = stat.S_IMODE(found.st_mode)
        raise InboxUnusable(
            f"{path}: uid {uid} cannot take uploads out of it; it is read-only, or owner (uid {found.st_uid}) or mode "
            f"({mode:04o}) are wrong"
        )


def _open_own(path: str, inbox_fd: int, name: bytes, *, mode: int, forbidden: int) -> int:
    """Open `.work` or `.bak`; raises InboxUnusable when it is not ours alone to write."""
    made = _make_folder(inbox_fd, name)
    where = f"{path}/{name.decode()}"
    try:
        fd = os.open(name, fs.FOLDER, dir_fd=inbox_fd)
    except OSError as error:
        if error.errno in _NOT_A_FOLDER:
            raise InboxUnusable(f"{where}: not a folder; remove it, it will be made") from None
        raise
    try:
        if made or _is_half_made(os.fstat(fd), mode):
            _open_up(fd, os.fstat(inbox_fd), mode)
        _check_own(where, os.fstat(fd), os.fstat(inbox_fd), forbidden)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _make_folder(parent_fd: int, name: bytes) -> bool:
    try:
        os.mkdir(name, _CLOSED, dir_fd=parent_fd)
    except FileExistsError:
        return False
    return True


def _is_half_made(found: os.stat_result, mode: int) -> bool:
    """Return whether we were killed before a folder had its group; it gets its mode last."""
    return found.st_uid == os.geteuid() and found.st_mode & 0o777 == _CLOSED != mode


def _open_up(fd: int, inbox: os.stat_result, mode: int) -> None:
    """
    Let the client's group have what the group bits of `mode` say, whatever the umask.

    Only its members may give a file to a group. A service that is none lets others have it instead, provided that the
    inbox above lets nobody in but the client.
    """
    with contextlib.suppress(PermissionError):
        os.fchown(fd, -1, inbox.st_gid)
    found = os.fstat(fd)
    if found.st_gid != inbox.st_gid and not inbox.st_mode & stat.S_IXOTH:
        mode |= mode >> 3 & stat.S_IRWXO
    if found.st_mode & 0o777 != mode:  # else a set-group-id bit, which hands the group down, is lost for nothing
        os.fchmod(fd, mode)


def _check_own(where: str, found: os.stat_result, inbox: os.stat_result, forbidden: int) -> None:
    if found.st_uid not in (os.geteuid(), 0):
        raise InboxUnusable(f"{where}: owned by uid {found.st_uid}; expected uid {os.geteuid()}. Move it away")
    if found.st_mode & forbidden:
        mode = stat.S_IMODE(found.st_mode)
        raise InboxUnusable(f"{where}: mode {mode:04o}; expected {mode & ~forbidden:04o}")
    if found.st_dev != inbox.st_dev:
        raise InboxUnusable(f"{where}: on another file system than the inbox; expected the same")


class Inbox:
    """The open folders of one client."""

    def __init__(self, client: str, inbox_fd: int, work_fd: int, bak_fd: int, companion: bytes) -> None:
        self._client = client
        self._companion = companion  # ending, with its dot
        self._fd = inbox_fd
        self._work_fd = work_fd
        self._bak_fd = bak_fd
        self._folder = os.fstat(inbox_fd)
        self.identity = (self._folder.st_dev, self._folder.st_ino)

    @property
    def work_fd(self) -> int:
        """Return the handle of `.work`, which is good as long as the inbox is open."""
        return self._work_fd

    @property
    def bak_fd(self) -> int:
        """Return the handle of `.bak`, likewise."""
        return self._bak_fd

    # Looking

    def files(self, accepts: Callable[[bytes], bool], limit: int) -> dict[bytes, Identity]:
        """
        Return at most `limit` entries whose names are accepted: those that came first.

        Of more than `_TIMES_LISTED` times as many not all are looked at.
        """
        with os.scandir(self._fd) as entries:
            accepted = filter(accepts, (os.fsencode(entry.name) for entry in entries))
            names = list(itertools.islice(accepted, _TIMES_LISTED * limit))
        if len(names) > limit:
            names = heapq.nsmallest(limit, names, key=self._arrival)
        # Only now: to look for companions is to list the folder through the same handle.
        glances = ((name, self.glance(name)) for name in names)
        return {name: identity for name, identity in glances if identity is not None}

    def _arrival(self, name: bytes) -> tuple[float, bytes]:
        found = _stat(self._fd, name)
        return math.inf if found is None else found.st_ctime_ns, name

    def glance(self, name: bytes) -> Identity | None:
        """Return what has this name, None when nothing has."""
        found = _stat(self._fd, name)
        return None if found is None else self._identity(name, found)

    def _identity(self, name: bytes, found: os.stat_result) -> Identity:
        beside = self._beside(name)
        companion = None if beside is None else (beside[1].st_ino, beside[1].st_size, beside[1].st_mtime_ns)
        return msgspec.structs.replace(_identity(found), companion=companion)

    def look(self, name: bytes) -> Look | None:
        """
        Examine what has this name closely, None when nothing has.

        Only a file is opened. Raises OSError when that is refused.
        """
        try:
            entry = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
            if not stat.S_ISREG(entry.st_mode):
                return Look(identity=self._identity(name, entry), kind=_kind(entry.st_mode))
            if _is_foreign(entry, self._folder):
                return Look(identity=self._identity(name, entry), kind=Kind.FILE, foreign=True)
            with open_file(name, self._fd) as file:
                look = _look(file.fileno())
                return msgspec.structs.replace(look, identity=self._identity(name, os.fstat(file.fileno())))
        except FileNotFoundError:
            return None

    def upload(self, name: bytes, before_read: Callable[[], None] = lambda: None) -> Upload:
        """Open a file of the inbox for reading. Raises OSError."""
        return Upload(name, before_read, folder_fd=self._fd)

    def companion(self, name: bytes) -> bytes | None:
        """
        Return what the file that vouches for this one says; None when there is none, or no plain and small one.

        Raises OSError when it cannot be read: that speaks against the host, not against the upload.
        """
        beside = self._beside(name)
        if beside is None or not self._may_vouch(beside[1]):
            return None
        try:
            with open_file(beside[0], self._fd) as file:
                content = file.read(_MAX_COMPANION_BYTES + 1)
        except OSError as error:
            if error.errno in _REPLACED:
                return None
            raise
        return content if len(content) <= _MAX_COMPANION_BYTES else None

    def _beside(self, name: bytes) -> tuple[bytes, os.stat_result] | None:
        """Return the companion of a name, in whatever case its own is spelled; None when there is none."""
        if not self._companion:
            return None
        beside = name + self._companion
        if (found := _stat(self._fd, beside)) is not None:
            return beside, found
        spelled = self._companions.get(beside.lower())
        if spelled is None or (found := _stat(self._fd, spelled)) is None:
            return None
        upload = spelled[: -len(self._companion)]
        return (spelled, found) if upload == name or _stat(self._fd, upload) is None else None

    @functools.cached_property
    def _companions(self) -> dict[bytes, bytes]:
        """The names of companions by what they are in small letters, of a bounded number of entries."""
        with os.scandir(self._fd) as entries:
            names = [os.fsencode(entry.name) for entry in itertools.islice(entries, _MAX_ENTRIES)]
        return {name.lower(): name for name in names if name.lower().endswith(self._companion)}

    def _may_vouch(self, found: os.stat_result) -> bool:
        """Return whether a companion is a small plain file with one name, of the client's own."""
        is_plain = stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_size <= _MAX_COMPANION_BYTES
        return is_plain and not _is_foreign(found, self._folder)

    def strays(
        self, accepts: Callable[[bytes], bool], is_temporary: Callable[[bytes], bool], now_s: float
    ) -> list[bytes]:
        """
        Return what looks like an upload and will not be one: in folders of the client's, and temporary names of old.

        Paths relative to the inbox, a bounded number, found by a bounded number of looks. `now_s` is the time of day.
        """

        def is_stray(path: bytes) -> bool:
            folder, _, inner = path.rpartition(b"/")
            if folder:
                return inner != b"" and accepts(inner)
            found = _stat(self._fd, path)
            return found is not None and now_s - found.st_ctime > _STRAY_AGE_S

        suspects = itertools.islice(self._suspects(is_temporary), _MAX_SUSPECTS)
        return sorted(filter(is_stray, suspects))[:_MAX_STRAYS]

    def _suspects(self, is_temporary: Callable[[bytes], bool]) -> Iterator[bytes]:
        """Yield temporary names and folders, these with a slash at their end, each followed by what is in it."""
        with os.scandir(self._fd) as entries:
            for entry in itertools.islice(entries, _MAX_ENTRIES):
                name = os.fsencode(entry.name)
                if entry.is_dir(follow_symlinks=False):
                    if name not in (WORK, BAK):
                        yield name + b"/"
                        yield from (name + b"/" + inner for inner in _names_in(self._fd, name))
                elif is_temporary(name):
                    yield name

    # Claiming

    def claim(
        self, name: bytes, identity: Identity, at: datetime, *, refusal: str = "", is_released: bool = False
    ) -> Capture | None:
        """
        Move a file, and its companion, out of the client's reach into a claim folder of its own.

        `refusal` is the reason, if it is not to be imported; `is_released` means that it is whole whatever it looks
        like. Either goes with the claim.

        Returns None when it is gone, or was touched in the last moment and lies in the inbox again. Raises OSError;
        what was moved until then is among the `unfinished`.
        """
        claim_id = self._make_claim_folder(at)
        with self._claim_folder(claim_id) as folder_fd:
            if refusal:
                write_durably(folder_fd, _REFUSAL, [refusal.encode()])
            if is_released:
                write_durably(folder_fd, _RELEASED, [])
            try:
                move(self._fd, name, folder_fd, name)
            except OSError as error:
                self._clear_claim_folder(claim_id, folder_fd)
                if error.errno != errno.ENOENT:
                    raise
                return None
            for fd in (folder_fd, self._work_fd, self._fd):
                sync(fd)
            settled = _is_settled(folder_fd, name, identity)
            if settled:
                self._fetch_companion(folder_fd, name)
            elif self._give_back(claim_id, folder_fd, name):
                return None
        return Capture(claim_id, settled=settled)

    def _make_claim_folder(self, at: datetime) -> str:
        """
        Make a folder whose stamp no other unfinished claim has.

        Archive names are made from name and stamp, so two claims that end in either order cannot want the same one.
        """
        stamps = {claim_id.partition("-")[0] for claim_id in os.listdir(self._work_fd)}
        while f"{at:{_STAMP}}" in stamps:
            at += timedelta(seconds=1)
        claim_id = f"{at:{_STAMP}}-{os.urandom(4).hex()}"
        os.mkdir(claim_id, 0o700, dir_fd=self._work_fd)
        return claim_id

    @contextlib.contextmanager
    def _claim_folder(self, claim_id: str) -> Iterator[int]:
        fd = os.open(claim_id, fs.FOLDER, dir_fd=self._work_fd)
        try:
            yield fd
        finally:
            os.close(fd)

    def _fetch_companion(self, folder_fd: int, name: bytes) -> None:
        """Let the companion go with its upload. What may not vouch is left where it is, or given up if slipped in."""
        beside, kept = self._beside(name), _COMPANION + self._companion[1:]
        if beside is None or not self._may_vouch(beside[1]):
            return
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            move(self._fd, beside[0], folder_fd, kept)
            if not self._may_vouch(os.stat(kept, dir_fd=folder_fd, follow_symlinks=False)):
                os.unlink(kept, dir_fd=folder_fd)
            sync(folder_fd)

    def _clear_claim_folder(self, claim_id: str, folder_fd: int) -> None:
        """Remove a claim folder with all but an upload in it."""
        for name in os.listdir(folder_fd):
            if name.startswith("."):
                os.unlink(name, dir_fd=folder_fd)
        os.rmdir(claim_id, dir_fd=self._work_fd)

    def _give_back(self, claim_id: str, folder_fd: int, name: bytes) -> bool:
        """Return what was claimed and is not what was looked at; what is no file, under another name if need be."""
        if _is_file(folder_fd, name):
            return self._put_back(claim_id, folder_fd, name)
        tail = f".{claim_id}".encode()
        return self._put_back(claim_id, folder_fd, name, name[: _MAX_NAME_BYTES - len(tail)] + tail)

    def _put_back(self, claim_id: str, folder_fd: int, name: bytes, *other_names: bytes) -> bool:
        """Return a file to its name, or one of the others, unless all are taken."""
        for free_name in (name, *other_names):
            with contextlib.suppress(FileExistsError):
                move(folder_fd, name, self._fd, free_name)
                self._clear_claim_folder(claim_id, folder_fd)
                sync(self._fd)
                return True
        return False

    # Going on with what was begun

    def unfinished(self) -> list[str]:
        """Return the ids of the claims that lie in `.work`, oldest first; folders without an upload are removed."""
        claim_ids = sorted(name for name in os.listdir(self._work_fd) if _CLAIM_ID.fullmatch(name))
        return [claim_id for claim_id in claim_ids if self._holds_upload(claim_id)]

    def _holds_upload(self, claim_id: str) -> bool:
        with self._claim_folder(claim_id) as folder_fd:
            name = _upload_name(folder_fd)
            if name is not None and _is_file(folder_fd, name):
                return True
            if name is not None:
                # A link or the like, slipped in as we claimed.
                self._give_back(claim_id, folder_fd, name)
                return False
            self._clear_claim_folder(claim_id, folder_fd)
        return False

    @contextlib.contextmanager
    def resume(self, claim_id: str, *, archive: bytes | None = None) -> Iterator[Claim]:
        """
        Open an unfinished claim again, as the file is now. `archive` is the name it was promised, if any.

        Raises ClaimGone when the claim is not there any more, OSError for host trouble.
        """
        if not _exists(self._work_fd, claim_id.encode()):
            raise ClaimGone
        with self._claim_folder(claim_id) as folder_fd:
            name = _upload_name(folder_fd)
            if name is None:
                raise ClaimGone
            found = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
            self._finish_link(name, found)
            if self.glance(name) is None:
                self._fetch_companion(folder_fd, name)
            stamp = claim_id.partition("-")[0]
            yield Claim(
                claim_id=claim_id,
                client=self._client,
                name=name,
                folder_fd=folder_fd,
                bak_fd=self._bak_fd,
                archive=self._free_archive_name(name, stamp) if archive is None else archive,
                device=found.st_dev,
                inode=found.st_ino,
                size_bytes=found.st_size,
                mtime_ns=found.st_mtime_ns,
                claimed_at=datetime.fromisoformat(stamp),
                refusal=_refusal(folder_fd),
                is_released=_exists(folder_fd, _RELEASED),
            )

    def _finish_link(self, name: bytes, claimed: os.stat_result) -> None:
        """Complete a claim that was cut off between link and unlink, see `move`."""
        here = self.glance(name)
        if here is not None and (here.device, here.inode) == (claimed.st_dev, claimed.st_ino):
            os.unlink(name, dir_fd=self._fd)

    @staticmethod
    def is_in_writing(claim: Claim) -> bool:
        """Return whether a process has the claimed file open for writing."""
        with open_file(claim.name, claim.folder_fd) as file:
            return _writer(file.fileno()) is Writer.OPEN

    @staticmethod
    def discard_drafts(claim: Claim) -> None:
        """Remove what an import that was rolled back has written."""
        for name in map(os.fsencode, os.listdir(claim.folder_fd)):
            if name.startswith(b".") and not name.startswith((_REFUSAL, _RELEASED, _COMPANION)):
                os.unlink(name, dir_fd=claim.folder_fd)

    # Archiving

    def _free_archive_name(self, name: bytes, stamp: str) -> bytes:
        """Return `<stem>.<stamp>.csv` such that neither it nor the names beside it exist; `-2` and so on if need be."""
        stem = os.path.splitext(name)[0]
        for number in itertools.count(1):
            tail = f".{stamp}-{number}".encode() if number > 1 else f".{stamp}".encode()
            base = stem[: _MAX_NAME_BYTES - len(tail) - len(RESULT_TXT)] + tail
            endings = (b".csv", FAILED_CSV, RESULT_TXT, b".csv" + self._companion)
            if not any(_exists(self._bak_fd, base + ending) for ending in endings):
                return base + b".csv"
        raise AssertionError

    def archive(
        self, claim: Claim, *, copied_up_to_bytes: int = sys.maxsize, before_copying: Callable[[], None] = lambda: None
    ) -> None:
        """
        Move drafts and companion, and last the upload, to `.bak`; what was moved before is left out.

        A file above `copied_up_to_bytes`, which was refused unread, stays the client's own rather than be copied.
        `before_copying` is called before each part. Raises OSError, and what that raises; then it can be called again.
        """
        for draft, name in ((FAILED_CSV, failed_csv(claim.archive)), (RESULT_TXT, result_txt(claim.archive))):
            with contextlib.suppress(FileNotFoundError):
                with open_file(draft, claim.folder_fd) as file:
                    _open_up(file.fileno(), self._folder, _DRAFT_MODE)
                move(claim.folder_fd, draft, self._bak_fd, name)
        for name in map(os.fsencode, os.listdir(claim.folder_fd)):
            if name.startswith(_COMPANION):
                self._archive_companion(claim, name)
        with open_file(claim.name, claim.folder_fd) as file:
            if _make_ours(file.fileno(), self._folder) or claim.size_bytes > copied_up_to_bytes:
                move(claim.folder_fd, claim.name, self._bak_fd, claim.archive)
                sync(self._bak_fd)
            else:
                self._archive_copy(claim, file.fileno(), before_copying)
        self._clear_claim_folder(claim.claim_id, claim.folder_fd)

    def _archive_companion(self, claim: Claim, name: bytes) -> None:
        """Put what a companion says into `.bak` as a file of our own: the client may still have it open."""
        with open_file(name, claim.folder_fd) as file:
            write_durably(claim.folder_fd, name, [file.read(_MAX_COMPANION_BYTES)])
        with open_file(name, claim.folder_fd) as file:
            _open_up(file.fileno(), self._folder, _DRAFT_MODE)
        move(claim.folder_fd, name, self._bak_fd, claim.archive + b"." + name.removeprefix(_COMPANION))

    def _archive_copy(self, claim: Claim, fd: int, before_copying: Callable[[], None]) -> None:
        """Put a durable copy into `.bak`, then remove the original; a copy that is there already is not made again."""
        if not self._holds_copy(claim, os.fstat(fd)):
            _copy_durably(fd, claim.folder_fd, self._folder, before_copying)
            move(claim.folder_fd, _COPY, self._bak_fd, claim.archive)
            sync(self._bak_fd)
        os.unlink(claim.name, dir_fd=claim.folder_fd)

    def _holds_copy(self, claim: Claim, original: os.stat_result) -> bool:
        found = _stat(self._bak_fd, claim.archive)
        if found is None or found.st_uid != os.geteuid():
            return False
        return (found.st_size, found.st_mtime_ns) == (original.st_size, original.st_mtime_ns)

    def free_bytes(self) -> int:
        """Return how much the disk of the inbox can still take from us."""
        return free_bytes(self._fd)

    @property
    def device(self) -> int:
        """Return the number of the disk on which the inbox lies."""
        return os.fstat(self._fd).st_dev

    @contextlib.contextmanager
    def archived(self, archive: bytes) -> Iterator[BinaryIO]:
        """Open a file of `.bak` for reading. Raises OSError."""
        with open_file(archive, self._bak_fd) as file:
            yield file

    def holds_archive(self, archive: bytes) -> bool:
        """Return whether `.bak` has a file of this name."""
        return _exists(self._bak_fd, archive)


def free_bytes(folder: int | str) -> int:
    """Return how much the disk of a folder can still take from us."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def move(from_fd: int, name: bytes, to_fd: int, new_name: bytes) -> None:
    """
    Rename between two folders, never over an existing name.

    Raises FileExistsError and other OSError. Where the file system cannot rename so, link and unlink do; a crash
    between them leaves both names, and the next call completes it.
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


def _make_ours(fd: int, inbox: os.stat_result) -> bool:
    """Take a file from its owner, who could change it, and let the client read it; return whether that was allowed."""
    if os.fstat(fd).st_uid != os.geteuid():
        try:
            os.fchown(fd, os.geteuid(), -1)
        except PermissionError:
            return False
    _open_up(fd, inbox, _DRAFT_MODE)
    return True


def _copy_durably(fd: int, folder_fd: int, inbox: os.stat_result, before_copying: Callable[[], None]) -> None:
    """
    Copy an open file to `.copy` in the folder, with its time of change; holes stay holes.

    The kernel copies by itself, and where blocks can be shared (XFS, btrfs) next to nothing is written. On ext4 240 MB
    took 0.2 to 0.4 s, until the disk had them. Raises OSError, also when it is not all of the file, or was changed.
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_COPY, dir_fd=folder_fd)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(_COPY, flags, _DRAFT_MODE, dir_fd=folder_fd), "wb") as copy:
        found = os.fstat(fd)
        os.ftruncate(copy.fileno(), found.st_size)
        for start, end in filled(fd, found.st_size):
            _copy_range(fd, copy.fileno(), start, end, before_copying)
        _open_up(copy.fileno(), inbox, _DRAFT_MODE)
        os.utime(copy.fileno(), ns=(found.st_atime_ns, found.st_mtime_ns))
        if _identity(os.fstat(fd)) != _identity(found):
            raise OSError(errno.EBUSY, "the upload was changed while it was copied to .bak")
        sync(copy.fileno())


def filled(fd: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield where in a file there is data: from, to."""
    end = 0
    while end < size_bytes:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end


def _copy_range(from_fd: int, to_fd: int, start: int, end: int, before_copying: Callable[[], None]) -> None:
    while start < end:
        before_copying()
        copied = os.copy_file_range(from_fd, to_fd, min(end - start, _COPIED_AT_ONCE_BYTES), start, start)
        if not copied:
            raise OSError(errno.EIO, "the copy for .bak came out shorter than the upload")
        start += copied


def _names_in(parent_fd: int, name: bytes) -> Iterator[bytes]:
    """Yield the names in a folder, none when it cannot be opened."""
    try:
        fd = os.open(name, fs.FOLDER, dir_fd=parent_fd)
    except OSError:
        return
    try:
        with os.scandir(fd) as entries:
            yield from (os.fsencode(entry.name) for entry in entries)
    finally:
        os.close(fd)


def _look(fd: int) -> Look:
    found = os.fstat(fd)
    kind = _kind(found.st_mode)
    writer = _writer(fd) if kind is Kind.FILE else Writer.NONE
    return Look(identity=_identity(found), kind=kind, links=found.st_nlink, writer=writer)


def _is_settled(folder_fd: int, name: bytes, looked_at: Identity) -> bool:
    """Return whether a file just claimed is the one that was looked at, as it was, and closed."""
    if not _is_file(folder_fd, name):
        return False
    with open_file(name, folder_fd) as file:
        look = _look(file.fileno())
    # A rename changes the ctime, and leaves the companion behind.
    expected = msgspec.structs.replace(looked_at, ctime_ns=look.identity.ctime_ns, companion=None)
    return look.identity == expected and look.links == 1 and look.writer is not Writer.OPEN


def _is_file(folder_fd: int, name: bytes) -> bool:
    return stat.S_ISREG(os.stat(name, dir_fd=folder_fd, follow_symlinks=False).st_mode)


def _is_foreign(found: os.stat_result, inbox: os.stat_result) -> bool:
    """
    Return whether a file is of somebody who has no business in the inbox.

    As root we are not set up to tell clients apart.
    """
    return os.geteuid() != 0 and not is_of_client(found.st_uid, found.st_gid, inbox)


def is_of_client(uid: int, gid: int, inbox: os.stat_result) -> bool:
    """
    Return whether a user with this group has business in an inbox.

    Those who have: root and ourselves, the owner of the inbox, and where that is we, the members of its group. Where
    everybody may write, everybody belongs.
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


def _writer(fd: int) -> Writer:
    """
    Ask by a read lease, given back at once, whether any process has the file open for writing.

    Source: fcntl(2). About 40-100 us. Where it is refused (neither owner nor CAP_LEASE, or the file system has no
    leases) the answer is UNKNOWN.
    """
    # A writer that comes in the very moment signals us: by default with SIGIO, which ends the process.
    fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return Writer.OPEN if error.errno == errno.EAGAIN else Writer.UNKNOWN
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return Writer.NONE


def _identity(found: os.stat_result) -> Identity:
    return Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _kind(mode: int) -> Kind:
    kinds = {stat.S_IFREG: Kind.FILE, stat.S_IFLNK: Kind.LINK, stat.S_IFDIR: Kind.FOLDER, stat.S_IFIFO: Kind.FIFO}
    return kinds.get(stat.S_IFMT(mode), Kind.OTHER)


def _stat(folder_fd: int, name: bytes) -> os.stat_result | None:
    """Return what has this name, no link followed; None when nothing has, or could have: the name is too long."""
    try:
        return os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENAMETOOLONG):
            return None
        raise


def _refusal(folder_fd: int) -> str:
    """Return why the claim is not to be imported; "" when it is."""
    try:
        with open_file(_REFUSAL, folder_fd) as file:
            return file.read().decode()
    except FileNotFoundError:
        return ""


def _exists(folder_fd: int, name: bytes) -> bool:
    return _stat(folder_fd, name) is not None


def _upload_name(folder_fd: int) -> bytes | None:
    """Return the one name in a claim folder that is not a draft's."""
    return next((os.fsencode(name) for name in os.listdir(folder_fd) if not name.startswith(".")), None)
