"""
What the bytes of an OpenPGP file say without a key: that it is one, and whether it ends early. Pure.

Source: RFC 4880 section 4.2, RFC 9580 section 4.2.
"""

from __future__ import annotations

import os
import re
from typing import BinaryIO, Final

from importer.model import HoldReason
from importer.settings import ClientSettings, FileSettings

# The first packet, by the version in it, a control character that begins no text: keys of a session, signatures, keys.
# Then a session without a key, a marker, and what is compressed or plain in a message that is not encrypted.
SIGNATURE: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*-----BEGIN PGP |\xff\xfe(?:\s\0)*(?:-\0){5}B\0E\0G\0I\0N\0 \0P\0G\0P\0"
    rb"|\xfe\xff(?:\0\s)*(?:\0-){5}\0B\0E\0G\0I\0N\0 \0P\0G\0P"
    rb"|(?:[\x84\x88\x8c\x90\x94\x98].|[\x85\x89\x8d\x91\x95\x99]..|[\x86\x8a\x8e\x92\x96\x9a]....)[\x02-\x06]"
    rb"|[\xc1-\xc6](?:[\x00-\xbf]|[\xc0-\xdf].|\xff....)[\x02-\x06]"
    rb"|[\xd2\xd4](?:[\x00-\xbf]|[\xc0-\xdf].|\xff....|[\xe0-\xfe])[\x01\x02]"
    rb"|[\xa8\xca]\x03PGP"
    rb"|(?:\xa3|\xc8(?:[\x00-\xbf]|[\xc0-\xdf].|\xff....|[\xe0-\xfe]))[\x01-\x03]"
    rb"|(?:\xac[\x06-\xff]|\xad..|\xae....|\xcb(?:[\x06-\xbf]|[\xc0-\xdf].|\xff....|[\xe0-\xfe]))[btu][\x00-\x08]",
    re.DOTALL,
)
_MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")  # of text in Unicode: no program for PGP writes them
_ARMOUR: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*-----BEGIN PGP ([A-Z, ]+)-----")
_ARMOUR_BYTES: Final = 1 << 10  # in which its first line is, and its last one
_SESSION_KEYS: Final = (1, 3)  # tags of packets that only precede others
_MOST_HEADER_BYTES: Final = 6


def armoured_as(raw: BinaryIO) -> str:
    """Return what the first line of an armoured file says it is, such as "MESSAGE"; "" for a binary one."""
    match = _ARMOUR.match(os.pread(raw.fileno(), _ARMOUR_BYTES, 0))
    return match[1].decode() if match else ""


def is_text_of_editor(raw: BinaryIO) -> bool:
    """Tell whether an editor saved an armoured file anew, as text that no program for PGP reads."""
    return os.pread(raw.fileno(), _MOST_HEADER_BYTES, 0).startswith(_MARKS)


def completeness(raw: BinaryIO, client: ClientSettings, limits: FileSettings) -> HoldReason:
    """Return whether a file ends early. What is damaged otherwise counts as whole: the import says so."""
    del client, limits
    if is_text_of_editor(raw):
        return HoldReason.NONE
    is_whole = _has_last_line(raw) if armoured_as(raw) else _has_last_packet(raw)
    return HoldReason.NONE if is_whole else HoldReason.CUT_OFF


def _has_last_line(raw: BinaryIO) -> bool:
    size_bytes = raw.seek(0, os.SEEK_END)
    raw.seek(max(0, size_bytes - _ARMOUR_BYTES))
    return b"-----END PGP " in raw.read(_ARMOUR_BYTES)


def _has_last_packet(raw: BinaryIO) -> bool:
    """Return whether the last packet ends with the file, and is one with content. No packet is read but its header."""
    size_bytes = raw.seek(0, os.SEEK_END)
    at, tag, is_partial = 0, 0, False
    while at < size_bytes or is_partial:
        raw.seek(at)
        header = raw.read(_MOST_HEADER_BYTES)
        if not is_partial:
            if not header[0] & 0x80:
                return True  # no packet: the file does not end here
            is_new = bool(header[0] & 0x40)
            tag = header[0] & 0x3F if is_new else header[0] >> 2 & 0xF
            if not is_new and header[0] & 3 == 3:  # noqa: PLR2004 - up to the end of the file
                return True
            length = _new_length(header[1:]) if is_new else _old_length(header)
            at += is_new
        else:
            length = _new_length(header)
        if length is None:
            return False
        header_bytes, content_bytes, is_partial = length
        at += header_bytes + content_bytes
    return at == size_bytes and tag not in _SESSION_KEYS


def _old_length(header: bytes) -> tuple[int, int, bool] | None:
    """Return how long a header of the old form is, and what follows it; None if the header is cut off."""
    size = 1 << (header[0] & 3)
    taken = header[1 : 1 + size]
    return (1 + size, int.from_bytes(taken, "big"), False) if len(taken) == size else None


def _new_length(octets: bytes) -> tuple[int, int, bool] | None:
    """Return how many octets a length of the new form has, the length, and whether another one follows its part."""
    first = octets[0] if octets else 0
    size = 5 if first == 0xFF else 2 if 0xC0 <= first < 0xE0 else 1  # noqa: PLR2004 - as the source has them
    if len(octets) < size:
        return None
    if size == 5:  # noqa: PLR2004
        return size, int.from_bytes(octets[1:5], "big"), False
    if size == 2:  # noqa: PLR2004
        return size, (first - 0xC0 << 8) + octets[1] + 0xC0, False
    return (size, 1 << (first & 0x1F), True) if first >= 0xE0 else (size, first, False)  # noqa: PLR2004
