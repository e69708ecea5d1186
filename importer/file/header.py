"""The header of a file: under which delimiter it reads best, what each column is, and help when it does not fit."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
import unicodedata
from collections.abc import Collection, Iterator
from typing import BinaryIO, Final

import msgspec

from importer.attributes import (
    COLUMNS,
    POSSIBLE_NAMES,
    REPORT_NAMES,
    STATUS,
    TOKEN_NAME,
    same_but_for_spelling,
    secrets_in,
)
from importer.characters import EDGE, unguarded
from importer.file import closing, header_reasons
from importer.file import first_line as first_lines
from importer.file.proposals import nearest
from importer.file.quotes import is_unended
from importer.model import FileRejected, Message, message
from importer.settings import ClientSettings

DELIMITERS: Final = (",", ";", "\t", "|")
_DELIMITER_KEYS: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
_SEP_LINE: Final = re.compile(r'"?sep=([^\r\n"])"?[ \t,;|]*(?:\r\n|\r|\n|\Z)', re.IGNORECASE)
# What Excel puts above a table that it loaded with "Do not detect data types", and saves with it.
_NUMBERED_LINE: Final = re.compile(
    r'"?(?:Column|Colonne)1"?([,;\t|])(?:"?(?:Column|Colonne)\d+"?\1?)+[ \t,;|]*(?:\r\n|\r|\n)', re.IGNORECASE
)
_MARKS: Final = '",;|'  # what a file without content may have, besides blanks
_LINES_TO_SEARCH: Final = 50
_FEW: Final = 4  # less than one row in so many
_COMPARED: Final = 100  # names
_FEWEST_NAMES: Final = 2  # of a line below a title
_NAMES_BYTES: Final = 1 << 16  # in which the header is
_ASCII: Final = bytes(range(0x80))
_OF_NAMES: Final = ("header.unknown", "header.repeated", "header.missing")
_FOREIGN_LINE_END: Final = re.compile(r"[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]|\\r\\n|\\n")  # or written out
_DATA: Final = re.compile(r"\S@\S|\d{3}|^\d+$|^OPSCOM$")


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What the columns of a file are. Indexes count from 0, columns in messages from A."""

    delimiter: str
    first_line: int  # 2 below a line of Excel's own, "sep=;" or "Column1;Column2", else 1
    line: int  # where the header starts
    titles: tuple[str, ...]  # as written, without the empty ones at the end
    columns: dict[str, tuple[int, ...]]  # attribute -> its columns, the one that counts first at the front
    echoed: tuple[int, ...]  # columns that are sent back: neither secrets nor rosterd's own
    secret: tuple[str, ...] = ()  # titles of columns with tokens or passwords
    ignored: tuple[str, ...] = ()  # titles that are not known, where that is allowed
    nameless: tuple[int, ...] = ()  # columns that must stay empty
    trailing_width: int = 0  # cells of the first row, if some are beyond the header line; else 0

    @property
    def written_width(self) -> int:
        """Return the number of fields of the header line as written, the empty ones at its end included."""
        return max((self.width, *(index + 1 for index in self.nameless[-1:])))

    @property
    def is_failed_csv(self) -> bool:
        """Tell whether the file is a failed CSV that came back corrected: it has columns of the report."""
        return not {title.lower() for title in self.titles}.isdisjoint(REPORT_NAMES)

    @property
    def width(self) -> int:
        """Return the number of fields a row has to have."""
        return len(self.titles)


class _Reading(msgspec.Struct, frozen=True):
    """The header as it reads under one delimiter."""

    delimiter: str
    line: int
    cells: list[str]
    known: int
    numbered: str = ""  # the name of a first column that numbers the rows

    @property
    def near(self) -> int:
        """Return how many of the first names are known or nearly so; to compare one takes up to 0.5 ms."""
        return sum(bool(nearest(name)) for name in _titles(self.cells[:_COMPARED]) if name)


