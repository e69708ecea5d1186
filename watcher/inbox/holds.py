"""
What speaks against an upload that is quiet and closed: its end, its sidecar, its connection, its size.

A file can be all that and still be half of what was to come: a client that is killed closes like one that is done.
Nothing here moves or changes a file; `settle` decides what a doubt is worth, and for how long.
"""

from __future__ import annotations

import hashlib
import re
from typing import BinaryIO, Final

from importer.file.truncation import completeness
from importer.model import HoldReason, printable
from importer.names import FAILED_CSV
from importer.settings import ClientSettings, FileSettings
from watcher.inbox.archive import open_archived
from watcher.inbox.layout import Inbox
from watcher.model import HOLDS

_CHUNK_BYTES: Final = 1 << 18
_HEAD_BYTES: Final = 1 << 16
_REPORT_COLUMN: Final = b"import_line"
_DELIMITER: Final = re.compile(rb"\W*sep=", re.IGNORECASE)  # a line of Excel's above the header
_DIGEST_CHARS: Final = {"sha256": 64, "md5": 32}


def hold_reason_of(
    raw: BinaryIO,
    client: ClientSettings,
    limits: FileSettings,
    *,
    sidecar: bytes | None,
    is_broken_off: bool,
    last_rows: int,
) -> HoldReason:
    """
    Return what speaks against the open file, the gravest first.

    `sidecar` is the content of the file that vouches for this one, None when there is none; `last_rows` is how many
    rows the client's last whole file had.
    """
    if client.companion:
        hold_reason = _reason_by_sidecar(raw, client.companion, sidecar)
    elif is_broken_off:
        hold_reason = HoldReason.BROKEN_OFF
    else:
        hold_reason = completeness(raw, client, limits)
    if hold_reason in (HoldReason.NONE, HoldReason.UNTERMINATED) and _has_shrunk(raw, client.shrink_guard, last_rows):
        return HoldReason.SHRUNK
    return hold_reason


def refusal(hold_reason: HoldReason, name: bytes, client: ClientSettings) -> str:
    """Return what to tell a client whose file is given up: cause and remedy, below a code if it has one of its own."""
    hold = HOLDS[hold_reason]
    text = hold.text.format(sidecar=f"{printable(name)}.{client.companion}")
    return f"{hold.code}\n{text}" if hold.code else text


def _reason_by_sidecar(raw: BinaryIO, kind: str, sidecar: bytes | None) -> HoldReason:
    if sidecar is None:
        return HoldReason.UNACCOMPANIED
    return HoldReason.NONE if kind == "done" or _vouches(sidecar, kind, raw) else HoldReason.MISMATCHED


def _vouches(sidecar: bytes, kind: str, raw: BinaryIO) -> bool:
    """
    Return whether one of the digests in the sidecar is that of the file.

    Taken as they come: alone, from sha256sum with the name behind it, from BSD with it before, from PowerShell in
    UTF-16 and capitals.
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


def _has_shrunk(raw: BinaryIO, guard: int, last_rows: int) -> bool:
    """
    Return whether the file has less than `guard` percent of the rows of the last one.

    A failed CSV that comes back corrected holds only a few of them, and is meant to.
    """
    if not guard or is_failed_csv(raw):
        return False
    return count_rows(raw) * 100 < last_rows * guard


def is_failed_csv(raw: BinaryIO) -> bool:
    """Return whether the header of a file has the columns of a failed CSV."""
    raw.seek(0)
    lines = re.split(rb"[\r\n]+", raw.read(_HEAD_BYTES).replace(b"\0", b""))
    header = next((line for line in lines if line.strip() and not _DELIMITER.match(line)), b"")
    return _REPORT_COLUMN in header.lower()


def is_correction(inbox: Inbox, name: str, archive: bytes) -> bool:
    """Return whether an earlier file was a failed CSV that came back; by its name alone when it was purged."""
    try:
        with open_archived(inbox, archive) as raw:
            return is_failed_csv(raw)
    except FileNotFoundError:
        return name.lower().endswith(FAILED_CSV.decode())


def count_rows(raw: BinaryIO) -> int:
    """Return about how many rows a file has: line ends outside of quotes, but for the header's."""
    raw.seek(0)
    line_feeds, returns, is_quoted, last = 0, 0, False, b""
    while chunk := raw.read(_CHUNK_BYTES):
        pieces = chunk.split(b'"')
        line_feeds += sum(piece.count(b"\n") for piece in pieces[is_quoted::2])
        returns += sum(piece.count(b"\r") for piece in pieces[is_quoted::2])
        is_quoted ^= len(pieces) % 2 == 0
        last = chunk
    ends = line_feeds or returns
    return max(ends - 1 + (not last.rstrip(b"\0").endswith((b"\n", b"\r"))), 0)
