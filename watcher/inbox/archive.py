"""
From a claim folder to `.bak`: the answers and the sidecar first, then the upload, as files of the service's own.

`layout` lists the durable steps.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

from importer.durable import sync, write_durably
from importer.fs import open_file
from importer.model import Claim
from importer.names import FAILED_CSV, RESULT_TXT, failed_csv, result_txt
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
    """Return `<stem>.<stamp>.csv` such that neither it nor the names beside it exist; `-2` and so on if need be."""
    stem = os.path.splitext(name)[0]
    for number in itertools.count(1):
        tail = f".{stamp}-{number}".encode() if number > 1 else f".{stamp}".encode()
        base = stem[: MAX_NAME_BYTES - len(tail) - len(RESULT_TXT)] + tail
        endings = (b".csv", FAILED_CSV, RESULT_TXT, b".csv" + inbox.sidecar)
        if not any(exists(inbox.bak_fd, base + ending) for ending in endings):
            return base + b".csv"
    raise AssertionError


def archive_claim(
    inbox: Inbox,
    claim: Claim,
    *,
    copied_up_to_bytes: int = sys.maxsize,
    before_copying: Callable[[], None] = lambda: None,
) -> None:
    """
    Move drafts and sidecar, and last the upload, to `.bak`; what was moved before is left out.

    A file above `copied_up_to_bytes`, which was refused unread, stays the client's own rather than be copied.
    `before_copying` is called before each part. Raises OSError, and what that raises; then it can be called again.
    """
    for draft, name in ((FAILED_CSV, failed_csv(claim.archive)), (RESULT_TXT, result_txt(claim.archive))):
        with contextlib.suppress(FileNotFoundError):
            with open_file(draft, claim.folder_fd) as file:
                open_up(file.fileno(), inbox.folder, DRAFT_MODE)
            layout.move(claim.folder_fd, draft, inbox.bak_fd, name)
    for name in map(os.fsencode, os.listdir(claim.folder_fd)):
        if name.startswith(SIDECAR):
            _archive_sidecar(inbox, claim, name)
    with open_file(claim.name, claim.folder_fd) as file:
        if _take_ownership(file.fileno(), inbox.folder) or claim.size_bytes > copied_up_to_bytes:
            layout.move(claim.folder_fd, claim.name, inbox.bak_fd, claim.archive)
            sync(inbox.bak_fd)
        else:
            _archive_copy(inbox, claim, file.fileno(), before_copying)
    clear_claim_folder(inbox, claim.claim_id, claim.folder_fd)


def _archive_sidecar(inbox: Inbox, claim: Claim, name: bytes) -> None:
    """Put what a sidecar says into `.bak` as a file of our own: the client may still have it open."""
    with open_file(name, claim.folder_fd) as file:
        write_durably(claim.folder_fd, name, [file.read(MAX_SIDECAR_BYTES)])
    with open_file(name, claim.folder_fd) as file:
        open_up(file.fileno(), inbox.folder, DRAFT_MODE)
    layout.move(claim.folder_fd, name, inbox.bak_fd, claim.archive + b"." + name.removeprefix(SIDECAR))


def _archive_copy(inbox: Inbox, claim: Claim, fd: int, before_copying: Callable[[], None]) -> None:
    """Put a durable copy into `.bak`, then remove the original; a copy that is there already is not made again."""
    if not _holds_copy(inbox, claim, os.fstat(fd)):
        _copy_durably(fd, claim.folder_fd, inbox.folder, before_copying)
        layout.move(claim.folder_fd, _COPY, inbox.bak_fd, claim.archive)
        sync(inbox.bak_fd)
    os.unlink(claim.name, dir_fd=claim.folder_fd)


def _holds_copy(inbox: Inbox, claim: Claim, original: os.stat_result) -> bool:
    found = stat_of(inbox.bak_fd, claim.archive)
    if found is None or found.st_uid != os.geteuid():
        return False
    return (found.st_size, found.st_mtime_ns) == (original.st_size, original.st_mtime_ns)


def open_archived(inbox: Inbox, archive: bytes) -> BinaryIO:
    """Open a file of `.bak` for reading. Raises OSError."""
    return open_file(archive, inbox.bak_fd)


def holds_archive(inbox: Inbox, archive: bytes) -> bool:
    """Return whether `.bak` has a file of this name."""
    return exists(inbox.bak_fd, archive)


def _take_ownership(fd: int, inbox: os.stat_result) -> bool:
    """Take a file from its owner, who could change it, and let the client read it; return whether that was allowed."""
    if os.fstat(fd).st_uid != os.geteuid():
        try:
            os.fchown(fd, os.geteuid(), -1)
        except PermissionError:
            return False
    open_up(fd, inbox, DRAFT_MODE)
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
    with open(os.open(_COPY, flags, DRAFT_MODE, dir_fd=folder_fd), "wb") as copy:
        found = os.fstat(fd)
        os.ftruncate(copy.fileno(), found.st_size)
        for start, end in filled(fd, found.st_size):
            _copy_range(fd, copy.fileno(), start, end, before_copying)
        open_up(copy.fileno(), inbox, DRAFT_MODE)
        os.utime(copy.fileno(), ns=(found.st_atime_ns, found.st_mtime_ns))
        if identity_of(os.fstat(fd)) != identity_of(found):
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
