"""What commands print: tables for people, JSON for programs. Nothing that is printed can drive a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

import click
import msgspec

from importer.model import printable

_MAX_CELL_CHARS: Final = 60
_MAX_NAMES: Final = 10
_UNIT_STEP: Final = 1000
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86400


def say(text: str) -> None:
    """Print a line between steps of work: the work goes on when nobody reads it, or the disk it goes to is full."""
    try:
        click.echo(text)
    except OSError:
        unread = os.open(os.devnull, os.O_WRONLY)
        os.dup2(unread, sys.stdout.fileno())
        os.close(unread)


def print_json(value: object) -> None:
    """Print structs, lists and tables as one JSON document."""
    click.echo(msgspec.json.format(msgspec.json.encode(value)).decode())


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """
    Print aligned columns, numbers to the right, long cells cut in all but the last column.

    Prints the sentence `empty` when there are no rows.
    """
    table = [list(row) for row in rows]
    if not table:
        click.echo(empty)
        return
    cells = [[*map(shown, row[:-1]), shown(row[-1], limit=None)] for row in table]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    is_number = [all(isinstance(value, int) for value in column) for column in zip(*table, strict=True)]
    for line in (header, *cells):
        aligned = zip(line, widths, is_number, strict=True)
        click.echo(
            "  ".join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in aligned).rstrip()
        )


def print_fields(fields: Iterable[tuple[str, object]], *, echo: Callable[[str], None] = click.echo) -> None:
    """Print names and values below each other; a value that is None or empty is left out."""
    filled = [(name, value) for name, value in fields if value not in (None, "", (), {})]
    width = max((len(name) for name, _ in filled), default=0)
    for name, value in filled:
        echo(f"{name.ljust(width)}  {shown(value, limit=None)}")


def shown(value: object, *, limit: int | None = _MAX_CELL_CHARS) -> str:
    """Return a value as one short line."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(shown(each, limit=None) for each in value)
    if isinstance(value, dict):
        return ", ".join(f"{shown(key)} = {shown(each)}" for key, each in value.items())
    text = "" if value is None else printable(str(value).encode("utf-8", "backslashreplace"))
    return text if limit is None or len(text) <= limit else text[: limit - 3] + "..."


def shown_size(size_bytes: int) -> str:
    """Return a size in the largest unit of which there is one: "3.2 MB"."""
    size = float(size_bytes)
    for unit in ("bytes", "KB", "MB"):
        if size < _UNIT_STEP:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= _UNIT_STEP
    return f"{size:.1f} GB"


def counted(number: int, one: str, many: str) -> str:
    """Return a number with its noun: "1 file", "2 files"."""
    return f"{number} {one if number == 1 else many}"


def some(names: Sequence[str]) -> str:
    """Return the first of many names, and how many more there are."""
    left_out = len(names) - _MAX_NAMES
    return ", ".join(names) if left_out <= 0 else f"{', '.join(names[:_MAX_NAMES])} and {left_out} more"


def age(since: datetime, now: datetime) -> str:
    """Return how long ago something was, in its two largest units: "2 h 5 min"."""
    seconds = max(int((now - since).total_seconds()), 0)
    if seconds < _MINUTE_S:
        return f"{seconds} s"
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S} min"
    if seconds < _DAY_S:
        return f"{seconds // _HOUR_S} h {seconds % _HOUR_S // _MINUTE_S} min"
    return f"{seconds // _DAY_S} d {seconds % _DAY_S // _HOUR_S} h"
