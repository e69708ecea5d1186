"""Quotation marks: whether they leave a cell open, and which one they leave open, or break."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

_RUN_OR_LINE: Final = re.compile(
    r'[^"]*[\r\n]|[^\r\n]+(?:\r\n?|\n)?'
)  # lines without a quotation mark, or one line with some
_CURLY: Final = "\u201c\u201d\u201e"
CELL_BYTES: Final = 64  # that each cell takes besides its characters


class OpenCell(msgspec.Struct, frozen=True, kw_only=True):
    """The cell at which a record breaks."""

    line: int  # where it begins
    column: int  # counted from 1
    rest: str = ""  # what follows its closing quotation mark in that line and should not, if that is what breaks it
    is_escaped: bool = False  # that mark follows a backslash
    is_curly: bool = False  # a curly mark is where the closing one should be


def is_unended(error: csv.Error) -> bool:
    """Tell whether the only error is a quoted cell that does not end. The csv module says so in its text alone."""
    return "unexpected end" in str(error)


def is_too_long(error: csv.Error) -> bool:
    """Tell whether a cell is longer than any may be; likewise."""
    return "field larger" in str(error)


def last_record(chunks: Iterable[str], delimiter: str, max_record_chars: int) -> list[str] | None:
    """
    Return the cells of the last record of a text; None when it ends inside a quoted cell, [] when it breaks before.

    `chunks` end where lines do. The csv module decides, but sees only lines that matter: before the last chunk and
    outside of a quoted cell, a line without quotation marks changes nothing, nor does a chunk of whole cells. As those
    are left out, a limit that the text is over may go unseen, except the one of a cell or a record that is open.
    """
    is_whole = _whole(delimiter).fullmatch
    record_chars = 0  # weight of the unfinished record; 0 outside of quoted cells

    def lines() -> Iterator[str]:
        nonlocal record_chars
        left = iter(chunks)
        chunk = next(left, "")
        while chunk:
            following = next(left, "")
            if record_chars or not following or not ('"' not in chunk or is_whole(chunk)):
                for piece in _pieces(chunk, is_last=not following):
                    if record_chars or not following or '"' in piece:
                        record_chars += weight(piece, delimiter)
                        if record_chars > max_record_chars:
                            raise csv.Error("the record is too long")
                        yield piece
            chunk = following

    last: list[str] = []
    try:
        for cells in csv.reader(lines(), delimiter=delimiter, strict=True, skipinitialspace=True):
            last, record_chars = cells, 0
    except csv.Error as error:
        return None if is_unended(error) else []
    return last


def _pieces(chunk: str, *, is_last: bool) -> Iterable[str]:
    """Return the lines of a chunk; where marks are few, and it is not the last, those without one in runs."""
    # Of a cell of line feeds alone ten times as fast, of marks alone half as fast.
    if is_last or chunk.count('"') > len(chunk) // 16:
        return io.StringIO(chunk, newline="")
    return _RUN_OR_LINE.findall(chunk)


def weight(text: str, delimiter: str) -> int:
    """Return about how many bytes of memory the cells of a text take."""
    return (len(text) if text.isascii() else sys.getsizeof(text)) + CELL_BYTES * text.count(delimiter)


def _whole(delimiter: str) -> re.Pattern[str]:
    """
    Return what matches only a text of whole cells, most of such texts, and is several times as fast as csv.

    Each position has one way to continue, so a mismatch is found in linear time. A possessive group would be a third
    faster, but in Python 3.11.2, Debian 12's own, it matches what it must not (cpython issue 106052).
    """
    ends = re.escape(delimiter) + r"\r\n"
    return re.compile(
        rf"""(?:
            [^"]*+
            (?: (?<![^{ends}]) "[^"]*+(?:""[^"]*+)*" (?:[{ends}]++|\Z)  # a quoted cell
              | (?<=[^{ends}\ ]) "[^{ends}]*+  # the rest of a cell that does not begin with a mark
            )
        )* [^"]*+""",
        re.VERBOSE,
    )


def open_cell(  # noqa: C901 - one loop over the states of one cell
    lines: Iterable[str], first_line: int, delimiter: str, max_cell_chars: int = sys.maxsize
) -> OpenCell:
    """
    Return the first cell that is too long.

    If none is: the one that is open, or broken, at the end of the last line.
    """
    line, column, quoted, at_start, was_quote = first_line, 1, False, True, False
    began, chars, curly = (line, column), 0, False
    for number, text in enumerate(lines, first_line):
        for place, char in enumerate(text):
            chars += char != '"'
            if chars > max_cell_chars:
                return OpenCell(line=began[0], column=began[1])
            if quoted:
                if was_quote and char != '"':
                    if char not in (delimiter, "\r", "\n"):
                        is_escaped = text[: place - 1].endswith("\\")
                        return OpenCell(
                            line=began[0],
                            column=began[1],
                            rest=text[place:],
                            is_escaped=is_escaped,
                            is_curly=curly,
                        )
                    quoted = False
                was_quote = char == '"' and not was_quote
                if quoted:
                    curly |= char in _CURLY and text[place + 1 : place + 2] in (delimiter, "\r", "\n")
                    continue
            if char == delimiter:
                column, at_start, chars = column + 1, True, 0
                began = (number, column)
            elif char == '"' and at_start:
                quoted, at_start, began, was_quote, curly = True, False, (number, column), False, False
            elif char != " ":
                at_start = False
    return OpenCell(line=began[0], column=began[1], is_curly=curly)
