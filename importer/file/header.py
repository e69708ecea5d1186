"""The header of a file: under which delimiter it reads best, what each column is, and help when it does not fit."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgspec

from importer.attributes import (
    ATTRIBUTES,
    POSSIBLE_NAMES,
    REPORT_NAMES,
    TOKEN_NAME,
    folded,
    nearest,
    same_but_for_spelling,
    secrets_in,
)
from importer.characters import EDGE, unguarded
from importer.file.quotes import is_unended
from importer.model import FileRejected, printable
from importer.settings import ClientSettings

DELIMITERS: Final = (",", ";", "\t", "|")
_DELIMITER_NAMES: Final = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a pipe (|)"}
_SEP_LINE: Final = re.compile(r'"?sep=([^\r\n"])"?[ \t,;|]*(?:\r\n|\r|\n|\Z)', re.IGNORECASE)
_MARKS: Final = '",;|'  # what a file without content may hold beside blanks
_LINES_TO_SEARCH: Final = 10
_COMPARED: Final = 100  # names
OPEN_QUOTE: Final = (
    "a quotation mark opens a cell here that is not closed before the file ends. Either the upload was cut off: upload "
    "the whole file again; or the mark is a stray one: double it or remove it."
)
MAX_SHOWN_CHARS: Final = 80  # of a name
_DATA: Final = re.compile(r"\S@\S|\d{3}|^\d+$|^OPSCOM$")


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What the columns of a file are. Indexes count from 0, columns in messages from A."""

    delimiter: str
    first_line: int  # 2 after a "sep=" line, else 1
    line: int  # where the header starts
    titles: tuple[str, ...]  # as written, without the empty ones at the end
    columns: dict[str, tuple[int, ...]]  # attribute -> its columns, the one that counts first at the front
    echoed: tuple[int, ...]  # columns that are sent back: neither secrets nor rosterd's own
    secret: tuple[str, ...] = ()  # titles of columns with tokens or passwords
    nameless: tuple[int, ...] = ()  # columns that must stay empty

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

    @property
    def near(self) -> int:
        """Return how many of the first names are known or nearly so; to compare one takes up to 0.5 ms."""
        return sum(bool(nearest(name)) for name in _titles(self.cells[:_COMPARED]) if name)


def delimiter_name(delimiter: str) -> str:
    """Return the delimiter in words."""
    return _DELIMITER_NAMES.get(delimiter, f'"{delimiter}"')


def read(head: str, client: ClientSettings, max_columns: int) -> Header:
    """
    Find the header in the first characters of a file.

    The delimiter is the one under which most names are known; then most nearly known; then most fields; then the comma.
    Raises FileRejected with all that is wrong with the header in one answer.
    """
    sep = _SEP_LINE.match(head)
    first_line = 2 if sep else 1
    text = head[sep.end() :] if sep else head
    if not text.strip(EDGE + _MARKS):
        raise FileRejected("file.empty", "the file has no line with content. Run the export again.")
    candidates = sorted(DELIMITERS, key=lambda each: not (sep and each == sep[1]))
    readings = [reading for each in candidates if (reading := _reading(text, each, first_line, client))]
    if not readings:
        raise FileRejected(
            "limit.cell",
            f"line {first_line}: a name in the header is longer than any cell may be. If a quotation mark opens it and "
            "is never closed, double it or remove it.",
            line=first_line,
        )
    most_known = max(reading.known for reading in readings)
    tied = [reading for reading in readings if reading.known == most_known]
    best = max(tied, key=lambda reading: (reading.near, len(reading.cells))) if len(tied) > 1 else tied[0]
    titles = [_title(cell) for cell in best.cells]
    while titles and not titles[-1]:
        titles.pop()
    if len(titles) > max_columns:
        raise FileRejected(
            "limit.columns",
            f"line {best.line}: {len(titles):,} columns; at most {max_columns} are taken. "
            "Remove those that are not needed.",
            line=best.line,
        )
    _refuse_broken_quotes(text, best, first_line)
    if not any(_means_the_id(cell, client) for cell in best.cells):
        _refuse_for_header_below(text, best, first_line, client)
    if not best.known:
        _refuse_for_user(best)
    header = _bind(best, tuple(titles), first_line, client)
    return msgspec.structs.replace(header, nameless=_nameless(titles, len(best.cells)))


