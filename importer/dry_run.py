"""Dry run: import a file by the same engine into a temporary copy of the client's users, without any effect."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from importer import fs
from importer.answer import plain_text
from importer.answer.sheet import Medium, sheets
from importer.model import Claim, FileWarning, Outcome, ProblemGroup, Receipt
from importer.pipeline import Importer
from importer.roster.guards import UNLIMITED
from importer.settings import ClientSettings, FileSettings, MailSettings, ReferenceSettings
from importer.store.database import Store
from importer.store.places import Place
from importer.store.roster.counts import ChangedValue, changed_in
from importer.store.sqlite.database import SqliteStore
from importer.store.sqlite.from_server import copy_users
from importer.wording.catalogue import words

_BEFORE_FREEZES: Final = datetime(1970, 1, 1, tzinfo=UTC)  # what is on hold was claimed, and can still be approved


class CheckAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer, and whether every row of the file would be applied."""

    receipt: Receipt
    text: str

    @property
    def passes(self) -> bool:
        """Tell whether nothing in the file would fail."""
        return self.receipt.outcome is Outcome.IMPORTED

    def as_json(self) -> str:
        """Return the answer for programs: one JSON object."""
        answer = self.receipt
        refusal = answer.refusal
        fields = {
            "file": answer.claim.file,
            "client": answer.claim.client,
            "passes": self.passes,
            "outcome": answer.outcome,
            "rows": answer.tally.rows,
            **msgspec.structs.asdict(answer.tally),
            "refusal": {"code": refusal.code, "line": refusal.line, "detail": words().refusal(refusal)}
            if refusal
            else None,
            "changes": answer.changes,
            "on_hold": [each.guard for each in answer.on_hold.tripped] if answer.on_hold else [],
            "removals_on_hold": answer.removals.users if answer.removals else 0,
            "problems": [_as_fields(each) for each in answer.problems],
            "warnings": [_as_fields(each) for each in answer.warnings],
        }
        return msgspec.json.format(msgspec.json.encode(fields)).decode()


def _as_fields(item: ProblemGroup | FileWarning) -> dict[str, str | int | tuple[int, ...]]:
    return {
        "code": item.code,
        "field": item.field,
        "detail": words().explained(item.reason),
        "rows": item.rows,
        "first_line": item.first_line,
        "lines": item.lines,
    }


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was imported without effect. What is in store and folder is removed soon."""

    receipt: Receipt
    store: Store
    folder_fd: int  # has the failed CSV and the failed workbook, by the names of drafts


class DryRun(msgspec.Struct, frozen=True, kw_only=True):
    """
    What files are imported by. `database` may be missing: then all their users are new.

    `progress` is called now and then with the byte that is being read; what it raises ends the dry run. `scratch` is a
    folder for temporary files, None for that of all programs. All methods raise OSError when the file cannot be read,
    StoreError when the database cannot, SyncFailed when the disk of temporary files fails.
    """

    file: FileSettings
    reference: ReferenceSettings
    database: Place
    progress: Callable[[int], None] = lambda _: None
    scratch: Path | None = None
    check_room: Callable[[Claim, BinaryIO], None] = lambda *_: None  # as of the importer

    def check(self, path: Path, client: ClientSettings) -> CheckAnswer:
        """
        Judge the file as if the client had uploaded it now.

        The text is in the client's languages, the fields for programs in English. A file that would be held is
        answered as when its hold expires.
        """
        with path.open("rb", buffering=0) as raw, self.trial(raw, os.fsencode(path.name), client) as trial:
            parts = sheets(trial.receipt, client.language, Medium.CHECK, MailSettings())
            return CheckAnswer(receipt=trial.receipt, text=plain_text.text(parts, titled=True))

    def changed_values(self, raw: BinaryIO, name: bytes, client: ClientSettings) -> Iterator[ChangedValue]:
        """Yield whom the file would change and how, if it were imported now without a limit: in order of its lines."""
        free = msgspec.structs.replace(client, guard=UNLIMITED)
        with self.trial(raw, name, free, claimed_at=_BEFORE_FREEZES) as trial:
            yield from changed_in(trial.store.conn, client.name)

    @contextlib.contextmanager
    def trial(
        self,
        raw: BinaryIO,
        name: bytes,
        client: ClientSettings,
        *,
        archive: bytes = b"",
        claimed_at: datetime | None = None,
    ) -> Iterator[Trial]:
        """
        Import an open file, whose name this is, into a throw-away copy of the users.

        `archive` is the name that those of its answers begin with, that of the file by default. `claimed_at` counts for
        freezes and what is on hold, now by default.
        """

        def ask() -> bool:
            self.progress(raw.tell())
            return False

        with tempfile.TemporaryDirectory(prefix="rosterd-check-", dir=self.scratch) as folder:
            scratch = Path(folder)
            store = SqliteStore.open(scratch / "check.db", model=self.database.file)
            with contextlib.ExitStack() as closing, contextlib.closing(store), fs.open_folder(scratch) as folder_fd:
                claim = claim_of(raw, name, archive or name, client.name, folder_fd, claimed_at or datetime.now(UTC))
                closing.enter_context(claim.unsynced)
                self.check_room(claim, raw)
                if not self.database.is_missing:
                    with store.interruptible(ask):
                        self._copy_users(store, client.name)
                # The answer goes to the caller; no mail is sent.
                silent = msgspec.structs.replace(client, failed_import_email=())
                importer = Importer(
                    store, file=self.file, reference=self.reference, mail=MailSettings(), check_room=self.check_room
                )
                receipt = importer.import_from(raw, claim, silent, stopping=ask)
                yield Trial(receipt=receipt, store=store, folder_fd=folder_fd)

    def _copy_users(self, store: SqliteStore, client: str) -> None:
        if self.database.file is not None:
            store.copy_users(self.database.file, client)
            return
        with self.database.reading() as source:
            copy_users(store, source, client)


def claim_of(raw: BinaryIO, name: bytes, archive: bytes, client: str, folder_fd: int, claimed_at: datetime) -> Claim:
    """Return the claim that an open file would be; `folder_fd` is where its answers go."""
    info = os.fstat(raw.fileno())
    return Claim(
        claim_id="check",
        client=client,
        name=name,
        folder_fd=folder_fd,
        archive=archive,
        device=info.st_dev,
        inode=info.st_ino,
        size_bytes=info.st_size,
        mtime_ns=info.st_mtime_ns,
        claimed_at=claimed_at,
    )
