"""Whether a file looks as if its upload was cut off, told before it is taken."""

from __future__ import annotations

import csv
import enum
import io
import os
from typing import BinaryIO, Final

from importer import kind
from importer.header import Header
from importer.model import FileRejected
from importer.quotes import ends_inside
from importer.settings import ClientSettings, FileSettings
from importer.survey import Survey
from importer.table import Table
from importer.text import text_chunks

_TAIL_BYTES: Final = 1 << 20  # as long as a line may be; the last record is in it


class Completeness(enum.StrEnum):
    """Whether a file looks as if its upload was cut off."""

    WHOLE = "whole"
    UNTERMINATED = "unterminated"  # the last line does not end, but has all its fields
    CUT_OFF = "cut_off"  # the last line does not end and is short
    OPEN_QUOTE = "open_quote"
    EMPTY = "empty"


def completeness(raw: BinaryIO, client: ClientSettings) -> Completeness:
    """
    Tell from the end of a file, and from its quotation marks, whether its upload looks cut off.

    Cheap: quotation marks are counted; only where their number is odd, or the last line does not end, are they looked
    at. What is not text, or cannot be read as a table, counts as whole: the import will say what is wrong with it.
    """
    raw.seek(0)
    try:
        start, encoding = kind.byte_order_mark(raw.read(4))
        size_bytes = os.fstat(raw.fileno()).st_size
        found = Survey(sha256="", size_bytes=size_bytes, encoding=encoding, start=start, end=size_bytes)
        return _completeness(raw, found, client)
    except (FileRejected, UnicodeError):
        return Completeness.WHOLE


def _completeness(raw: BinaryIO, found: Survey, client: ClientSettings) -> Completeness:
    quotes, blank, last, lines_end = 0, True, "", False
    raw.seek(found.start)
    kind.refuse_other_kinds(raw.read(1 << 13), found.encoding)
    limits = FileSettings()
    for chunk in text_chunks(raw, found, limits):
        quotes += chunk.count('"')
        blank = blank and not chunk.strip()
        last, lines_end = chunk, lines_end or "\n" in chunk or "\r" in chunk
    if blank:
        return Completeness.EMPTY
    try:
        table = Table(raw, found, limits, client)
    except FileRejected as rejected:
        if rejected.code == "upload.incomplete":
            return Completeness.OPEN_QUOTE
        # A header that is all there is may have been cut off inside its last name.
        return Completeness.WHOLE if lines_end else Completeness.UNTERMINATED
    ends = last.endswith(("\n", "\r", "\x1a"))
    # One that breaks off may have an even number of marks: one that is a mark of inches, and one that opened a cell.
    if (quotes % 2 if ends else quotes) and ends_inside(table.text(), table.header.delimiter, limits.max_record_chars):
        return Completeness.OPEN_QUOTE
    if ends:
        return Completeness.WHOLE
    return Completeness.CUT_OFF if is_cut_off(raw, found, table.header, client) else Completeness.UNTERMINATED


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
