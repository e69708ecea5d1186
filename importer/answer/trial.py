"""The answer to a file that a client tries out: nothing is imported, and only the client is told."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import msgspec

from importer.answer import html, plain_text
from importer.answer.sheet import Attached, Medium, Sheet, sheets
from importer.mail import outbox
from importer.mail.letter import to_client
from importer.model import Claim, FileRejected, Message, Outcome, Receipt, Tally, message_id_of
from importer.settings import ClientSettings, MailSettings
from importer.store import mail_queue
from importer.store.database import Store


def parts(answer: Receipt, client: ClientSettings, mail: MailSettings, *, has_workbook: bool) -> list[Sheet]:
    """Return what the client reads, in its languages; `has_workbook`: there is a failed workbook."""
    attached = Attached(workbook="file" if has_workbook else "")
    return sheets(answer, client.language, Medium.TRIAL, mail, attached)


def text(sheets_: list[Sheet]) -> str:
    """Return the text of the file."""
    return plain_text.text(sheets_, titled=True)


def refused(claim: Claim, client: ClientSettings, reason: Message) -> Receipt:
    """Return the receipt for a file that is not checked, or not to its end."""
    return Receipt(
        claim=claim,
        sha256="",
        feed=client.feed_of(claim.file).name,
        outcome=Outcome.REFUSED,
        tally=Tally(),
        refusal=FileRejected(reason),
        finished_at=datetime.now(UTC),
    )


def add_mail(store: Store, name: bytes, sheets_: list[Sheet], client: ClientSettings, mail: MailSettings) -> None:
    """
    Write the mail about a checked file to the outbox if the client gets receipts; once, however often it is called.

    `name` tells the answer from all others of the client.
    """
    if not (client.receipts and mail.recipients_of(client)):
        return
    told = f"check-{hashlib.sha256(client.name.encode() + b'/' + name).hexdigest()[:32]}"
    if mail_queue.find_id(store.conn, message_id_of(told, mail.reply_to)) is not None:
        return
    subject = " / ".join(each.subject for each in sheets_)
    letter = to_client(client, mail, told, subject, plain_text.text(sheets_, titled=False), datetime.now(UTC))
    with store.transaction():
        outbox.add(store, msgspec.structs.replace(letter, html=html.page(sheets_)))
