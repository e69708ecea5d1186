"""One installation's database and folders, and what an operator and a client see of them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import msgspec

from importer.model import Claim, Interrupted, Outcome, Receipt
from importer.names import FAILED_CSV, RESULT_TXT
from importer.redact import NotRewritable, Rewriter
from importer.settings import ClientSettings, FileSettings, ReferenceSettings
from importer.store import integrity, ledger, personal_data, retention
from importer.store.roster import deactivation, held_files, history, ids, removal
from importer.store.roster.action import NotPossible
from importer.store.roster.undo import undo
from importer.store.sqlite.database import SqliteStore
from tests.engine import Engine, Result
from tests.lab.postgresql import EMPTY, PostgresqlServer
from tests.tables import tables_of

_BROKEN = b"=\r\n"  # a line of a mail may be broken anywhere, in a time too
_TIMES = re.compile(rb"Date: [^\r\n]*|\d{4}-\d\d-\d\d(?:</span>)? \d\d:\d\d")
_TABLES = (
    "SELECT * FROM users ORDER BY client, unique_id",
    "SELECT * FROM imports ORDER BY id",
    f"SELECT {history.COLUMNS} FROM user_changes ORDER BY import_id, unique_id",  # noqa: S608 - names of ours
    "SELECT import_id, line, code, field, detail FROM import_problems ORDER BY import_id, line, code, field, detail",
    "SELECT * FROM outbox ORDER BY id",
    "SELECT * FROM feeds ORDER BY client, feed",
    """SELECT claim_id, import_id, client, feed, file, tripped, changes, was_approved, decision, decided_by
       FROM on_hold ORDER BY import_id""",
)
_OF_IMPORTS = ("import_id", "created_import", "snapshot_import")  # columns with ids of imports, of which some may lack
_EMPTIED = ("baselines", "import_problems", "imports", "users", "user_changes", "outbox", "feeds", "on_hold")
_OF_AN_ORDER = re.compile(r"^([a-z]+-)\d+$")  # the claim of what the operator does has the id of the import
# How the names of columns end that no two worlds share.
_OF_THE_MOMENT = ("_at", "device", "inode", "mtime_ns", "leased_until")


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """One file to import."""

    client: ClientSettings
    name: str
    content: bytes
    is_released: bool = False


class World(Engine):
    """An installation; `is_forgetful`: each file is examined whole."""

    def __init__(self, folder: Path, *, is_forgetful: bool, server: PostgresqlServer | None = None) -> None:
        """`server`: where the database is, in place of a file."""
        folder.mkdir()
        self._server = server
        self._url = server.new_database() if server else ""
        super().__init__(folder)
        self._is_forgetful = is_forgetful

    def open(self) -> SqliteStore:
        """Open the database; that in a file is not synced."""
        if self._server:
            from importer.store.postgresql.database import PostgresqlStore  # noqa: PLC0415 - takes libpq

            return cast("SqliteStore", PostgresqlStore.open(self._url))
        store = SqliteStore.open(self.folder / "rosterd.db")
        store.conn.execute("PRAGMA synchronous = OFF")
        return store

    @property
    def is_on_server(self) -> bool:
        """Tell whether the database is on a server."""
        return self._server is not None

    def emptied(self) -> World:
        """Begin anew."""
        if self._server:
            self._server.run_sql(self._url.partition("?")[0].rpartition("/")[2], EMPTY)
        else:
            for table in _EMPTIED:
                tables_of(self.store).table(table).delete_where()
        for archive in (self.folder / ".bak").iterdir():
            archive.unlink()
        self._files, self.reference, self.limits = 0, ReferenceSettings(), FileSettings()
        return self

    def answer(self, upload: Upload, *, stop_after: int | None, is_approved: bool) -> tuple[object, ...]:
        """
        Import a file, at the second try if the first is stopped; return all that is said of it.

        If it, or the removals of a snapshot, go on hold, they are done when it `is_approved`, and otherwise left.
        """
        self.client = upload.client
        if self._is_forgetful:
            self.store.conn.execute("DELETE FROM baselines")
        with self.claimed(upload.content, name=upload.name) as held:
            claim = msgspec.structs.replace(held, is_released=upload.is_released)
            receipt = self._stopped(claim, stop_after) or self.importer().import_file(claim, self.client)
            if receipt.outcome is Outcome.ON_HOLD and is_approved:
                held_files.decide(self.store.conn, [claim.claim_id], "approved", "operator", datetime.now(UTC))
                receipt = self.importer().import_file(claim, self.client)
            result = self._result(receipt)
            self._archive(claim)
        if receipt.removals and is_approved:
            decision = removal.Decision(held=receipt.removals, verdict="approved", by="operator", at=datetime.now(UTC))
            removal.decide(self.store, decision, self.client.feed_of(upload.name), lambda _: None)
        return _said(result)

    def _stopped(self, claim: Claim, moments: int | None) -> Receipt | None:
        """Begin an import and stop it; return the receipt if it was over before."""
        if moments is None:
            return None
        left = iter(range(moments))
        with contextlib.suppress(Interrupted):
            return self.importer().import_file(claim, self.client, stopping=lambda: next(left, None) is None)
        return None

    def _archive(self, claim: Claim) -> None:
        stem = claim.archive.removesuffix(b".csv")
        names = {claim.name: claim.archive, FAILED_CSV: stem + b".failed.csv", RESULT_TXT: stem + b".result.txt"}
        for name, archived in names.items():
            with contextlib.suppress(FileNotFoundError):
                os.rename(name, archived, src_dir_fd=claim.folder_fd, dst_dir_fd=claim.bak_fd)
        ledger.mark_archived(self.store.conn, [claim.claim_id], datetime.now(UTC))
        shutil.rmtree(self.folder / claim.claim_id)

    def left(self) -> list[list[tuple[object, ...]]]:
        """Return what the database holds."""
        return [self._rows(query) for query in _TABLES]

    def _rows(self, query: str) -> list[tuple[object, ...]]:
        numbers = {import_id: number for number, import_id in enumerate(self.import_ids(), 1)}
        of_imports = (*_OF_IMPORTS, *(("id",) if "FROM imports" in query else ()))
        return [
            tuple(
                (name, numbers.get(value, value) if name in of_imports else _timeless(value))
                for name, value in sorted(row.items())
                if not name.endswith(_OF_THE_MOMENT)
            )
            for row in tables_of(self.store).query(query)
        ]

    # -- what else happens

    def import_ids(self) -> list[int]:
        """Return the ids of all imports, oldest first; on a server some are missing in between."""
        return [id_ for (id_,) in self.store.conn.execute("SELECT id FROM imports ORDER BY id").fetchall()]

    def known_ids(self) -> list[tuple[str, str]]:
        """Return client and id of all users."""
        return self.store.conn.execute("SELECT client, unique_id FROM users ORDER BY client, unique_id").fetchall()

    def archives(self) -> list[Path]:
        """Return the uploads in `.bak`."""
        return sorted(path for path in (self.folder / ".bak").glob("*.csv") if not path.name.endswith(".failed.csv"))

    def edit(self, statement: str, *values: str) -> None:
        """Change the database by hand; a server has to be told, see docs/scale-out.md."""
        self.store.conn.execute(statement, values)
        if self.is_on_server:
            self.store.conn.execute("DELETE FROM baselines WHERE client = ?", values[:1])

    def erase(self, client: str, unique_id: str) -> None:
        """Remove a person from the database."""
        personal_data.erase(self.store, client, unique_id)

    def undo(self, number: int) -> None:
        """Take back what an import did, of which this is the number among all; 0: of one that there is not."""
        with contextlib.suppress(NotPossible):
            undo(self.store, [0, *self.import_ids()][number], is_applied=True)

    def rekey(self, client: str, pairs: list[tuple[str, str]]) -> None:
        """Give users new ids."""
        with contextlib.suppress(NotPossible):
            ids.rekey(self.store, client, pairs, is_applied=True)

    def set_state(self, client: str, unique_id: str, *, is_active: bool) -> None:
        """Deactivate or reactivate a user."""
        with contextlib.suppress(NotPossible):
            (deactivation.reactivate if is_active else deactivation.deactivate)(self.store, client, [unique_id])

    def rewrite(self, client: ClientSettings, unique_id: str, number: int) -> None:
        """Take a person out of the files of one import."""
        record = integrity.records(self.store.conn)[number]
        if record.client != client.name or record.is_purged:
            return
        rewriter = Rewriter(self.store, client, self.limits, lambda: False)
        work_fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        with contextlib.suppress(NotRewritable, OSError):
            rewriter.take_out(unique_id, record, work_fd, self._bak_fd)
        os.close(work_fd)

    def purge(self, number: int) -> None:
        """Remove the files and problems of one import."""
        record = integrity.records(self.store.conn)[number]
        fields = {name: getattr(record, name) for name in retention.Kept.__struct_fields__}
        retention.purge(self.store, self._bak_fd, retention.Kept(**fields), datetime.now(UTC))

    def back_up(self, name: str) -> None:
        """Copy the database, as SQLite does it."""
        with contextlib.closing(sqlite3.connect(self.folder / name)) as copy:
            self.store.conn.backup(copy)

    def restore(self, name: str) -> None:
        """Put a copy in place of the database."""
        self.restart(lambda path: shutil.copy(self.folder / name, path))

    def restart(self, meanwhile: Callable[[Path], object] = lambda _: None) -> None:
        """Close the database and open it again."""
        self.store.close()
        meanwhile(self.folder / "rosterd.db")
        self.store = self.open()


def _said(result: Result) -> tuple[object, ...]:
    receipt = result.receipt
    return (
        receipt.outcome,
        receipt.tally,
        receipt.problems,
        receipt.warnings,
        (result.code, result.detail),
        _TIMES.sub(b"", result.text.encode()),
        result.failed,
    )


def _timeless(value: object) -> object:
    if isinstance(value, str):
        return _OF_AN_ORDER.sub(r"\1", value)
    return _TIMES.sub(b"", value.replace(_BROKEN, b"")) if isinstance(value, bytes) else value
