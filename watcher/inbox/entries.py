"""
The files of an inbox: listed, examined and opened for reading. Nothing is moved or changed.

Only plain files are opened, no link is followed, and nothing blocks.
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
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

import msgspec

from importer import fs
from importer.file.upload import Upload
from importer.fs import open_file
from importer.names import BAK, WORK
from watcher.inbox.layout import Inbox, Uploads, is_foreign, is_strangers, stat_of
from watcher.model import Identity, Kind, Look, Waiting, Writer
from watcher.strays.remedies import Names
from watcher.strays.walk import Listing, Rules, list_strays

_REPLACED: Final = (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EISDIR)  # what was a file a moment ago
MAX_SIDECAR_BYTES: Final = 4096
_TIMES_LISTED: Final = 5  # to find the oldest; 50,000 names took 0.2 to 0.5 s
_MAX_MEASURED: Final = 20_000  # in a sweep, and before each claim; 50 ms


def list_files(inbox: Uploads, accepts: Callable[[bytes], bool], limit: int) -> dict[bytes, Identity]:
    """
    Return at most `limit` entries whose names are accepted, the oldest ones.

    Of more than `_TIMES_LISTED` times as many, not all are examined.
    """
    with os.scandir(inbox.fd) as entries:
        accepted = filter(accepts, (os.fsencode(entry.name) for entry in entries))
        names = list(itertools.islice(accepted, _TIMES_LISTED * limit))
    if len(names) > limit:
        names = heapq.nsmallest(limit, names, key=lambda name: _arrival(inbox, name))
    # Only now: looking for sidecars lists the folder through the same handle.
    identities = ((name, find_identity(inbox, name)) for name in names)
    return {name: identity for name, identity in identities if identity is not None}


def _arrival(inbox: Uploads, name: bytes) -> tuple[float, bytes]:
    info = stat_of(inbox.fd, name)
    return math.inf if info is None else info.st_ctime_ns, name


def find_identity(inbox: Uploads, name: bytes) -> Identity | None:
    """Return the entry with this name, None when there is none."""
    info = stat_of(inbox.fd, name)
    return None if info is None else _identity_of_upload(inbox, name, info)


def _identity_of_upload(inbox: Uploads, name: bytes, status: os.stat_result) -> Identity:
    sidecar_entry = sidecar_of(inbox, name)
    sidecar = (
        None
        if sidecar_entry is None
        else (sidecar_entry[1].st_ino, sidecar_entry[1].st_size, sidecar_entry[1].st_mtime_ns)
    )
    return msgspec.structs.replace(identity_of(status), sidecar=sidecar)


def look(inbox: Uploads, name: bytes) -> Look | None:
    """
    Examine the entry with this name closely; None when there is none.

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


def open_upload(inbox: Uploads, name: bytes, before_read: Callable[[], None] = lambda: None) -> Upload:
    """Open a file of the inbox for reading. Raises OSError."""
    return Upload(name, before_read, folder_fd=inbox.fd)


def read_sidecar(inbox: Uploads, name: bytes) -> bytes | None:
    """
    Return the content of the sidecar of this file; None when there is none that is plain and small.

    Raises OSError when it cannot be read: that is a problem of the host, not of the upload.
    """
    sidecar = sidecar_of(inbox, name)
    if sidecar is None or not is_valid_sidecar(inbox, sidecar[1]):
        return None
    try:
        with open_file(sidecar[0], inbox.fd) as file:
            content = file.read(MAX_SIDECAR_BYTES + 1)
    except OSError as error:
        if error.errno in _REPLACED:
            return None
        raise
    return content if len(content) <= MAX_SIDECAR_BYTES else None


def sidecar_of(inbox: Uploads, name: bytes) -> tuple[bytes, os.stat_result] | None:
    """Return the name of the sidecar of a name, in upper or lower case; None when there is none."""
    if not inbox.sidecar:
        return None
    sidecar = name + inbox.sidecar
    if (info := stat_of(inbox.fd, sidecar)) is not None:
        return sidecar, info
    spelled = inbox.sidecars.get(sidecar.lower())
    if spelled is None or (info := stat_of(inbox.fd, spelled)) is None:
        return None
    upload = spelled[: -len(inbox.sidecar)]
    return (spelled, info) if upload == name or stat_of(inbox.fd, upload) is None else None


def is_valid_sidecar(inbox: Uploads, status: os.stat_result) -> bool:
    """Return whether a sidecar is a small plain file with one link, owned by the client."""
    is_plain = stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_size <= MAX_SIDECAR_BYTES
    return is_plain and not is_foreign(status, inbox.folder)


def find_strays(inbox: Inbox, names: Names, now_s: float, own: Collection[bytes]) -> tuple[Listing, Listing]:
    """
    Return the strays in an inbox itself, and those in its folders.

    `now_s` is the time of day, `own` are the folders that are not the client's.
    """

    def is_taken(name: bytes) -> bool:
        return names.accept(name) or is_companion(name)

    def is_companion(name: bytes) -> bool:
        ending = inbox.sidecar
        return bool(ending) and name.lower().endswith(ending) and names.accept(name[: -len(ending)])

    rules = Rules(is_taken, names.is_temporary, lambda status: is_strangers(status, inbox.folder), own)
    return list_strays(inbox.fd, rules, now_s)


def staying_bytes(inbox: Inbox, accepts: Callable[[bytes], bool], waiting: Iterable[Waiting]) -> int:
    """
    Return the size of all files in an inbox, also in its folders, but for uploads that are not decided on yet.

    Those may be known by no event so far, or still be written: more than fits may come at once. Of more than
    `_MAX_MEASURED` entries the rest is not counted.
    """
    held = {each.name for each in waiting if each.held or each.ignored}
    size_bytes, measured, folders = 0, 0, [b"."]
    while folders and measured < _MAX_MEASURED:
        folder = folders.pop()
        for name in _names_in(inbox.fd, folder):
            path = name if folder == b"." else folder + b"/" + name
            is_upload = b"/" not in path and accepts(path) and path not in held
            info = None if is_upload or path in (WORK, BAK) else stat_of(inbox.fd, path)
            measured += 1
            if info is not None and stat.S_ISDIR(info.st_mode):
                folders.append(path)
            elif info is not None and stat.S_ISREG(info.st_mode):
                size_bytes += info.st_size
    return size_bytes


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
    info = os.fstat(fd)
    kind = _kind(info.st_mode)
    writer = writer_of(fd) if kind is Kind.FILE else Writer.NONE
    return Look(identity=identity_of(info), kind=kind, links=info.st_nlink, writer=writer)


def writer_of(fd: int) -> Writer:
    """
    Ask by a read lease, released at once, whether any process has the file open for writing.

    Source: fcntl(2). About 40-100 us. Where it is refused (neither owner nor CAP_LEASE, or the file system has no
    leases) the answer is UNKNOWN.
    """
    # A writer that opens it at that moment makes the kernel signal us: by default SIGIO, which ends the process.
    fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return Writer.OPEN if error.errno == errno.EAGAIN else Writer.UNKNOWN
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return Writer.NONE


def identity_of(status: os.stat_result) -> Identity:
    """Return the identity of a file, without its sidecar."""
    return Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _kind(mode: int) -> Kind:
    kinds = {stat.S_IFREG: Kind.FILE, stat.S_IFLNK: Kind.LINK, stat.S_IFDIR: Kind.FOLDER, stat.S_IFIFO: Kind.FIFO}
    return kinds.get(stat.S_IFMT(mode), Kind.OTHER)
