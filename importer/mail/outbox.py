"""
Mail still to send: its rows, the limits on how much of it leaves, and the thread that delivers it.

A mail is written with the import it tells about, in one transaction, as finished bytes with its own Message-ID; those
bytes never change. What a restart finds after each durable step:

1. import committed: the mail is `waiting`, never tried.
2. attempt counted, before it is made: `waiting`, due again after the back-off. A crash during delivery costs one
   back-off and may deliver the same bytes twice, which receivers recognise by the Message-ID.
3. answer recorded: `sent`; or `waiting` for those recipients who still lack it; or `dead`, for a person to look at.

Several mails never tried, to the same people, leave as one digest: a new row replaces them in one transaction
(`joined`). What waits for a client is bounded: a report beyond that is not kept as a mail but joined into the one mail
of that hour which says so. All functions on rows belong to the thread that owns the store; only `Sender` has a thread
of its own.
"""

from __future__ import annotations

import email
import email.utils
import errno
import hashlib
import json
import queue
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from email import policy
from email.message import EmailMessage
from typing import Any

import msgspec
import sqlite_utils
import structlog

from importer.durable import SyncFailed
from importer.mail.overflow import is_full, overflow_letter
from importer.mail.schedule import LAST_RETRY_S, next_mail
from importer.model import for_operator
from importer.store.connection import stamp

log = structlog.get_logger()

FIRST_RETRY_S = 60
LIFE = timedelta(days=7)
# Age alone must not bury a mail, or a clock that jumps and a week of being switched off would: ten attempts take 4 h.
MIN_ATTEMPTS = 10

# Under the 10 MB that common mail servers take, and under the 250 parts at which some of them refuse a mail.
MAX_DIGEST_BYTES = 8 << 20
MAX_DIGEST_MAILS = 100

KEEP_SENT_BODY = timedelta(days=14)
MAX_SUBJECT_CHARS = 120
MAX_FILE_NAME_CHARS = 150


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be told to whom; `compose` makes it the bytes that are sent."""

    message_id: str  # with its angle brackets, "<claim id@domain>"; unique for ever
    client: str  # "" for a letter to the operator
    claim_id: str  # "" when the letter is not about one file
    sender: str
    recipients: tuple[str, ...]  # from the configuration, never from a file; at least one
    subject: str
    text: str
    attachments: tuple[tuple[str, bytes], ...] = ()  # file name, content in UTF-8 CSV
    written_at: datetime


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """One waiting row of the outbox."""

    id: int
    message_id: str
    client: str
    claim_id: str
    sender: str
    recipients: tuple[str, ...]  # those who still lack it
    subject: str
    attempts: int
    created_at: datetime
    body: bytes  # finished RFC 5322 bytes


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """How one attempt ended."""

    mail: Mail
    refused: tuple[str, ...] = ()  # recipients who still lack the mail; none: everybody has it
    reason: str = ""  # SMTP code or class of the error; of a mail that was not refused: where it is instead
    permanent: bool = False  # the server will say the same of this mail again


Transport = Callable[[Mail], Delivery]


def failed(mail: Mail, reason: str, *, permanent: bool = False) -> Delivery:
    """Return the answer for a mail that reached nobody."""
    return Delivery(mail=mail, refused=mail.recipients, reason=reason, permanent=permanent)


# --- what a mail looks like


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
    """Return the subject as one line of printable ASCII, cut to MAX_SUBJECT_CHARS."""
    line = "".join(char if " " <= char <= "~" else "?" for char in subject)
    return line[:MAX_SUBJECT_CHARS]


def safe_file_name(name: str) -> str:
    """Return a name any mail program can save: letters, digits, `._-` and blanks; cut in front, so its end stays."""
    kept = "".join(char if char.isalnum() or char in "._- " else "_" for char in name)
    return kept[-MAX_FILE_NAME_CHARS:].lstrip(". ") or "_"


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


# --- when it is tried


def retry_delay(attempts: int, *, permanent: bool) -> timedelta:
    """Return the pause after `attempts` failures: 1 min doubling to 1 h, or 1 h at once if refused for good."""
    doublings = min(attempts - 1, 6)
    return timedelta(seconds=LAST_RETRY_S if permanent else min(FIRST_RETRY_S << doublings, LAST_RETRY_S))


def is_spent(mail: Mail, now: datetime) -> bool:
    """Return whether a mail that failed again is given up."""
    return mail.attempts >= MIN_ATTEMPTS and now - mail.created_at >= LIFE


# --- its rows

_COLUMNS = "id, message_id, client, claim_id, sender, recipients, subject, attempts, created_at, body"

_JOINABLE = """
SELECT id, sender, recipients, length(body) FROM outbox
WHERE client = ? AND state = 'waiting' AND (attempts > 0) = 0 ORDER BY due_at LIMIT ?
"""


def add(db: sqlite_utils.Database, letter: Letter) -> int:
    """Put a letter into the outbox, inside the caller's transaction, or note that it has no room; return its row id."""
    if not is_full(db.conn, letter.client):
        return _insert(db, letter, compose(letter))
    overflow = overflow_letter(letter)
    found = db.execute("SELECT id FROM outbox WHERE message_id = ?", (overflow.message_id,)).fetchone()
    joined_into = found[0] if found else _insert(db, overflow, compose(overflow))
    if not found:
        log.warning("mail.overflowed", client=letter.client, message_id=overflow.message_id)
    id_ = _insert(db, letter, b"")
    db.execute("UPDATE outbox SET state = 'joined', joined_into = ? WHERE id = ?", (joined_into, id_))
    return id_


