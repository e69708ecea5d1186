"""What a mail looks like: a letter as finished bytes, and several as one digest. Pure."""

from __future__ import annotations

import email
import email.utils
import hashlib
from collections.abc import Sequence
from datetime import datetime
from email import policy
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Final

from importer.model import Letter, Mail, for_operator, message, message_id_of
from importer.settings import ClientSettings, MailSettings
from importer.wording.catalogue import LANGUAGES, say_in_each

_CRLF: Final = "\r\n"
_MAX_SUBJECT_CHARS: Final = 250
_LONGEST_WORD: Final = 60  # of a header that is not encoded: a longer one does not fit a line
_MAX_FILE_NAME_CHARS: Final = 150
_WORKBOOK: Final = "vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def to_operator(mail: MailSettings, name: str, subject: str, text: str, at: datetime, claim_id: str = "") -> Letter:
    """Return a letter to the operator; `name`: see `message_id_of`."""
    return Letter(
        message_id=message_id_of(name, mail.reply_to),
        client="",
        claim_id=claim_id,
        sender=mail.reply_to,
        recipients=mail.operator,
        subject=for_operator(subject),
        text=text,
        written_at=at,
    )


def to_client(client: ClientSettings, mail: MailSettings, name: str, subject: str, text: str, at: datetime) -> Letter:
    """Return a letter to a client, in its languages, about no file; `name`: see `message_id_of`."""
    return Letter(
        message_id=message_id_of(name, mail.reply_to),
        client=client.name,
        claim_id="",
        sender=mail.reply_to,
        sender_name=mail.sender_name,
        recipients=mail.recipients_of(client),
        languages=client.language,
        subject=subject,
        text=text,
        written_at=at,
    )


def compose(letter: Letter) -> bytes:
    """
    Return the letter as finished RFC 5322 bytes, always the same: ASCII, CRLF line ends, attachments byte for byte.

    Auto-Submitted keeps answering machines silent (RFC 3834), X-Auto-Response-Suppress those of Exchange, which
    otherwise only go by the latter.
    """
    mail = EmailMessage(policy=policy.SMTP)
    mail["From"] = _mailbox(letter.sender_name, letter.sender)
    mail["Reply-To"] = letter.sender
    mail["To"] = ", ".join(letter.recipients)
    mail["Date"] = email.utils.format_datetime(letter.written_at)
    mail["Message-ID"] = letter.message_id
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "OOF, AutoReply"
    mail.set_content(letter.text, cte="quoted-printable")
    if letter.html:
        mail.add_alternative(letter.html, subtype="html", cte="quoted-printable")
    for name, content in letter.attachments:
        if name.endswith(".xlsx"):
            mail.add_attachment(content, maintype="application", subtype=_WORKBOOK, filename=safe_file_name(name))
        else:
            mail.add_attachment(
                content, maintype="text", subtype="csv", params={"charset": "utf-8"}, filename=safe_file_name(name)
            )
    mail["Content-Language"] = ", ".join(letter.languages)  # now: to attach a file moves it into a part
    for number, part in enumerate(mail.walk()):
        if part.is_multipart():
            # Not random, so that a letter has one form; "=_" comes in neither of the encodings used above.
            part.set_boundary(f"=_{number}_{hashlib.sha256(letter.message_id.encode()).hexdigest()[:32]}")
    return _subject_line(letter.subject) + mail.as_bytes()


def _mailbox(name: str, address: str) -> str | Address:
    user, _, domain = address.rpartition("@")
    return Address(name, user, domain) if name else address


def _subject_line(subject: str) -> bytes:
    """Return the header. EmailMessage loses blanks of some long subjects (github.com/python/cpython/issues/92081)."""
    line = safe_subject(subject)
    is_plain = line.isascii() and all(len(word) <= _LONGEST_WORD for word in line.split(" "))
    header = Header(line, "us-ascii" if is_plain else "utf-8", header_name="Subject")
    return f"Subject: {header.encode(linesep=_CRLF)}{_CRLF}".encode("ascii")


def safe_subject(subject: str) -> str:
    """
    Return the subject as one line of printable characters, cut to _MAX_SUBJECT_CHARS.

    Names of files come in it, and those are the client's: a line break would begin another header, "=?" an encoded word
    that hides one, and a mark such as U+202E turns round what follows it.
    """
    line = "".join(char if char.isprintable() or char == "\u00a0" else "?" for char in subject).replace("=?", "=_?")
    return line[:_MAX_SUBJECT_CHARS]


def safe_file_name(name: str) -> str:
    """Return a name any mail program can save: letters, digits, `._-` and blanks; cut in front, so its end stays."""
    safe = "".join(char if char.isalnum() or char in "._- " else "_" for char in name)
    return safe[-_MAX_FILE_NAME_CHARS:].lstrip(". ") or "_"


def digest(mails: Sequence[Mail], written_at: datetime) -> Letter:
    """Return one letter with the full text and all attachments of several mails to the same people."""
    first, count = mails[0], len(mails)
    messages = [email.message_from_bytes(mail.body, policy=policy.SMTP) for mail in mails]
    sender_name, languages = _sender_name(messages[0]), _languages(messages[0])
    parts = [
        f"===== {number}/{count}: {mail.subject} =====\n\n{_text(each)}"
        for number, (mail, each) in enumerate(zip(mails, messages, strict=True), start=1)
    ]
    subject = say_in_each(languages, message("digest_subject", count=count))
    return Letter(
        message_id=f"<digest.{first.message_id.lstrip('<')}",
        client=first.client,
        claim_id="",
        sender=first.sender,
        sender_name=sender_name,
        recipients=first.recipients,
        subject=subject if first.client else for_operator(f"{count} reports"),
        text="\n\n".join((say_in_each(languages, message("digest", count=count), between="\n\n"), *parts)),
        languages=languages,
        attachments=tuple(attachment for each in messages for attachment in _attachments(each)),
        written_at=written_at,
    )


def _sender_name(mail: EmailMessage) -> str:
    return next((str(address.display_name) for address in mail["From"].addresses), "")


def _languages(mail: EmailMessage) -> tuple[str, ...]:
    named = str(mail.get("Content-Language", "")).split(", ")
    return tuple(language for language in named if language in LANGUAGES) or ("en",)


def _text(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    return "" if body is None else str(body.get_content())


def _attachments(mail: EmailMessage) -> list[tuple[str, bytes]]:
    """Return names and contents; `get_content` would decode a text attachment and lose its byte-order mark."""
    return [
        (part.get_filename(""), content)
        for part in mail.iter_attachments()
        if isinstance(content := part.get_payload(decode=True), bytes)
    ]
