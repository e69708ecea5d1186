"""
The process that takes the CSV out of one upload: killable, with limits of memory and time that its content cannot pass.

It is given the upload, an empty file, and the terms; it answers with one value, and ends.
"""

from __future__ import annotations

import errno
import os
import resource
import sys
from typing import BinaryIO, Final

import msgspec

from importer.file.unwrap import archives, decrypt, kinds
from importer.file.unwrap.archives import Bounded, BoundedZip
from importer.file.unwrap.gnupg import GnuPGFailed
from importer.model import FileRejected, FileWarning, Message, message
from importer.settings import ClientSettings, FileSettings

# 100,000 rows of 10 cells take 86 MiB, most of it texts that are all different, and 4 s (measured).
MEMORY_BYTES: Final = 256 << 20
CPU_S: Final = 300

_OFFICE: Final = {
    "xl/workbook.bin": message("file.not_csv/xlsb"),
    "word/document.xml": message("file.not_csv/office"),
    "ppt/presentation.xml": message("file.not_csv/office"),
}
_OF_THE_HOST: Final = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOMEM)
_OPEN_DOCUMENT: Final = b"application/vnd.oasis.opendocument"


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """By what an upload is unwrapped."""

    limits: FileSettings
    client: ClientSettings
    is_nested: bool = False  # it was in an archive
    home: str = ""  # of gpg, for what is encrypted


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came out: the CSV or, out of an archive, a file that may be something else; or why none did."""

    reasons: tuple[Message, ...] = ()
    sheet: str = ""  # of a workbook
    warnings: tuple[FileWarning, ...] = ()
    error: int = 0  # of the host
    says: str = ""  # likewise, if it says what the number does not


def main(raw_fd: int, out_fd: int) -> None:
    """Run as the process: unwrap an open file into another by the terms that are read from standard input."""
    terms = msgspec.json.decode(sys.stdin.buffer.read(), type=Terms)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (terms.limits.max_unpacked_bytes, terms.limits.max_unpacked_bytes))
    sys.stdout.buffer.write(msgspec.json.encode(_answer(raw_fd, out_fd, terms)))


def _answer(raw_fd: int, out_fd: int, terms: Terms) -> Answer:
    try:
        with open(raw_fd, "rb") as raw, open(out_fd, "wb") as out:
            return _unwrapped(raw, out, terms)
    except Exception as error:  # noqa: BLE001 - an upload can be wrong in any way; the host is to blame for little
        return _answer_to(error, terms.limits)


def _answer_to(error: Exception, limits: FileSettings) -> Answer:
    if isinstance(error, FileRejected):
        return Answer(reasons=error.reasons)
    reason = message("wrap.damaged")  # also for a place that is not in the file, or a part that is not there
    if isinstance(error, MemoryError):
        reason = message("wrap.limit/memory")
    elif isinstance(error, OSError):
        says = error.strerror or "" if isinstance(error, GnuPGFailed) else ""
        if says or error.errno in _OF_THE_HOST:
            return Answer(error=error.errno or errno.EIO, says=says)
        if error.errno == errno.EFBIG:
            reason = message("wrap.limit", limit=limits.max_unpacked_bytes >> 20)
    return Answer(reasons=(reason,))


def _unwrapped(raw: BinaryIO, out: BinaryIO, terms: Terms) -> Answer:
    bounded = Bounded(os.fstat(raw.fileno()).st_size, terms.limits)
    kind = kinds.kind_of(raw)
    if kind is kinds.PGP:
        decrypt.decrypt(raw, out, terms.home, terms.client.require_signature, bounded)
        return Answer()
    if kind is kinds.GZIP:
        _refuse_nested(terms)
        raw.seek(0)
        archives.gunzip(raw, out, bounded)
        return Answer()
    archive = archives.opened(raw, bounded)
    names = archive.namelist()
    if "xl/workbook.xml" in names:
        if "xlsx" not in terms.limits.accept:
            raise FileRejected(message("file.not_csv/xlsx"))
        return _converted(archive, raw, out, terms)
    if reason := next((_OFFICE[name] for name in _OFFICE if name in names), None):
        raise FileRejected(reason)
    if _is_open_document(archive):
        raise FileRejected(message("file.not_csv/libreoffice"))
    if "zip" not in terms.limits.accept:
        raise FileRejected(message("file.not_csv/zip"))
    _refuse_nested(terms)
    archives.unzip(archive, out)
    return Answer()


def _refuse_nested(terms: Terms) -> None:
    if terms.is_nested:
        raise FileRejected(message("wrap.files/nested"))


def _is_open_document(archive: BoundedZip) -> bool:
    if archive.namelist()[:1] != ["mimetype"]:
        return False
    with archive.open("mimetype") as member:
        return member.read(len(_OPEN_DOCUMENT)) == _OPEN_DOCUMENT


def _converted(archive: BoundedZip, raw: BinaryIO, out: BinaryIO, terms: Terms) -> Answer:
    from importer.file.unwrap import workbook  # noqa: PLC0415 - its library takes 0.2 s, and is needed here alone

    most_bytes = archives.most_bytes(os.fstat(raw.fileno()).st_size, terms.limits)
    try:
        converted = workbook.convert(archive, raw, out, terms.client, most_bytes)
    except (FileRejected, MemoryError):
        raise
    except Exception as error:  # a workbook can be wrong in any way
        if isinstance(error, OSError) and error.errno in (*_OF_THE_HOST, errno.EFBIG):
            raise
        raise FileRejected(message("wrap.damaged/workbook")) from None
    return Answer(sheet=converted.sheet, warnings=converted.warnings)
