"""What an upload is, by its first bytes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import BinaryIO, Final

import msgspec

from importer.file import truncation
from importer.file.unwrap import archives, endings, openpgp
from importer.model import HoldReason
from importer.settings import ClientSettings, FileSettings

_HEAD_BYTES: Final = 1 << 13


class FileKind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of file. Its name decides whether a file is looked at, its first bytes what it is."""

    endings: tuple[bytes, ...]  # of names
    signature: re.Pattern[bytes]  # what the content begins with
    completeness: Callable[[BinaryIO, ClientSettings, FileSettings], HoldReason]  # whether an upload looks cut off
    accepted_as: tuple[str, ...] = ()  # what settings call it; none is always accepted, or refused with its remedy


CSV: Final = FileKind(endings=endings.CSV, signature=re.compile(b""), completeness=truncation.completeness)
GZIP: Final = FileKind(
    endings=endings.GZIP,
    signature=re.compile(rb"\x1f\x8b"),
    completeness=archives.gzip_completeness,
    accepted_as=("gz",),
)
# A workbook is a ZIP archive, too: which of the two is found out by its members, once it is open.
ZIP: Final = FileKind(
    endings=endings.ZIP,
    signature=re.compile(rb"PK(?:\x03\x04|\x05\x06)"),
    completeness=archives.zip_completeness,
    accepted_as=("xlsx", "zip"),
)
# Old workbooks, and new ones with a password.
OLE: Final = FileKind(
    endings=endings.OLE,
    signature=re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    completeness=lambda *_: HoldReason.NONE,
)
# Which of the other kinds is in it is found out once it is decrypted.
PGP: Final = FileKind(
    endings=endings.PGP,
    signature=openpgp.SIGNATURE,
    completeness=openpgp.completeness,
    accepted_as=("pgp",),
)
KINDS: Final = (GZIP, ZIP, OLE, PGP, CSV)  # CSV last: it has no signature


def kind_of(raw: BinaryIO) -> FileKind:
    """Return what an open file is. Raises OSError."""
    head = os.pread(raw.fileno(), _HEAD_BYTES, 0)
    return next(kind for kind in KINDS if kind.signature.match(head))
