"""
Bytes to rows: kind of file, encoding, delimiter, header, records. Memory is constant whatever the file.

A file is read twice. `survey` goes over the bytes and settles what needs the whole file: hash, encoding, NUL, length of
lines. `Table` then goes over the records. What is wrong with the file as a whole is raised as FileRejected.
Source: RFC 4180; where real files differ from it, section 12 of the contract.
"""

from __future__ import annotations

import codecs
import csv
import enum
import hashlib
import io
import itertools
import os
import re
import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, Final

import msgspec

from importer import header as headers
from importer.header import Header
from importer.model import FileRejected
from importer.settings import ClientSettings, FileSettings

if TYPE_CHECKING:
    import _csv

CHUNK_BYTES: Final = 1 << 18
_TAIL_BYTES: Final = 1 << 20  # as long as a line may be; the last record is in it
STRETCH_ROWS: Final = 1000  # about as many as there are in a chunk
EVERY_LINE: Final = range(1, sys.maxsize)
MOST_BLANK_ROWS: Final = 5_000_000  # some seconds; 1 GiB of line feeds would take minutes
HEAD_CHARS: Final = 1 << 16  # enough for a header and ten lines; Excel's 16,384 empty columns are 16 KiB

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, ""),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, ""),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MULTIBYTE: Final = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_SUBSTITUTE: Final = b"\x1a"
_CUT_OFF_LETTER: Final = ("unexpected end of data", "truncated data")  # what the codecs say

_SPLIT: Final = "Split it into several files, each with the line of names."
_EXCEL_REMEDY: Final = "In Excel choose Save As, CSV UTF-8, and upload that file."
_SIGNATURES: Final = (
    (rb"PK\x03\x04.{0,4000}?xl/", "an Excel workbook", _EXCEL_REMEDY),
    (rb"PK\x03\x04.{0,60}mimetypeapplication/vnd\.oasis", "a LibreOffice document", "Save it as Text CSV in UTF-8."),
    (rb"PK\x03\x04.{0,4000}?\[Content_Types\]", "an Office document", _EXCEL_REMEDY),
    (rb"PK[\x03\x05]", "a zip archive or an Excel workbook", "Unpack it, or save the workbook as CSV UTF-8."),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls)", _EXCEL_REMEDY),
    (rb"\x1f\x8b", "a gzip archive", "Unpack it and upload the CSV file inside."),
    (rb"7z\xbc\xaf|Rar!|BZh[1-9]|\xfd7zXZ", "an archive", "Unpack it and upload the CSV file inside."),
    (rb"%PDF", "a PDF", "Export the data as CSV UTF-8 from the program the PDF was printed from."),
    (rb"\x89PNG|\xff\xd8\xff|GIF8", "a picture", "Export the data as CSV UTF-8."),
    (rb"SQLite format 3", "a database", "Export the table of users as CSV UTF-8."),
    (rb"\{\\rtf", "a rich text document", "Export the data as CSV UTF-8 from the program it comes from."),
    (rb"(?i:<\?xml.{0,2000}?(?:workbook|spreadsheet))", "an Excel workbook in XML", _EXCEL_REMEDY),
    (rb"(?i:<\?xml)", "XML", "Export the data as CSV UTF-8 from the program it comes from."),
    (rb"(?i:<!doctype html|<(?:html|head|meta|table|body|style)\b)", "a web page (HTML)", _EXCEL_REMEDY),
    (rb"<!?[A-Za-z]", "XML", "Export the data as CSV UTF-8 from the program it comes from."),
    (rb"[\[{]", "JSON", "Export the data as CSV UTF-8 from the program it comes from."),
)


class Survey(msgspec.Struct, frozen=True, kw_only=True):
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


class Completeness(enum.StrEnum):
    """Whether a file looks as if its upload was cut off."""

    WHOLE = "whole"
    UNTERMINATED = "unterminated"  # the last line does not end, but has all its fields
    CUT_OFF = "cut_off"  # the last line does not end and is short
    OPEN_QUOTE = "open_quote"
    EMPTY = "empty"


