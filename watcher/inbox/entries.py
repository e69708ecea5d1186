"""
What is in an inbox: its files listed, looked at and opened for reading. Nothing is moved or changed.

Only plain files are opened, no link is followed, and nothing is waited for.
"""

from __future__ import annotations

import errno
import fcntl
import heapq
import itertools
import math
import os
import signal
import stat
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from importer import fs
from importer.file.upload import Upload
from importer.fs import open_file
from importer.names import BAK, WORK
from watcher.inbox.layout import Inbox, is_foreign, stat_of
from watcher.model import Identity, Kind, Look, Writer

_REPLACED: Final = (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EISDIR)  # what was a file a moment ago
MAX_SIDECAR_BYTES: Final = 4096
_TIMES_LISTED: Final = 5  # to find those that came first; 50,000 names took 0.2 to 0.5 s
_STRAY_AGE_S: Final = 86_400
_MAX_STRAYS: Final = 100  # of one sweep
_MAX_SUSPECTS: Final = 2_000  # likewise: to open so many folders takes 50 ms
_MAX_ENTRIES: Final = 20_000  # likewise, to find them among; as long


def list_files(inbox: Inbox, accepts: Callable[[bytes], bool], limit: int) -> dict[bytes, Identity]:
    """
    Return at most `limit` entries whose names are accepted: those that came first.

    Of more than `_TIMES_LISTED` times as many not all are looked at.
    """
    with os.scandir(inbox.fd) as entries:
        accepted = filter(accepts, (os.fsencode(entry.name) for entry in entries))
        names = list(itertools.islice(accepted, _TIMES_LISTED * limit))
    if len(names) > limit:
        names = heapq.nsmallest(limit, names, key=lambda name: _arrival(inbox, name))
    # Only now: to look for sidecars is to list the folder through the same handle.
    glances = ((name, glance(inbox, name)) for name in names)
    return {name: identity for name, identity in glances if identity is not None}


def _arrival(inbox: Inbox, name: bytes) -> tuple[float, bytes]:
    found = stat_of(inbox.fd, name)
    return math.inf if found is None else found.st_ctime_ns, name


def glance(inbox: Inbox, name: bytes) -> Identity | None:
    """Return what has this name, None when nothing has."""
    found = stat_of(inbox.fd, name)
    return None if found is None else _identity_of_upload(inbox, name, found)


def _identity_of_upload(inbox: Inbox, name: bytes, found: os.stat_result) -> Identity:
    beside = sidecar_of(inbox, name)
    sidecar = None if beside is None else (beside[1].st_ino, beside[1].st_size, beside[1].st_mtime_ns)
    return msgspec.structs.replace(identity_of(found), sidecar=sidecar)


def look(inbox: Inbox, name: bytes) -> Look | None:
    """
    Examine what has this name closely, None when nothing has.

    Only a file is opened. Raises OSError when that is refused.
    """
    try:
        entry = os.stat(name, dir_fd=inbox.fd, follow_symlinks=False)
        if not stat.S_ISREG(entry.st_mode):
            return Look(identity=_identity_of_upload(inbox, name, entry), kind=_kind(entry.st_mode))
        if is_foreign(entry, inbox.folder):
            return Look(identity=_identity_of_upload(inbox, name, entry), kind=Kind.FILE, foreign=True)
        with open_file(name, inbox.fd) as file:
            identity = _identity_of_upload(inbox, name, os.fstat(file.fileno()))
            return msgspec.structs.replace(look_at(file.fileno()), identity=identity)
    except FileNotFoundError:
        return None


def open_upload(inbox: Inbox, name: bytes, before_read: Callable[[], None] = lambda: None) -> Upload:
    """Open a file of the inbox for reading. Raises OSError."""
    return Upload(name, before_read, folder_fd=inbox.fd)


def read_sidecar(inbox: Inbox, name: bytes) -> bytes | None:
    """
    Return what the file that vouches for this one says; None when there is none, or no plain and small one.

    Raises OSError when it cannot be read: that speaks against the host, not against the upload.
    """
    beside = sidecar_of(inbox, name)
    if beside is None or not may_vouch(inbox, beside[1]):
        return None
    try:
        with open_file(beside[0], inbox.fd) as file:
            content = file.read(MAX_SIDECAR_BYTES + 1)
    except OSError as error:
        if error.errno in _REPLACED:
            return None
        raise
    return content if len(content) <= MAX_SIDECAR_BYTES else None


def sidecar_of(inbox: Inbox, name: bytes) -> tuple[bytes, os.stat_result] | None:
    """Return the sidecar of a name, in whatever case its own is spelled; None when there is none."""
    if not inbox.sidecar:
        return None
    beside = name + inbox.sidecar
    if (found := stat_of(inbox.fd, beside)) is not None:
        return beside, found
    spelled = inbox.sidecars.get(beside.lower())
    if spelled is None or (found := stat_of(inbox.fd, spelled)) is None:
        return None
    upload = spelled[: -len(inbox.sidecar)]
    return (spelled, found) if upload == name or stat_of(inbox.fd, upload) is None else None


def may_vouch(inbox: Inbox, found: os.stat_result) -> bool:
    """Return whether a sidecar is a small plain file with one name, of the client's own."""
    is_plain = stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_size <= MAX_SIDECAR_BYTES
    return is_plain and not is_foreign(found, inbox.folder)


def list_strays(
    inbox: Inbox, accepts: Callable[[bytes], bool], is_temporary: Callable[[bytes], bool], now_s: float
) -> list[bytes]:
    """
    Return what looks like an upload and will not be one: in folders of the client's, and temporary names of old.

    Paths relative to the inbox, a bounded number, found by a bounded number of looks. `now_s` is the time of day.
    """

    def is_stray(path: bytes) -> bool:
        folder, _, inner = path.rpartition(b"/")
        if folder:
            return inner != b"" and accepts(inner)
        found = stat_of(inbox.fd, path)
        return found is not None and now_s - found.st_ctime > _STRAY_AGE_S

    suspects = itertools.islice(_suspects(inbox, is_temporary), _MAX_SUSPECTS)
    return sorted(filter(is_stray, suspects))[:_MAX_STRAYS]


def _suspects(inbox: Inbox, is_temporary: Callable[[bytes], bool]) -> Iterator[bytes]:
    """Yield temporary names and folders, these with a slash at their end, each followed by what is in it."""
    with os.scandir(inbox.fd) as entries:
        for entry in itertools.islice(entries, _MAX_ENTRIES):
            name = os.fsencode(entry.name)
            if entry.is_dir(follow_symlinks=False):
                if name not in (WORK, BAK):
                    yield name + b"/"
                    yield from (name + b"/" + inner for inner in _names_in(inbox.fd, name))
            elif is_temporary(name):
                yield name


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


def look_at(fd: int) -> Look:
    """Examine an open file."""
    found = os.fstat(fd)
    kind = _kind(found.st_mode)
    writer = writer_of(fd) if kind is Kind.FILE else Writer.NONE
    return Look(identity=identity_of(found), kind=kind, links=found.st_nlink, writer=writer)


def writer_of(fd: int) -> Writer:
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


def identity_of(found: os.stat_result) -> Identity:
    """Return the identity of a file, without its sidecar."""
    return Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _kind(mode: int) -> Kind:
    kinds = {stat.S_IFREG: Kind.FILE, stat.S_IFLNK: Kind.LINK, stat.S_IFDIR: Kind.FOLDER, stat.S_IFIFO: Kind.FIFO}
    return kinds.get(stat.S_IFMT(mode), Kind.OTHER)
