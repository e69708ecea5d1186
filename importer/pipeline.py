"""
One claimed file in, one receipt out: the order of the stages, and the one transaction.

Durable steps, and what a restart finds after each:

1. drafts of failed CSV and result text in the claim folder: no ledger row, so the file is imported again;
2. COMMIT of users, ledger row, problems and outbox row: the claim is done, only its files still have to move.

A file that guards stop ends otherwise: see `ending`.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import BinaryIO, Final

import msgspec

from importer import ending
from importer.file.scan import CHUNK_BYTES
from importer.file.unwrap.unpack import Unwrapped, unwrapped
from importer.file.upload import Upload
from importer.model import Claim, FileRejected, Interrupted, Outcome, Receipt, Tally
from importer.roster.protection import protected_users
from importer.rows import file_warnings
from importer.rows.batches import Examination, Terms
from importer.rows.worker import ExaminerProcess
from importer.settings import ClientSettings, FileSettings, HookSettings, MailSettings, ReferenceSettings
from importer.store import baselines, ledger
from importer.store.database import Store
from importer.store.errors import StoreBusy, StoreConflict, StoreLocked, StoreUnreachable
from importer.store.roster import feeds

_PAUSES_S: Final = (0.05, 0.2, 1.0)  # at most, before the same is tried again


class _Read(msgspec.Struct, frozen=True, kw_only=True):
    """A file whose beginning was read."""

    import_id: int
    claim: Claim
    client: ClientSettings
    upload: Unwrapped


class Importer:
    """Imports files into one store."""

    def __init__(
        self,
        store: Store,
        *,
        file: FileSettings,
        reference: ReferenceSettings,
        mail: MailSettings,
        hooks: tuple[HookSettings, ...] = (),
        check_room: Callable[[Claim, BinaryIO], None] = lambda *_: None,
    ) -> None:
        """`check_room` is asked about the CSV that came out of an upload. Raises OSError when it needs too much."""
        self._store = store
        self._check_room = check_room
        # Called before a claim is tried by another connection, which may be one to another server.
        self.connected_again: Callable[[Claim], None] = lambda _: None
        self._file = file
        self._reference = reference
        self._mail = mail
        self._hooks = hooks

    def import_file(
        self, claim: Claim, client: ClientSettings, *, stopping: Callable[[], bool] = lambda: False
    ) -> Receipt:
        """
        Import the claimed file; when this returns, everything about it is committed.

        With a server it is tried again at once when a transaction was in the way, or the connection was lost: then
        it is not known whether the file was committed. Raises AlreadyRecorded when it was, also by an earlier try.

        Raises Interrupted when `stopping` turned true; OSError, SyncFailed or StoreError when the host fails.
        Nothing is committed then, and the claim can be imported again.
        """

        def ask() -> None:
            if stopping():
                raise Interrupted

        with Upload(claim.name, ask, folder_fd=claim.folder_fd) as raw:
            # sshd syncs nothing: without this a power cut after our commit leaves an empty archive (measured on ext4).
            claim.unsynced.add(raw.fileno())
            return self.import_from(raw, claim, client, stopping=stopping)

    def import_from(
        self, raw: BinaryIO, claim: Claim, client: ClientSettings, *, stopping: Callable[[], bool] = lambda: False
    ) -> Receipt:
        """Import from an open file, as `import_file` does; the claim says where it comes from."""
        lost: StoreUnreachable | None = None
        for most_s in (*_PAUSES_S, 0):
            try:
                return self._try(raw, claim, client, stopping)
            except (StoreConflict, StoreUnreachable) as error:
                error.with_traceback(None)  # as below
                if not most_s:
                    raise
                time.sleep(random.uniform(0, most_s))  # noqa: S311 - so that two hosts do not meet again
                if isinstance(error, StoreUnreachable):
                    lost = error
                    self._store.open_again()
                    self.connected_again(claim)
            except StoreLocked:
                raise
            except StoreBusy:
                if lost is None:
                    raise
                raise lost from None  # a server that hangs has what it was told before, and its locks
        raise AssertionError

    def _try(self, raw: BinaryIO, claim: Claim, client: ClientSettings, stopping: Callable[[], bool]) -> Receipt:
        with self._store.interruptible(stopping):
            try:
                return self._import_rows(raw, claim, client, stopping)
            except FileRejected as rejected:
                # The traceback would keep the examination, with its memory and temporary file, until some later
                # collection. The refusal is a transaction of its own, not what a savepoint leaves of the first: while
                # one is open SQLite keeps a copy of the pages of every single statement, 345 MB in the temporary
                # folder for 60,000 updates in a database of 25 MB.
                rejected.with_traceback(None)
                sha256 = _sha256(raw, self._file)
                return ending.refuse(self._store, claim, sha256, rejected, self._told(client))
            except ending.GuardTripped as tripped:
                tripped.with_traceback(None)
                return ending.hold(self._store, tripped.answer, self._told(client))

    def _import_rows(
        self, raw: BinaryIO, claim: Claim, client: ClientSettings, stopping: Callable[[], bool]
    ) -> Receipt:
        if claim.refusal:
            raise FileRejected(claim.refusal)
        conn, feed = self._store.conn, client.feed_of(claim.file)
        if reason := feeds.refusal(conn, claim, feed, self._mail.timezone):
            raise FileRejected(reason)
        with unwrapped(raw, self._file, client, claim.name) as upload:
            if upload.csv is not raw:
                self._check_room(claim, upload.csv)
            with ExaminerProcess(upload.csv, stopping) as examiner, self._store.importing(claim.unsynced.sync):
                if ending.begin(conn, claim) and (reason := feeds.refusal(conn, claim, feed, self._mail.timezone)):
                    raise FileRejected(reason)
                import_id = ledger.next_id(self._store.conn, claim.client)
                if not baselines.exist(self._store.conn, claim.client):
                    examiner.start()
                read = _Read(import_id=import_id, claim=claim, client=client, upload=upload)
                return self._examine(raw, read, examiner)

    def _examine(self, raw: BinaryIO, read: _Read, examiner: ExaminerProcess) -> Receipt:
        claim, client, csv = read.claim, read.client, read.upload.csv
        scanned = file_warnings.scanned(csv, self._file, client)
        sha256 = scanned.sha256 if csv is raw else _sha256(raw, self._file)
        examination = Examination(csv, Terms(scanned, self._file, client, self._reference, protected_users(client)))
        if not (scanned.ends_line or claim.is_released):
            file_warnings.refuse_cut_off(examination)
        with baselines.left_to_examine(self._store, claim, examination) as (left, skippable):
            return self._record(read, sha256, left, skippable, examiner)

    def _record(
        self, read: _Read, sha256: str, examination: Examination, skippable: int, examiner: ExaminerProcess
    ) -> Receipt:
        claim, client, upload = read.claim, read.client, read.upload
        conn, feed = self._store.conn, client.feed_of(claim.file)
        approval = ending.approved(conn, claim)
        recorder = self._store.recorder(
            examination,
            feed,
            import_id=read.import_id,
            at=datetime.now(UTC),
            approved=approval.tripped if approval else (),
        )
        for batch in examiner.batches(examination, recorder.form):
            recorder.apply(batch)
            del batch  # before the next one is read
        recorder.resolve_conflicts(examination.table, skippable)
        tally = recorder.tally(examination.findings.repeated, skippable)
        changes = tuple(recorder.changes(tally))
        answer = Receipt(
            claim=claim,
            sha256=sha256,
            feed=feed.name,
            outcome=_outcome(tally),
            tally=tally,
            left=recorder.leaving.by_status,
            changes=changes,
            warnings=(
                *upload.warnings,
                *file_warnings.warnings(upload.csv, examination, tally, recorder.rejected.lines),
                *recorder.warnings(changes, examination.findings.same_day),
            ),
            is_correction=examination.table.header.is_failed_csv,
            sheet=upload.sheet,
            was_encrypted=upload.was_encrypted,
            finished_at=datetime.now(UTC),
        )
        answer = ending.judged(
            conn, read.import_id, answer, client, missing=recorder.leaving.pending, approval=approval
        )
        answer = ending.record(self._store, read.import_id, answer, examination, recorder.rejected, self._told(client))
        if answer.outcome is not Outcome.REFUSED:
            feeds.note_date(conn, client.name, feed, claim.file)
        return answer

    def _told(self, client: ClientSettings) -> ending.Told:
        return ending.Told(client, self._mail, self._hooks)


def _sha256(raw: BinaryIO, limits: FileSettings) -> str:
    """Return the hash of a refused file; "" for one too large to be read at all."""
    if os.fstat(raw.fileno()).st_size > limits.max_file_bytes:
        return ""
    raw.seek(0)
    digest = hashlib.sha256()
    while chunk := raw.read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _outcome(tally: Tally) -> Outcome:
    if not tally.failed:
        return Outcome.IMPORTED
    return Outcome.PARTLY if tally.applied or tally.deactivated else Outcome.REFUSED