class Row(msgspec.Struct, frozen=True, gc=False):
    """One record as it stands in the file. `line` is the physical line where it starts; the first line is 1."""

    line: int
    cells: list[str]


class Stretch(msgspec.Struct, frozen=True):
    """
    Some records that follow each other in the file, none of them blank, and the lines where they start.

    `odd_lines` are the lines among them that are no record of their own: header, blank ones, parts of longer records.
    """

    lines: list[int]
    records: list[list[str]]
    odd_lines: list[int]

    def row(self, position: int) -> Row:
        """Return one of them."""
        return Row(self.lines[position], self.records[position])

    @property
    def rows(self) -> Iterator[Row]:
        """Return them one by one."""
        return map(Row, self.lines, self.records)


def survey(raw: BinaryIO, limits: FileSettings, fallback: str = "") -> Survey:
    """
    Read `raw` once from byte 0 to its end.

    Raises FileRejected: limit.file, limit.line, file.not_csv, encoding.invalid, encoding.nul, file.empty.
    """
    size_bytes = os.fstat(raw.fileno()).st_size
    if size_bytes > limits.max_file_bytes:
        raise FileRejected(
            "limit.file",
            f"the file has {size_bytes:,} bytes; at most {limits.max_file_bytes:,} are taken. {_SPLIT}",
        )
    raw.seek(0)
    head = raw.read(1 << 13)
    start, encoding = _byte_order_mark(head)
    _refuse_other_kinds(head[start:], encoding)
    if encoding == "utf-8":
        _refuse_utf16_without_mark(head)
    digest = hashlib.sha256(head[:start])
    raw.seek(start)
    try:
        end = _scan(raw, encoding, start, digest, limits)
    except UnicodeDecodeError as error:
        is_at_end = start + error.end == size_bytes and error.reason in _CUT_OFF_LETTER
        return _resort(raw, limits, fallback, encoding, start + error.start, is_at_end=is_at_end)
    return Survey(
        sha256=digest.hexdigest(),
        size_bytes=size_bytes,
        encoding=encoding,
        start=start,
        end=end,
        ends_line=_ends_line(raw, end, encoding),
    )


def _ends_line(raw: BinaryIO, end: int, encoding: str) -> bool:
    raw.seek(max(end - 2, 0))
    return raw.read(min(end, 2)).endswith(("\n".encode(encoding), "\r".encode(encoding)))


def _byte_order_mark(head: bytes) -> tuple[int, str]:
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            if not encoding:
                raise FileRejected("encoding.invalid", 'the file is UTF-32; expected UTF-8. Save it as "CSV UTF-8".')
            return len(mark), encoding
    return 0, "utf-8"


def _refuse_other_kinds(head: bytes, encoding: str) -> None:
    """Raise file.not_csv when the first non-blank bytes are those of another kind of file."""
    if encoding != "utf-8":
        head = head[: len(head) & ~1].decode(encoding, "replace").encode()
    first = head.lstrip(b" \t\r\n\x0b\x0c")
    for pattern, kind, remedy in _SIGNATURES:
        if re.match(pattern, first, re.DOTALL):
            raise FileRejected("file.not_csv", f"this is {kind}, not CSV. {remedy}")


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


