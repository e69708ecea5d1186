"""What no file changes of recorded users: attributes that only count when a user is made, and all of some users."""

from __future__ import annotations

import operator
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from importer.attributes import ATTRIBUTES
from importer.model import NAMED_LINES, FileWarning, Message, message
from importer.rows.batches import Terms
from importer.rows.delta import MOST_LINES
from importer.rows.validate import CLEARED, KEYS, User
from importer.store.connection import Connection
from importer.store.sqlite.rows.rejected import RejectedRows

_AT_ONCE: Final = 500


class Protected:
    """Leaves such changes out of the rows of one file, and tells of them."""

    def __init__(self, columns: Sequence[str], terms: Terms, rejected: RejectedRows) -> None:
        names = terms.client.protected_fields
        fields = {*names, *(key for name, key in KEYS.items() if name in names)}
        self.users = frozenset(terms.protected)
        self._columns = columns
        self._is_protected = [column in fields for column in columns]
        self.has_fields = any(self._is_protected)
        self._rejected = rejected
        self._fields: set[str] = set()  # of which changes were left out
        self._field_lines, self._user_lines = array("I"), array("I")

    def without_fields(self, user: User, old: User, differs: list[bool]) -> list[bool]:
        """Return which values of a row change, but for those that are protected."""
        left_out = {*self._changed(user, old, map(operator.and_, differs, self._is_protected))}
        if left_out:
            self._fields |= left_out
            self._note(self._field_lines, int(user[-1] or 0))
        return [is_other and not kept for is_other, kept in zip(differs, self._is_protected, strict=True)]

    def keep(self, user: User, old: User, differs: list[bool], *, is_moved: bool) -> None:
        """Note a row of a protected user, if it changes anything; `is_moved`: it says another state."""
        if is_moved or any(True for _ in self._changed(user, old, differs)):
            self._note(self._user_lines, int(user[-1] or 0))

    def _changed(self, user: User, old: User, differs: Iterable[bool]) -> Iterator[str]:
        """Yield the attributes that a row changes, of those that differ: what is empty is not emptied."""
        for column, is_other, now, was in zip(self._columns, differs, user, old, strict=False):
            if is_other and column in ATTRIBUTES and not (now == CLEARED and was is None):
                yield column

    def _note(self, lines: array[int], line: int) -> None:
        """Note a line, which the next file must be told of again."""
        lines.append(line)
        if len(self._rejected.recheck_lines) <= MOST_LINES:
            self._rejected.recheck_lines.append(line)

    def warnings(self) -> Iterator[FileWarning]:
        """Yield one warning for each kind of change that was left out."""
        names = tuple(name for name in ATTRIBUTES if name in self._fields)
        yield from self._told(
            message("value.protected", names=names), names[0] if len(names) == 1 else "", self._field_lines
        )

        yield from self._told(message("id.protected"), "unique_id", self._user_lines)

    def _told(self, reason: Message, field: str, noted: array[int]) -> Iterator[FileWarning]:
        if noted:
            failed = {*self._rejected.lines()}  # of these nothing was applied in any case
            lines = sorted(line for line in noted if line not in failed)
            if lines:
                yield FileWarning(reason=reason, field=field, rows=len(lines), lines=tuple(lines[:NAMED_LINES]))


def rowids_of(conn: Connection, client: str, unique_ids: Sequence[str]) -> Iterator[int]:
    """Yield the rowids of users with these ids."""
    for place in range(0, len(unique_ids), _AT_ONCE):
        some = unique_ids[place : place + _AT_ONCE]
        query = f"SELECT rowid FROM users WHERE client = ? AND unique_id IN ({', '.join('?' * len(some))})"
        yield from (rowid for (rowid,) in conn.execute(query, (client, *some)).fetchall())
