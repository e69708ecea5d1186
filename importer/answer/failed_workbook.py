"""
The failed rows once more as a workbook, for whoever uploaded one: opening a CSV in Excel destroys ids and dates.

All cells are text, so that nothing is converted when they are edited; those to be corrected are marked. It is made from
the failed CSV, in a process of its own: the library takes 0.1 ms a row and is needed nowhere else.
"""

from __future__ import annotations

import csv
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from importer import helper_process, names
from importer.characters import unguarded
from importer.durable import Unsynced, write_whole
from importer.file.header import Header
from importer.fs import open_file, temporary_folder

MOST_ROWS: Final = 20_000  # 2.3 s of processor time; more are in the failed CSV alone
_CHUNK_BYTES: Final = 1 << 20
_MARKED: Final = "FFFFFF00"  # yellow
_TEXT: Final = "@"  # the format of cells that a spreadsheet leaves as they are
_REASON_WIDTH: Final = 80  # letters
_UNWRITABLE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # in XML


class Terms(msgspec.Struct, frozen=True):
    """How to read the failed CSV: its delimiter, and in which columns it has each attribute."""

    delimiter: str
    columns: Mapping[str, Sequence[int]]


def terms(header: Header) -> Terms:
    """Return how to read the failed CSV of a file with this header."""
    place = {index: at for at, index in enumerate(header.echoed)}
    columns = {name: [place[each] for each in indexes if each in place] for name, indexes in header.columns.items()}
    return Terms(header.delimiter, columns)


def write(folder_fd: int, how: Terms, unsynced: Unsynced) -> None:
    """Write the workbook next to the failed CSV of a claim folder; `unsynced` makes it durable. Raises OSError."""
    with open_file(names.FAILED_CSV, folder_fd) as rows, tempfile.TemporaryFile(dir=temporary_folder()) as out:
        with helper_process.start(__name__, rows.fileno(), out.fileno()) as process:
            process.communicate(msgspec.json.encode(how))
        if process.returncode:
            raise ChildProcessError("the process that writes the failed workbook ended before its work")
        chunks = _chunks(out.fileno())
        write_whole(folder_fd, names.FAILED_XLSX, chunks, mode=0o640, before_rename=unsynced.add)


def read(folder_fd: int, most_bytes: int) -> bytes | None:
    """Return the workbook of a claim folder, b"" if it is larger than that, None if there is none. Raises OSError."""
    try:
        with open_file(names.FAILED_XLSX, folder_fd) as file:
            return file.read() if os.fstat(file.fileno()).st_size <= most_bytes else b""
    except FileNotFoundError:
        return None


def _chunks(fd: int) -> Iterator[bytes]:
    at = 0
    while chunk := os.pread(fd, _CHUNK_BYTES, at):
        yield chunk
        at += len(chunk)


def main(csv_fd: int, out_fd: int) -> None:
    """Run as the process: write the workbook of the failed CSV by the terms that are read from standard input."""
    from openpyxl import Workbook  # noqa: PLC0415 - it takes 0.2 s, and is needed here alone
    from openpyxl.cell import WriteOnlyCell  # noqa: PLC0415
    from openpyxl.styles import Alignment, Font, PatternFill  # noqa: PLC0415
    from openpyxl.utils import get_column_letter  # noqa: PLC0415

    how = msgspec.json.decode(sys.stdin.buffer.read(), type=Terms)
    book = Workbook(write_only=True)
    sheet = book.create_sheet("Users")
    sheet.freeze_panes = "A2"
    fill, bold, wrapped = PatternFill("solid", fgColor=_MARKED), Font(bold=True), Alignment(wrap_text=True)

    def cells(row: list[str], marked: set[int], *, is_header: bool) -> Iterator[WriteOnlyCell]:
        for index, text in enumerate(row):
            cell = WriteOnlyCell(sheet, _UNWRITABLE.sub("\ufffd", unguarded(text)))
            cell.data_type, cell.number_format = "s", _TEXT  # what begins with = would be a formula
            if is_header:
                cell.font = bold
            elif index in marked:
                cell.fill = fill
            if index == len(row) - 1:
                cell.alignment = wrapped
            yield cell

    with io.TextIOWrapper(open(csv_fd, "rb"), encoding="utf-8-sig", newline="") as text, open(out_fd, "wb") as out:
        for number, row in enumerate(csv.reader(text, delimiter=how.delimiter)):
            if not number:
                for index, name in enumerate(row):
                    column = sheet.column_dimensions[get_column_letter(index + 1)]
                    column.width = _REASON_WIDTH if index == len(row) - 1 else max(12, len(name) + 2)
            marked = {place for field in row[-2].split("; ") for place in how.columns.get(field, ())}
            sheet.append(cells(row, marked, is_header=not number))
        book.save(out)
