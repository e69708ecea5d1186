"""Records that cannot be read: the error of the csv module, and refusals that say where and why."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable

import msgspec

from importer.file.quotes import is_too_long, is_unended, open_cell
from importer.model import FileRejected, message
from importer.settings import FileSettings


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """Why no more records could be read."""

    line: int
    is_unended: bool  # all that is wrong is that a quoted cell does not end in the text
    is_too_long: bool  # a cell is


def broken_by(error: csv.Error, line: int) -> Broken:
    """Return what stopped the csv module in a line."""
    return Broken(line=line, is_unended=is_unended(error), is_too_long=is_too_long(error))


def endless_record(line: int) -> FileRejected:
    """Return the refusal of a file with a record that is too long."""
    return FileRejected(message("limit.line/record", line=str(line)), line=line)


def too_many_rows(line: int, limits: FileSettings) -> FileRejected:
    """Return the refusal of a file with too many rows."""
    return FileRejected(message("limit.rows", limit=limits.max_rows), line=line)


def too_many_blank_rows(line: int, limit: int) -> FileRejected:
    """Return the refusal of a file with too many rows that are blank."""
    return FileRejected(message("limit.rows/blank", line=str(line), limit=limit), line=line)


def explained(
    broken: Broken, lines: Iterable[str], first_line: int, delimiter: str, limits: FileSettings
) -> FileRejected:
    """
    Return the refusal that says where the broken cell began, where it broke, and why that may be.

    `lines` are those from the beginning of the record, in `first_line`, to the one in which it broke.
    """
    most = limits.max_cell_chars if broken.is_too_long else sys.maxsize
    cell = open_cell(lines, first_line, delimiter, most)
    place = {"line": str(cell.line), "column": str(cell.column)}
    if broken.is_too_long:
        reason = message("limit.cell", **place, limit=limits.max_cell_chars)
    elif cell.is_curly:
        reason = message(f"{'upload.incomplete/curly_mark' if broken.is_unended else 'csv.quoting/curly'}", **place)
    elif broken.is_unended:
        reason = message("upload.incomplete/quotation_mark", **place)
    elif cell.is_escaped:
        reason = message("csv.quoting/backslash", **place)
    elif cell.line < broken.line:
        reason = message("csv.quoting/earlier", **place)
    else:
        is_blank = cell.rest.lstrip(" ")[:1] in ("", delimiter, "\r", "\n")
        reason = message(f"csv.quoting/{'blank' if is_blank else 'inner'}", **place)
    return FileRejected(reason, line=cell.line)