def _title(cell: str) -> str:
    """Return a name as it is compared; composed, because no eye tells it from the decomposed one."""
    return unicodedata.normalize("NFC", unguarded(cell).strip(EDGE))


def _nameless(titles: list[str], width: int) -> tuple[int, ...]:
    return (*(index for index, title in enumerate(titles) if not title), *range(len(titles), width))


def _refuse_broken_quotes(text: str, best: _Reading, first_line: int) -> None:
    """Raise what `Table.rows` raises for the quotation marks of a row, should those of the header not match."""
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=best.delimiter, skipinitialspace=True, strict=True)
    try:
        while first_line + reader.line_num <= best.line:
            next(reader)
    except csv.Error as error:
        where = f"line {best.line}, in the header: "
        if is_unended(error):
            raise FileRejected("upload.incomplete", where + OPEN_QUOTE, line=best.line) from None
        raise FileRejected(
            "csv.quoting",
            f"{where}after the closing quotation mark of a name stands something, if only a blank, other than "
            f"{delimiter_name(best.delimiter)} or the end of the line. Write each name alone between the marks.",
            line=best.line,
        ) from None


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
    found = next(_records(text, delimiter, first_line), None)
    if found is None:
        return None
    line, cells = found
    names = _titles(cells)
    known = sum(name in POSSIBLE_NAMES or name in client.columns or name == TOKEN_NAME for name in names)
    return _Reading(delimiter, line, cells, known)


def _titles(cells: list[str]) -> list[str]:
    """Return the names to count; Excel writes up to 16,384, of which the first are enough to tell."""
    return [_title(cell) for cell in cells[:1024]]


def _bind(reading: _Reading, titles: tuple[str, ...], first_line: int, client: ClientSettings) -> Header:
    """Give each column its attribute; raise with every problem of the header."""
    columns: dict[str, list[int]] = {}
    unknown, secret, echoed = [], [], []
    meant: set[str] = set()
    for index, title in enumerate(titles):
        if title and title in titles[:index]:
            continue
        name = client.columns.get(title, title)
        if title == TOKEN_NAME or (secrets_in(title) and _ignored(title, client)):
            secret.append(title)
        elif title in REPORT_NAMES:
            continue
        elif name in POSSIBLE_NAMES:
            columns.setdefault(POSSIBLE_NAMES[name].name, []).append(index)
            echoed.append(index)
        elif _ignored(title, client):
            echoed.append(index)
        else:
            unknown.append(_unknown(title, titles, client))
            meant.add(nearest(title))
    repeated = [_repeated(title, times) for title, times in Counter(filter(None, titles)).items() if times > 1]
    is_missing = "unique_id" not in columns and "unique_id" not in meant
    missing = ['"unique_id" is missing: add the column'] if is_missing else []
    if unknown or repeated or missing:
        raise _refusal(reading, unknown, repeated, missing)
    return Header(
        delimiter=reading.delimiter,
        first_line=first_line,
        line=reading.line,
        titles=titles,
        columns={name: _by_precedence(name, indexes, titles) for name, indexes in columns.items()},
        echoed=tuple(echoed),
        secret=tuple(secret),
    )


def _by_precedence(name: str, indexes: list[int], titles: tuple[str, ...]) -> tuple[int, ...]:
    order = ATTRIBUTES[name].names
    return tuple(sorted(indexes, key=lambda i: order.index(titles[i]) if titles[i] in order else len(order)))


def _ignored(title: str, client: ClientSettings) -> bool:
    """Tell whether the column is left out knowingly: nameless, mapped to nothing, or unknown where that is allowed."""
    if not title or client.columns.get(title) == "":
        return True
    # A name that is right but for its spelling is never ignored: its data would vanish silently.
    return client.unknown_columns == "ignore" and title not in client.columns and not _spelling(title, client)


def _spelling(title: str, client: ClientSettings) -> str:
    """Return the name, possible or the client's own, that the title equals but for its spelling; "" if none."""
    own = {folded(name): name for name in client.columns}
    return same_but_for_spelling(title) or own.get(folded(title), "")