def _insert(db: sqlite_utils.Database, letter: Letter, body: bytes) -> int:
    """Write the row of a letter; return its id."""
    cursor = db.execute(
        "INSERT INTO outbox (message_id, client, claim_id, sender, recipients, subject, created_at, due_at, body)"
        " VALUES (:message_id, :client, :claim_id, :sender, :recipients, :subject, :at, :at, :body)",
        {
            "message_id": letter.message_id,
            "client": letter.client,
            "claim_id": letter.claim_id,
            "sender": letter.sender,
            "recipients": json.dumps(letter.recipients),
            "subject": safe_subject(letter.subject),
            "at": stamp(letter.written_at),
            "body": body,
        },
    )
    if cursor.lastrowid is None:
        raise AssertionError
    return cursor.lastrowid


def due(db: sqlite_utils.Database, now: datetime) -> Mail | None:
    """Return the mail that may be tried now, under all limits; None when it is nobody's turn."""
    id_ = next_mail(db.conn, now)
    return None if id_ is None else _found(db, [id_])[0]


def joinable(db: sqlite_utils.Database, mail: Mail) -> list[Mail]:
    """
    Return the mails that can leave together with this one, itself included, of the oldest that wait.

    Only those never tried: one that was tried may have arrived, and must be repeated as it was.
    """
    if mail.attempts:
        return [mail]
    ids, size_bytes = [mail.id], len(mail.body)
    same = (mail.sender, json.dumps(mail.recipients))
    for id_, sender, recipients, body_bytes in db.execute(_JOINABLE, (mail.client, MAX_DIGEST_MAILS)).fetchall():
        if id_ != mail.id and (sender, recipients) == same and size_bytes + body_bytes <= MAX_DIGEST_BYTES:
            ids.append(id_)
            size_bytes += body_bytes
    return _found(db, ids[:MAX_DIGEST_MAILS])


def _found(db: sqlite_utils.Database, ids: Sequence[int]) -> list[Mail]:
    """Return the mails with these ids, oldest first."""
    marks = ", ".join("?" * len(ids))
    return [_mail(row) for row in db.query(f"SELECT {_COLUMNS} FROM outbox WHERE id IN ({marks}) ORDER BY id", ids)]