def delimiter_message(delimiter: str) -> Message:
    """Return what names the delimiter in a sentence."""
    return Message(f"delimiter/{_DELIMITER_KEYS[delimiter]}")


def read(head: str, client: ClientSettings, max_columns: int) -> Header:
    """
    Find the header in the first characters of a file.

    The delimiter is the one under which most names are known; then most nearly known; then most fields; then the comma.
    Raises FileRejected with all that is wrong with the header in one answer.
    """
    excel = _SEP_LINE.match(head) or _numbered_line(head, client)
    first_line = 2 if excel else 1
    text = head[excel.end() :] if excel else head
    if not text.strip(EDGE + _MARKS):
        raise FileRejected(message("file.empty/blank"))
    candidates = sorted(DELIMITERS, key=lambda each: not (excel and each == excel[1]))
    readings = [reading for each in candidates if (reading := _reading(text, each, first_line, client))]
    if not readings:
        raise FileRejected(message("limit.cell/name", line=str(first_line)), line=first_line)
    most_known = max(reading.known for reading in readings)
    best_known = [reading for reading in readings if reading.known == most_known]
    best = (
        max(best_known, key=lambda reading: (reading.near, len(reading.cells)))
        if len(best_known) > 1
        else best_known[0]
    )
    titles = [_title(cell) for cell in best.cells]
    while titles and not titles[-1]:
        titles.pop()
    if len(titles) > max_columns:
        too_many = message("limit.columns", line=str(best.line), count=len(titles), limit=max_columns)
        raise FileRejected(too_many, line=best.line)
    first_lines.refuse_separator(best.cells, best.delimiter, DELIMITERS, client, best.line)
    _refuse_broken_quotes(text, best, first_line)
    _refuse_one_line(text, best)
    is_known = 1 < best.known == len(titles)  # as with nearly all files: then the first row tells enough
    most = 2 if is_known else _COMPARED
    rows = [cells for _, cells in itertools.islice(_records(text, best.delimiter, first_line), most)][1:]
    _refuse_other_layout(best, rows, client)
    if not any(_means_the_id(cell, client) for cell in best.cells):
        _refuse_for_header_below(text, best, first_line, client)
    if not best.known:
        if not best.near:
            said = next(itertools.islice(io.StringIO(text, newline=None), best.line - first_line, None))
            first_lines.refuse_error_message(said.strip(), best.cells, best.line)
        first_lines.refuse_list(itertools.islice(io.StringIO(text, newline=None), _COMPARED), client, best.line)
        _refuse_for_user(best)
    if not is_known:
        best = _with_numbering(best, titles, rows, client)
    if best.known == len(titles):  # the missing one may be that of the id
        _refuse_for_missing_name(text, best, first_line)
    header = _bind(best, tuple(titles), first_line, client)
    _refuse_for_missing_name(text, best, first_line)
    trailing_width = _trailing_width(text, best, first_line)
    return msgspec.structs.replace(header, nameless=_nameless(titles, len(best.cells)), trailing_width=trailing_width)


def with_wrong_names(rejected: FileRejected, raw: BinaryIO, client: ClientSettings, max_columns: int) -> FileRejected:
    """Return the refusal of a file for its letters, with what is wrong with its header, if that is plain ASCII."""
    raw.seek(0)
    head = raw.read(_NAMES_BYTES).removeprefix(codecs.BOM_UTF8)
    first = re.split(rb"[\r\n]", head, maxsplit=1)[0]
    if rejected.code == "encoding.invalid" and not first.isascii():
        try:  # what is between the names may be what is not in UTF-8
            first_lines.refuse_separator([first.decode("cp1252", "replace")], DELIMITERS[0], DELIMITERS, client, 1)
        except FileRejected as separated:
            return separated
    lines = head[: len(head) - len(head.lstrip(_ASCII))].decode().splitlines(keepends=True)
    if lines and not lines[-1].endswith(("\n", "\r")):
        lines.pop()
    text = "".join(lines)
    below = text[excel.end() :] if (excel := _SEP_LINE.match(text)) else text
    readings = (_reading(below, delimiter, 1, client) for delimiter in DELIMITERS)
    if rejected.code != "encoding.invalid" or not any(reading and reading.known for reading in readings):
        return rejected
    try:
        read(text, client, max_columns)
    except FileRejected as names:
        reasons = (reason for reason in names.reasons if reason.code in _OF_NAMES)
        return FileRejected(*rejected.reasons, *reasons, line=rejected.line)
    return rejected


