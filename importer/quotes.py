"""Quotation marks: which cell they leave open, or break."""

from __future__ import annotations

from collections.abc import Iterable


def open_cell(lines: Iterable[str], first_line: int, delimiter: str) -> tuple[int, int]:
    """Return line and number of the column of the cell that is open, or broken, at the end of the last line."""
    line, column, quoted, at_start, was_quote = first_line, 1, False, True, False
    began = (line, column)
    for number, text in enumerate(lines, first_line):
        for char in text:
            if quoted:
                if was_quote and char != '"':
                    if char not in (delimiter, "\r", "\n"):
                        return began
                    quoted = False
                was_quote = char == '"' and not was_quote
                if quoted:
                    continue
            if char == delimiter:
                column, at_start = column + 1, True
                began = (number, column)
            elif char == '"' and at_start:
                quoted, at_start, began, was_quote = True, False, (number, column), False
            elif char != " ":
                at_start = False
    return began