def take(db: sqlite_utils.Database, now: datetime) -> Mail | None:
    """Return the next mail to deliver, joined with what waits behind it and with this attempt counted already."""
    first = due(db, now)
    if first is None:
        return None
    mails = joinable(db, first)
    with db.atomic():
        mail = first if len(mails) == 1 else _join(db, mails, now)
        mail = _count_attempt(db, mail, now)
    for joined in mails:
        if joined.id != mail.id:
            log.info("mail.joined", into=mail.message_id, **_traits(joined))
    return mail


def _join(db: sqlite_utils.Database, mails: Sequence[Mail], now: datetime) -> Mail:
    """Replace several waiting mails by their digest, which carries all they said."""
    letter = digest(mails, now)
    joined_into = _insert(db, letter, compose(letter))
    for mail in mails:
        db.execute(
            "UPDATE outbox SET state = 'joined', joined_into = ?, body = x'' WHERE id = ?", (joined_into, mail.id)
        )
    return _found(db, [joined_into])[0]


def _count_attempt(db: sqlite_utils.Database, mail: Mail, now: datetime) -> Mail:
    attempts = mail.attempts + 1
    due_at = now + retry_delay(attempts, permanent=False)
    db.execute(
        "UPDATE outbox SET attempts = ?, due_at = ?, at_once = 0 WHERE id = ?", (attempts, stamp(due_at), mail.id)
    )
    return msgspec.structs.replace(mail, attempts=attempts)


def record(db: sqlite_utils.Database, delivery: Delivery, now: datetime) -> None:
    """Write down and log how an attempt ended."""
    if not delivery.refused:
        _record_sent(db, delivery, now)
    else:
        _record_refused(db, delivery, now)


def _record_sent(db: sqlite_utils.Database, delivery: Delivery, now: datetime) -> None:
    with db.atomic():
        db.execute(
            "UPDATE outbox SET state = 'sent', sent_at = ?, last_error = ? WHERE id = ?",
            (stamp(now), delivery.reason, delivery.mail.id),
        )
        forget(db, now)
    if delivery.reason:
        log.info("mail.sent", reason=delivery.reason, **_traits(delivery.mail))
    else:
        log.info("mail.sent", **_traits(delivery.mail))


def _record_refused(db: sqlite_utils.Database, delivery: Delivery, now: datetime) -> None:
    """Keep the mail for those who lack it; whoever took it is not sent it again."""
    mail, delivered = delivery.mail, len(delivery.mail.recipients) - len(delivery.refused)
    dead = is_spent(mail, now)
    db.execute(
        "UPDATE outbox SET state = :state, recipients = :recipients, due_at = :due_at, last_error = :reason,"
        " permanent = :permanent, sent_at = coalesce(:sent_at, sent_at) WHERE id = :id AND state = 'waiting'",
        {
            "state": "dead" if dead else "waiting",
            "recipients": json.dumps(delivery.refused),
            "due_at": stamp(now + retry_delay(mail.attempts, permanent=delivery.permanent)),
            "reason": delivery.reason,
            "permanent": delivery.permanent,
            "sent_at": stamp(now) if delivered else None,
            "id": mail.id,
        },
    )
    about = {**_traits(mail), "delivered": delivered, "refused": len(delivery.refused), "reason": delivery.reason}
    if dead:
        log.error("mail.dead", **about)
    elif delivery.permanent:
        log.error("mail.deferred", **about)
    else:
        log.warning("mail.deferred", **about)


def forget(db: sqlite_utils.Database, now: datetime) -> None:
    """Empty the bodies of mail sent long ago: they name people, and the failed CSV lies with the client."""
    db.execute(
        "UPDATE outbox SET body = x'' WHERE state = 'sent' AND sent_at < ? AND length(body) > 0",
        (stamp(now - KEEP_SENT_BODY),),
    )


def retry(db: sqlite_utils.Database, id_: int, now: datetime) -> bool:
    """
    Let a waiting or dead mail be tried now, with hours of tries to come; return False when there is none such.

    It goes ahead of all others, also when its client had a mail just now; only the limit of an hour holds. One that was
    tried stays so: it may have arrived, and is repeated as it is.
    """
    cursor = db.execute(
        "UPDATE outbox SET state = 'waiting', due_at = :now, at_once = 1, permanent = 0, attempts = min(attempts, 1)"
        " WHERE id = :id AND state IN ('waiting', 'dead')",
        {"id": id_, "now": stamp(now)},
    )
    return cursor.rowcount == 1


