"""
The first pass over the bytes of a file: hash, encoding, NUL, length of lines.

Memory is constant. Raises FileRejected for what is wrong with the whole file.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import re
from typing import BinaryIO, Final

import msgspec

from importer.file import misread, signature
from importer.model import FileRejected, message
from importer.settings import FileSettings

# The cells of a chunk go through many hands: those of 64 KiB stay in the processor's cache meanwhile; with 256 KiB the
# examination was a quarter slower (measured, 512 KiB of cache).
CHUNK_BYTES: Final = 1 << 16

_MULTIBYTE: Final = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_SUBSTITUTE: Final = b"\x1a"
_ASCII_END: Final = 0x80
_BEYOND_ASCII: Final = bytes(range(0x80, 0x100))
_NEL: Final = b"\x85"
_EBCDIC_BLANK: Final = b"@"
_CHANCE: Final = 4  # of Chinese letters in another encoding less than one in so many bytes reads as UTF-8
_SAMPLE_BYTES: Final = 1 << 16
_NAMES_BYTES: Final = 64  # in which are names of columns, most of whose letters are in ASCII
_CUT_OFF_LETTER: Final = ("unexpected end of data", "truncated data")  # what the codecs say


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """What one pass over the bytes tells."""

    sha256: str
    size_bytes: int
    encoding: str  # name of a codec
    start: int  # where the text begins, after a byte order mark
    end: int  # where it ends, before a 0x1A
    ends_line: bool = True
    fallback: bool = False  # read in the client's fallback encoding

    @property
    def substitute(self) -> bool:
        """Tell whether a trailing 0x1A is left out."""
        return self.end < self.size_bytes


def scan(raw: BinaryIO, limits: FileSettings, fallback: str = "") -> Scan:
    """
    Read `raw` once from byte 0 to its end.

    Raises FileRejected: limit.file, limit.line, file.not_csv, encoding.invalid, encoding.nul, file.empty.
    """
    size_bytes = os.fstat(raw.fileno()).st_size
    if size_bytes > limits.max_file_bytes:
        raise too_large(limits.max_file_bytes)
    raw.seek(0)
    head = raw.read(1 << 13)
    start, encoding = signature.byte_order_mark(head)
    signature.refuse_other_kinds(head[start:], encoding)
    if encoding == "utf-8":
        signature.refuse_utf16_without_mark(head)
    else:
        signature.refuse_wrong_mark(head, encoding)
    digest = hashlib.sha256(head[:start])
    raw.seek(start)
    try:
        end = _scan(raw, encoding, start, digest, limits)
    except UnicodeDecodeError as error:
        is_at_end = start + error.end == size_bytes and error.reason in _CUT_OFF_LETTER
        return _resort(raw, limits, fallback, encoding, start + error.start, is_at_end=is_at_end)
    return Scan(
        sha256=digest.hexdigest(),
        size_bytes=size_bytes,
        encoding=encoding,
        start=start,
        end=end,
        ends_line=_ends_line(raw, end, encoding),
    )


def text_bounds(raw: BinaryIO) -> tuple[int, int]:
    """Return where the text of a UTF-8 file begins, after a byte order mark, and where it ends, before a 0x1A."""
    raw.seek(0)
    start = len(codecs.BOM_UTF8) if raw.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8 else 0
    size_bytes = raw.seek(0, os.SEEK_END)
    raw.seek(max(size_bytes - len(_SUBSTITUTE), start))
    return start, size_bytes - len(_SUBSTITUTE) * (raw.read() == _SUBSTITUTE)


def _ends_line(raw: BinaryIO, end: int, encoding: str) -> bool:
    raw.seek(max(end - 2, 0))
    return raw.read(min(end, 2)).endswith(("\n".encode(encoding), "\r".encode(encoding)))


def _scan(raw: BinaryIO, encoding: str, start: int, digest: hashlib._Hash, limits: FileSettings) -> int:
    """
    Check every chunk from `start` on; return where the text ends.

    Raises UnicodeDecodeError whose `start` counts from `start`, and FileRejected.
    """
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    lines = _LineLimit(limits.max_line_bytes)
    offset, blank, last = 0, True, b""
    # A chunk no longer than a line may be: a line over the limit then always spans the end of one.
    while chunk := raw.read(min(CHUNK_BYTES, limits.max_line_bytes)):
        digest.update(chunk)
        pending = len(decoder.getstate()[0])
        if pending == 0 and encoding == "utf-8" and chunk.isascii():
            text = ""
        else:
            text = _decode(decoder, chunk, offset - pending)
        is_utf8 = encoding == "utf-8"
        is_over = lines.feed(chunk if is_utf8 else text.encode())
        if b"\0" in chunk if is_utf8 else "\0" in text:
            before = chunk.index(0) if is_utf8 else len(text.partition("\0")[0].encode(encoding)) - pending
            raise _nul(raw, encoding, start, start + offset + before)
        if is_over:
            line = line_of(raw, start, start + offset, encoding)
            raise FileRejected(message("limit.line", line=str(line)), line=line)
        blank = blank and not (text.strip() if text else chunk.strip(b" \t\r\n\x0b\x0c\x1a"))
        offset, last = offset + len(chunk), chunk[-2:]
    _decode(decoder, b"", offset - len(decoder.getstate()[0]), final=True)
    if blank:
        raise FileRejected(message("file.empty/blank" if offset else "file.empty"))
    unit = _SUBSTITUTE.decode().encode(encoding)
    return start + offset - (len(unit) if last.endswith(unit) else 0)


def _decode(decoder: codecs.IncrementalDecoder, chunk: bytes, offset: int, *, final: bool = False) -> str:
    try:
        return decoder.decode(chunk, final)
    except UnicodeDecodeError as error:
        error.start += offset
        error.end += offset
        raise


class _LineLimit:
    """Watches the length of physical lines, chunk by chunk, without splitting."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open_bytes = 0  # of the line that has not ended yet

    def feed(self, chunk: bytes) -> bool:
        """Tell whether the line that was open before this chunk is over the limit now."""
        first = _first_line_end(chunk)
        is_over = self._open_bytes + (len(chunk) if first < 0 else first) > self._limit
        last = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
        self._open_bytes = self._open_bytes + len(chunk) if last < 0 else len(chunk) - last - 1
        return is_over


