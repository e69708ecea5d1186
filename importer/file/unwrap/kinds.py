"""What an upload is, by its first bytes; by its name, whether it is looked at, and what its archive is called."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import BinaryIO, Final

import msgspec

from importer.file import truncation
from importer.file.unwrap import archives, openpgp
from importer.model import HoldReason
from importer.settings import ClientSettings, FileSettings

_HEAD_BYTES: Final = 1 << 13


class FileKind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of file. Its name decides whether a file is looked at, its first bytes what it is."""

    endings: tuple[bytes, ...]  # of names, in small letters; one that ends with another comes first
    signature: re.Pattern[bytes]  # what the content begins with
    completeness: Callable[[BinaryIO, ClientSettings, FileSettings], HoldReason]  # whether an upload looks cut off
    accepted_as: tuple[str, ...] = ()  # what settings call it; none is always accepted, or refused with its remedy


CSV: Final = FileKind(endings=(b".csv",), signature=re.compile(b""), completeness=truncation.completeness)
GZIP: Final = FileKind(
    endings=(b".csv.gz", b".xlsx.gz", b".gz"),
    signature=re.compile(rb"\x1f\x8b"),
    completeness=archives.gzip_completeness,
    accepted_as=("gz",),
)
# A workbook is a ZIP archive, too: which of the two is found out by its members, once it is open.
ZIP: Final = FileKind(
    endings=(b".zip", b".xlsx", b".xlsm", b".xlsb", b".ods"),
    signature=re.compile(rb"PK(?:\x03\x04|\x05\x06)"),
    completeness=archives.zip_completeness,
    accepted_as=("xlsx", "zip"),
)
# Old workbooks, and new ones with a password.
OLE: Final = FileKind(
    endings=(b".xls",),
    signature=re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    completeness=lambda *_: HoldReason.NONE,
)
# Which of the other kinds is in it is found out once it is decrypted.
PGP: Final = FileKind(
    endings=tuple(
        inner + outer
        for inner in (b".csv.gz", b".xlsx.gz", b".csv", b".xlsx", b".zip", b".gz", b"")
        for outer in (b".pgp", b".gpg", b".asc")
    ),
    signature=openpgp.SIGNATURE,
    completeness=openpgp.completeness,
    accepted_as=("pgp",),
)
KINDS: Final = (GZIP, ZIP, OLE, PGP, CSV)  # CSV last: it has no signature


def kind_of(raw: BinaryIO) -> FileKind:
    """Return what an open file is. Raises OSError."""
    head = os.pread(raw.fileno(), _HEAD_BYTES, 0)
    return next(kind for kind in KINDS if kind.signature.match(head))


def is_named_encrypted(name: bytes) -> bool:
    """Tell whether the name of an upload says that it is encrypted."""
    return name.lower().endswith(PGP.endings)


def divided(name: bytes) -> tuple[bytes, bytes]:
    """Return the name of an upload without its ending, and the ending of its archive, which is that of a kind."""
    endings = (each for kind in KINDS for each in kind.endings)
    ending = next((each for each in endings if name.lower().endswith(each)), b"")
    return (name[: -len(ending)], ending) if ending else (os.path.splitext(name)[0], b".csv")


def patterns(pattern: str) -> list[str]:
    """Return what the names of uploads match: a pattern of names of CSV is one of all other kinds, too."""
    stem, ending = os.path.splitext(pattern)
    if ending.lower() != ".csv":
        return [pattern]
    return [pattern, *(stem + each.decode() for kind in KINDS if kind is not CSV for each in kind.endings)]