def drop(db: sqlite_utils.Database, id_: int) -> bool:
    """
    Give up a waiting or dead mail for good and empty its body; return False when there is none such.

    One that is under way this very moment may still arrive, and then counts as sent.
    """
    cursor = db.execute(
        "UPDATE outbox SET state = 'dropped', body = x'' WHERE id = ? AND state IN ('waiting', 'dead')", (id_,)
    )
    return cursor.rowcount == 1


def _traits(mail: Mail) -> dict[str, str | int]:
    return {
        "client": mail.client,
        "claim_id": mail.claim_id,
        "message_id": mail.message_id,
        "attempts": mail.attempts,
    }


def _mail(row: dict[str, Any]) -> Mail:
    """Return a row as a Mail; every column has the type that its STRICT table gave it."""
    return msgspec.convert({**row, "recipients": json.loads(row["recipients"])}, Mail)


# --- how it leaves


class Sender:
    """
    The thread that delivers: one mail at a time, one attempt each. It never touches the database.

    It is a daemon thread: a look-up or a connect to a silent server cannot be interrupted, and stopping must not wait
    for it. The mail is then still waiting in the outbox, its attempt counted.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._work: queue.SimpleQueue[Mail | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Delivery | SyncFailed] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def use(self, transport: Transport) -> None:
        """Deliver another way from the next mail on."""
        self._transport = transport

    def send(self, mail: Mail) -> None:
        """Hand over one mail; its Delivery comes out of `answer` later."""
        self._work.put(mail)

    def answer(self) -> Delivery | None:
        """Return how the oldest unanswered mail ended; None while it is under way. Raises SyncFailed."""
        try:
            answer = self._answers.get_nowait()
        except queue.Empty:
            return None
        if isinstance(answer, SyncFailed):
            raise answer
        return answer

    def close(self, wait_s: float = 5.0) -> None:
        """Let the mail in hand finish, for `wait_s` at most, then leave it."""
        self._work.put(None)
        self._thread.join(wait_s)

    def _run(self) -> None:
        while (mail := self._work.get()) is not None:
            self._answers.put(self._attempt(mail))

    def _attempt(self, mail: Mail) -> Delivery | SyncFailed:
        try:
            return self._transport(mail)
        except SyncFailed as error:
            return error
        except Exception as error:  # noqa: BLE001 - the thread's loop: whatever one mail meets must not end the sending
            return failed(mail, _name_of(error))


def _name_of(error: Exception) -> str:
    """Return the class of an error, or the errno where the class says nothing; never its text, which may quote data."""
    if type(error) is OSError and error.errno is not None:
        return errno.errorcode.get(error.errno, "OSError")
    return type(error).__name__


class OutboxPump:
    """Moves mail between the rows and the sender, one at a time; called again and again by the thread of the store."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._under_way = False
        self._answer: Delivery | None = None  # kept until it is recorded, should the database be unwilling

    def pump(self, db: sqlite_utils.Database, now: datetime) -> bool:
        """
        Record what was answered and hand over what is due; return whether a mail is under way.

        Raises StoreError: nothing is lost, call again later. Raises SyncFailed.
        """
        self._collect(db, now)
        if not self._under_way:
            mail = take(db, now)
            if mail is not None:
                self._sender.send(mail)
                self._under_way = True
        return self._under_way

    def use(self, transport: Transport) -> None:
        """Deliver another way from the next mail on."""
        self._sender.use(transport)

    def close(self, db: sqlite_utils.Database, now: datetime) -> None:
        """Stop the sender, for which it may take a few seconds, and record its last answer."""
        self._sender.close()
        self._collect(db, now)

    def _collect(self, db: sqlite_utils.Database, now: datetime) -> None:
        self._answer = self._answer or self._sender.answer()
        if self._answer is not None:
            record(db, self._answer, now)
            self._answer, self._under_way = None, False
