"""
The rows of a client's first file, which go to the server by COPY while the rest of the file is still being examined.

Nobody is recorded who could be changed. Which rows must not stay is decided, as for any file, in the working copy: it
is given those users who may share an address or a user name, or have the id or a key of a row that fails. Whom that has
removed there is then removed from the server.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from importer.model import Interrupted
from importer.rows.batches import Batch
from importer.rows.copy_lines import CopyLines, lines_of
from importer.rows.validate import KEYS
from importer.store.connection import Connection
from importer.store.errors import StoreError
from importer.store.postgresql.connection import translating
from importer.store.postgresql.rows.copying import copying, into
from importer.store.postgresql.rows.staging import HOLDERS, IS_STAGED, Staging
from importer.store.postgresql.rows.waiting import Waiting
from importer.store.roster.states import STATUS
from importer.store.sqlite.connection import SqliteConnection
from importer.store.sqlite.rows.others import Others

if TYPE_CHECKING:
    import psycopg

_CONCERNED: Final = f"""
    INSERT INTO work_rows (client, import_id, unique_id)
    SELECT CAST(:client AS TEXT), CAST(:import_id AS BIGINT), unique_id FROM ({HOLDERS}) AS concerned"""


class FirstFile(Others):
    """The users of a client's first file; nobody else is recorded."""

    def __init__(self, copy: SqliteConnection, staging: Staging, waiting: Waiting) -> None:
        super().__init__(copy)
        self._staging = staging
        self._server = staging.conn
        self._waiting = waiting
        examination = staging.file.examination
        self._columns = examination.checker.columns
        self._login_source = examination.terms.client.login_source
        self._copying = contextlib.ExitStack()
        self._writer: psycopg.Copy | None = None
        self._statement = ""
        self._copied = 0
        copy.execute("CREATE TEMP TABLE taken_back (unique_id TEXT NOT NULL)")
        staging.complete()

    def form(self, alike: Mapping[str, str]) -> CopyLines:
        """Return as what `add` takes users; `alike`: values of columns that are the same for all."""
        same = {**alike}
        if "login_source" not in self._columns:
            same["login_source"] = self._login_source
        self._statement = into("users", (*self._columns, "import_line", *same))
        return CopyLines(self._columns, self._login_source, STATUS, f"\t{lines_of([[*same.values()]])}")

    def add(self, batch: Batch) -> None:
        """Copy the users of a batch, and keep what is to be looked up of its other rows."""
        self._waiting.note_others((*batch.partial, *batch.rejected))
        self.conn.executemany("INSERT INTO temp.taken_back VALUES (?)", [(each,) for each in batch.retracted])
        if batch.block:
            writer = self._writer = self._writer or self._copying.enter_context(copying(self._server, self._statement))
            with translating():
                writer.write(batch.block)
            self._copied += batch.block_rows
        if shared := batch.shared:
            self._waiting.note([("", *(value * (key == each) for each in KEYS.values())) for key, value in shared])

    def finish(self) -> int:
        """End the copying, and fill the working copy; return how many users are on the server."""
        with translating():
            self._copying.close()
        count = self._copied - self._removed("temp.taken_back")
        staging = self._staging
        if staging.stage(self._waiting):
            self._server.execute(_CONCERNED, staging.named)
            staging.fetch(f"users WHERE client = :client AND {IS_STAGED}")
            staging.forget()
        self.conn.execute("CREATE TEMP TABLE fetched AS SELECT rowid AS id, unique_id FROM users")
        return count

    def remove_undone(self) -> None:
        """Remove users from the server whose rows were undone in the working copy."""
        self._removed("temp.fetched WHERE id NOT IN (SELECT rowid FROM users)")

    def _removed(self, source: str) -> int:
        """Remove these users from the server; return how many there were."""
        stamp = {"client": ":client", "import_id": "CAST(:import_id AS TEXT)"}
        if not self._staging.hand_over("work_rows", (*stamp, "unique_id"), source, stamp):
            return 0
        query = f"DELETE FROM users WHERE client = :client AND {IS_STAGED}"
        removed = self._server.execute(query, self._staging.named)
        self._staging.forget()
        return removed.rowcount

    def days_of_birth(self) -> tuple[Connection, str]:
        """Return where to ask for `day` and `line` of users whom the import has created, and what."""
        query = "SELECT date_of_birth AS day, import_line AS line FROM users WHERE client = :client"
        return self._server, query

    def close(self) -> None:
        """Give up copying, if it has not ended: no other statement could be run."""
        with contextlib.suppress(StoreError, Interrupted):
            self._copying.__exit__(Interrupted, Interrupted(), None)
