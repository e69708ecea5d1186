"""Rows that are no users, such as totals and headings of groups: which of a file's rows they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from importer.characters import EDGE
from importer.file import closing
from importer.file.header import Header
from importer.settings import ClientSettings

_LINES_BELOW: Final = 3  # the header, in which rows about the columns may be


class NoUsers:
    """Tells them by what `closing` knows of lines, and by the columns of one file."""

    def __init__(self, header: Header, client: ClientSettings) -> None:
        self._width = header.width
        self._header_line = header.line
        self._id_place = header.columns["unique_id"][0]
        self._read = header.echoed  # what a failed CSV adds to a row, and secrets, say nothing of it
        self._is_roster = bool(client.needed) and header.columns.keys() >= {*client.needed}
        self._is_padded = client.short_rows == "pad"

    def kind_of(self, cells: Sequence[str]) -> str:
        """Return what a row is if it is not a user, "" for all others."""
        if len(cells) != self._width and not (self._is_padded and len(cells) < self._width):
            return closing.kind_of(cells)
        id_cell = cells[self._id_place] if self._id_place < len(cells) else ""
        return closing.kind_of_whole(self._read_of(cells), id_cell, is_roster=self._is_roster)

    def _read_of(self, cells: Sequence[str]) -> Sequence[str]:
        return cells if len(self._read) == self._width else [cells[at] for at in self._read if at < len(cells)]

    def may_be_user(self, cells: Sequence[str]) -> bool:
        """Tell whether a row looks like a closing line, but is a user if there is one with its id."""
        may_be = len(cells) == self._width and cells[self._id_place].strip(EDGE) in closing.INITIALS
        return may_be and self.kind_of(cells) == closing.CLOSING

    def kind_of_failed(self, line: int, cells: Sequence[str], failed: AbstractSet[str]) -> str:
        """Return what a row with problems is if it is not a user, "" for others; `failed`: the attributes with one."""
        if self.is_heading(cells):
            return "heading"
        if self._is_roster and not failed.isdisjoint(("login_source", "email", "unique_id")) and self._is_count(cells):
            return closing.CLOSING
        is_near = line - self._header_line <= _LINES_BELOW
        return "describing" if is_near and closing.describes_columns(self._read_of(cells), failed) else ""

    def _is_count(self, cells: Sequence[str]) -> bool:
        id_cell = cells[self._id_place] if self._id_place < len(cells) else ""
        return closing.is_count(self._read_of(cells), id_cell)

    def is_heading(self, cells: Sequence[str]) -> bool:
        """Tell whether a row looks like the heading of a group: it has a word in place of an id, and nothing else."""
        id_cell = cells[self._id_place] if self._id_place < len(cells) else ""
        return self._is_roster and bool(id_cell) and closing.is_heading(self._read_of(cells), id_cell)

    def among(self, ids: Sequence[str], records: Sequence[Sequence[str]]) -> Iterator[int]:
        """Yield the positions of those whose cells are in order, one by one; `ids` are those of the records."""
        others = self._width - len(self._read)
        for position in closing.doubtful(ids):
            if closing.has_few_values(records[position], others) and self.kind_of(records[position]):
                yield position
