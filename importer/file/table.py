"""
The records of a file: the header at once, then the rows, in stretches or one by one. Memory is constant.

Source: RFC 4180; where real files differ from it, section 12 of the contract.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, Final

import msgspec

from importer.file import header as headers
from importer.file.broken import Broken, broken_by, endless_record, explained, too_many_blank_rows, too_many_rows
from importer.file.header import Header
from importer.file.quotes import weight
from importer.file.scan import Scan
from importer.file.text import text_chunks, text_lines
from importer.model import FileRejected
from importer.settings import ClientSettings, FileSettings

if TYPE_CHECKING:
    import _csv

STRETCH_ROWS: Final = 1000  # a chunk of short lines holds more
_STRETCH_BYTES: Final = 1 << 20  # in memory, of rows that are read again: one can have 32 MiB
EVERY_LINE: Final = range(1, sys.maxsize)
MOST_BLANK_ROWS: Final = 5_000_000  # some seconds; 1 GiB of line feeds would take minutes
_SAMPLE_CHARS, _MANY_MARKS = 1000, 16  # with so many quotation marks at its beginning most lines of a text have some
HEAD_CHARS: Final = 1 << 16  # enough for titles and a header; Excel's 16,384 empty columns are 16 KiB


class Row(msgspec.Struct, frozen=True, gc=False):
    """One record of the file, unchanged. `line` is the physical line where it starts; the first line is 1."""

    line: int
    cells: list[str]


class Stretch(msgspec.Struct, frozen=True):
    """
    Some records that follow each other in the file, none of them blank, and the lines where they start.

    `recheck_lines` are those lines among them that are not a record each: header, blank ones, parts of longer records.
    """

    lines: list[int]
    records: list[list[str]]
    recheck_lines: array[int]  # a record can have millions of lines
    has_line_feeds: bool = True  # a cell may have one; False: none has

    def row(self, position: int) -> Row:
        """Return one of them."""
        return Row(self.lines[position], self.records[position])

    @property
    def rows(self) -> Iterator[Row]:
        """Return them one by one."""
        return map(Row, self.lines, self.records)


class Entangled(Exception):
    """A record of an excerpt continues in a line outside it, or is broken: the whole file must be read."""


class Table:
    """
    The records of one file: the header at once, then the rows.

    Raises FileRejected from `__init__`: header.*, csv.quoting, limit.columns; from `rows`: csv.quoting,
    upload.incomplete, limit.cell, limit.rows, header.unknown (a nameless column that has content).
    """

    def __init__(
        self,
        raw: BinaryIO,
        scan: Scan,
        limits: FileSettings,
        client: ClientSettings,
        header: Header | None = None,
        numbers: Sequence[int] = EVERY_LINE,
    ) -> None:
        """For an excerpt: the header of the whole file, and the `numbers` of its lines, all of the header included."""
        if numbers is not EVERY_LINE:
            size_bytes = os.fstat(raw.fileno()).st_size
            scan = msgspec.structs.replace(scan, start=0, end=size_bytes, size_bytes=size_bytes)
        self.raw = raw
        self.scan = scan
        self.limits = limits
        self._client = client
        self._numbers = numbers
        csv.field_size_limit(limits.max_cell_chars)
        self.header = header or self._read_header()

    def _read_header(self) -> Header:
        head = ""
        for chunk in text_chunks(self.raw, self.scan, self.limits):
            head += chunk
            if len(head) >= HEAD_CHARS:
                break
        return headers.read(head, self._client, self.limits.max_columns)

    @property
    def is_excerpt(self) -> bool:
        """Tell whether only some lines of a file are in it."""
        return self._numbers is not EVERY_LINE

    def rows(self) -> Iterator[Row]:
        """Yield every record below the header that has content, in file order."""
        return itertools.chain.from_iterable(stretch.rows for stretch in self.stretches())

    def text(self) -> Iterator[str]:
        """Yield the text without a line of Excel's own, which is not a record, in chunks that end where a line ends."""
        chunks = text_chunks(self.raw, self.scan, self.limits)
        if self.header.first_line > 1:
            first = io.StringIO(next(chunks), newline="")
            next(first)
            yield first.read()
        yield from chunks

    def excerpt(self, raw: BinaryIO, numbers: Sequence[int]) -> Table:
        """Return the table of some lines of this file, which `raw` contains; then Entangled may be raised."""
        return Table(raw, self.scan, self.limits, self._client, self.header, numbers)

    def stretches(self) -> Iterator[Stretch]:
        """Yield the same in stretches of at most STRETCH_ROWS rows."""
        left = self.limits.max_rows
        for parsed in self._parsed():
            if len(parsed.lines) > left:
                raise too_many_rows(parsed.lines[left], self.limits)
            if self._blank_rows > MOST_BLANK_ROWS:
                raise too_many_blank_rows(self._line, MOST_BLANK_ROWS)
            left -= len(parsed.lines)
            for start in range(0, len(parsed.lines) or 1, STRETCH_ROWS):
                end = start + STRETCH_ROWS
                recheck_lines = array("I") if start else parsed.recheck_lines
                lines, records = parsed.lines[start:end], parsed.records[start:end]
                yield Stretch(lines, records, recheck_lines, parsed.has_line_feeds)

    def reread(self, wanted: Iterable[int]) -> Iterator[Stretch]:
        """Yield again the rows that start in the lines `wanted`, which ascend; large ones in small stretches."""
        stretch, size_bytes = Stretch([], [], array("I")), 0
        for row in self._reread(wanted):
            stretch.lines.append(row.line)
            stretch.records.append(row.cells)
            size_bytes += size_of(row.cells)
            if len(stretch.lines) == STRETCH_ROWS or size_bytes > _STRETCH_BYTES:
                yield stretch
                stretch, size_bytes = Stretch([], [], array("I")), 0
        yield stretch

    def _reread(self, wanted: Iterable[int]) -> Iterator[Row]:
        lines = text_lines(text_chunks(self.raw, self.scan, self.limits))
        passed = 0
        for line in wanted:
            place = bisect_left(self._numbers, line, passed, min(line, len(self._numbers)))
            first = next(itertools.islice(lines, place - passed, None))
            # A record of several lines: the reader takes what it needs from those that follow.
            reader = _reader(itertools.chain((first,), lines), self.header.delimiter)
            yield Row(line, next(reader))
            passed = place + reader.line_num

    def _parsed(self) -> Iterator[Stretch]:
        """Yield the records of one chunk of text at a time."""
        self._line, self._blank_rows, text, enough, broken = self.header.first_line, 0, "", 0, None
        for chunk in self.text():
            text += chunk
            if len(text) < enough:
                continue
            parsed, text, broken = self._parse(text)
            yield parsed
            if broken and not broken.is_unended:
                break
            most = self.limits.max_record_chars
            if weight(text, self.header.delimiter) > most:
                raise endless_record(self._line)
            # The rest is an unfinished record. Twice as much is read before the next try, or it would cost n * n.
            enough = min(2 * len(text), most)
        else:
            parsed, text, broken = self._parse(text)
            yield parsed
        # Only now, so that of two errors in a file the first one is reported.
        if broken:
            raise Entangled if self.is_excerpt else self._explained(broken)

    def _parse(self, text: str) -> tuple[Stretch, str, Broken | None]:
        """Return the records that end in the text, which begins in `self._line`, the rest of it, and what broke it."""
        if plain := self._parse_plain(text):
            self._line += len(plain.lines) + len(plain.recheck_lines)
            return plain, "", None
        return self._parse_any(text)

    def _parse_plain(self, text: str) -> Stretch | None:
        """
        Return the records of a text if each is a row of one line, as is usual; 0.6 of the time of `_parse_any`.

        Only the first one may be the header, as in the beginning of most files.
        """
        try:
            records = _plain_records(text, self.header.delimiter, self.limits.max_cell_chars)
        except (csv.Error, StopIteration):  # a record has several lines
            return None
        lines = [*self._numbers[self._line - 1 : self._line - 1 + len(records)]]
        is_plain = bool(lines) and lines[0] >= self.header.line and all(map(_has_content, records))
        below = int(is_plain and lines[0] == self.header.line)
        recheck_lines = array("I", lines[:below])
        return Stretch(lines[below:], records[below:], recheck_lines, has_line_feeds=False) if is_plain else None

    def _parse_any(self, text: str) -> tuple[Stretch, str, Broken | None]:
        physical = io.StringIO(text, newline="")
        first, done, rest = self._line - 1, 0, ""
        lines: list[int] = []
        records: list[list[str]] = []
        recheck_lines = array("I")
        numbers, header_line, broken = self._numbers, self.header.line, None
        reader = _reader(physical, self.header.delimiter)
        try:
            for cells in reader:
                number, after = numbers[first + done], reader.line_num
                is_row = number > header_line and _has_content(cells)
                if is_row:
                    lines.append(number)
                    records.append(cells)
                else:
                    self._blank_rows += number > header_line
                if not is_row or after - done > 1:
                    if numbers[first + after - 1] - number != after - done - 1:
                        raise Entangled
                    recheck_lines.extend(range(number, number + after - done))
                done = after
        except csv.Error as error:
            broken = broken_by(error, first + reader.line_num)
            physical.seek(0)
            next(itertools.islice(physical, done, done), None)
            rest = physical.read()
        self._line += done
        return Stretch(lines, records, recheck_lines), rest, broken

    def _explained(self, broken: Broken) -> FileRejected:
        lines = text_lines(text_chunks(self.raw, self.scan, self.limits))
        of_record = itertools.islice(lines, self._line - 1, broken.line)
        return explained(broken, of_record, self._line, self.header.delimiter, self.limits)


def _reader(lines: Iterable[str], delimiter: str) -> _csv.Reader:
    return csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)


def _plain_records(text: str, delimiter: str, most: int) -> list[list[str]]:
    """
    Return the records of a text, none or StopIteration if one has several lines; `most`: characters of a cell.

    Few lines need the reader, which takes longer than to split the others.
    """
    if text.count('"', 0, _SAMPLE_CHARS) > _MANY_MARKS:
        reader = _reader(io.StringIO(text, newline=""), delimiter)
        records = list(reader)
        return records if len(records) == reader.line_num else []
    lines = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    blank = f"{delimiter} "
    need_reader = ['"' in line or blank in line or line[:1] == " " or len(line) > most for line in lines]
    reader = _reader(itertools.compress(lines, need_reader), delimiter)
    return [next(reader) if need else line.split(delimiter) for line, need in zip(lines, need_reader, strict=True)]


def size_of(cells: list[str]) -> int:
    """Return how many bytes of memory the cells of a row take."""
    return sum(map(sys.getsizeof, cells))


def _has_content(cells: list[str]) -> bool:
    return bool(cells and (cells[0].strip() or "".join(cells).strip()))
