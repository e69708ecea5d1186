"""
The first pass over the bytes of a file settles what needs the whole of it: hash, encoding, NUL, length of lines.

Memory is constant whatever the file. What is wrong with it as a whole is raised as FileRejected.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import re
from typing import BinaryIO, Final

import msgspec

from importer.file import signature
from importer.model import FileRejected
from importer.settings import FileSettings

# The cells of a chunk go through many hands: those of 64 KiB stay in the processor's cache meanwhile; with 256 KiB the
# examination was a quarter slower (measured, 512 KiB of cache).
CHUNK_BYTES: Final = 1 << 16
SPLIT: Final = "Split it into several files, each with the line of names."

_MULTIBYTE: Final = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_SUBSTITUTE: Final = b"\x1a"
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
        raise FileRejected(
            "limit.file",
            f"the file has {size_bytes:,} bytes; at most {limits.max_file_bytes:,} are taken. {SPLIT}",
        )
    raw.seek(0)
    head = raw.read(1 << 13)
    start, encoding = signature.byte_order_mark(head)
    signature.refuse_other_kinds(head[start:], encoding)
    if encoding == "utf-8":
        signature.refuse_utf16_without_mark(head)
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
            raise _long_line(line_of(raw, start, start + offset, encoding), limits.max_line_bytes)
        blank = blank and not (text.strip() if text else chunk.strip(b" \t\r\n\x0b\x0c\x1a"))
        offset, last = offset + len(chunk), chunk[-2:]
    _decode(decoder, b"", offset - len(decoder.getstate()[0]), final=True)
    if blank:
        raise FileRejected("file.empty", "the file has no content. Run the export again and look into the file.")
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


def _long_line(line: int, limit_bytes: int) -> FileRejected:
    return FileRejected(
        "limit.line",
        f"line {line}: it has more than {limit_bytes:,} bytes. Each user needs a line: see how the export ends lines.",
        line=line,
    )


def _nul(raw: BinaryIO, encoding: str, start: int, position: int) -> FileRejected:
    line = line_of(raw, start, position, encoding)
    return FileRejected("encoding.nul", f"line {line}: NUL at byte {position}. Export the file again.", line=line)


def line_of(raw: BinaryIO, start: int, position: int, encoding: str) -> int:
    """Return the physical line in which byte `position` lies, by reading again up to it."""
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
    raw.seek(position)
    where = f"line {line}, byte {position} (0x{raw.read(1).hex()})"
    holds_utf8 = encoding != "utf-8" or _holds_utf8(raw)
    if holds_utf8 and is_at_end:
        raise FileRejected(
            "upload.incomplete",
            f"{where}: the file ends in the middle of a letter. The upload was probably cut off. "
            "Upload the whole file again.",
            line=line,
        )
    if holds_utf8 or not fallback:
        said = _no_letter(encoding, holds_utf8=holds_utf8)
        raise FileRejected("encoding.invalid", f"{where}: {said}", line=line)
    raw.seek(0)
    digest = hashlib.sha256()
    try:
        end = _scan(raw, fallback, 0, digest, limits)
    except UnicodeDecodeError as error:
        line = line_of(raw, 0, error.start, fallback)
        raise FileRejected(
            "encoding.invalid",
            f'line {line}, byte {error.start}: not a letter in UTF-8, nor in {fallback}. Save the file as "CSV UTF-8".',
            line=line,
        ) from None
    return Scan(
        sha256=digest.hexdigest(),
        size_bytes=os.fstat(raw.fileno()).st_size,
        encoding=fallback,
        start=0,
        end=end,
        ends_line=_ends_line(raw, end, fallback),
        fallback=True,
    )


def _no_letter(encoding: str, *, holds_utf8: bool) -> str:
    """Say what is wrong with a byte; another encoding is a remedy only where all letters are in one."""
    if encoding != "utf-8":
        return 'not a letter in UTF-16, as its mark says. Save the file as "CSV UTF-8".'
    if holds_utf8:
        return 'not a letter in UTF-8, as the others are. Write the letter again and save the file as "CSV UTF-8".'
    return 'not a letter in UTF-8. Save the file as "CSV UTF-8", or ask us to set a fallback encoding for you.'


def _holds_utf8(raw: BinaryIO) -> bool:
    """Tell whether any letter beyond ASCII is written in UTF-8 anywhere in the file."""
    raw.seek(0)
    tail = b""
    while chunk := raw.read(CHUNK_BYTES):
        if _MULTIBYTE.search(tail + chunk):
            return True
        tail = chunk[-3:]
    return False
