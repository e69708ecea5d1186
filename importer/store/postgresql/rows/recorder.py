"""
The rows of one file to the table of users, inside the caller's transaction.

They wait until all are known, but for those of a first file (`first_file`). Then the users whom they concern are
fetched into a working copy, SQLite's recorder applies them there, and what came of it is written back by COPY and one
UPDATE. The caller has locked the client, so that no other import has changed those users meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from importer.file.table import Table
from importer.model import Change, FileWarning, Leaving, Tally
from importer.rows.batches import Batch
from importer.rows.validate import Users
from importer.store.postgresql.connection import PostgresqlConnection
from importer.store.postgresql.rows.concerned import Concerned
from importer.store.postgresql.rows.copies import WorkingCopies
from importer.store.postgresql.rows.first_file import FirstFile
from importer.store.postgresql.rows.rejections import Rejections
from importer.store.postgresql.rows.staging import File, Staging
from importer.store.postgresql.rows.waiting import Waiting
from importer.store.roster.feeds import last_snapshot, note_snapshot
from importer.store.sqlite.rows.others import Others
from importer.store.sqlite.rows.recorder import Recorder

_CHANGES: Final = ("client", "import_id", "unique_id", "kind", "line", "line_before", "changed_at", "changes")
# Users with values of this import, and those of whom only something about feeds was noted.
_CHANGED: Final = """
    users WHERE rowid IN (
      SELECT users.rowid FROM temp.before JOIN users ON users.rowid = before.id WHERE users.import_id = :import_id
      UNION SELECT users.rowid FROM temp.fetched JOIN users ON users.rowid = fetched.id
        WHERE fetched.feeds IS NOT users.feeds OR fetched.missed IS NOT users.missed)
    ORDER BY unique_id"""


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
        self._waiting = Waiting(file.examination, (str(file.named["client"]), str(file.import_id)))
        copies.close_with_it(self._waiting.close)
        (exist,) = conn.execute("SELECT EXISTS (SELECT 1 FROM users WHERE client = :client)", file.named).fetchone()
        self._staging = Staging(conn, copy, file)
        self._concerned = Concerned(copy, self._staging) if exist else None
        self._first = None if exist else FirstFile(copy, self._staging, self._waiting)
        if self._first:
            copies.close_with_it(self._first.close)
        self._inner = self._begun(self._first) if self._first else None
        self.form = self._first.form(self._inner.of_new_users) if self._first and self._inner else None

    def _begun(self, others: Others) -> Recorder:
        (self._top,) = self._copy.execute("SELECT coalesce(max(rowid), 0) FROM users").fetchone()
        import_id, at, approved = self._file.import_id, self._at, self._approved
        examination, feed = self._file.examination, self._file.feed
        return Recorder(others, examination, feed, import_id=import_id, at=at, approved=approved)

    @property
    def _recorder(self) -> Recorder:
        assert self._inner is not None  # noqa: S101 - once conflicts are resolved
        return self._inner

    def apply(self, batch: Batch) -> None:
        """Keep the rows of a batch until it is known whom they concern; of a first file the server has them at once."""
        if self._first:
            self._first.add(batch)
            self._recorder.apply(Batch(Users([], []), batch.partial, batch.rejected, []))
        else:
            self._waiting.add(batch)

    def resolve_conflicts(self, table: Table, passed_over: int) -> None:
        """Apply the rows, undo those that claim what another user has, and write what came of it."""
        if self._first:
            self._recorder.note_created(self._first.finish())
            self._recorder.resolve_conflicts(table, passed_over)
            self._first.remove_undone()
        if self._concerned:
            self._concerned.fetch(self._waiting)
            self._inner = self._begun(self._concerned)
            self._copy.execute("CREATE TEMP TABLE fetched (id INTEGER PRIMARY KEY, feeds TEXT, missed TEXT)")
            if self._file.examination.terms.client.has_snapshots:
                self._copy.execute("INSERT INTO temp.fetched SELECT rowid, feeds, missed FROM users")
            for batch in self._waiting.batches():
                self._inner.apply(batch)
            self._inner.resolve_conflicts(table, passed_over)
            self._write()
            self._concerned.look_closer(self._waiting)
            self._staging.forget()
        if self._file.is_snapshot:
            self._write_snapshot(str(self._file.named["client"]), self._file.feed.name)

    def _write(self) -> None:
        columns = (*self._file.columns, "client", "created_at", "created_import")
        self._staging.hand_over("users", columns, f"users WHERE rowid > {self._top}")
        self._write_changes()
        changes = "user_changes WHERE import_id = :import_id"
        self._staging.hand_over("user_changes", _CHANGES, changes, {"client": ":client"})

    def _write_changes(self) -> None:
        columns = self._recorder.changed_columns
        staged = dict.fromkeys(("client", "unique_id", "login_source", *columns, "staged_by"))
        if self._staging.hand_over("work_users", (*staged,), _CHANGED, {"staged_by": f"'{self._file.import_id}'"}):
            values = ", ".join(f"{column} = staged.{column}" for column in columns)
            is_theirs = "staged.client = :client AND staged.staged_by = :import_id"
            self._conn.execute(
                f"""UPDATE users SET {values} FROM work_users AS staged
                    WHERE users.client = :client AND {is_theirs} AND users.unique_id = staged.unique_id;
                    DELETE FROM work_users AS staged WHERE {is_theirs}""",
                self._staging.named,
            )

    def _write_snapshot(self, client: str, feed: str) -> None:
        last = last_snapshot(self._copy, client, feed)
        if self._copy.execute("SELECT EXISTS (SELECT 1 FROM feeds WHERE feed = ?)", (feed,)).fetchone()[0]:
            note_snapshot(self._conn, client, feed, last)

    @property
    def rejected(self) -> Rejections:
        """Return the rows that were not applied."""
        return Rejections(self._recorder.rejected, self._staging)

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
