"""
One claimed file in, one receipt out: the order of the stages, and the one transaction.

Durable steps, and what a restart finds after each:

1. drafts of failed CSV and result text in the claim folder: no ledger row, so the file is imported again;
2. COMMIT of users, ledger row, problems and outbox row: the claim is done, only its files still have to move.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import BinaryIO

import msgspec

from importer import answers, report
from importer.durable import sync
from importer.file.scan import CHUNK_BYTES, Scan, scan
from importer.file.truncation import is_cut_off
from importer.file.upload import Upload
from importer.model import Claim, FileRejected, Interrupted, Outcome, Receipt, Tally
from importer.rows import file_warnings
from importer.rows.batches import Examination, Terms
from importer.rows.worker import ExaminerProcess
from importer.settings import ClientSettings, FileSettings, MailSettings, ReferenceSettings
from importer.store import baselines, ledger
from importer.store.connection import stamp
from importer.store.database import Store
from importer.store.users import Recorder


class Importer:
    """Imports files into one store."""

    def __init__(self, store: Store, *, file: FileSettings, reference: ReferenceSettings, mail: MailSettings) -> None:
        self._store = store
        self._file = file
        self._reference = reference
        self._mail = mail

    def import_file(
        self, claim: Claim, client: ClientSettings, *, stopping: Callable[[], bool] = lambda: False
    ) -> Receipt:
        """
        Import the claimed file; when this returns, everything about it is committed.

        Raises Interrupted when `stopping` turned true; OSError, SyncFailed or StoreError when the host fails.
        Nothing is committed then, and the claim can be imported again.
        """

        def ask() -> None:
            if stopping():
                raise Interrupted

        with Upload(claim.name, ask, folder_fd=claim.folder_fd) as raw:
            # sshd syncs nothing: without this a power cut after our commit leaves an empty archive (measured on ext4).
            sync(raw.fileno())
            return self.import_from(raw, claim, client, stopping=stopping)

    def import_from(
        self, raw: BinaryIO, claim: Claim, client: ClientSettings, *, stopping: Callable[[], bool] = lambda: False
    ) -> Receipt:
        """Import from an open file, as `import_file` does; the claim says where it comes from."""
        with self._store.interruptible(stopping), ExaminerProcess(raw, stopping) as examiner:
            try:
                with self._store.importing():
                    return self._import_rows(examiner, claim, client)
            except FileRejected as rejected:
                # The traceback would keep the examination, with its memory and temporary file, until some later
                # collection. The refusal is a transaction of its own, not what a savepoint leaves of the first: while
                # one is open SQLite keeps a copy of the pages of every single statement, 345 MB in the temporary
                # folder for 60,000 updates in a database of 25 MB.
                rejected.with_traceback(None)
                with self._store.transaction():
                    return self._refuse(raw, claim, client, rejected)

    def _import_rows(self, examiner: ExaminerProcess, claim: Claim, client: ClientSettings) -> Receipt:
        if claim.refusal:
            code, _, detail = claim.refusal.rpartition("\n")
            raise FileRejected(code or "upload.incomplete", detail)
        if not baselines.exist(self._store.conn, claim.client):
            examiner.start()
        return self._examine(claim, client, examiner)

    def _examine(self, claim: Claim, client: ClientSettings, examiner: ExaminerProcess) -> Receipt:
        raw = examiner.raw
        found = scan(raw, self._file, client.fallback_encoding)
        examination = Examination(raw, Terms(found, self._file, client, self._reference))
        if not (found.ends_line or claim.is_released) and is_cut_off(examination.table, client):
            raise file_warnings.cut_off(examination)
        with baselines.left_to_examine(self._store.conn, claim, examination) as (left, skippable):
            return self._record(found, claim, client, left, skippable, examiner)

    def _record(
        self,
        found: Scan,
        claim: Claim,
        client: ClientSettings,
        examination: Examination,
        skippable: int,
        examiner: ExaminerProcess,
    ) -> Receipt:
        import_id = ledger.next_id(self._store.conn)
        recorder = Recorder(
            self._store.conn,
            client,
            examination.checker,
            import_id=import_id,
            at=stamp(datetime.now(UTC)),
            size_bytes=found.size_bytes,
        )
        for batch in examiner.batches(examination):
            recorder.apply(batch)
            del batch  # before the next one is read
        recorder.settle(examination.table)
        tally = recorder.tally(examination.findings.repeated, skippable)
        answer = Receipt(
            claim=claim,
            sha256=found.sha256,
            outcome=_outcome(tally),
            tally=tally,
            warnings=(*file_warnings.warnings(examiner.raw, examination, tally), *recorder.warnings()),
            finished_at=datetime.now(UTC),
        )
        ledger.add(self._store.conn, import_id, answer)
        baselines.keep(self._store.conn, import_id, answer, examination, recorder.rejected)
        answer = msgspec.structs.replace(
            answer, problems=recorder.rejected.record_problems(import_id), listed=recorder.rejected.count_listed()
        )
        with recorder.rejected.listed() as rows:
            pieces = report.failed_csv(examination.table.header, rows, answer)
            answers.write(self._store, answer, client, self._mail, pieces)
        return answer

    def _refuse(self, raw: BinaryIO, claim: Claim, client: ClientSettings, rejected: FileRejected) -> Receipt:
        answer = Receipt(
            claim=claim,
            sha256=_sha256(raw, self._file),
            outcome=Outcome.REFUSED,
            tally=Tally(),
            refusal=rejected,
            finished_at=datetime.now(UTC),
        )
        import_id = ledger.next_id(self._store.conn)
        ledger.add(self._store.conn, import_id, answer)
        ledger.add_problem(self._store.conn, import_id, rejected)
        answers.write(self._store, answer, client, self._mail, iter(()))
        return answer


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
    return Outcome.PARTLY if tally.applied else Outcome.REFUSED
