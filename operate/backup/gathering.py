"""
What goes into a backup, and in which order, so that database and files agree although the service works on.

An upload moves from the inbox to `.work` and from there to `.bak`, and its row in the ledger is written while it is in
`.work`. So what waits is copied first, then the database, then what its ledger names:

1. the inboxes, then `.work`: a file that moves meanwhile is seen at least once. They are copied aside.
2. the database, at one moment, which is the moment of the backup.
3. the claims that its ledger has and does not know as archived, again: their answers are complete by now.
4. of what waited, all but what was claimed since the beginning and is in this ledger; of `.bak`, only what it names.

So a file is either waiting and unknown to the ledger, or recorded and in `.work` or `.bak`; never both, never neither.
What comes after step 1 and is not in the ledger yet is not part of the backup, nor is a file that is open for writing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from importer import fs, names
from importer.model import printable
from importer.store.sqlite import snapshot
from importer.store.sqlite.snapshot import Ledger, Upload
from operate.backup.manifest import DATABASE, Owner, member_name
from operate.backup.packing import Packing
from watcher.inbox.entries import writer_of
from watcher.inbox.layout import SIDECAR
from watcher.model import Writer

_GONE: Final = (FileNotFoundError, NotADirectoryError)
_CLOCK_STEP: Final = timedelta(minutes=1)  # by which a clock may be set back while files are copied


class Place(msgspec.Struct, frozen=True):
    """The inbox of a client."""

    client: str
    inbox: str


class _Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was copied aside, and what it was a copy of."""

    client: str
    claim: bytes  # b"" in the inbox
    name: bytes
    inode: int
    mtime_ns: int
    copy: Path

    @property
    def member(self) -> str:
        where = [b"work", self.claim] if self.claim else [b"inbox"]
        return member_name("files", self.client.encode(), *where, self.name)


def estimated_bytes(database: Path, places: Iterable[Place]) -> int:
    """Return about how many bytes a backup of these will have: files come and go."""
    folders = [path for place in places for path in (place.inbox, os.path.join(place.inbox, os.fsdecode(names.BAK)))]
    size_bytes = database.stat().st_size if database.exists() else 0
    for folder in folders:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            size_bytes += sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    return size_bytes