def _refuse_utf16_without_mark(head: bytes) -> None:
    """Raise encoding.invalid when about every second byte is NUL, as in the UTF-16 of most languages."""
    first, second = head[::2].count(0), head[1::2].count(0)
    if max(first, second) * 4 > len(head) > min(first, second) * 16:
        raise FileRejected(
            "encoding.invalid", 'the file looks like UTF-16 without its mark; expected UTF-8. Save it as "CSV UTF-8".'
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
) -> Survey:
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
    return Survey(
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


def text_chunks(raw: BinaryIO, found: Survey, limits: FileSettings) -> Iterator[str]:
    """
    Yield the text in chunks that end where a line ends; only the last one may not.

    Raises FileRejected limit.line: `completeness` reads files that were not surveyed yet.
    """
    raw.seek(found.start)
    decode = codecs.getincrementaldecoder(found.encoding)("strict").decode
    left, carry = found.end - found.start, ""
    while left and (chunk := raw.read(min(CHUNK_BYTES, left))):
        left -= len(chunk)
        text = carry + decode(chunk)
        # A "\r" at the very end may be half of "\r\n".
        cut = max(text.rfind("\n"), text.rfind("\r", 0, -1)) + 1
        carry = text[cut:]
        if cut:
            yield text[:cut]
        if len(carry) > limits.max_line_bytes:
            raise FileRejected("limit.line", f"a line has more than {limits.max_line_bytes:,} bytes")
    if carry:
        yield carry


def text_lines(chunks: Iterator[str]) -> Iterator[str]:
    r"""Yield physical lines with their ends; "\n", "\r" and "\r\n" each end one, nothing else does."""
    return itertools.chain.from_iterable(io.StringIO(chunk, newline="") for chunk in chunks)


class _Broken(msgspec.Struct, frozen=True):
    """Why no more records could be read."""

    reason: str  # as the csv module says it
    line: int

    @property
    def goes_on(self) -> bool:
        """Tell whether all that is wrong is that a quoted cell does not end in the text."""
        return "unexpected end" in self.reason


class Entangled(Exception):
    """A record of an excerpt goes on in a line that is not in it, or is broken: the file has to be read whole."""


class Table:
    """
    The records of one file: the header at once, then the rows.

    Raises FileRejected from `__init__`: header.*, csv.quoting, limit.columns; from `rows`: csv.quoting,
    upload.incomplete, limit.cell, limit.rows, header.unknown (a nameless column that has content).
    """

    def __init__(
        self,
        raw: BinaryIO,
        found: Survey,
        limits: FileSettings,
        client: ClientSettings,
        numbers: Sequence[int] = EVERY_LINE,
    ) -> None:
        """`numbers`: for an excerpt, which lines of the file stand in it, all of the header among them."""
        self.raw = raw
        self.found = found
        self.limits = limits
        self._client = client
        self._numbers = numbers
        csv.field_size_limit(limits.max_cell_chars)
        head = ""
        for chunk in text_chunks(raw, found, limits):
            head += chunk
            if len(head) >= HEAD_CHARS:
                break
        self.header: Header = headers.read(head, client, limits.max_columns)

    def rows(self) -> Iterator[Row]:
        """Yield every record below the header that has content, in file order."""
        return itertools.chain.from_iterable(stretch.rows for stretch in self.stretches())

    def excerpt(self, raw: BinaryIO, numbers: Sequence[int]) -> Table:
        """Return the table of some lines of this file, which stand in `raw`; then Entangled may be raised."""
        size_bytes = os.fstat(raw.fileno()).st_size
        found = msgspec.structs.replace(self.found, start=0, end=size_bytes, size_bytes=size_bytes)
        return Table(raw, found, self.limits, self._client, numbers)

    def stretches(self) -> Iterator[Stretch]:
        """Yield the same in stretches of at most STRETCH_ROWS rows."""
        left = self.limits.max_rows
        for parsed in self._parsed():
            if len(parsed.lines) > left:
                raise self._too_many_rows(parsed.lines[left])
            if self._blank_rows > MOST_BLANK_ROWS:
                raise self._too_many_blank_rows()
            left -= len(parsed.lines)
            for start in range(0, len(parsed.lines) or 1, STRETCH_ROWS):
                end = start + STRETCH_ROWS
                odd_lines = [] if start else parsed.odd_lines
                yield Stretch(parsed.lines[start:end], parsed.records[start:end], odd_lines)

    def reread(self, wanted: Iterable[int]) -> Iterator[Row]:
        """Yield again the rows that start in the lines `wanted`, which ascend."""
        lines = text_lines(text_chunks(self.raw, self.found, self.limits))
        passed = 0
        for line in wanted:
            place = bisect_left(self._numbers, line, passed, min(line, len(self._numbers)))
            first = next(itertools.islice(lines, place - passed, None))
            # A record of several lines: the reader takes what it needs from those that follow.
            reader = self._reader(itertools.chain((first,), lines))
            yield Row(line, next(reader))
            passed = place + reader.line_num

    def _reader(self, lines: Iterator[str]) -> _csv.Reader:
        return csv.reader(lines, delimiter=self.header.delimiter, strict=True, skipinitialspace=True)

    def _parsed(self) -> Iterator[Stretch]:
        """Yield the records of one chunk of text at a time."""
        self._line, self._blank_rows, text, enough, broken = 1, 0, "", 0, None
        for chunk in text_chunks(self.raw, self.found, self.limits):
            text += chunk
            if len(text) < enough:
                continue
            parsed, text, broken = self._parse(text)
            yield parsed
            if broken and not broken.goes_on:
                break
            most = 8 * self.limits.max_line_bytes
            if len(text) > most:
                raise self._endless_record()
            # What is left is a record that goes on. Twice as much is read before the next try, or it would cost n * n.
            enough = min(2 * len(text), most)
        else:
            parsed, text, broken = self._parse(text)
            yield parsed
        # Only now, so that of two things wrong with a file the first one is told.
        if broken:
            raise Entangled if self._numbers is not EVERY_LINE else self._explained(broken)

    def _parse(self, text: str) -> tuple[Stretch, str, _Broken | None]:
        """Return the records that end in the text, which begins in `self._line`, the rest of it, and what broke it."""
        physical = io.StringIO(text, newline="")
        if self._line < self.header.first_line:  # the "sep=" line is no record
            next(physical)
            self._line += 1
        begin, first, done, rest = physical.tell(), self._line - 1, 0, ""
        lines: list[int] = []
        records: list[list[str]] = []
        odd_lines: list[int] = []
        numbers, header_line, broken = self._numbers, self.header.line, None
        reader = self._reader(physical)
        try:
            for cells in reader:
                number, after = numbers[first + done], reader.line_num
                is_row = cells and (cells[0].strip() or "".join(cells).strip()) and number > header_line
                if is_row:
                    lines.append(number)
                    records.append(cells)
                else:
                    self._blank_rows += number > header_line
                if not is_row or after - done > 1:
                    if numbers[first + after - 1] - number != after - done - 1:
                        raise Entangled
                    odd_lines += range(number, number + after - done)
                done = after
        except csv.Error as error:
            broken = _Broken(str(error), first + reader.line_num)
            physical.seek(begin)
            next(itertools.islice(physical, done, done), None)
            rest = physical.read()
        self._line += done
        return Stretch(lines, records, odd_lines), rest, broken

    def _endless_record(self) -> FileRejected:
        return FileRejected(
            "limit.line",
            f"the row that begins in line {self._line} goes on for over {8 * self.limits.max_line_bytes:,} "
            "bytes: a quotation mark is probably opened there and never closed. Double it or remove it.",
            line=self._line,
        )

    def _too_many_rows(self, line: int) -> FileRejected:
        limit = f"{self.limits.max_rows:,}"
        return FileRejected("limit.rows", f"line {line}: the file has more than {limit} rows. {_SPLIT}", line=line)

    def _too_many_blank_rows(self) -> FileRejected:
        detail = f"line {self._line}: {MOST_BLANK_ROWS:,} blank rows stand above; no more are taken. Remove them."
        return FileRejected("limit.rows", detail, line=self._line)

    def _explained(self, broken: _Broken) -> FileRejected:
        """Say where the broken cell began, where it broke, and why that may be."""
        began_in, column = self._open_cell(broken.line)
        place = f"line {began_in}, column {column}"
        if "field larger" in broken.reason:
            return FileRejected(
                "limit.cell",
                f"{place}: the cell that begins here has more than {self.limits.max_cell_chars:,} characters. "
                "If a quotation mark opens it and is never closed, double it or remove it; else shorten the cell.",
                line=began_in,
            )
        if broken.goes_on:
            return FileRejected("upload.incomplete", f"{place}: {headers.OPEN_QUOTE}", line=began_in)
        return FileRejected(
            "csv.quoting",
            f"{place}: the cell that begins here is broken in line {broken.line}: after its closing quotation mark "
            f"stands something, if only a blank, other than {headers.delimiter_name(self.header.delimiter)} or the end "
            "of the line. Remove what stands there, or write a quotation mark inside a quoted cell twice.",
            line=began_in,
        )

    def _open_cell(self, broke_in: int) -> tuple[int, int]:
        """Return line and number of the column of the cell that is open, or broken, at the end of line `broke_in`."""
        chunks = text_chunks(self.raw, self.found, self.limits)
        lines = itertools.islice(text_lines(chunks), self._line - 1, broke_in)
        line, column, quoted, at_start, was_quote = self._line, 1, False, True, False
        began = (line, column)
        for number, text in enumerate(lines, self._line):
            for char in text:
                if quoted:
                    if was_quote and char != '"':
                        if char not in (self.header.delimiter, "\r", "\n"):
                            return began
                        quoted = False
                    was_quote = char == '"' and not was_quote
                    if quoted:
                        continue
                if char == self.header.delimiter:
                    column, at_start = column + 1, True
                    began = (number, column)
                elif char == '"' and at_start:
                    quoted, at_start, began, was_quote = True, False, (number, column), False
                elif char != " ":
                    at_start = False
        return began


def completeness(raw: BinaryIO, client: ClientSettings) -> Completeness:
    """
    Tell from the end of a file, and from its quotation marks, whether its upload looks cut off.

    Cheap: quotation marks are counted; only where their number is odd are the records read. What is not text, or
    cannot be read as a table, counts as whole: the import will say what is wrong with it.
    """
    raw.seek(0)
    try:
        start, encoding = _byte_order_mark(raw.read(4))
        size_bytes = os.fstat(raw.fileno()).st_size
        found = Survey(sha256="", size_bytes=size_bytes, encoding=encoding, start=start, end=size_bytes)
        return _completeness(raw, found, client)
    except (FileRejected, UnicodeError):
        return Completeness.WHOLE


def _completeness(raw: BinaryIO, found: Survey, client: ClientSettings) -> Completeness:
    quotes, blank, last, lines_end = 0, True, "", False
    raw.seek(found.start)
    _refuse_other_kinds(raw.read(1 << 13), found.encoding)
    limits = FileSettings()
    for chunk in text_chunks(raw, found, limits):
        quotes += chunk.count('"')
        blank = blank and not chunk.strip()
        last, lines_end = chunk, lines_end or "\n" in chunk or "\r" in chunk
    if blank:
        return Completeness.EMPTY
    if quotes % 2 and _ends_in_quotes(raw, found, limits, client):
        return Completeness.OPEN_QUOTE
    try:
        table = Table(raw, found, limits, client)
    except FileRejected:
        # A header that is all there is may have been cut off inside its last name.
        return Completeness.WHOLE if lines_end else Completeness.UNTERMINATED
    if last.endswith(("\n", "\r", "\x1a")):
        return Completeness.WHOLE
    return Completeness.CUT_OFF if is_cut_off(raw, found, table.header, client) else Completeness.UNTERMINATED


def _ends_in_quotes(raw: BinaryIO, found: Survey, limits: FileSettings, client: ClientSettings) -> bool:
    try:
        for _ in Table(raw, found, limits, client).rows():
            pass
    except FileRejected as rejected:
        return rejected.code == "upload.incomplete"
    return False


def is_cut_off(raw: BinaryIO, found: Survey, header: Header, client: ClientSettings) -> bool:
    """Tell whether the last record, of a file that does not end its last line, lacks fields."""
    start = max(found.start, found.end - _TAIL_BYTES)
    raw.seek(start - (start - found.start) % 2)
    text = raw.read(found.end - raw.tell()).decode(found.encoding, "replace")
    record = io.StringIO(text[_last_record(text) :], newline="")
    try:
        cells = next(csv.reader(record, delimiter=header.delimiter, skipinitialspace=True), [])
    except csv.Error:  # a cell over the limit: the import will name it
        return False
    return len(cells) < header.width and client.short_rows == "refuse"


def _last_record(text: str) -> int:
    """Return where the last record begins: after the last line end with an even number of quotes behind it."""
    end, quotes = len(text), 0
    while begin := max(text.rfind("\n", 0, end), text.rfind("\r", 0, end)) + 1:
        quotes += text.count('"', begin, end)
        if quotes % 2 == 0:
            return begin
        end = begin - 1
    return 0
