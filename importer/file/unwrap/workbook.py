"""
The users' sheet of an Excel workbook as CSV: each row is one line, and its line number that of the row.

Runs in a process of its own, see `child`. A sheet is read row by row; what it says of its own size is not believed.
The library reads what a workbook is made of, and its formats. Texts and cells are read here: the library would keep
memory for each element of a sheet, and does not tell a formula without a result from a blank cell.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import BinaryIO, Final
from xml.etree.ElementTree import Element, iterparse

import msgspec
from openpyxl.reader.excel import ExcelReader
from openpyxl.styles.numbers import BUILTIN_FORMATS, BUILTIN_FORMATS_MAX_SIZE
from openpyxl.styles.stylesheet import apply_stylesheet
from openpyxl.utils import column_index_from_string, get_column_letter
from openpyxl.xml.constants import SHARED_STRINGS

from importer.characters import NO_RESULT
from importer.file.header import fitness
from importer.file.unwrap import shown
from importer.file.unwrap.archives import BoundedZip, Member
from importer.model import NAMED_LINES, FileRejected, FileWarning, message
from importer.settings import ClientSettings

_MOST_NAMED: Final = 10  # sheets
_MOST_COLUMNS: Final = 16_384
_MOST_ROWS: Final = 1 << 20
_BREAK: Final = re.compile(r"\r\n|[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_ESCAPE: Final = re.compile(r"_x([0-9A-Fa-f]{4})_")
_PLACE: Final = re.compile(r"\$?([A-Z]{1,3})\$?([0-9]+)")


class Sheet(msgspec.Struct, frozen=True):
    """A sheet of a workbook."""

    name: str
    path: str


class Converted(msgspec.Struct, frozen=True):
    """What was read: the name of the sheet, and what the client should know about it."""

    sheet: str
    warnings: tuple[FileWarning, ...] = ()


def convert(archive: BoundedZip, raw: BinaryIO, out: BinaryIO, client: ClientSettings, most_bytes: int) -> Converted:
    """
    Write the rows of the users' sheet as CSV, of at most so many bytes.

    Raises FileRejected; anything else when the workbook is not as it should be, MemoryError when it is too much.
    """
    workbook = _Workbook(archive, raw)
    sheet = _users_sheet(workbook, client)
    reading = _Reading(workbook, sheet)
    text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=False)
    writer = csv.writer(text, lineterminator="\n")
    line, width, left = 0, 0, most_bytes
    for number, cells in reading.rows():
        text.write("\n" * (number - line - 1))
        width = width or len(cells)
        left -= writer.writerow([*cells, *[""] * (width - len(cells))])
        if left < 0:
            raise FileRejected(message("wrap.limit/wide", column=get_column_letter(max(width, len(cells)))))
        line = number
    text.flush()
    text.detach()
    return Converted(sheet.name, tuple(reading.warnings()))


class _Workbook:
    """The parts of a workbook that its sheets refer to."""

    def __init__(self, archive: BoundedZip, raw: BinaryIO) -> None:
        reader = ExcelReader(raw, read_only=True, keep_links=False)
        reader.archive = self.archive = archive
        reader.read_manifest()
        reader.read_workbook()
        book = reader.wb
        apply_stylesheet(archive, book)
        texts = reader.package.find(SHARED_STRINGS)
        self.texts = [*_texts(archive, texts.PartName[1:])] if texts else []
        # A program that wrote no results says so: all is to be calculated on opening.
        self.is_stale = bool(book.calculation and book.calculation.fullCalcOnLoad)
        self.sheets = [
            Sheet(sheet.name, rel.target)
            for sheet, rel in reader.parser.find_sheets()
            if sheet.state == "visible" and "worksheet" in rel.Type and rel.target in archive.namelist()
        ]
        own = book._number_formats  # noqa: SLF001 - there is no other way
        self._formats = [_format_of(style.numFmtId, own) for style in book._cell_styles]  # noqa: SLF001
        self._epoch: datetime = book.epoch
        self._showers: dict[tuple[int, str], Callable[[float], str] | None] = {}

    def shown(self, value: str, style: int) -> str:
        """Return a number as its format shows it. Raises ValueError."""
        number: float = float(value)
        if not math.isfinite(number):
            return shown.ERROR
        key = self._formats[style] if style < len(self._formats) else (0, "General")
        if key not in self._showers:
            self._showers[key] = shown.shower(key[1], key[0], self._epoch)
        show = self._showers[key]
        return show(number) if show else NO_RESULT


def _format_of(number: int, own: Sequence[str]) -> tuple[int, str]:
    if number < BUILTIN_FORMATS_MAX_SIZE:
        return number, BUILTIN_FORMATS.get(number, "General")
    return number, own[number - BUILTIN_FORMATS_MAX_SIZE]


def _name(element: Element) -> str:
    """Return the name without its namespace: files of the strict form of the standard have another one."""
    return element.tag.rpartition("}")[2]


def _texts(archive: BoundedZip, part: str) -> Iterator[str]:
    with archive.open(part) as source:
        for element in _elements(source, "si"):
            yield _text(element)


def _elements(source: Member, *names: str) -> Iterator[Element]:
    """
    Yield the elements of these names, each whole; what was read is forgotten.

    Entities that grow are stopped by the parser of any release that we run on, and by the limits of the process.
    """
    path: list[Element] = []
    for event, element in iterparse(source, ("start", "end")):  # noqa: S314
        if event == "start":
            path.append(element)
            continue
        path.pop()
        if _name(element) in names:
            yield element
            element.clear()
            if path:
                path[-1].clear()


def _text(element: Element) -> str:
    """Return the text of a cell, but for how it is read aloud."""
    if _name(element) == "rPh":
        return ""
    if _name(element) == "t":
        return _unescaped(element.text or "")
    return "".join(map(_text, element))


class _Reading:
    """Reads one sheet; remembers what a person does not see in it."""

    def __init__(self, workbook: _Workbook, sheet: Sheet) -> None:
        self._workbook = workbook
        self._sheet = sheet
        self._hidden_rows: list[int] = []
        self._hidden_count = 0
        self._hidden_columns: list[tuple[int, int]] = []
        self._merged: list[str] = []
        self._merged_count = 0
        self._first = 0
        self._width = 0

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield number and cells of each row that has any, without the blank ones at its end."""
        last = 0
        with self._workbook.archive.open(self._sheet.path) as source:
            for element in _elements(source, "row", "col", "mergeCell"):
                if _name(element) == "row":
                    number = int(element.get("r", last + 1))
                    if not last < number <= _MOST_ROWS:
                        raise ValueError(number)
                    last, cells = number, self._cells(element)
                    if cells:
                        self._note_row(number, cells, element)
                        yield number, cells
                elif _name(element) == "mergeCell":
                    self._note_merged(element.get("ref", ""))
                elif element.get("hidden") in ("1", "true"):
                    self._hidden_columns.append((int(element.get("min", 0)), int(element.get("max", 0))))

    def _cells(self, row: Element) -> list[str]:
        cells: list[str] = []
        column = 0
        for element in row:
            if _name(element) != "c":
                continue
            column = _column(element.get("r", ""), column + 1)
            if not (value := self._value(element)):
                continue
            cells += [""] * (column - len(cells))
            cells[column - 1] = value
        return cells

    def _value(self, cell: Element) -> str:
        parts = {_name(each): each for each in cell}
        kind, formula = cell.get("t", "n"), "f" in parts
        if kind == "inlineStr":
            return _one_line(_text(parts["is"])) if "is" in parts else ""
        value = (parts["v"].text or "") if "v" in parts else ""
        if formula and ((not value and kind != "str") or (value == "0" and self._workbook.is_stale)):
            return NO_RESULT
        if not value:
            return ""
        return self._of_kind(kind, value, int(cell.get("s", 0)))

    def _of_kind(self, kind: str, value: str, style: int) -> str:
        if kind == "n":
            return self._workbook.shown(value, style)
        if kind == "s":
            return _one_line(self._workbook.texts[int(value)])
        if kind == "b":
            return "TRUE" if value.strip() in ("1", "true") else "FALSE"
        return _one_line(_unescaped(value)) if kind == "str" else value.removesuffix("T00:00:00")

    def _note_row(self, number: int, cells: list[str], element: Element) -> None:
        self._first = self._first or number
        self._width = max(self._width, len(cells))
        if element.get("hidden") in ("1", "true") and number > self._first:
            self._hidden_count += 1
            if len(self._hidden_rows) < NAMED_LINES:
                self._hidden_rows.append(number)

    def _note_merged(self, place: str) -> None:
        last = _PLACE.fullmatch(place.rpartition(":")[2])
        if last and int(last[2]) > self._first and column_index_from_string(last[1]) <= self._width:
            self._merged_count += 1
            if len(self._merged) < NAMED_LINES:
                self._merged.append(place.replace("$", ""))

    def warnings(self) -> Iterator[FileWarning]:
        """Yield what a person may not see, once the sheet is read."""
        if self._hidden_count:
            lines = tuple(self._hidden_rows)
            yield FileWarning(reason=message("sheet.hidden"), rows=self._hidden_count, lines=lines)
        columns = [
            column for least, most in self._hidden_columns for column in range(least, min(most, self._width) + 1)
        ]
        if columns:
            names = tuple(get_column_letter(each) for each in columns[:NAMED_LINES])
            yield FileWarning(reason=message("sheet.hidden/columns", columns=names))
        if self._merged:
            yield FileWarning(reason=message("sheet.merged", count=self._merged_count, places=tuple(self._merged)))


