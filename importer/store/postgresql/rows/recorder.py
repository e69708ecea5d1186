"""
The rows of one file to the table of users, inside the caller's transaction.

They wait until all are known. Then the users whom they concern are fetched into a working copy, SQLite's recorder
applies them there, and what came of it is written back by COPY and one UPDATE. The caller has locked the client, so
that no other import has changed those users meanwhile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from importer.file.table import Table
from importer.model import Change, FileWarning, Leaving, ProblemGroup, Tally
from importer.rows.batches import Batch
from importer.store.postgresql.connection import PostgresqlConnection
from importer.store.postgresql.rows.concerned import Concerned, File
from importer.store.postgresql.rows.copies import WorkingCopies
from importer.store.postgresql.rows.copying import copy_in
from importer.store.postgresql.rows.waiting import Waiting
from importer.store.postgresql.rows.working_copy import lines
from importer.store.recording import FailedRow
from importer.store.roster.feeds import last_snapshot, note_snapshot
from importer.store.sqlite import connection as sqlite
from importer.store.sqlite.rows.recorder import Recorder
from importer.store.sqlite.rows.rejected import RejectedRows

_CHANGES: Final = ("import_id", "unique_id", "kind", "line", "line_before", "changed_at", "changes")
_PROBLEMS: Final = ("import_id", "line", "code", "field", "detail")
# Users with values of this import, and those of whom only something about feeds was noted.
_CHANGED: Final = """
    users WHERE rowid IN (
      SELECT users.rowid FROM temp.before JOIN users ON users.rowid = before.id WHERE users.import_id = :import_id
      UNION SELECT users.rowid FROM temp.fetched JOIN users ON users.rowid = fetched.id
        WHERE fetched.feeds IS NOT users.feeds OR fetched.missed IS NOT users.missed)"""


class PostgresqlRecorder:
    """Records one file: `apply` each batch, then `resolve_conflicts`."""

    def __init__(
        self,
        conn: PostgresqlConnection,
        copies: WorkingCopies,
        file: File,
        *,
        at: datetime,
        approved: Sequence[Change],
    ) -> None:
        """The working copy is empty, but for `temp.gone`."""
        copy = copies.take()
        self._conn, self._copy, self._file = conn, copy, file
        self._at, self._approved = at, approved
        self._top = 0
        self._concerned = Concerned(conn, copy, file)
        self._waiting = Waiting(file.examination, (str(file.named["client"]), str(file.import_id)))
        copies.close_with_it(self._waiting.close)
        self._inner = None if self._concerned.exist else self._begun()

    def _begun(self) -> Recorder:
        (self._top,) = self._copy.execute("SELECT coalesce(max(rowid), 0) FROM users").fetchone()
        self._copy.execute("CREATE TEMP TABLE fetched (id INTEGER PRIMARY KEY, feeds TEXT, missed TEXT)")
        if self._file.examination.terms.client.has_snapshots:
            self._copy.execute("INSERT INTO temp.fetched SELECT rowid, feeds, missed FROM users")
        import_id, at, approved = self._file.import_id, self._at, self._approved
        examination, feed = self._file.examination, self._file.feed
        return Recorder(self._concerned, examination, feed, import_id=import_id, at=at, approved=approved)

    @property
    def _recorder(self) -> Recorder:
        assert self._inner is not None  # noqa: S101 - once conflicts are resolved
        return self._inner

    def apply(self, batch: Batch) -> None:
        """Keep the rows of a batch until it is known whom they concern; apply them if nobody was recorded before."""
        if self._inner:
            self._inner.apply(batch)
        else:
            self._waiting.add(batch)

    def resolve_conflicts(self, table: Table, passed_over: int) -> None:
        """Apply the rows, undo those that claim what another user has, and write what came of it."""
        if self._inner is None:
            self._concerned.fetch(self._waiting)
            self._inner = self._begun()
            for batch in self._waiting.batches():
                self._inner.apply(batch)
        self._inner.resolve_conflicts(table, passed_over)
        self._write()
        if self._concerned.exist:
            self._concerned.look_closer(self._waiting)
            self._concerned.forget()

    def _write(self) -> None:
        named = {**self._file.named, "top": self._top}
        columns = (*self._file.columns, "client", "created_at", "created_import")
        self._copy_in("users", columns, f"users WHERE rowid > {self._top}", named)
        if self._concerned.exist:
            self._write_changes(named)
            self._copy_in("user_changes", _CHANGES, "user_changes WHERE import_id = :import_id", named)
        if self._file.is_snapshot:
            client, feed = str(named["client"]), self._file.feed.name
            last = last_snapshot(self._copy, client, feed)
            if self._copy.execute("SELECT EXISTS (SELECT 1 FROM feeds WHERE feed = ?)", (feed,)).fetchone()[0]:
                note_snapshot(self._conn, client, feed, last)

    def _write_changes(self, named: dict[str, str | int]) -> None:
        columns = self._file.columns
        staged = (*columns, "client", "staged_by")
        if self._copy_in("work_users", staged, _CHANGED, named, {"staged_by": f"'{self._file.import_id}'"}):
            values = ", ".join(f"{column} = staged.{column}" for column in columns if column != "unique_id")
            is_theirs = "staged.client = :client AND staged.staged_by = :import_id"
            self._conn.execute(
                f"""UPDATE users SET {values} FROM work_users AS staged
                    WHERE users.client = :client AND {is_theirs} AND users.unique_id = staged.unique_id;
                    DELETE FROM work_users AS staged WHERE {is_theirs}""",
                named,
            )

    def _copy_in(
        self,
        table: str,
        columns: Sequence[str],
        source: str,
        named: dict[str, str | int],
        values: dict[str, str] | None = None,
    ) -> bool:
        """Copy a part of the working copy into a table; tell whether there was any. `values` of columns it lacks."""
        expressions = [(values or {}).get(column, column) for column in columns]
        blocks = lines(self._copy, expressions, source, named)
        with contextlib.closing(blocks):
            if (first := next(blocks, None)) is None:
                return False
            copy_in(self._conn, table, columns, _with(first, blocks))
        return True

    @property
    def rejected(self) -> _Rejections:
        """Return the rows that were not applied."""
        return _Rejections(self._recorder.rejected, self._copy, self._conn)

    @property
    def leaving(self) -> Leaving:
        """Return how many users leave, or would."""
        return self._recorder.leaving

    def tally(self, repeated: int, passed_over: int) -> Tally:
        """Return how many rows ended how; `passed_over`: how many more rows equal the table and were skipped."""
        return self._recorder.tally(repeated, passed_over)

    def changes(self, tally: Tally) -> Iterator[Change]:
        """Yield what the file changes of the roster, for guards; nothing of a client without users."""
        yield from self._recorder.changes(tally)

    def warnings(self, changes: Iterable[Change], same_day: int) -> Iterator[FileWarning]:
        """Yield the warnings that only the table shows; `same_day`: how many rows have one day of birth at most."""
        yield from self._recorder.warnings(changes, same_day)


def _with(first: str, others: Iterator[str]) -> Iterator[str]:
    yield first
    yield from others


class _Rejections:
    """The rejected rows, which are in the working copy."""

    def __init__(self, rejected: RejectedRows, copy: sqlite.SqliteConnection, conn: PostgresqlConnection) -> None:
        self._rejected, self._copy, self._conn = rejected, copy, conn
        self.recheck_lines = rejected.recheck_lines
        self.count_listed, self.lines = rejected.count_listed, rejected.lines

    def listed(self) -> contextlib.AbstractContextManager[Iterator[FailedRow]]:
        """Give the rejected rows that the failed CSV has room for, in file order."""
        return self._rejected.listed()

    def record_problems(self, import_id: int, tally: Tally) -> tuple[ProblemGroup, ...]:
        """Write the problems to import_problems, as many as it has room for; return all grouped, most rows first."""
        groups = self._rejected.record_problems(import_id, tally)
        if tally.failed:
            copy_in(self._conn, "import_problems", _PROBLEMS, lines(self._copy, _PROBLEMS, "import_problems", {}))
        return groups
