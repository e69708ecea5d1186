"""
The rows of one file to the table of users, inside the caller's transaction.

Rows are applied as they come; what only the state after the whole file can tell is decided at the end. All helpers are
temporary tables, so that memory stays the same for any number of rows.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from importer.file.table import Table
from importer.model import Change, FileWarning, Leaving, Tally
from importer.roster import guards
from importer.rows.batches import Batch, Examination
from importer.rows.validate import User
from importer.settings import FeedSettings
from importer.store.connection import stamp
from importer.store.roster import history
from importer.store.roster.counts import changes_of, of_common_days
from importer.store.sqlite.rows import conflicts
from importer.store.sqlite.rows.feed import FeedRoster
from importer.store.sqlite.rows.merge import STATE, Known, Merge
from importer.store.sqlite.rows.new_users import NewUsers, quoted
from importer.store.sqlite.rows.others import Others
from importer.store.sqlite.rows.rejected import TAKEN, RejectedRows, name_others

# To look up the key of a changed row takes as long as to pass over so many rows of the index.
_ROWS_PER_PROBE: Final = 10


class Recorder:
    """Applies one file, of which somebody may have `approved` changes: `apply` each batch, then `resolve_conflicts`."""

    form = None

    def __init__(
        self,
        others: Others,
        examination: Examination,
        feed: FeedSettings,
        *,
        import_id: int,
        at: datetime,
        approved: Sequence[Change] = (),
    ) -> None:
        """`others` has the database with the table, and knows who is not in it."""
        conn = others.conn
        client, checker = examination.terms.client, examination.checker
        self._others, self._conn, self._client = others, conn, client
        self._columns = checker.columns
        self._id_at = self._columns.index("unique_id")
        self._created = self._updated = self._unchanged = self._reinstated = 0
        self._rekeyed = 0  # updated with a new address or user name
        self._changed: Counter[tuple[str, ...]] = Counter()  # columns that rows have written, and how many rows
        conflicts.prepare(conn)
        self.rejected = RejectedRows(conn, client, checker)
        self._feed = FeedRoster(others, feed, examination, approved) if client.has_snapshots else None
        self._rows = Merge(self._columns, examination.terms, self.rejected)
        self._of = feed
        top = conn.execute("SELECT coalesce(max(rowid), 0) FROM users").fetchone()[0]
        known = conn.execute("SELECT EXISTS (SELECT 1 FROM users WHERE client = ?)", (client.name,)).fetchone()[0]
        self._is_first = not (known or others.exist)
        self._scope: conflicts.Scope = {"client": client.name, "import_id": import_id, "top": top}
        self._top = int(top)
        alike = dict.fromkeys(("created_at", "updated_at"), stamp(at))
        alike |= dict.fromkeys(("created_import", "import_id"), str(import_id))
        self.of_new_users = {"client": client.name, **alike, **(self._feed.new if self._feed else {})}
        self._new = NewUsers(conn, client, self._columns, self.of_new_users)
        if self._is_first:
            self._new.load(examination.terms.scan.size_bytes, top)
        self._at = stamp(at)
        self._changed_by = f"import_id = {import_id}, updated_at = {quoted(stamp(at))}"

    def apply(self, batch: Batch) -> None:
        """Apply the rows of a batch, keep the rejected ones for the report."""
        if batch.retracted:
            self._retract(batch.retracted)
        self.rejected.add(batch.rejected)
        if self._feed and not self._is_first:
            self._feed.note_rejected(batch.rejected)
        if self._is_first:
            self._new.of_first_file(batch.complete)
            self._created += len(batch.complete.lines)
            self.rejected.add(batch.partial)
        else:
            self._merge(batch)

    @property
    def changed_columns(self) -> tuple[str, ...]:
        """Return the columns in which the file may have changed recorded users."""
        changed = {*itertools.chain(*self._changed)}
        if STATE in changed or self._client.has_snapshots:
            changed |= {STATE, *TAKEN, "feeds", "missed"}
        return (*sorted(changed), "updated_at", "import_id", "import_line")

    def note_created(self, count: int) -> None:
        """Count new users of a first file who are not all in the table."""
        self._created += count

    def resolve_conflicts(self, table: Table, passed_over: int) -> None:
        """
        Undo the rows that claim what another user has, and complete what is said of all rejected rows.

        `passed_over`: how many rows equal the table and were skipped.
        """
        self._new.finish_loading()
        # All rows are applied now, and the address of who leaves is free for another.
        if self._feed:
            rows = self._created + self._updated + self._unchanged + passed_over
            by_status = self._rows.inactive.count_left(self._conn, self._scope)
            self._feed.leave(self._scope, self._at, has_rows=rows > 0, by_status=by_status)
        if claims := self._created + self._rekeyed:
            by_scan = claims * _ROWS_PER_PROBE > self._top + self._created
            self._note_undone(*conflicts.resolve(self._conn, self._scope, self.rejected, by_scan=by_scan))
        if self._feed and not self._created + self._updated + self._unchanged + passed_over:
            self._feed.take_back()
        self.rejected.fill_in_cells(table)
        self.rejected.complete_problems()
        name_others(self._conn, self._scope, self.rejected)
        if self._changed or self._feed:
            history.record(self._conn, self._scope, conflicts.IMAGES, {*itertools.chain(*self._changed)})
        self._reinstated = self._rows.inactive.count_reinstated(self._conn, self._scope)

    def tally(self, repeated: int, passed_over: int) -> Tally:
        """Return how many rows ended how; `passed_over`: how many more rows equal the table and were skipped."""
        return Tally(
            created=self._created,
            updated=self._updated - self._reinstated,
            reinstated=self._reinstated,
            unchanged=self._unchanged + passed_over,
            failed=self.rejected.count(),
            repeated=repeated,
            deactivated=self._rows.inactive.left + (self._feed.left.deactivated if self._feed else 0),
        )

    @property
    def leaving(self) -> Leaving:
        """Return how many users leave, or would."""
        return Leaving(self._rows.inactive.left, self._feed.left.pending if self._feed else 0)

    def changes(self, tally: Tally) -> Iterator[Change]:
        """Yield what the file changes of the roster, for guards; nothing of a client without users."""
        settings = self._client.guard
        others = None if self._is_first else self._others
        yield from changes_of(self._conn, self._scope, tally, self._changed, settings, others)
        if self._feed:
            yield from self._feed.changes()
        missing = tally.deactivated - self._rows.inactive.left
        yield from self._rows.inactive.changes(self._conn, self._scope, self._of, missing, self._others)

    def warnings(self, changes: Iterable[Change], same_day: int) -> Iterator[FileWarning]:
        """Yield the warnings that only the table shows; `same_day`: how many rows have one day of birth at most."""
        yield from guards.warnings(changes, self._client.guard)
        yield from self._rows.inactive.warnings()
        yield from self._rows.protected.warnings()
        if self._feed:
            yield from self._feed.warnings()
        rows = self._created + self._updated
        if warning := of_common_days(self._others, self._scope, rows, same_day):
            yield warning
        if self._created and not self._is_first:
            yield from self._others.other_spellings(self._scope)

    def _merge(self, batch: Batch) -> None:
        """Create, update or leave alone each user, as the table has it. A blank cell leaves the old value."""
        partial = {row.line: row for row in batch.partial}
        users = [*batch.complete.rows(), *(row.user for row in batch.partial if row.user)]
        known = self._known([user[self._id_at] for user in users])
        if self._feed:
            self._feed.note([existing[:2] for existing in known.values()])
        new: list[User] = []
        # By the columns that change: SQLite writes to each index of which a column is set, whatever to.
        changed: dict[tuple[str, ...], list[User]] = {}
        for user in users:
            existing = known.get(user[self._id_at])
            if existing is None:
                new.append(user)
            elif change := self._rows.changes(user, existing):
                columns, values = change
                if columns:
                    changed.setdefault(columns, []).append((*values, user[-1], existing[0]))
                else:
                    self._unchanged += 1
        for columns, rows in changed.items():
            self._change(columns, rows)
        complete = [user for user in new if user[-1] not in partial]
        self._new.of_rows(complete)
        self._created += len(complete)
        self.rejected.add(partial[line] for user in new if isinstance(line := user[-1], int) and line in partial)

    def _change(self, columns: tuple[str, ...], rows: list[User]) -> None:
        """Give users, named by the rowid at the end of each row, new values in these columns."""
        is_rekeyed = not {*TAKEN, STATE}.isdisjoint(columns)
        conflicts.keep_images(self._conn, [row[-1] for row in rows], is_rekeyed=is_rekeyed)
        self._changed[columns] += len(rows)
        values = "".join(f"{column} = ?, " for column in columns)
        self._conn.executemany(
            f"UPDATE OR FAIL users SET {values}import_line = ?, {self._changed_by} WHERE rowid = ?", rows
        )
        if STATE in columns:
            self._conn.executemany(
                f"UPDATE users SET {conflicts.TAKE_KEYS} WHERE rowid = ?", [row[-1:] for row in rows]
            )
            if self._feed:
                self._feed.reinstate([int(row[-1] or 0) for row in rows if row[-3] is None])
        self._updated += len(rows)
        self._rekeyed += is_rekeyed * len(rows)

    def _known(self, unique_ids: list[str | int | None]) -> dict[str | int | None, Known]:
        """Return rowid, feeds, state and the values in the file's columns of those users that exist."""
        if not unique_ids:
            return {}
        feeds = "feeds" if self._feed else "NULL"
        query = (
            f"SELECT rowid, {feeds}, inactive_by, {', '.join(self._columns)} FROM users "
            f"WHERE client = ? AND unique_id IN ({', '.join('?' * len(unique_ids))})"
        )
        rows = self._conn.execute(query, (self._client.name, *unique_ids)).fetchall()
        return {row[3 + self._id_at]: (row[0], row[1], row[2], row[3:]) for row in rows}

    def _retract(self, unique_ids: list[str]) -> None:
        """Take back the rows of these ids that were applied from earlier batches."""
        self._new.finish_loading()
        existing, deleted, restored = conflicts.retract(self._conn, self._scope, unique_ids)
        self._note_undone(deleted, restored)
        self._unchanged -= existing - deleted - restored - self._rows.inactive.retract(unique_ids)

    def _note_undone(self, deleted: int, restored: int) -> None:
        self._created -= deleted
        self._updated -= restored
