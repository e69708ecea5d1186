"""
The rows of one file to the table of users, inside the caller's transaction.

Rows are applied as they come; what only the state after the whole file can tell is decided at the end. All helpers are
temporary tables, so that memory stays the same for any number of rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

from importer.file.table import Table
from importer.model import FileWarning, Tally
from importer.rows.batches import Batch
from importer.rows.validate import CLEARED, Checker, User
from importer.settings import ClientSettings
from importer.store import conflicts
from importer.store.connection import Connection
from importer.store.rejected import TAKEN, RejectedRows

# To look up the key of a changed row takes as long as to pass over so many rows of the index.
_ROWS_PER_PROBE: Final = 10
# A client's first file, when it is large beside the table, is loaded without indexes; they are made at the end.
_LOAD_MIN_BYTES: Final = 4 << 20
_LOAD_BYTES_PER_ROW: Final = 400
_CLEARED_SQL: Final = "char(0)"

# New users whose id, in capitals, in small letters or with one capital at its beginning, was recorded before.
_OTHER_CASE: Final = """
    SELECT count(*), min(import_line) FROM users AS mine
    WHERE rowid > :top AND upper(unique_id) <> lower(unique_id) AND EXISTS (
      SELECT 1 FROM users AS theirs WHERE theirs.client = :client AND theirs.rowid <= :top
      AND theirs.unique_id IN (upper(mine.unique_id), lower(mine.unique_id),
                               upper(substr(mine.unique_id, 1, 1)) || lower(substr(mine.unique_id, 2))))"""


class Recorder:
    """Applies one file: `apply` each batch, then `settle`; then it counts, and `rejected` has the rows that failed."""

    def __init__(
        self,
        conn: Connection,
        client: ClientSettings,
        checker: Checker,
        *,
        import_id: int,
        at: str,
        size_bytes: int,
    ) -> None:
        self._conn = conn
        self._client = client
        self._columns = checker.columns
        self._id_at = self._columns.index("unique_id")
        self._created = self._updated = self._unchanged = 0
        self._rekeyed = 0  # updated with a new address or user name
        self.rejected = RejectedRows(conn, client, checker)
        conflicts.prepare(conn)
        top = conn.execute("SELECT coalesce(max(rowid), 0) FROM users").fetchone()[0]
        known = conn.execute("SELECT EXISTS (SELECT 1 FROM users WHERE client = ?)", (client.name,)).fetchone()[0]
        self._is_first = not known
        self._is_loading = self._is_first and size_bytes > max(_LOAD_MIN_BYTES, top * _LOAD_BYTES_PER_ROW)
        self._dropped: list[str] = []  # the statements of what is to be made again
        if self._is_loading:
            self._drop_indexes()
        self._scope: conflicts.Scope = {"client": client.name, "import_id": import_id, "top": top}
        self._top = int(top)
        self._insert = self._insert_statement(import_id, at)
        self._changed_by = f"import_id = {import_id}, updated_at = {_quoted(at)}"

    def apply(self, batch: Batch) -> None:
        """Apply the rows of a batch, keep the rejected ones for the report."""
        if batch.retracted:
            self._retract(batch.retracted)
        self.rejected.add(batch.rejected)
        if self._is_first:
            self._create(batch.complete.rows())
            self.rejected.add(batch.partial)
        else:
            self._merge(batch)

    def settle(self, table: Table) -> None:
        """Undo the rows that claim what another user has, and complete what is said of all rejected rows."""
        self._finish_loading()
        by_scan = (self._created + self._rekeyed) * _ROWS_PER_PROBE > self._top + self._created
        self._note_undone(*conflicts.resolve(self._conn, self._scope, self.rejected, by_scan=by_scan))
        self.rejected.fill_in_cells(table)
        self.rejected.complete_problems()

    def tally(self, repeated: int, passed_over: int) -> Tally:
        """Return how many rows ended how; `passed_over`: so many more are users as they stand in the table."""
        return Tally(
            created=self._created,
            updated=self._updated,
            unchanged=self._unchanged + passed_over,
            failed=self.rejected.count(),
            repeated=repeated,
        )

    def warnings(self) -> Iterator[FileWarning]:
        """Yield what only the table tells of rows that were applied."""
        if self._created and not self._is_first:
            rows, line = self._conn.execute(_OTHER_CASE, self._scope).fetchone()
            if rows:
                yield FileWarning(code="id.recorded_case", detail="", field="unique_id", rows=rows, first_line=line)

    def _insert_statement(self, import_id: int, at: str) -> str:
        """Return the INSERT that takes a User as it is: what is the same for all stands in the statement."""
        default = _quoted(self._client.login_source)
        value = f"nullif(?, {_CLEARED_SQL})" if self._client.clear_token else "?"
        values = {**dict.fromkeys(self._columns, value), "import_line": "?"}
        values["login_source"] = f"coalesce(?, {default})" if "login_source" in values else default
        values |= {"client": _quoted(self._client.name), "created_at": _quoted(at), "updated_at": _quoted(at)}
        values |= {"created_import": str(import_id), "import_id": str(import_id)}
        # FAIL in place of ABORT: as there are triggers, SQLite would keep what a statement has changed in order to undo
        # it, which costs 6 us for each user. Of a statement for one user nothing is left to undo.
        return f"INSERT OR FAIL INTO users ({', '.join(values)}) VALUES ({', '.join(values.values())})"

    def _create(self, users: list[User]) -> None:
        self._conn.executemany(self._insert, users)
        self._created += len(users)

    def _merge(self, batch: Batch) -> None:
        """Create, update or leave alone each user, as the table has it. A blank cell leaves the old value."""
        partial = {row.line: row for row in batch.partial}
        users = [*batch.complete.rows(), *(row.user for row in batch.partial if row.user)]
        known = self._known([user[self._id_at] for user in users])
        new: list[User] = []
        # By the columns that change: SQLite writes to each index of which a column is set, whatever to.
        changed: dict[tuple[str, ...], list[User]] = {}
        for user in users:
            standing = known.get(user[self._id_at])
            if standing is None:
                new.append(user)
                continue
            rowid, old = standing
            differs = [now is not None and now != was for now, was in zip(user, old, strict=False)]
            values = [None if now == CLEARED else now for now in itertools.compress(user, differs)]
            if any(differs) and values != list(itertools.compress(old, differs)):
                columns = tuple(itertools.compress(self._columns, differs))
                changed.setdefault(columns, []).append((*values, user[-1], rowid))
            else:
                self._unchanged += 1
        for columns, rows in changed.items():
            self._change(columns, rows)
        self._create([user for user in new if user[-1] not in partial])
        self.rejected.add(partial[line] for user in new if isinstance(line := user[-1], int) and line in partial)

    def _change(self, columns: tuple[str, ...], rows: list[User]) -> None:
        """Give users, named by the rowid at the end of each row, new values in these columns."""
        is_rekeyed = not TAKEN.keys().isdisjoint(columns)
        conflicts.keep_images(self._conn, [row[-1] for row in rows], is_rekeyed=is_rekeyed)
        values = ", ".join(f"{column} = ?" for column in columns)
        self._conn.executemany(
            f"UPDATE OR FAIL users SET {values}, import_line = ?, {self._changed_by} WHERE rowid = ?", rows
        )
        self._updated += len(rows)
        self._rekeyed += is_rekeyed * len(rows)

    def _known(self, unique_ids: list[str | int | None]) -> dict[str | int | None, tuple[int, User]]:
        """Return rowid and the values in the file's columns of those users that exist."""
        query = (
            f"SELECT rowid, {', '.join(self._columns)} FROM users "
            f"WHERE client = ? AND unique_id IN ({', '.join('?' * len(unique_ids))})"
        )
        rows = self._conn.execute(query, (self._client.name, *unique_ids)).fetchall()
        return {row[1 + self._id_at]: (row[0], row[1:]) for row in rows}

    def _drop_indexes(self) -> None:
        """Drop the indexes, and the trigger that only asks whether this is an import, which costs 0.25 us a row."""
        query = """SELECT type, name, sql FROM sqlite_master
            WHERE tbl_name = 'users' AND sql IS NOT NULL AND (type = 'index' OR name = 'users_inserted')"""
        for kind, name, statement in self._conn.execute(query).fetchall():
            self._conn.execute(f"DROP {kind} {_quoted(name)}")
            self._dropped.append(statement)

    def _finish_loading(self) -> None:
        if self._is_loading:
            for statement in self._dropped:
                self._conn.execute(statement)
            self._is_loading = False

    def _retract(self, unique_ids: list[str]) -> None:
        """Take back the rows of these ids that were applied from earlier batches."""
        self._finish_loading()
        standing, deleted, restored = conflicts.retract(self._conn, self._scope, unique_ids)
        self._note_undone(deleted, restored)
        self._unchanged -= standing - deleted - restored

    def _note_undone(self, deleted: int, restored: int) -> None:
        self._created -= deleted
        self._updated -= restored


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
