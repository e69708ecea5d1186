"""Records that cannot be taken: what the csv module says of them, and the refusals that tell where and why."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable

import msgspec

from importer.file.header import OPEN_QUOTE, delimiter_name
from importer.file.quotes import CELL_BYTES, is_too_long, is_unended, open_cell
from importer.file.scan import SPLIT
from importer.model import FileRejected
from importer.settings import FileSettings


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """Why no more records could be read."""

    line: int
    is_unended: bool  # all that is wrong is that a quoted cell does not end in the text
    is_too_long: bool  # a cell is


def broken_by(error: csv.Error, line: int) -> Broken:
    """Return what stopped the csv module in a line."""
    return Broken(line=line, is_unended=is_unended(error), is_too_long=is_too_long(error))


def endless_record(line: int, limits: FileSettings) -> FileRejected:
    """Return the refusal of a file whose record goes on for too long."""
    return FileRejected(
        "limit.line",
        f"the row that begins in line {line} goes on for over {limits.max_record_chars:,} bytes, or "
        f"over {limits.max_record_chars // CELL_BYTES:,} fields: a quotation mark is probably opened there "
        "and never closed. Double it or remove it.",
        line=line,
    )


def too_many_rows(line: int, limits: FileSettings) -> FileRejected:
    """Return the refusal of a file with too many rows."""
    limit = f"{limits.max_rows:,}"
    return FileRejected("limit.rows", f"line {line}: the file has more than {limit} rows. {SPLIT}", line=line)


def too_many_blank_rows(line: int, limit: int) -> FileRejected:
    """Return the refusal of a file with too many rows that are blank."""
    detail = f"line {line}: {limit:,} blank rows stand above; no more are taken. Remove them."
    return FileRejected("limit.rows", detail, line=line)


def explained(
    broken: Broken, lines: Iterable[str], first_line: int, delimiter: str, limits: FileSettings
) -> FileRejected:
    """
    Return the refusal that says where the broken cell began, where it broke, and why that may be.

    `lines` are those from the beginning of the record, in `first_line`, to the one in which it broke.
    """
    most = limits.max_cell_chars if broken.is_too_long else sys.maxsize
    began_in, column = open_cell(lines, first_line, delimiter, most)
    place = f"line {began_in}, column {column}"
    if broken.is_too_long:
        return FileRejected(
            "limit.cell",
            f"{place}: the cell that begins here has more than {limits.max_cell_chars:,} characters. "
            "If a quotation mark opens it and is never closed, double it or remove it; else shorten the cell.",
            line=began_in,
        )
    if broken.is_unended:
        return FileRejected("upload.incomplete", f"{place}: {OPEN_QUOTE}", line=began_in)
    before, after = "", delimiter_name(delimiter)
    if began_in < broken.line:
        before = (
            f" If it should end in line {began_in}, the quotation mark at its beginning is never closed, or stands "
            "there by mistake: close it, or remove it. If not:"
        )
    return FileRejected(
        "csv.quoting",
        f"{place}: the cell that begins here is broken in line {broken.line}.{before} After its closing quotation "
        f"mark stands something, if only a blank, other than {after} or the end of the line. Remove what stands "
        "there, or write a quotation mark inside a quoted cell twice.",
        line=began_in,
    )
