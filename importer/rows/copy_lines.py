"""New users as PostgreSQL's COPY takes them, written by whoever examines their file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from importer.attributes import INACTIVE, STATUS
from importer.rows.batches import Batch
from importer.rows.duplicates import SeenBefore
from importer.rows.validate import CLEARED, KEYS, Users

_SORTED_CHARS: Final = 16 << 20  # of lines that are sorted at a time
_MOST_AT_ONCE: Final = 500  # rows of a block
# Source: https://www.postgresql.org/docs/current/sql-copy.html, "Text Format".
_ESCAPES: Final = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


class CopyLines(msgspec.Struct, frozen=True):
    """
    How PostgreSQL's COPY takes new users: as text, a line each.

    Whoever examines a file writes them, so that nobody takes users out of one form for another.
    """

    columns: Sequence[str]  # of the file; the line in the file follows
    login_source: str  # of who has none
    inactive_by: str  # what the state of who has left is stored as
    end: str  # of each line: what is the same for all


class CopyWriter:
    """
    Writes the complete users of batches as blocks of lines; `sqlite/rows/new_users` says the same in SQL.

    Lines are in the order of ids, many thousand at a time: then the server finds next to each other what it adds to
    its index, which takes it a third less for all. While some wait to be sorted, as many of before are given out.
    """

    def __init__(self, form: CopyLines) -> None:
        self._form = form
        self._seen = [(form.columns.index(key), key, SeenBefore()) for key in KEYS.values() if key in form.columns]
        self._waiting: list[str] = []
        self._waiting_chars = 0
        self._sorted: list[str] = []  # the first one last

    def written(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield batches with blocks in place of users."""
        for batch in batches:
            if rows := len(batch.complete.lines):
                columns = batch.complete.columns
                batch.shared = [(key, each) for at, key, seen in self._seen for each in seen.again(columns[at])]
                self._add(self._lines(batch.complete))
                batch.complete = Users([], [])
                # All, if as many wait as were sorted: they have room for no more.
                is_full = self._waiting_chars >= _SORTED_CHARS
                self._fill(batch, len(self._sorted) if is_full else rows)
                if is_full:
                    self._sort()
            yield batch
            del batch
        while self._sorted or self._waiting:
            if not self._sorted:
                self._sort()
            self._fill(batch := Batch(Users([], []), [], [], []), _MOST_AT_ONCE)
            yield batch

    def _add(self, lines: list[str]) -> None:
        self._waiting += lines
        self._waiting_chars += sum(map(len, lines))

    def _sort(self) -> None:
        self._waiting.sort(reverse=True)
        self._sorted, self._waiting, self._waiting_chars = self._waiting, [], 0

    def _fill(self, batch: Batch, rows: int) -> None:
        if lines := self._sorted[: -rows - 1 : -1]:
            del self._sorted[-rows:]
            batch.block = self._form.end.join([*lines, ""]).replace(CLEARED, "").encode()
            batch.block_rows = len(lines)

    def _lines(self, users: Users) -> list[str]:
        form, columns = self._form, [*users.columns]
        for at, name in enumerate(form.columns):
            if name == "login_source":
                columns[at] = [form.login_source if each in ("", CLEARED) else each for each in columns[at]]
            elif name == STATUS.name:
                columns[at] = [form.inactive_by if each == INACTIVE else "" for each in columns[at]]
        return _escaped([*zip(*columns, map(str, users.lines), strict=True)])


def lines_of(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of texts as COPY takes them."""
    return "\n".join([*_escaped(rows), ""])


def _escaped(rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["\t".join(row) for row in rows]
    text = "\n".join(lines)
    tabs, is_plain = len(rows) * (len(rows[0]) - 1), "\\" not in text and "\r" not in text
    if not is_plain or text.count("\n") >= len(rows) or text.count("\t") != tabs:
        lines = ["\t".join([value.translate(_ESCAPES) for value in row]) for row in rows]
    return lines