def _with_numbering(best: _Reading, titles: list[str], rows: list[list[str]], client: ClientSettings) -> _Reading:
    """Return the reading with the name of its first column, if that numbers the rows."""
    if not titles or titles[0] in client.columns:
        return best
    is_numbering = header_reasons.is_numbering(titles[0], [row[0] for row in rows])
    return msgspec.structs.replace(best, numbered=titles[0]) if is_numbering else best


def _numbered_line(head: str, client: ClientSettings) -> re.Match[str] | None:
    """Return the line of names that Excel made up, unless the client has given one of them a meaning."""
    match = _NUMBERED_LINE.match(head)
    return None if match and client.headings.keys() & set(re.split(r"[^\w ]+", match[0])) else match


def _title(cell: str) -> str:
    """Return a name as it is compared; composed, because the decomposed form looks the same."""
    return unicodedata.normalize("NFC", unguarded(cell).strip(EDGE))


def _nameless(titles: list[str], width: int) -> tuple[int, ...]:
    return (*(index for index, title in enumerate(titles) if not title), *range(len(titles), width))


def _trailing_width(text: str, best: _Reading, first_line: int) -> int:
    rows = (cells for line, cells in _records(text, best.delimiter, first_line) if line > best.line)
    row: list[str] = next(rows, [])
    return len(row) if len(row) > len(best.cells) else 0


def _refuse_broken_quotes(text: str, best: _Reading, first_line: int) -> None:
    """Raise what `Table.rows` raises for the quotation marks of a row, should those of the header not match."""
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=best.delimiter, skipinitialspace=True, strict=True)
    try:
        while first_line + reader.line_num <= best.line:
            next(reader)
    except csv.Error as error:
        kind = "upload.incomplete/quotation_mark_in_names" if is_unended(error) else "csv.quoting/names"
        raise FileRejected(message(kind, line=str(best.line)), line=best.line) from None


def _refuse_one_line(text: str, best: _Reading) -> None:
    """Raise header.unknown when no line ends but by characters that end none."""
    if re.search(r"[\r\n]", text.strip("\r\n")):
        return
    has_data = best.known > 1 and any("@" in cell for cell in best.cells)  # in one line with the names
    if has_data or _FOREIGN_LINE_END.search(text):
        raise FileRejected(message("header.unknown/one_line"), line=best.line)


def _refuse_other_layout(best: _Reading, rows: list[list[str]], client: ClientSettings) -> None:
    """Raise header.unknown when the names and the next rows say that they are no table of names above values."""
    below = rows[0] if rows else []
    first_lines.refuse_each_line(best.cells, below, client, best.line)
    first_lines.refuse_marks(best.cells, below, DELIMITERS, best.line)
    if best.known <= 1:
        column = [cells[0] for cells in (best.cells, *rows)]
        first_lines.refuse_names_in_column(best.cells, column, client, best.line)


