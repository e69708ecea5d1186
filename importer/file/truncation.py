"""Whether an upload looks cut off, decided before it is claimed."""

from __future__ import annotations

import itertools
import os
from collections import deque
from typing import BinaryIO, Final

from importer.file import closing, signature
from importer.file.quotes import last_record
from importer.file.scan import Scan
from importer.file.table import Table
from importer.file.text import text_chunks
from importer.model import FileRejected, HoldReason
from importer.settings import ClientSettings, FileSettings

# Cells of the first and the last rows, which tell what the beginning of a row looks like.
_COMPARED_ROWS: Final = 2_000
_COMPARED_COLUMNS: Final = 8
_COMPARED_CHARS: Final = 200


def completeness(raw: BinaryIO, client: ClientSettings, limits: FileSettings) -> HoldReason:
    """
    Return, from the end of a file and its quotation marks, whether its upload looks cut off.

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
        scan = Scan(sha256="", size_bytes=size_bytes, encoding=each, start=start, end=size_bytes)
        try:
            return _completeness(raw, scan, client, limits)
        except FileRejected:
            break
        except UnicodeError:
            continue
    return HoldReason.NONE


def _completeness(raw: BinaryIO, scan: Scan, client: ClientSettings, limits: FileSettings) -> HoldReason:
    quotes, blank, last, lines_end = 0, True, "", False
    raw.seek(scan.start)
    signature.refuse_other_kinds(raw.read(1 << 13), scan.encoding)
    for chunk in text_chunks(raw, scan, limits):
        quotes += chunk.count('"')
        blank = blank and not chunk.strip()
        last, lines_end = chunk, lines_end or "\n" in chunk or "\r" in chunk
    if blank:
        return HoldReason.EMPTY
    if not quotes and last.endswith(("\n", "\r")):  # whatever its names are
        return HoldReason.NONE
    try:
        table = Table(raw, scan, limits, client)
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
    is_cut = _is_short(cells, table, client) and not _is_closing_line(cells, table)
    return HoldReason.CUT_OFF if is_cut else HoldReason.UNTERMINATED


def is_cut_off(table: Table, client: ClientSettings) -> bool:
    """Tell whether the last record, of a file that does not end its last line, lacks fields, and may be a user."""
    cells = _last_record(table) or []
    return _is_short(cells, table, client) and not _is_closing_line(cells, table)


def is_closed(table: Table) -> bool:
    """Tell whether the last record of a file is a line of the export, not a user."""
    return _is_closing_line(_last_record(table) or [], table)


def _last_record(table: Table) -> list[str] | None:
    return last_record(table.text(), table.header.delimiter, table.limits.max_record_chars)


def _is_closing_line(cells: list[str], table: Table) -> bool:
    """Tell whether a last record is not a user, and cannot be the beginning of one either."""
    if table.header.columns["unique_id"][0] > 0 or len(cells) >= table.header.width or not closing.kind_of(cells):
        return False
    seen = cells[:_COMPARED_COLUMNS]
    rows = (
        [cell[:_COMPARED_CHARS] for cell in row.cells[: len(seen)]]
        for row in table.rows()
        if len(row.cells) >= table.header.width
    )
    first = [*itertools.islice(rows, _COMPARED_ROWS)]
    return closing.begins_no_row(seen, [*first, *deque(rows, _COMPARED_ROWS)])


def _is_short(cells: list[str], table: Table, client: ClientSettings) -> bool:
    """Tell whether a last record lacks fields. One of nothing but blanks is none."""
    return any(map(str.strip, cells)) and len(cells) < table.header.width and client.short_rows == "refuse"
