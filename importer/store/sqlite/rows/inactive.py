"""Rows of users who are inactive, or become so by their status: who comes back by a file, and who does not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from importer import attributes
from importer.model import NAMED_LINES, Change, FileWarning, Problem, message
from importer.roster import removals
from importer.rows.validate import Rejected, User
from importer.settings import ClientSettings, FeedSettings
from importer.store.connection import Connection
from importer.store.roster.counts import MOST_LINES
from importer.store.roster.feeds import counted, word_of
from importer.store.roster.states import OPERATOR, SNAPSHOT, STATUS
from importer.store.sqlite.rows.others import Others
from importer.store.sqlite.rows.rejected import RejectedRows

FAILS: Final = "fails"  # in place of a state

_RECYCLED: Final = Problem("unique_id", message("id.recycled"))
# Who has left and comes back with another of each is another person. Whom an undo took back may have had wrong ones.
_IDENTIFYING: Final = ("first_name", "last_name", "email")

_LEFT: Final = f"""
    FROM temp.before CROSS JOIN users ON users.rowid = before.id
    WHERE users.import_id = :import_id AND before.inactive_by IS NULL AND users.inactive_by = '{STATUS}'"""


class Inactive:
    """Decides on such rows of one file, and counts them."""

    def __init__(self, columns: Sequence[str], client: ClientSettings, rejected: RejectedRows) -> None:
        self._id_at = columns.index("unique_id")
        self._status_at = columns.index(attributes.STATUS.name) if attributes.STATUS.name in columns else None
        self._client = client
        self._identifying = [columns.index(name) for name in _IDENTIFYING if name in columns]
        self._rejected = rejected
        self._recycled: set[str] = set()  # ids whose rows failed
        self._kept_lines: list[int] = []  # of those whom the operator has deactivated
        self._has_come_back = self._has_left = False
        self.left = 0  # how many users became inactive by their status

    def _says_left(self, user: User) -> bool:
        return self._status_at is not None and user[self._status_at] == attributes.INACTIVE

    def state_after(self, user: User, old: User, inactive_by: str | None) -> str | None:
        """Return who says, after a row, that its user is inactive; None: nobody. FAILS: the id is another person's."""
        line = int(user[-1] or 0)
        if inactive_by == OPERATOR:
            if not self._says_left(user):
                self._kept_lines.append(line)
                self._rejected.recheck_lines.append(line)
            return OPERATOR
        if self._says_left(user):
            self._has_left = True
            return STATUS
        # Without a status a row says nothing of it, as a blank cell says nothing of an attribute.
        if (
            inactive_by == STATUS
            and self._client.status.column
            and (self._status_at is None or not user[self._status_at])
        ):
            return STATUS
        is_whole = inactive_by in (SNAPSHOT, STATUS) and len(self._identifying) == len(_IDENTIFYING)
        if is_whole and all(_is_another(user[at], old[at]) for at in self._identifying):
            self._recycled.add(str(user[self._id_at]))
            self._rejected.add([Rejected(line, [], (_RECYCLED,), user)])
            return FAILS
        self._has_come_back = True
        return None

    def retract(self, unique_ids: Collection[str]) -> int:
        """Forget rows that do not count; return how many of them had failed already."""
        failed = self._recycled.intersection(unique_ids)
        self._recycled -= failed
        return len(failed)

    def count_left(self, conn: Connection, scope: Mapping[str, str | int]) -> int:
        """Return how many users have become inactive by their status so far."""
        return int(conn.execute(f"SELECT count(*) {_LEFT}", scope).fetchone()[0]) if self._has_left else 0

    def changes(
        self, conn: Connection, scope: Mapping[str, str | int], feed: FeedSettings, missing: int, others: Others
    ) -> Iterator[Change]:
        """
        Yield how many leave by their status, with those `missing` who were deactivated.

        Only if they may be too many, or are a large share, of which those who are missing tell themselves.
        """
        if self.left:
            named = {**scope, "is_kept": self._client.keeps_feeds, "feed": word_of(feed), "others": others.active()}
            settings, gone = self._client.guard, self.left + missing
            change = counted(conn, settings, feed.name, named, due=0, gone=gone)
            if removals.matters(change.count, settings) or (not missing and removals.is_told(change, settings)):
                query = f"SELECT users.import_line {_LEFT} ORDER BY 1 LIMIT {MOST_LINES}"
                lines = tuple(line for (line,) in conn.execute(query, scope).fetchall())
                # Others are on no line of the file.
                lines = lines if change.count == self.left else ()
                yield msgspec.structs.replace(change, field=self._client.status.column, lines=lines)

    def count_reinstated(self, conn: Connection, scope: Mapping[str, str | int]) -> int:
        """Return how many users the import of this transaction has made active again; note how many it did not."""
        if not (self._has_come_back or self._has_left):
            return 0
        self.left = self.count_left(conn, scope)
        (count,) = conn.execute(
            """SELECT count(*) FROM temp.before CROSS JOIN users ON users.rowid = before.id
               WHERE before.inactive_by IS NOT NULL AND users.inactive_by IS NULL AND users.import_id = :import_id""",
            scope,
        ).fetchone()
        return int(count)

    def warnings(self) -> Iterator[FileWarning]:
        """Yield the warning about users in the file who stay inactive."""
        if self._kept_lines:
            lines = sorted(self._kept_lines)
            yield FileWarning(
                reason=message("id.inactive"), field="unique_id", rows=len(lines), lines=tuple(lines[:NAMED_LINES])
            )


def _is_another(now: str | int | None, was: str | int | None) -> bool:
    return bool(now and was) and str(now).casefold() != str(was).casefold()