class Gathering:
    """Database and files of one backup; `staging` is a private folder next to it."""

    def __init__(self, packing: Packing, staging: Path) -> None:
        self._packing = packing
        self._staging = staging
        self._waiting: list[_Waiting] = []
        self._copies = 0
        self._started_at = datetime.now(UTC)

    def gather(self, database: Path, places: list[Place], *, with_files: bool) -> Ledger:
        """Add the database and, if wanted, the files of these clients. Raises OSError, StoreError."""
        if with_files:
            for place in places:
                self._copy_waiting(place)
        copy = self._staging / "rosterd.db"
        snapshot.copy_database(database, copy)
        ledger = snapshot.ledger(copy)
        if with_files:
            self._copy_recorded(places, ledger)
        self._add(DATABASE, copy, "service")
        if with_files:
            self._add_waiting(ledger)
            for place in places:
                self._add_archives(place, [upload for upload in ledger.uploads if upload.client == place.client])
        return ledger

    # What waits

    def _copy_waiting(self, place: Place) -> None:
        with _folder(place.inbox) as inbox_fd:
            for name in _files(inbox_fd):
                self._copy_aside(place.client, b"", name, inbox_fd)
        with _folder(place.inbox, names.WORK) as work_fd:
            for claim in [] if work_fd is None else sorted(map(os.fsencode, os.listdir(work_fd))):
                self._copy_claim(place.client, claim, work_fd)

    def _copy_claim(self, client: str, claim: bytes, work_fd: int | None) -> None:
        with contextlib.suppress(*_GONE), fs.open_folder(claim, work_fd) as claim_fd:
            for name in _files(claim_fd):
                self._copy_aside(client, claim, name, claim_fd)

    def _copy_recorded(self, places: list[Place], ledger: Ledger) -> None:
        """Copy the claims that the ledger has, and that are not archived as far as it knows, as they are now."""
        recorded = {(upload.client, upload.claim_id.encode()): upload for upload in ledger.uploads}
        self._discard(lambda each: (each.client, each.claim) in recorded)
        for place in places:
            with _folder(place.inbox, names.WORK) as work_fd:
                for (client, claim), upload in recorded.items():
                    if client == place.client and not upload.is_archived:
                        self._copy_claim(client, claim, work_fd)

    def _discard(self, is_unwanted: Callable[[_Waiting], bool]) -> None:
        """Delete copies that the backup is not to have."""
        for each in filter(is_unwanted, self._waiting):
            each.copy.unlink()
        self._waiting = [each for each in self._waiting if not is_unwanted(each)]

    def _copy_aside(self, client: str, claim: bytes, name: bytes, folder_fd: int | None) -> None:
        """Copy a file that is whole; one that is being uploaded, or is gone by now, is passed over."""
        with contextlib.suppress(*_GONE), fs.open_file(name, folder_fd) as file:
            before = os.fstat(file.fileno())
            self._copies += 1
            copy = self._staging / f"waiting-{self._copies}"
            is_open = not claim and writer_of(file.fileno()) is Writer.OPEN
            if not is_open:
                _copy(file, copy)
            after = os.fstat(file.fileno())
            if is_open or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                copy.unlink(missing_ok=True)
                self._packing.left_out.append(f"{client}: {printable(name)} was being uploaded")
                return
            os.utime(copy, ns=(before.st_mtime_ns, before.st_mtime_ns))
            copy.chmod(stat.S_IMODE(before.st_mode) & 0o777)
            waiting = _Waiting(
                client=client,
                claim=claim,
                name=name,
                inode=before.st_ino,
                mtime_ns=before.st_mtime_ns,
                copy=copy,
            )
            self._waiting.append(waiting)

    def _add_waiting(self, ledger: Ledger) -> None:
        """Add what the ledger does not have, and the claims of its files that are not archived."""
        # An inode can be used again, and a client can set the time of a file: only what moved meanwhile counts.
        moved = {
            (each.client, each.inode, each.mtime_ns)
            for each in ledger.uploads
            if each.claimed_at >= self._started_at - _CLOCK_STEP
        }
        claimed = {(each.client, each.inode, each.mtime_ns) for each in self._waiting if each.claim}
        for each in self._waiting:
            if each.claim or (each.client, each.inode, each.mtime_ns) not in moved | claimed:
                self._add(each.member, each.copy, "service" if each.claim else "client")

    # What is archived

    def _add_archives(self, place: Place, uploads: Iterable[Upload]) -> None:
        waiting = {(each.claim, each.name) for each in self._waiting if each.client == place.client}
        claims = {claim for claim, name in waiting if not name.startswith(b".")}
        with _folder(place.inbox, names.BAK) as bak_fd:
            there = set() if bak_fd is None else set(map(os.fsencode, os.listdir(bak_fd)))
            for upload in uploads:
                claim = upload.claim_id.encode()
                if upload.archive in there and claim not in claims:
                    self._add_archive(place.client, upload, bak_fd)
                for name in names.all_of(upload.archive)[1:]:
                    if name in there and (claim, _draft_of(upload.archive, name)) not in waiting:
                        self._add_from(bak_fd, name, member_name("files", place.client.encode(), b"bak", name))

    def _add_archive(self, client: str, upload: Upload, bak_fd: int | None) -> None:
        """Add an archive; that of a file that was on hold at the moment of the database is a claim again."""
        where = [b"bak", upload.archive]
        if upload.is_on_hold:
            where = [b"work", upload.claim_id.encode(), names.as_uploaded(upload.archive)]
        self._add_from(bak_fd, upload.archive, member_name("files", client.encode(), *where))

    def _add_from(self, folder_fd: int | None, name: bytes, member: str) -> None:
        with contextlib.suppress(FileNotFoundError), fs.open_file(name, folder_fd) as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                self._packing.add_file(member, file, "service")

    def _add(self, name: str, path: Path, owner: Owner) -> None:
        with path.open("rb") as file:
            self._packing.add_file(name, file, owner)


@contextlib.contextmanager
def _folder(inbox: str, name: bytes = b"") -> Iterator[int | None]:
    """Yield the handle of an inbox, or of a folder in it; None when there is none."""
    with contextlib.ExitStack() as handles:
        try:
            fd: int | None = handles.enter_context(fs.open_folder(inbox))
            fd = handles.enter_context(fs.open_folder(name, fd)) if name else fd
        except _GONE:
            fd = None
        yield fd


def _files(folder_fd: int | None) -> list[bytes]:
    """Return the names of the regular files in a folder."""
    if folder_fd is None:
        return []
    with os.scandir(folder_fd) as entries:
        return sorted(os.fsencode(entry.name) for entry in entries if entry.is_file(follow_symlinks=False))


def _draft_of(archive: bytes, answer: bytes) -> bytes:
    """Return the name in a claim folder of what has this name in `.bak`."""
    drafts = {names.answer(archive, ending): ending for ending in names.ANSWERS}
    return drafts.get(answer) or SIDECAR + answer.removeprefix(archive + b".")


def _copy(file: BinaryIO, target: Path) -> None:
    with open(os.open(target, fs.NEW_FILE, 0o600), "wb") as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
