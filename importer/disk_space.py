"""How much disk space an import can need, estimated before it starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, Final

import msgspec

from importer.model import Interrupted

# What is written of the rows of one file that fail: 5 MB with 24 problems a row would become 400 MB. It is more than
# anyone corrects by hand; rows of 230 bytes reach both bounds of the failed CSV alike.
MOST_FAILED_ROWS: Final = 100_000
MOST_FAILED_BYTES: Final = 32 << 20
MOST_PROBLEMS: Final = 25_000

# All figures are bytes, from how SQLite stores a row; tests/importer/test_disk_space.py checks them.
_USER: Final = 180  # of a row of users without its values, and of its place in three indexes whose pages are half full
_USER_NAMES: Final = 7  # how often that has the name of the client
_VALUE: Final = 4  # for each of a file: an address is stored twice, and once more in an index with pages half full
_PAGE: Final = 4096 + 24  # in the write-ahead log
_PAGES_PER_ROW: Final = 5  # that are written for one user: its own, and two of each index of keys
_REJECTED: Final = 64  # of a row that fails, without its values, in the temporary tables
_REPORTED: Final = 6 << 10  # of a row in the failed CSV: 256 blank cells and 24 reasons
_PROBLEM: Final = 512
_PROBLEMS_PER_ROW: Final = 24
_MAIL: Final = 8 << 20

_CHUNK: Final = 1 << 20


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that an import can take in each of three folders."""

    state: int
    temporary: int
    inbox: int


def need(size_bytes: int, rows: int, *, client: str, database_bytes: int) -> Need:
    """Return what the import of a file of this size with so many rows can take."""
    users = rows * (_USER + _USER_NAMES * len(client)) + _VALUE * size_bytes
    # The log has each page once, however often it is written.
    changed = min(database_bytes, rows * _PAGES_PER_ROW * _PAGE)
    problems = min(MOST_PROBLEMS, rows * _PROBLEMS_PER_ROW) * _PROBLEM
    reported = min(MOST_FAILED_BYTES, rows * _REPORTED + _VALUE * size_bytes)
    mail = min(_MAIL, 2 * reported)
    return Need(
        state=2 * (users + problems + mail) + changed,
        temporary=2 * rows * _REJECTED + _VALUE * size_bytes + reported + changed,
        inbox=size_bytes + reported,
    )


def count_lines(raw: BinaryIO, stopping: Callable[[], bool]) -> int:
    """Return how many lines an open file has at most, whatever its encoding. Raises Interrupted."""
    ends = 1
    raw.seek(0)
    while chunk := raw.read(_CHUNK):
        if stopping():
            raise Interrupted
        ends += chunk.count(b"\n") + chunk.count(b"\r") - chunk.count(b"\r\n")
    return ends