def _first_line_end(chunk: bytes) -> int:
    feed = chunk.find(b"\n")
    back = chunk.find(b"\r", 0, feed if feed >= 0 else len(chunk))
    return back if back >= 0 else feed


def too_large(limit_bytes: int) -> FileRejected:
    """Return the refusal of a file that is larger than the limit."""
    if limit_bytes >= 1 << 20:
        return FileRejected(message("limit.file", limit=limit_bytes >> 20))
    return FileRejected(message("limit.file/kb", limit=limit_bytes >> 10))


def _nul(raw: BinaryIO, encoding: str, start: int, position: int) -> FileRejected:
    line = line_of(raw, start, position, encoding)
    return FileRejected(message("encoding.nul", line=str(line)), line=line)


def line_of(raw: BinaryIO, start: int, position: int, encoding: str) -> int:
    """Return the physical line that contains byte `position`, by reading again up to it."""
    raw.seek(start)
    decode = codecs.getincrementaldecoder(encoding)("ignore").decode
    ends, was_return = 0, False
    while (left := position - raw.tell()) > 0 and (chunk := raw.read(min(CHUNK_BYTES, left))):
        text = decode(chunk)
        ends += text.count("\n") + text.count("\r") - text.count("\r\n") - (was_return and text.startswith("\n"))
        was_return = text.endswith("\r") if text else was_return
    return ends + 1


def _resort(
    raw: BinaryIO, limits: FileSettings, fallback: str, encoding: str, position: int, *, is_at_end: bool
) -> Scan:
    """Take the fallback encoding for a file that is not UTF-8 anywhere, or raise encoding.invalid."""
    line = line_of(raw, 0, position, encoding)
    raw.seek(0)
    head = raw.read(_NAMES_BYTES)
    start = len(codecs.BOM_UTF8) * (encoding == "utf-8" and head.startswith(codecs.BOM_UTF8))  # a mark can be wrong
    holds_utf8 = encoding != "utf-8" or _holds_utf8(raw, start)
    if not (holds_utf8 or _is_unreadable(head)) and _is_one_line(raw):
        raise FileRejected(message("header.unknown/one_line"), line=1)
    if is_at_end and (holds_utf8 or start):
        raise FileRejected(message("upload.incomplete/letter", line=str(line)), line=line)
    if holds_utf8 or not fallback or _is_unreadable(head):
        is_mixed = holds_utf8 and not _reads_by_chance(raw)
        raise FileRejected(message(f"encoding.invalid/{_kind(head, encoding, is_mixed)}", line=str(line)), line=line)
    digest = hashlib.sha256(head[:start])
    raw.seek(start)
    try:
        end = _scan(raw, fallback, start, digest, limits)
    except UnicodeDecodeError as error:
        line = line_of(raw, start, start + error.start, fallback)
        raise FileRejected(message("encoding.invalid/other", line=str(line)), line=line) from None
    if line := misread.line_of_odd_letters(raw, start, fallback):
        raise FileRejected(message("encoding.invalid/not_fallback", line=str(line), encoding=fallback), line=line)
    return Scan(
        sha256=digest.hexdigest(),
        size_bytes=os.fstat(raw.fileno()).st_size,
        encoding=fallback,
        start=start,
        end=end,
        ends_line=_ends_line(raw, end, fallback),
        fallback=True,
    )


def _kind(head: bytes, encoding: str, holds_utf8: bool) -> str:  # noqa: FBT001 - what is known of the file
    """Return what is wrong with a letter; saving the file again helps only where no letter is in UTF-8."""
    if encoding != "utf-8":
        return "damaged"
    if _is_unreadable(head):
        return "unreadable"
    return "mixed" if holds_utf8 else "older"


def _reads_by_chance(raw: BinaryIO) -> bool:
    """Tell whether so few letters beyond ASCII are in UTF-8 that they read so by chance, as some of Chinese do."""
    raw.seek(0)
    sample = raw.read(_SAMPLE_BYTES)
    beyond = len(sample) - len(sample.translate(None, _BEYOND_ASCII))
    return sum(map(len, _MULTIBYTE.findall(sample))) * _CHANCE <= beyond


def _is_one_line(raw: BinaryIO) -> bool:
    """Tell whether the lines end by NEL alone, which is a byte of the older encodings."""
    raw.seek(0)
    sample = raw.read(_SAMPLE_BYTES)
    return _NEL in sample and not (b"\n" in sample or b"\r" in sample)


def _is_unreadable(head: bytes) -> bool:
    """Tell whether not even names of columns can be read, as in EBCDIC."""
    head = head.replace(_EBCDIC_BLANK, b"")
    return sum(byte < _ASCII_END for byte in head) * 2 < len(head)


def _holds_utf8(raw: BinaryIO, start: int = 0) -> bool:
    """Tell whether any letter beyond ASCII is written in UTF-8 anywhere in the file."""
    raw.seek(start)
    tail = b""
    while chunk := raw.read(CHUNK_BYTES):
        if _MULTIBYTE.search(tail + chunk):
            return True
        tail = chunk[-3:]
    return False
