"""
An archive, and its failed CSV, without the rows of one person; every other byte stays.

Durable steps of one import, and what a restart finds after each:

1. the new files in `.work/<claim id>/`: a claim folder without an upload, which the next sweep removes.
2. hash and size of the new archive committed: an archive that is not as recorded, until the order is given again.
3. the new files renamed over the old ones, the folder synced: nothing to do.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import BinaryIO, Final

import msgspec
import structlog

from importer import fs, names
from importer.characters import is_unique_id
from importer.durable import sync, write_durably
from importer.file.quotes import weight
from importer.file.scan import scan
from importer.file.table import Table
from importer.file.text import text_chunks, text_lines
from importer.fs import open_file
from importer.model import FileRejected, Interrupted, message, printable
from importer.settings import ClientSettings, FileSettings
from importer.store import ledger, retention
from importer.store.database import Store
from importer.store.integrity import Record
from importer.store.retention import Kept

log = structlog.get_logger()

_ROWS_BETWEEN_LOOKS: Final = 1000


class NotRewritable(Exception):
    """A file cannot be read as a table, or not be written again byte for byte. The message says why."""


class _Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A file without the rows, not in its place yet."""

    rows: int  # how many were taken out
    sha256: str
    size_bytes: int


class Rewriter:
    """Takes people out of the archives of one client. `stopping` is asked now and then whether to leave it."""

    def __init__(
        self, store: Store, client: ClientSettings, limits: FileSettings, stopping: Callable[[], bool]
    ) -> None:
        self._store = store
        self._client = client
        self._limits = limits
        self._stopping = stopping

    def take_out(self, unique_id: str, record: Record, work_fd: int, bak_fd: int) -> str:
        """
        Take the rows of a person out of the files of an import; return in a sentence what was done.

        A file that was refused because it is not a table is removed: no rows can be found in it. Raises NotRewritable,
        Interrupted and OSError, and then nothing was changed; StoreError.
        """
        archive, failed = record.archive, names.failed_csv(record.archive)
        try:
            with _scratch(work_fd, record.claim_id) as scratch_fd:
                drafts = [
                    self._draft(unique_id, bak_fd, name, scratch_fd, draft)
                    for name, draft in zip((archive, failed), names.REWRITTEN_DRAFTS, strict=True)
                ]
                if drafts[0] is not None and drafts[0].rows:
                    self._record(record, drafts[0])
                for name, draft, written in zip((archive, failed), names.REWRITTEN_DRAFTS, drafts, strict=True):
                    if written is not None and written.rows:
                        os.rename(draft, name, src_dir_fd=scratch_fd, dst_dir_fd=bak_fd)
                sync(bak_fd)
        except (FileRejected, csv.Error) as error:
            return self._remove(record, bak_fd, error)
        rows = sum(draft.rows for draft in drafts if draft is not None)
        return f"{record}: {rows} {'row' if rows == 1 else 'rows'} taken out of its archive"

    def _draft(self, unique_id: str, bak_fd: int, name: bytes, scratch_fd: int, draft: bytes) -> _Draft | None:
        """Rewrite a file of `.bak`, with owner, mode and time of the old one; return None if there is none."""
        try:
            raw = open_file(name, bak_fd)
        except FileNotFoundError:
            return None
        with raw:
            extract = _Extract(raw, self._client, self._limits, unique_id)
            write_durably(scratch_fd, draft, self._watched(extract.pieces()))
            _take_over(os.fstat(raw.fileno()), scratch_fd, draft)
        return _Draft(rows=extract.rows, sha256=extract.sha256, size_bytes=extract.size_bytes)

    def _watched(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for number, piece in enumerate(pieces):
            if number % _ROWS_BETWEEN_LOOKS == 0 and self._stopping():
                raise Interrupted
            yield piece

    def _record(self, record: Record, draft: _Draft) -> None:
        with self._store.transaction():
            ledger.mark_rewritten(self._store.conn, record.id, draft.sha256, draft.size_bytes)
        log.info(
            "archive.rewritten",
            client=record.client,
            file=record.file,
            claim_id=record.claim_id,
            archive=printable(record.archive),
            rows=draft.rows,
            sha256_before=record.sha256,
            sha256=draft.sha256,
        )

    def _remove(self, record: Record, bak_fd: int, error: Exception) -> str:
        reason = error.code if isinstance(error, FileRejected) else "csv.quoting"
        if not record.code:
            raise NotRewritable(f"cannot be read by the settings of today ({reason})") from None
        archived = Kept(
            id=record.id, claim_id=record.claim_id, client=record.client, file=record.file, archive=record.archive
        )
        while not retention.purge(self._store, bak_fd, archived, datetime.now(UTC)):
            pass
        return (
            f"{record}: its archive was removed as a whole; it is not a table ({reason}), and nothing of it was applied"
        )


class _Extract:
    """A file without the rows of a person. What is counted is known once all pieces were taken."""

    def __init__(self, raw: BinaryIO, client: ClientSettings, limits: FileSettings, unique_id: str) -> None:
        self._raw = raw
        self._scanned = scan(raw, limits, client.fallback_encoding)
        self._header = Table(raw, self._scanned, limits, client).header
        self._limits = limits
        self._unique_id = unique_id
        self._whole = hashlib.sha256()
        self._left = hashlib.sha256()
        self.rows = 0
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        """Return the hash of what was yielded."""
        return self._left.hexdigest()

    def pieces(self) -> Iterator[bytes]:
        """Yield the remaining bytes, unchanged. Raises csv.Error; NotRewritable if a byte would change."""
        scanned = self._scanned
        yield self._kept(self._bytes(0, scanned.start))
        for line, cells, text in self._records():
            piece = text.encode(scanned.encoding)
            if line > self._header.line and self._is_of_person(cells):
                self._whole.update(piece)
                self.rows += 1
            else:
                yield self._kept(piece)
        yield self._kept(self._bytes(scanned.end, scanned.size_bytes))
        if self._whole.hexdigest() != scanned.sha256:
            raise NotRewritable(f"{scanned.encoding} cannot be written again as it was")

    def _kept(self, piece: bytes) -> bytes:
        self._whole.update(piece)
        self._left.update(piece)
        self.size_bytes += len(piece)
        return piece

    def _bytes(self, start: int, end: int) -> bytes:
        self._raw.seek(start)
        return self._raw.read(end - start)

    def _records(self) -> Iterator[tuple[int, list[str], str]]:
        """
        Yield each record: the line where it starts, its cells, its text with the line end.

        Raises FileRejected limit.line where a record is longer than an import allows.
        """
        lines = text_lines(text_chunks(self._raw, self._scanned, self._limits))
        line, weighs = 1, 0
        taken = io.StringIO(newline="")  # no list: three million lines of two letters are 8 MiB of text, 190 as texts

        def taking() -> Iterator[str]:
            nonlocal weighs
            for text in lines:
                if weighs > self._limits.max_record_chars:
                    raise FileRejected(message("limit.line/record", line=str(line)))
                taken.write(text)
                weighs += weight(text, self._header.delimiter)
                yield text

        reader = csv.reader(taking(), delimiter=self._header.delimiter, strict=True, skipinitialspace=True)
        for cells in reader:
            yield line, cells, taken.getvalue()
            line, weighs = reader.line_num + 1, 0
            taken.seek(0)
            taken.truncate()

    def _is_of_person(self, cells: list[str]) -> bool:
        columns = self._header.columns["unique_id"]
        return any(is_unique_id(cells[column], self._unique_id) for column in columns if column < len(cells))


@contextlib.contextmanager
def _scratch(work_fd: int, claim_id: str) -> Iterator[int]:
    """Open a folder for drafts; it is gone afterwards, and if we are killed with the next sweep."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(claim_id, 0o700, dir_fd=work_fd)
    scratch_fd = os.open(claim_id, fs.FOLDER, dir_fd=work_fd)
    try:
        yield scratch_fd
    finally:
        for draft in names.REWRITTEN_DRAFTS:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=scratch_fd)
        os.close(scratch_fd)
        with contextlib.suppress(OSError):
            os.rmdir(claim_id, dir_fd=work_fd)


def _take_over(old: os.stat_result, folder_fd: int, name: bytes) -> None:
    """Give a new file the owner, mode and time of the old one."""
    with open_file(name, folder_fd) as new:
        fd = new.fileno()
        info = os.fstat(fd)
        if (info.st_uid, info.st_gid) != (old.st_uid, old.st_gid):
            os.fchown(fd, old.st_uid, old.st_gid)
        os.fchmod(fd, old.st_mode & 0o7777)
        os.utime(fd, ns=(old.st_atime_ns, old.st_mtime_ns))
        sync(fd)