def _records(text: str, delimiter: str, first_line: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the records that have content as (line, cells), until the text ends or breaks."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    line = first_line
    try:
        for cells in reader:
            if any(map(str.strip, cells)):
                yield line, cells
            line = first_line + reader.line_num
    except csv.Error:
        return


def _reading(text: str, delimiter: str, first_line: int, client: ClientSettings) -> _Reading | None:
    first_record = next(_records(text, delimiter, first_line), None)
    if first_record is None:
        return None
    line, cells = first_record
    names = _titles(cells)
    known = sum(_is_known(name, client) for name in names)
    return _Reading(delimiter, line, cells, known)


def _titles(cells: list[str]) -> list[str]:
    """Return the names to count; Excel writes up to 16,384, of which the first are enough to tell."""
    return [_title(cell) for cell in cells[:1024]]


def _bind(reading: _Reading, titles: tuple[str, ...], first_line: int, client: ClientSettings) -> Header:
    """Give each column its attribute; raise with every problem of the header."""
    columns: dict[str, list[int]] = {}
    unknown, secret, ignored, echoed = [], [], [], []
    for index, title in enumerate(titles):
        if title and title in titles[:index]:
            continue
        name = client.columns.get(title, title)
        if title == TOKEN_NAME or (secrets_in(title) and _ignored(title, client)):
            secret.append(title)
        elif title in REPORT_NAMES:
            continue
        elif title and title == client.status.column:
            columns[STATUS.name] = [index]
            echoed.append(index)
        elif name in POSSIBLE_NAMES:
            columns.setdefault(POSSIBLE_NAMES[name].name, []).append(index)
            echoed.append(index)
        elif _ignored(title, client):
            echoed.append(index)
            ignored += [title] if title and title not in client.columns else []
        else:
            unknown.append(title)
    if wrong := tuple(_wrong_names(reading, titles, unknown, client, columns)):
        raise FileRejected(*wrong, line=reading.line)
    return Header(
        delimiter=reading.delimiter,
        first_line=first_line,
        line=reading.line,
        titles=titles,
        columns={name: _by_precedence(name, indexes, titles) for name, indexes in columns.items()},
        echoed=tuple(echoed),
        secret=tuple(secret),
        ignored=tuple(ignored),
    )


def _by_precedence(name: str, indexes: list[int], titles: tuple[str, ...]) -> tuple[int, ...]:
    order = COLUMNS[name].names
    return tuple(sorted(indexes, key=lambda i: order.index(titles[i]) if titles[i] in order else len(order)))


def _ignored(title: str, client: ClientSettings) -> bool:
    """Tell whether the column is left out knowingly: nameless, mapped to nothing, or unknown where that is allowed."""
    if not title or client.columns.get(title) == "":
        return True
    # A misspelt name is never ignored: its data would be lost silently.
    return (
        client.unknown_columns == "ignore"
        and title not in client.columns
        and not header_reasons.spelling(title, client)
    )


def _wrong_names(
    reading: _Reading, titles: tuple[str, ...], unknown: list[str], client: ClientSettings, attributes: Collection[str]
) -> Iterator[Message]:
    """Yield all that is wrong with the names; where nothing separates them, that alone."""
    has_id = "unique_id" in attributes
    if not (has_id or reading.known) and len(reading.cells) == 1 and not any(map(nearest, unknown)):
        yield first_lines.one_name(reading.cells[0], DELIMITERS, client, reading.line)
        return
    proposals = header_reasons.proposals(unknown, titles, client, has_id=has_id)
    wrong = [
        *header_reasons.unknown(proposals, titles, client, reading.line, reading.numbered),
        *header_reasons.repeated(titles),
        *header_reasons.missing(proposals, attributes, client),
    ]
    yield from wrong
    if wrong:  # or the next answer would say so
        yield from header_reasons.needed(proposals, attributes, client)


def fitness(cells: list[str], client: ClientSettings) -> int:
    """Return how much a row is like a line of names of columns: 2 with that of the id, 1 with another one, else 0."""
    if any(_means_the_id(cell, client) for cell in cells):
        return 2
    return int(any(_is_known(name, client) for name in _titles(cells)))


def _is_known(name: str, client: ClientSettings) -> bool:
    return name in POSSIBLE_NAMES or name in client.headings or name == TOKEN_NAME


def _means_the_id(cell: str, client: ClientSettings) -> bool:
    title = _title(cell)
    return "unique_id" in (client.columns.get(title, title), same_but_for_spelling(title))


def _refuse_for_header_below(text: str, best: _Reading, first_line: int, client: ClientSettings) -> None:
    """
    Raise header.missing when another line has the id's name, which this one has not.

    Names of another system count as well where this line has no name at all.
    """
    is_title = not best.known and not best.near
    for delimiter in DELIMITERS:
        for line, cells in _records(text, delimiter, first_line):
            is_near = is_title and line <= best.line + _LINES_TO_SEARCH  # to look at all lines would take seconds
            if line > best.line and (
                any(_means_the_id(cell, client) for cell in cells) or (is_near and _are_names(cells))
            ):
                first, last = str(first_line), str(line - 1)
                kind = "title" if first == last else "titles"
                reason = message(f"header.missing/{kind}", line=str(line), first=first, last=last)
                if delimiter == best.delimiter and len(cells) == len(best.cells) and _is_user(best):
                    reason = message("header.missing/below", line=str(line))
                raise FileRejected(reason, *_wrong_below(delimiter, line, cells, client), line=best.line)


def _are_names(cells: list[str]) -> bool:
    """Tell whether most cells of a line are names of columns, or near to one."""
    names = [name for name in _titles(cells[:_COMPARED]) if name]
    if len(names) < _FEWEST_NAMES or any(char.isdigit() or char == "@" for char in "".join(names)):
        return False  # as lines of users
    return 2 * sum(bool(nearest(name)) for name in names) > len(names)


def _wrong_below(delimiter: str, line: int, cells: list[str], client: ClientSettings) -> tuple[Message, ...]:
    """Return what is wrong with the names of a header that is not on the first line."""
    titles = _titles(cells)
    while not titles[-1]:
        titles.pop()
    try:
        _bind(_Reading(delimiter, line, cells, 1), tuple(titles), 1, client)
    except FileRejected as names:
        return names.reasons
    return ()


def _refuse_for_missing_name(text: str, best: _Reading, first_line: int) -> None:
    """Raise header.unknown when each of several rows has as many values more than the header has names."""
    below = (each for each in _records(text, best.delimiter, first_line) if each[0] > best.line)
    width, (first, cells) = len(best.cells), next(below, (0, []))
    row_width = len(cells)
    if row_width <= width:  # as with nearly all files
        return
    rows = [cells, *(each for _, each in below if not closing.kind_of(each))]
    if not text.endswith(("\n", "\r")):  # the last one may be cut off, here or on its way
        rows.pop()
    # With no values in it, the last column is what a delimiter at the end of each line makes.
    # With few, it is a row whose value was split.
    filled = sum(bool(row[-1].strip()) for row in rows)
    if len(rows) > 1 and filled * _FEW >= len(rows) and all(len(row) == row_width for row in rows):
        numbers = [row[0].strip() for row in rows]
        if row_width == width + 1 and header_reasons.is_numbering("", numbers):
            raise header_reasons.row_numbers(best.line, first)
        delimiter, count = delimiter_message(best.delimiter), row_width
        reason = message("header.unknown/too_few", line=str(best.line), count=count, width=width, delimiter=delimiter)
        raise FileRejected(reason, line=best.line)


def _refuse_for_user(best: _Reading) -> None:
    """Raise header.missing when the first line is a user."""
    if _is_user(best):
        width, names = len(best.cells), ("unique_id", "login_source", "first_name", "last_name", "email")
        kind, dots = ("user_more", ("...",)) if width > len(names) else ("user", ())
        line_of_names = best.delimiter.join((*names[:width], *dots))
        reason = message(f"header.missing/{kind}", line=str(best.line), count=width, names=line_of_names)
        raise FileRejected(reason, line=best.line)


def _is_user(best: _Reading) -> bool:
    # A value can resemble the name of a column by chance: up to a quarter of the cells may.
    filled = [cell for cell in best.cells if cell.strip()]
    is_text = len(filled) == 1 and " " in filled[0].strip()  # a title, or the error message of an export
    return not is_text and any(map(_DATA.search, best.cells)) and best.near * 4 <= min(len(best.cells), _COMPARED)