class _Unknown(msgspec.Struct, frozen=True):
    """A name that is not taken, and why."""

    text: str
    is_strange: bool = False  # nothing tells what may be meant


def _unknown(title: str, titles: tuple[str, ...], client: ClientSettings) -> _Unknown:
    shown = _shown(title)
    if secrets := secrets_in(title):
        return _Unknown(f"{shown} holds {secrets}, and {secrets} are never imported: remove the column")
    if title in client.columns:
        mapped = client.columns[title]
        return _Unknown(f'{shown} is mapped to "{mapped}", which is no attribute: ask us to correct the mapping')
    exact = _spelling(title, client)
    if exact in titles:
        there = f'is "{exact}" in another spelling, and that is there already: remove one of the two columns'
        return _Unknown(f"{shown} {there}")
    if exact:
        return _Unknown(f'{shown} must be written "{exact}"')
    proposal = nearest(title)
    if not proposal:
        return _Unknown(f"{shown} is not known", is_strange=True)
    there = ", which is there already: remove one of the two columns" if proposal in titles else "?"
    return _Unknown(f'{shown} is not known (did you mean "{proposal}"{there})')


def _repeated(title: str, times: int) -> str:
    often, others = ("twice", "one of the two") if times == 2 else (f"{times} times", "all but one")  # noqa: PLR2004 - as the language has it
    return f"{_shown(title)} stands {often}: remove or rename {others}"


def _shown(title: str) -> str:
    return f'"{printable(title[:MAX_SHOWN_CHARS].encode())}"'


def _refusal(reading: _Reading, unknown: list[_Unknown], repeated: list[str], missing: list[str]) -> FileRejected:
    code = "header.unknown" if unknown else "header.repeated" if repeated else "header.missing"
    wrong = "; ".join((*(each.text for each in unknown), *repeated, *missing))
    detail = (
        f"line {reading.line}, read with {_separation(reading)}: {wrong}. Correct this line and upload the file again."
    )
    if any(each.is_strange for each in unknown):
        detail += " A column that is not known: rename it, remove it, or ask us to map its name."
    return FileRejected(code, detail, line=reading.line)


def _separation(reading: _Reading) -> str:
    if len(reading.cells) > 1:
        return f"{delimiter_name(reading.delimiter)} between the names"
    if any(delimiter in reading.cells[0] for delimiter in DELIMITERS):
        return "quotation marks around the whole line, which make it one name"
    return "no comma, semicolon, tab or pipe between the names"


def _means_the_id(cell: str, client: ClientSettings) -> bool:
    title = _title(cell)
    return "unique_id" in (client.columns.get(title, title), same_but_for_spelling(title))


def _refuse_for_header_below(text: str, best: _Reading, first_line: int, client: ClientSettings) -> None:
    """Raise header.missing when one of the next lines has the id's name, which this one has not."""
    for delimiter in DELIMITERS:
        for line, cells in _records(text, delimiter, first_line):
            if line > best.line + _LINES_TO_SEARCH:
                break
            if line > best.line and any(_means_the_id(cell, client) for cell in cells):
                above = f"lines {first_line}-{line - 1}" if line - 1 > first_line else f"line {first_line}"
                raise FileRejected(
                    "header.missing",
                    f"line {best.line} is not a line of column names; line {line} looks like the header: "
                    f"delete {above} and upload the file again.",
                    line=best.line,
                )


def _refuse_for_user(best: _Reading) -> None:
    """Raise header.missing when the first line is a user."""
    # A user may have a name, or live in a town, that is near a column's: a quarter of the cells is taken for chance.
    if any(map(_DATA.search, best.cells)) and best.near * 4 <= min(len(best.cells), _COMPARED):
        columns = ("unique_id", "login_source", "first_name", "last_name", "email")
        more = f"{best.delimiter}..." if len(best.cells) > len(columns) else ""
        yours = f"your {len(best.cells)} columns" if len(best.cells) > 1 else "your columns"
        raise FileRejected(
            "header.missing",
            f"line {best.line} looks like a user, not like column names. Put a line of names above it, one for each of "
            f"{yours} and in their order, such as: {best.delimiter.join(columns)}{more}",
            line=best.line,
        )
