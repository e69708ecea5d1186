"""
One claimed file in, one receipt out: the order of the stages, and the one transaction.

Durable steps, and what a restart finds after each:

1. drafts of failed CSV and result text in the claim folder: no ledger row, so the file is imported again;
2. COMMIT of users, ledger row, problems and outbox row: the claim is done, only its files still have to move.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import tempfile
from array import array
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import BinaryIO, Final

import msgspec

from importer import names, report
from importer.attributes import ATTRIBUTES, Attribute
from importer.durable import sync, write_durably
from importer.file.header import Header
from importer.file.scan import CHUNK_BYTES, Survey, line_of, survey
from importer.file.table import Row
from importer.file.truncation import is_cut_off
from importer.file.upload import Upload
from importer.fs import temporary_folder
from importer.mail import outbox
from importer.model import (
    Claim,
    FileRejected,
    Interrupted,
    Letter,
    Notice,
    Outcome,
    Receipt,
    Tally,
    printable,
)
from importer.rows import fingerprint
from importer.rows.batches import Examination, Terms
from importer.rows.delta import MOST_LINES, Incomparable, compare
from importer.rows.worker import Beside
from importer.settings import ClientSettings, FileSettings, MailSettings, ReferenceSettings
from importer.store import baselines, ledger
from importer.store.connection import stamp
from importer.store.database import Store
from importer.store.users import Recorder

_ATTACHED_BYTES: Final = 5 << 20
_ATTACHED_ROWS: Final = 1000
_FALLBACK_SAMPLES: Final = 5


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
        with self._store.interruptible(stopping), Beside(raw, stopping) as beside:
            try:
                with self._store.importing():
                    return self._import_rows(beside, claim, client)
            except FileRejected as rejected:
                # The traceback would keep the examination, with its memory and temporary file, until some later
                # collection. The refusal is a transaction of its own, not what a savepoint leaves of the first: while
                # one is open SQLite keeps a copy of the pages of every single statement, 345 MB in the temporary
                # folder for 60,000 updates in a database of 25 MB.
                rejected.with_traceback(None)
                with self._store.transaction():
                    return self._refuse(raw, claim, client, rejected)

    def _import_rows(self, beside: Beside, claim: Claim, client: ClientSettings) -> Receipt:
        if claim.refusal:
            code, _, detail = claim.refusal.rpartition("\n")
            raise FileRejected(code or "upload.incomplete", detail)
        if not baselines.exist(self._store.conn, claim.client):
            beside.start()
        return self._examine(claim, client, beside)

    def _examine(self, claim: Claim, client: ClientSettings, beside: Beside) -> Receipt:
        raw = beside.raw
        found = survey(raw, self._file, client.fallback_encoding)
        examination = Examination(raw, Terms(found, self._file, client, self._reference))
        header = examination.table.header
        if not (found.ends_line or claim.is_released) and is_cut_off(examination.table, client):
            raise _cut_off(raw, found, header)
        with self._left(claim, examination) as (left, plain):
            return self._record(found, claim, client, left, plain, beside)

    @contextlib.contextmanager
    def _left(self, claim: Claim, examination: Examination) -> Iterator[tuple[Examination, int]]:
        """Yield what is left to examine of a file, and how many users of it stand in the database as they are."""
        conn, whole = self._store.conn, (examination, 0)
        found = baselines.find(conn, claim, fingerprint.of_terms(examination)) if examination.is_comparable else None
        if found is None or claim.bak_fd is None:
            yield whole
            return
        with tempfile.TemporaryFile(dir=temporary_folder()) as excerpt:
            try:
                with Upload(found.archive, lambda: None, folder_fd=claim.bak_fd) as archive:
                    # The ids have no name here: 250,000 would stay in memory, 16 MB, until the file is recorded.
                    difference = compare(
                        examination.table,
                        archive,
                        found,
                        baselines.ids_changed_since(conn, claim.client, found.import_id),
                        excerpt,
                    )
                left = examination.excerpt(excerpt, difference.lines), difference.plain
            except (OSError, Incomparable):
                left = whole
            yield left

    def _record(
        self, found: Survey, claim: Claim, client: ClientSettings, examination: Examination, plain: int, beside: Beside
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
        for batch in beside.batches(examination):
            recorder.apply(batch)
            del batch  # before the next one is read
        recorder.settle(examination.table)
        tally = recorder.tally(examination.findings.repeated, plain)
        answer = Receipt(
            claim=claim,
            sha256=found.sha256,
            outcome=_outcome(tally),
            tally=tally,
            warnings=(*_warnings(beside.raw, found, examination, tally), *recorder.notices()),
            finished_at=datetime.now(UTC),
        )
        ledger.add(self._store.conn, import_id, answer)
        if tally.applied and tally.failed <= MOST_LINES and examination.findings.odd_lines is not None:
            odd_lines = {*array("I", examination.findings.odd_lines), *recorder.rejected.lines()}
            baselines.keep(self._store.conn, claim, import_id, fingerprint.of_terms(examination), sorted(odd_lines))
        answer = msgspec.structs.replace(
            answer, problems=recorder.rejected.record_problems(import_id), listed=recorder.rejected.count_listed()
        )
        with recorder.rejected.listed() as rows:
            self._report(answer, client, report.failed_csv(examination.table.header, rows, answer))
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
        self._report(answer, client, iter(()))
        return answer

    def _report(self, answer: Receipt, client: ClientSettings, pieces: Iterator[bytes]) -> None:
        """Write the drafts of what will lie beside the archive, and the mail to the outbox."""
        folder_fd = answer.claim.folder_fd
        if answer.tally.failed:
            write_durably(folder_fd, names.FAILED_CSV, pieces)
        else:
            with contextlib.suppress(FileNotFoundError):  # of an earlier try
                os.unlink(names.FAILED_CSV, dir_fd=folder_fd)
        write_durably(folder_fd, names.RESULT_TXT, [report.result_text(answer).encode()])
        recipients = client.failed_import_email or self._mail.failed_import_email
        if recipients and self._is_worth_a_mail(answer, client):
            outbox.add(self._store, self._letter(answer, recipients))

    def _is_worth_a_mail(self, answer: Receipt, client: ClientSettings) -> bool:
        if answer.refusal or answer.tally.failed or client.receipts:
            return True
        codes = {notice.code for notice in answer.warnings}
        if "file.unterminated" in codes:
            # Some exporters never end the last line; it is news only when the file before did.
            return not ledger.ended_unterminated(self._store.conn, client.name, before=answer.claim.claim_id)
        return "file.no_users" in codes

    def _letter(self, answer: Receipt, recipients: tuple[str, ...]) -> Letter:
        claim = answer.claim
        attachment, rows = _attachment(claim.folder_fd) if answer.tally.failed else (b"", 0)
        return Letter(
            message_id=f"<{claim.claim_id}@{self._mail.reply_to.rpartition('@')[2]}>",
            client=claim.client,
            claim_id=claim.claim_id,
            sender=self._mail.reply_to,
            recipients=recipients,
            subject=report.subject(answer),
            text=report.mail_text(answer, attached_rows=rows),
            attachments=((printable(names.failed_csv(claim.archive)), attachment),) if attachment else (),
            written_at=answer.finished_at,
        )


def _cut_off(raw: BinaryIO, found: Survey, header: Header) -> FileRejected:
    line = line_of(raw, found.start, found.end, found.encoding)
    return FileRejected(
        "upload.incomplete",
        f"line {line}: the file ends in the middle of a row: the line does not end and has fewer fields than the "
        f"header's {header.width}. The upload was probably cut off. Upload the whole file again.",
        line=line,
    )


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


def _attachment(folder_fd: int) -> tuple[bytes, int]:
    """Return the beginning of the failed CSV that fits a mail, cut between rows, and how many rows it holds."""
    fd = os.open(names.FAILED_CSV, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder_fd)
    with open(fd, "rb") as file:
        taken, rows, quotes, end = 0, -1, 0, 0
        # A row may span lines: it ends where the quotation marks so far are even.
        for line in file:
            taken += len(line)
            if rows == _ATTACHED_ROWS or taken > _ATTACHED_BYTES:
                break
            quotes += line.count(b'"')
            if quotes % 2 == 0:
                rows, end = rows + 1, taken
        file.seek(0)
        return file.read(end), rows


def _warnings(raw: BinaryIO, found: Survey, examination: Examination, tally: Tally) -> Iterator[Notice]:
    """Yield what the client should know although the file was imported."""
    if not tally.rows:
        yield Notice(code="file.no_users", detail="")
    if found.fallback:
        yield Notice(code="encoding.fallback", detail=_samples(examination, found.encoding))
    if found.substitute:
        yield Notice(code="file.substitute", detail="")
    if not found.ends_line:
        line = line_of(raw, found.start, found.end, found.encoding)
        yield Notice(code="file.unterminated", detail="", rows=1, first_line=line)
    for title in examination.table.header.secret:
        yield Notice(code="column.secret", detail="", field=title)
    yield from examination.findings.notices


def _samples(examination: Examination, encoding: str) -> str:
    """Say how the file was read, with the first letters beyond ASCII, so that a person sees whether rightly."""
    header = examination.table.header
    names = {index: name for name, columns in header.columns.items() for index in columns}
    cells = (
        _sample(row.line, ATTRIBUTES[names[index]], cell)
        for row in itertools.chain((Row(header.line, [*header.titles]),), examination.table.rows())
        if not any(row.cells[header.width :])  # else who knows in which column a cell belongs
        for index, cell in enumerate(row.cells)
        if index in names and not cell.isascii()
    )
    samples = ", ".join(itertools.islice(cells, _FALLBACK_SAMPLES))
    check = f"Check these: {samples}. " if samples else ""
    return f'the file is not UTF-8 and was read as {encoding}. {check}Better, save it as "CSV UTF-8"'


def _sample(line: int, attribute: Attribute, cell: str) -> str:
    return (
        f"line {line} {attribute.name}" if attribute.is_personal else f'line {line} "{printable(cell[:40].encode())}"'
    )
