"""
From a claim folder to `.bak`: the answers and the sidecar first, then the upload, as files that the service owns.

`layout` lists the durable steps.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from importer import names
from importer.durable import Unsynced, sync, write_durably
from importer.file.unwrap.endings import divided
from importer.fs import open_file
from importer.model import Claim
from watcher.inbox import layout
from watcher.inbox.entries import MAX_SIDECAR_BYTES, identity_of
from watcher.inbox.layout import (
    DRAFT_MODE,
    MAX_NAME_BYTES,
    SIDECAR,
    Inbox,
    clear_claim_folder,
    exists,
    open_up,
    stat_of,
)

_COPY: Final = b".copy"
_COPIED_AT_ONCE_BYTES: Final = 16 << 20  # a second on a slow disk


def free_archive_name(inbox: Inbox, name: bytes, stamp: str) -> bytes:
    """Return `<stem>.<stamp>` and an ending such that neither it nor the names next to it exist; `-2` if need be."""
    stem, ending = divided(name)
    for number in itertools.count(1):
        tail = (f".{stamp}-{number}" if number > 1 else f".{stamp}").encode() + ending
        longest_bytes = max(map(len, names.all_of(tail)))
        archive = stem[: MAX_NAME_BYTES - longest_bytes] + tail
        if not any(exists(inbox.bak_fd, each) for each in names.all_of(archive)):
            return archive
    raise AssertionError


def archive_answers(inbox: Inbox, claim: Claim) -> None:
    """
    Move the drafts of the answers to `.bak`; skip what was moved. Raises OSError.

    Those of an earlier answer to the same file, which was on hold, are replaced, and removed if there is none any more.
    """
    for draft in reversed(names.ANSWERS):
        answer = names.answer(claim.archive, draft)
        if exists(claim.folder_fd, draft):
            with open_file(draft, claim.folder_fd) as file:
                open_up(file.fileno(), inbox.folder, DRAFT_MODE)
            os.rename(draft, answer, src_dir_fd=claim.folder_fd, dst_dir_fd=inbox.bak_fd)
    sync(inbox.bak_fd)


def archive_claim(
    inbox: Inbox,
    claim: Claim,
    *,
    copied_up_to_bytes: int = sys.maxsize,
    before_copying: Callable[[], None] = lambda: None,
) -> None:
    """Archive one claim, as `archive_claims` does."""
    archive_claims([(inbox, claim)], copied_up_to_bytes=copied_up_to_bytes, before_copying=before_copying)


def archive_claims(
    claims: Sequence[tuple[Inbox, Claim]], *, copied_up_to_bytes: int, before_copying: Callable[[], None] = lambda: None
) -> None:
    """
    Move drafts and sidecars, and last the uploads, to `.bak`; skip what was already moved.

    A file above `copied_up_to_bytes`, which was refused unread, is not copied and still belongs to the client.
    `before_copying` is called before each part. Raises OSError, and what that raises; the call can be repeated.
    """
    with Unsynced() as unsynced:
        copied = [
            _make_copy(inbox, claim, unsynced, up_to_bytes=copied_up_to_bytes, before_each=before_copying)
            for inbox, claim in claims
        ]
        unsynced.sync()  # before a copy has the name of the upload: after a power cut it could be empty
        for (inbox, claim), is_copied in zip(claims, copied, strict=True):
            _archive_rest(inbox, claim)
            if not is_copied:
                layout.move(claim.folder_fd, claim.name, inbox.bak_fd, claim.archive)
            elif exists(claim.folder_fd, _COPY):
                layout.move(claim.folder_fd, _COPY, inbox.bak_fd, claim.archive)
            unsynced.add(inbox.bak_fd)
        unsynced.sync()
    for (inbox, claim), is_copied in zip(claims, copied, strict=True):
        if is_copied:
            os.unlink(claim.name, dir_fd=claim.folder_fd)
        clear_claim_folder(inbox, claim.claim_id, claim.folder_fd)


def _archive_rest(inbox: Inbox, claim: Claim) -> None:
    """Move drafts and sidecar to `.bak`."""
    for draft in reversed(names.ANSWERS):
        with contextlib.suppress(FileNotFoundError):
            with open_file(draft, claim.folder_fd) as file:
                open_up(file.fileno(), inbox.folder, DRAFT_MODE)
            layout.move(claim.folder_fd, draft, inbox.bak_fd, names.answer(claim.archive, draft))
    for name in map(os.fsencode, os.listdir(claim.folder_fd)):
        if name.startswith(SIDECAR):
            _archive_sidecar(inbox, claim, name)


def _archive_sidecar(inbox: Inbox, claim: Claim, name: bytes) -> None:
    """Copy a sidecar into `.bak`: the client may still have the original open."""
    with open_file(name, claim.folder_fd) as file:
        write_durably(claim.folder_fd, name, [file.read(MAX_SIDECAR_BYTES)])
    with open_file(name, claim.folder_fd) as file:
        open_up(file.fileno(), inbox.folder, DRAFT_MODE)
    layout.move(claim.folder_fd, name, inbox.bak_fd, claim.archive + b"." + name.removeprefix(SIDECAR))


def _make_copy(
    inbox: Inbox, claim: Claim, unsynced: Unsynced, *, up_to_bytes: int, before_each: Callable[[], None]
) -> bool:
    """
    Take the upload from its owner; return whether that takes a copy, which is `.copy` in the claim folder.

    A copy that is in `.bak` already is kept.
    """
    with open_file(claim.name, claim.folder_fd) as file:
        if _take_ownership(file.fileno(), inbox.folder) or claim.size_bytes > up_to_bytes:
            return False
        with contextlib.suppress(FileNotFoundError):  # of an earlier try, which may not be whole
            os.unlink(_COPY, dir_fd=claim.folder_fd)
        if not _holds_copy(inbox, claim, os.fstat(file.fileno())):
            _copy(file.fileno(), claim.folder_fd, inbox.folder, before_each, unsynced)
    return True


def _holds_copy(inbox: Inbox, claim: Claim, original: os.stat_result) -> bool:
    info = stat_of(inbox.bak_fd, claim.archive)
    if info is None or info.st_uid != os.geteuid():
        return False
    return (info.st_size, info.st_mtime_ns) == (original.st_size, original.st_mtime_ns)


def holds_archive(inbox: Inbox, archive: bytes) -> bool:
    """Return whether `.bak` has a file of this name."""
    return exists(inbox.bak_fd, archive)


def _take_ownership(fd: int, inbox: os.stat_result) -> bool:
    """Take a file from its owner, who could change it, and let the client read it; return whether that is permitted."""
    if os.fstat(fd).st_uid != os.geteuid():
        try:
            os.fchown(fd, os.geteuid(), -1)
        except PermissionError:
            return False
    open_up(fd, inbox, DRAFT_MODE)
    return True


def _copy(
    fd: int, folder_fd: int, inbox: os.stat_result, before_copying: Callable[[], None], unsynced: Unsynced
) -> None:
    """
    Copy an open file to `.copy` in the folder, with its modification time; holes stay holes.

    The kernel copies, and where blocks can be shared (XFS, btrfs) almost nothing is written. On ext4 240 MB
    took 0.2 to 0.4 s, until the disk had them. Raises OSError, also for an incomplete copy or a file that was changed.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(_COPY, flags, DRAFT_MODE, dir_fd=folder_fd), "wb") as copy:
        info = os.fstat(fd)
        os.ftruncate(copy.fileno(), info.st_size)
        for start, end in filled(fd, info.st_size):
            _copy_range(fd, copy.fileno(), start, end, before_copying)
        open_up(copy.fileno(), inbox, DRAFT_MODE)
        os.utime(copy.fileno(), ns=(info.st_atime_ns, info.st_mtime_ns))
        if identity_of(os.fstat(fd)) != identity_of(info):
            raise OSError(errno.EBUSY, "the upload was changed while it was copied to .bak")
        unsynced.add(copy.fileno())


def filled(fd: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of a file that contain data: from, to."""
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