def _unescaped(value: str) -> str:
    """Return a text with the characters that XML cannot have, which a workbook has as _x000D_."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), value)


def _column(place: str, following: int) -> int:
    """Return the number of a cell's column, from 1. Raises ValueError."""
    match = _PLACE.fullmatch(place)
    column: int = column_index_from_string(match[1]) if match else following
    if column > _MOST_COLUMNS:
        raise ValueError(place)
    return column


def _one_line(text: str) -> str:
    """Return a text with a tab for each line break: a row stays one line, and the break is told like one."""
    return _BREAK.sub("\t", text)


def _users_sheet(workbook: _Workbook, client: ClientSettings) -> Sheet:
    """Return the one sheet whose first row has names of columns. Raises FileRejected."""
    fits = [(fitness(cells, client), sheet) for sheet in workbook.sheets if (cells := _first_row(workbook, sheet))]
    if not fits:
        raise FileRejected(message("file.empty/workbook"))
    best = max(fit for fit, _ in fits)
    chosen = [sheet for fit, sheet in fits if fit == best]
    if len(chosen) == 1:
        return chosen[0]
    names = tuple(sheet.name for sheet in chosen[:_MOST_NAMED])
    raise FileRejected(message("sheet.choice" if best else "sheet.choice/none", sheets=names))


def _first_row(workbook: _Workbook, sheet: Sheet) -> list[str]:
    return next((cells for _, cells in _Reading(workbook, sheet).rows()), [])
