"""
What is in a gzip file or a ZIP archive: exactly one file, of a size that is checked while it comes out.

An archive says of itself how large its members are, and may lie; nothing here relies on that.
"""

from __future__ import annotations

import gzip
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, BinaryIO, Final, Self

from importer.model import FileRejected, HoldReason, message
from importer.settings import ClientSettings, FileSettings

CHUNK_BYTES: Final = 1 << 16
# Small files may be blank but for a few letters; only from here on it counts how much more comes out than is in them.
_FREE_BYTES: Final = 16 << 20
# So much is unpacked to see whether an upload is whole, more than any CSV has in it: the import unpacks all of it.
_LOOKED_AT_RATIO: Final = 50
_END: Final = b"PK\x05\x06"  # begins the last record of a ZIP archive
_END_BYTES: Final = 22 + (1 << 16)  # in which it is: its own length, and that of a comment
_MOST_MEMBERS: Final = 10_000
_MOST_NAMED: Final = 5
# What programs add by themselves.
_ADDED: Final = re.compile(
    r"(?:.*/)?(?:__MACOSX/.*|\._[^/]*|~\$[^/]*|\.DS_Store|Thumbs\.db|desktop\.ini)\Z", re.DOTALL | re.IGNORECASE
)
_ACCEPTED: Final = (".csv", ".xlsx", ".xlsm", ".csv.gz")
SPOILED: Final = (zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, EOFError, NotImplementedError, ValueError, KeyError)


def most_bytes(packed_bytes: int, limits: FileSettings) -> int:
    """Return how much may come out of a file of this size."""
    return max(_FREE_BYTES, limits.max_unpacked_ratio * packed_bytes)


class Bounded:
    """Counts what comes out of an upload. Raises FileRejected when it is too much."""

    def __init__(self, packed_bytes: int, limits: FileSettings) -> None:
        self._left = limits.max_unpacked_bytes
        self._most = most_bytes(packed_bytes, limits)
        self._limits = limits

    def count(self, size_bytes: int) -> None:
        """Note that so much more came out."""
        self._left -= size_bytes
        self._most -= size_bytes
        if self._left < 0:
            raise FileRejected(message("wrap.limit", limit=self._limits.max_unpacked_bytes >> 20))
        if self._most < 0:
            raise FileRejected(message("wrap.limit/ratio", limit=self._limits.max_unpacked_ratio))


class Member:
    """An open member of an archive that counts what is read of it."""

    def __init__(self, member: IO[bytes], bounded: Bounded) -> None:
        self._member = member
        self._bounded = bounded

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        self._member.close()

    def read(self, size: int | None = -1) -> bytes:
        """Read as a file does. Raises FileRejected, and as a member of a ZipFile does."""
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(CHUNK_BYTES), b""))
        data = self._member.read(size)
        self._bounded.count(len(data))
        return data


class BoundedZip(zipfile.ZipFile):
    """A ZIP archive that counts all that is read of its members."""

    def __init__(self, raw: BinaryIO, bounded: Bounded) -> None:
        super().__init__(raw)
        self._bounded = bounded

    def open(self, name: str | zipfile.ZipInfo, *_: object, **__: object) -> Member:  # type: ignore[override]
        """Open a member to read it. Raises as ZipFile does."""
        return Member(super().open(name), self._bounded)


def gzip_completeness(raw: BinaryIO, client: ClientSettings, limits: FileSettings) -> HoldReason:
    """Return whether a gzip file ends early. What is damaged otherwise counts as whole: the import says so."""
    del client, limits
    raw.seek(0)
    left = max(_FREE_BYTES, _LOOKED_AT_RATIO * os.fstat(raw.fileno()).st_size)
    try:
        for piece in _inflated(raw):
            left -= len(piece)
            if left < 0:
                break
    except EOFError:
        return HoldReason.CUT_OFF
    except SPOILED:
        pass
    return HoldReason.NONE


def zip_completeness(raw: BinaryIO, client: ClientSettings, limits: FileSettings) -> HoldReason:
    """Return whether a ZIP archive ends early: the record at its end is missing."""
    del client, limits
    return HoldReason.NONE if _has_end(raw) else HoldReason.CUT_OFF


def _has_end(raw: BinaryIO) -> bool:
    size_bytes = raw.seek(0, os.SEEK_END)
    raw.seek(max(0, size_bytes - _END_BYTES))
    return _END in raw.read(_END_BYTES)


def gunzip(raw: BinaryIO, out: BinaryIO, bounded: Bounded) -> None:
    """Write what was compressed. Raises FileRejected."""
    try:
        for piece in _inflated(raw):
            bounded.count(len(piece))
            out.write(piece)
    except EOFError:
        raise FileRejected(message("upload.incomplete")) from None
    except SPOILED:
        raise FileRejected(message("wrap.damaged")) from None


def _inflated(raw: BinaryIO) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=raw) as packed:
        while piece := packed.read(CHUNK_BYTES):
            yield piece


def opened(raw: BinaryIO, bounded: Bounded) -> BoundedZip:
    """Open a ZIP archive. Raises FileRejected."""
    if not _has_end(raw):
        raise FileRejected(message("upload.incomplete"))
    try:
        archive = BoundedZip(raw, bounded)
    except SPOILED:
        raise FileRejected(message("wrap.damaged")) from None
    if len(archive.infolist()) > _MOST_MEMBERS:
        raise FileRejected(message("wrap.files/many", count=len(archive.infolist())))
    return archive


def unzip(archive: BoundedZip, out: BinaryIO) -> None:
    """Write the one file in an archive; names in it are only text. Raises FileRejected."""
    member = _the_file_in(archive)
    if member.flag_bits & 1:
        raise FileRejected(message("wrap.locked/archive"))
    try:
        with archive.open(member) as packed:
            while piece := packed.read(CHUNK_BYTES):
                out.write(piece)
    except (*SPOILED, RuntimeError):
        raise FileRejected(message("wrap.damaged")) from None


def _the_file_in(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    files = [each for each in archive.infolist() if not each.is_dir() and not _ADDED.match(each.filename)]
    accepted = [each for each in files if each.filename.lower().endswith(_ACCEPTED)]
    for choice in (accepted, files):
        if len(choice) == 1:
            return choice[0]
    if not files:
        raise FileRejected(message("wrap.files/none"))
    named = tuple(_shown(each.filename) for each in (accepted or files)[:_MOST_NAMED])
    raise FileRejected(message("wrap.files", names=named, count=len(accepted or files)))


def _shown(name: str) -> str:
    """Return a name in an archive as text that any log can hold."""
    return "".join(char if char.isprintable() else "?" for char in name)[:100]
