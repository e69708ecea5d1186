"""
Reasons to hold an upload that is quiet and closed: its end, its sidecar, its connection.

Such a file can still be incomplete: a client that is killed closes the file like one that is done. Nothing here moves
or changes a file; `settle` decides what follows from a reason, and for how long.
"""

from __future__ import annotations

import hashlib
import re
from typing import BinaryIO, Final

from importer.file.unwrap.kinds import kind_of
from importer.model import HoldReason, Message, message, printable
from importer.settings import ClientSettings, FileSettings
from watcher.model import HOLDS

_CHUNK_BYTES: Final = 1 << 18
_HEAD_BYTES: Final = 1 << 16
_REPORT_COLUMN: Final = b"import_line"
_EXCEL_LINE: Final = re.compile(rb"\W*(?:sep=|(?:column|colonne)1\b)", re.IGNORECASE)  # which it puts above the header
_DIGEST_CHARS: Final = {"sha256": 64, "md5": 32}


def hold_reason_of(
    raw: BinaryIO,
    client: ClientSettings,
    limits: FileSettings,
    *,
    sidecar: bytes | None,
    is_broken_off: bool,
) -> HoldReason:
    """Return the most severe reason to hold the open file; `sidecar` is the content of its sidecar, None for none."""
    if client.companion:
        return _reason_by_sidecar(raw, client.companion, sidecar)
    if is_broken_off:
        return HoldReason.BROKEN_OFF
    return kind_of(raw).completeness(raw, client, limits)


def refusal(hold_reason: HoldReason, name: bytes, client: ClientSettings) -> Message:
    """Return why a held file is refused at the end of its grace."""
    return message(HOLDS[hold_reason].reason, name=f"{printable(name)}.{client.companion}")


def _reason_by_sidecar(raw: BinaryIO, kind: str, sidecar: bytes | None) -> HoldReason:
    if sidecar is None:
        return HoldReason.UNACCOMPANIED
    return HoldReason.NONE if kind == "done" or _has_digest(sidecar, kind, raw) else HoldReason.MISMATCHED


def _has_digest(sidecar: bytes, kind: str, raw: BinaryIO) -> bool:
    """
    Return whether one of the digests in the sidecar is that of the file.

    Accepted: alone, followed by the name (sha256sum), preceded by it (BSD), in UTF-16 and upper case (PowerShell).
    """
    words = re.findall(rb"[0-9a-f]+", sidecar.replace(b"\0", b"").lower())
    digests = [word.decode() for word in words if len(word) == _DIGEST_CHARS[kind]]
    return bool(digests) and _digest(raw, kind) in digests


def _digest(raw: BinaryIO, kind: str) -> str:
    digest = hashlib.new(kind, usedforsecurity=False)
    raw.seek(0)
    while chunk := raw.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def is_failed_csv(raw: BinaryIO) -> bool:
    """Return whether the header of a file has the columns of a failed CSV."""
    raw.seek(0)
    lines = re.split(rb"[\r\n]+", raw.read(_HEAD_BYTES).replace(b"\0", b""))
    header = next((line for line in lines if line.strip() and not _EXCEL_LINE.match(line)), b"")
    return _REPORT_COLUMN in header.lower()
