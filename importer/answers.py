"""The answers to one file, inside the transaction of its import: drafts in the claim folder, a mail in the outbox."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final

from importer import names, report
from importer.durable import write_durably
from importer.mail import outbox
from importer.model import Letter, Receipt, message_id_of, printable
from importer.settings import ClientSettings, MailSettings
from importer.store import ledger
from importer.store.database import Store

_ATTACHED_BYTES: Final = 5 << 20
_ATTACHED_ROWS: Final = 1000


def write(
    store: Store, answer: Receipt, client: ClientSettings, mail: MailSettings, failed_csv: Iterator[bytes]
) -> None:
    """Write the drafts of the files that go to `.bak` with the upload, and the mail to the outbox."""
    folder_fd = answer.claim.folder_fd
    if answer.tally.failed:
        write_durably(folder_fd, names.FAILED_CSV, failed_csv)
    else:
        with contextlib.suppress(FileNotFoundError):  # of an earlier try
            os.unlink(names.FAILED_CSV, dir_fd=folder_fd)
    write_durably(folder_fd, names.RESULT_TXT, [report.result_text(answer).encode()])
    recipients = mail.recipients_of(client)
    if recipients and _is_worth_a_mail(store, answer, client):
        outbox.add(store, _letter(answer, mail.reply_to, recipients))


def _is_worth_a_mail(store: Store, answer: Receipt, client: ClientSettings) -> bool:
    if answer.refusal or answer.tally.failed or client.receipts:
        return True
    codes = {notice.code for notice in answer.warnings}
    if "file.unterminated" in codes:
        # Some exporters never end the last line; it is news only when the file before did.
        return not ledger.ended_unterminated(store.conn, client.name, before=answer.claim.claim_id)
    return "file.no_users" in codes


def _letter(answer: Receipt, sender: str, recipients: tuple[str, ...]) -> Letter:
    claim = answer.claim
    attachment, rows = _attachment(claim.folder_fd) if answer.tally.failed else (b"", 0)
    return Letter(
        message_id=message_id_of(claim.claim_id, sender),
        client=claim.client,
        claim_id=claim.claim_id,
        sender=sender,
        recipients=recipients,
        subject=report.subject(answer),
        text=report.mail_text(answer, attached_rows=rows),
        attachments=((printable(names.failed_csv(claim.archive)), attachment),) if attachment else (),
        written_at=answer.finished_at,
    )


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
