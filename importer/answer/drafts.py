"""The answers to one file, inside the transaction of its import: drafts in the claim folder, a mail in the outbox."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from importer import names
from importer.answer import failed_workbook, html, plain_text
from importer.answer.failed_csv import failed_csv
from importer.answer.sheet import Attached, Medium, sheets
from importer.durable import write_whole
from importer.file.header import Header
from importer.mail import outbox
from importer.mail.letter import to_client
from importer.model import Letter, Receipt, printable
from importer.settings import ClientSettings, MailSettings
from importer.store import ledger
from importer.store.database import Store
from importer.store.recording import FailedRow
from importer.wording.codes import MAILED

_ATTACHED_BYTES: Final = 5 << 20
_ATTACHED_ROWS: Final = 1000
_MODE: Final = 0o640


def write(
    answer: Receipt,
    client: ClientSettings,
    mail: MailSettings,
    header: Header | None = None,
    failed: Iterable[FailedRow] = (),
) -> None:
    """Write the drafts of the files that go to `.bak` with the upload; what makes them durable is `claim.unsynced`."""
    folder_fd, unsynced = answer.claim.folder_fd, answer.claim.unsynced
    unsynced.add(folder_fd)
    for name in (names.FAILED_CSV, names.FAILED_XLSX):  # of an earlier try
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder_fd)
    has_workbook = False
    if header is not None and answer.tally.failed:
        rows = failed_csv(header, failed, answer, client.language)
        write_whole(folder_fd, names.FAILED_CSV, rows, mode=_MODE, before_rename=unsynced.add)
        has_workbook = bool(answer.sheet) and answer.listed <= failed_workbook.MOST_ROWS
        if has_workbook:
            failed_workbook.write(folder_fd, failed_workbook.terms(header), unsynced)
    parts = sheets(answer, client.language, Medium.FILE, mail, Attached(workbook="file" if has_workbook else ""))
    text = plain_text.text(parts, titled=True).encode()
    write_whole(folder_fd, names.RESULT_TXT, [text], mode=_MODE, before_rename=unsynced.add)


def add_mail(store: Store, answer: Receipt, client: ClientSettings, mail: MailSettings) -> None:
    """Write the mail about a file to the outbox, once its drafts are there."""
    if mail.recipients_of(client) and _is_worth_a_mail(store, answer, client):
        outbox.add(store, _letter(answer, client, mail))


def _is_worth_a_mail(store: Store, answer: Receipt, client: ClientSettings) -> bool:
    if answer.code or answer.tally.failed or answer.approved_by or answer.asks_anew or client.receipts:
        return True
    codes = {warning.code for warning in answer.warnings}
    if "file.no_users" in codes:
        return True
    # Some exporters never end the last line: worth a mail only if this client's last file did end it.
    news = codes & {*MAILED, "file.unterminated"}
    if not news:
        return False
    claim = answer.claim
    last = ledger.last_warnings(store.conn, client.name, file=claim.file, before=claim.claim_id)
    if last is None:
        return bool(codes & MAILED)
    return bool(news - last)


def _letter(answer: Receipt, client: ClientSettings, mail: MailSettings) -> Letter:
    claim = answer.claim
    may_attach = answer.tally.failed and not answer.was_encrypted  # mail is not encrypted on all of its way
    attachment, rows = _attachment(claim.folder_fd) if may_attach else (b"", 0)
    attachments = [(printable(names.failed_csv(claim.archive)), attachment)] if attachment else []
    workbook: Literal["", "mail", "bak"] = ""
    if (book := failed_workbook.read(claim.folder_fd, _ATTACHED_BYTES)) is not None:
        # It has no other rows than the failed CSV beside it, in which a person who is to be erased is looked for.
        is_attached = book and rows == answer.listed and may_attach
        workbook = "mail" if is_attached else "bak"
        attachments += [(printable(names.failed_workbook(claim.archive)), book)] if is_attached else []
    parts = sheets(answer, client.language, Medium.MAIL, mail, Attached(rows, workbook))
    subject = " / ".join(each.subject for each in parts)
    letter = to_client(
        client, mail, _name_of(answer), subject, plain_text.text(parts, titled=False), answer.finished_at
    )
    return msgspec.structs.replace(
        letter,
        claim_id=claim.claim_id,
        html=html.page(parts),
        attachments=tuple(attachments),
    )


def _name_of(answer: Receipt) -> str:
    """Return what tells the mail about a file from all others: one that was on hold gets several."""
    held = answer.on_hold
    return f"{held.claim_id}.on-hold-{held.import_id}" if held else answer.claim.claim_id


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
