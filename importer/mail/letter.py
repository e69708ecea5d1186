"""What a mail looks like: a letter as finished bytes, and several as one digest. Pure."""

from __future__ import annotations

import email
import email.utils
import hashlib
from collections.abc import Sequence
from datetime import datetime
from email import policy
from email.message import EmailMessage
from typing import Final

from importer.model import Letter, Mail, for_operator

_MAX_SUBJECT_CHARS: Final = 120
_MAX_FILE_NAME_CHARS: Final = 150


def compose(letter: Letter) -> bytes:
    """
    Return the letter as finished RFC 5322 bytes, always the same: ASCII, CRLF line ends, attachments byte for byte.

    Auto-Submitted keeps answering machines silent (RFC 3834).
    """
    message = EmailMessage(policy=policy.SMTP)
    message["From"] = letter.sender
    message["Reply-To"] = letter.sender
    message["To"] = ", ".join(letter.recipients)
    message["Subject"] = safe_subject(letter.subject)
    message["Date"] = email.utils.format_datetime(letter.written_at)
    message["Message-ID"] = letter.message_id
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text, cte="quoted-printable")
    for name, content in letter.attachments:
        message.add_attachment(
            content, maintype="text", subtype="csv", params={"charset": "utf-8"}, filename=safe_file_name(name)
        )
    if message.is_multipart():
        # Not random, so that a letter has one form; "=_" comes in neither of the encodings used above.
        message.set_boundary(f"=_{hashlib.sha256(letter.message_id.encode()).hexdigest()[:32]}")
    return message.as_bytes()


def safe_subject(subject: str) -> str:
    """Return the subject as one line of printable ASCII, cut to _MAX_SUBJECT_CHARS."""
    line = "".join(char if " " <= char <= "~" else "?" for char in subject)
    return line[:_MAX_SUBJECT_CHARS]


def safe_file_name(name: str) -> str:
    """Return a name any mail program can save: letters, digits, `._-` and blanks; cut in front, so its end stays."""
    kept = "".join(char if char.isalnum() or char in "._- " else "_" for char in name)
    return kept[-_MAX_FILE_NAME_CHARS:].lstrip(". ") or "_"


def digest(mails: Sequence[Mail], written_at: datetime) -> Letter:
    """Return one letter with the full text and all attachments of several mails to the same people."""
    first, count = mails[0], len(mails)
    messages = [email.message_from_bytes(mail.body, policy=policy.SMTP) for mail in mails]
    parts = [
        f"===== {number} of {count}: {mail.subject} =====\n\n{_text(message)}"
        for number, (mail, message) in enumerate(zip(mails, messages, strict=True), start=1)
    ]
    return Letter(
        message_id=f"<digest.{first.message_id.lstrip('<')}",
        client=first.client,
        claim_id="",
        sender=first.sender,
        recipients=first.recipients,
        subject=f"{count} reports for {first.client}" if first.client else for_operator(f"{count} reports"),
        text="\n\n".join((f"This mail holds {count} reports.", *parts)),
        attachments=tuple(attachment for message in messages for attachment in _attachments(message)),
        written_at=written_at,
    )


def _text(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    return "" if body is None else str(body.get_content())


def _attachments(message: EmailMessage) -> list[tuple[str, bytes]]:
    """Return names and contents; `get_content` would decode a text attachment and lose its byte-order mark."""
    return [
        (part.get_filename(""), content)
        for part in message.iter_attachments()
        if isinstance(content := part.get_payload(decode=True), bytes)
    ]
