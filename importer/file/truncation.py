"""Whether a file looks as if its upload was cut off, told before it is taken."""

from __future__ import annotations

import os
from typing import BinaryIO

from importer.file import signature
from importer.file.quotes import last_record
from importer.file.scan import Scan
from importer.file.table import Table
from importer.file.text import text_chunks
from importer.model import FileRejected, HoldReason
from importer.settings import ClientSettings, FileSettings


def completeness(raw: BinaryIO, client: ClientSettings, limits: FileSettings) -> HoldReason:
    """
    Tell from the end of a file, and from its quotation marks, whether its upload looks cut off.

    Cheap: quotation marks are counted; only where their number is odd, or the last line does not end, are they looked
    at. What is not text, or cannot be read as a table, counts as whole: the import will say what is wrong with it.
    """
    raw.seek(0)
    try:
        start, encoding = signature.byte_order_mark(raw.read(4))
    except FileRejected:
        return HoldReason.NONE
    size_bytes = os.fstat(raw.fileno()).st_size
    for each in filter(None, (encoding, client.fallback_encoding)):
        found = Scan(sha256="", size_bytes=size_bytes, encoding=each, start=start, end=size_bytes)
        try:
            return _completeness(raw, found, client, limits)
        except FileRejected:
            break
        except UnicodeError:
            continue
    return HoldReason.NONE


def _completeness(raw: BinaryIO, found: Scan, client: ClientSettings, limits: FileSettings) -> HoldReason:
    quotes, blank, last, lines_end = 0, True, "", False
    raw.seek(found.start)
    signature.refuse_other_kinds(raw.read(1 << 13), found.encoding)
    for chunk in text_chunks(raw, found, limits):
        quotes += chunk.count('"')
        blank = blank and not chunk.strip()
        last, lines_end = chunk, lines_end or "\n" in chunk or "\r" in chunk
    if blank:
        return HoldReason.EMPTY
    try:
        table = Table(raw, found, limits, client)
    except FileRejected as rejected:
        if rejected.code == "upload.incomplete":
            return HoldReason.OPEN_QUOTE
        # A header that is all there is may have been cut off inside its last name.
        return HoldReason.NONE if lines_end else HoldReason.UNTERMINATED
    ends = last.endswith(("\n", "\r", "\x1a"))
    if ends and quotes % 2 == 0:
        return HoldReason.NONE
    return _by_last_record(table, client, ends=ends)


def _by_last_record(table: Table, client: ClientSettings, *, ends: bool) -> HoldReason:
    cells = _last_record(table)
    if cells is None:
        return HoldReason.OPEN_QUOTE
    if ends:
        return HoldReason.NONE
    return HoldReason.CUT_OFF if _is_short(cells, table, client) else HoldReason.UNTERMINATED


def is_cut_off(table: Table, client: ClientSettings) -> bool:
    """Tell whether the last record, of a file that does not end its last line, lacks fields."""
    return _is_short(_last_record(table) or [], table, client)


def _last_record(table: Table) -> list[str] | None:
    return last_record(table.text(), table.header.delimiter, table.limits.max_record_chars)


def _is_short(cells: list[str], table: Table, client: ClientSettings) -> bool:
    """Tell whether a last record lacks fields. One of nothing but blanks is none."""
    return any(map(str.strip, cells)) and len(cells) < table.header.width and client.short_rows == "refuse"
