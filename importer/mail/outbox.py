"""
Mail still to send: written with its import, taken for an attempt, recorded when that ended.

A mail is written with the import it tells about, in one transaction, as finished bytes with its own Message-ID; those
bytes never change. What a restart finds after each durable step:

1. import committed: the mail is `waiting`, never tried.
2. attempt counted, before it is made: `waiting`, due again after the back-off. A crash during delivery costs one
   back-off and may deliver the same bytes twice, which receivers recognise by the Message-ID. Where several hosts share
   the database, the mail is leased to this one by the same statement: what a host that is gone had in hand is sent by
   another one once the lease has ended. No transaction is open during a delivery.
3. answer recorded: `sent`; or `waiting` for those recipients who still lack it; or `dead`, for a person to look at.

Several mails never tried, to the same people, leave as one digest: a new row replaces them in one transaction
(`joined`). What waits for a client is bounded: a report beyond that is not kept as a mail but joined into the one mail
of that hour which says so. All functions belong to the thread that owns the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
import structlog

from importer.mail.channel import Delivery
from importer.mail.letter import compose, digest, safe_subject
from importer.mail.overflow import MAX_WAITING_BYTES, MAX_WAITING_MAILS, overflow_letter
from importer.model import Letter, Mail
from importer.sending.retry import LAST_RETRY_S, is_spent, retry_delay
from importer.store import mail_queue as table
from importer.store.connection import Connection
from importer.store.database import Store

log = structlog.get_logger()

# Under the 10 MB that common mail servers take, and under the 250 parts at which some of them refuse a mail.
MAX_DIGEST_BYTES: Final = 8 << 20
MAX_DIGEST_MAILS: Final = 100


def add(store: Store, letter: Letter) -> int:
    """Put a letter into the outbox, inside the caller's transaction, or note that it has no room; return its row id."""
    mails, size_bytes = table.waiting(store.conn, letter.client, at_most=MAX_WAITING_MAILS)
    if mails < MAX_WAITING_MAILS and size_bytes < MAX_WAITING_BYTES:
        return _insert(store.conn, letter, compose(letter))
    overflow = overflow_letter(letter)
    joined_into = table.find_id(store.conn, overflow.message_id)
    if joined_into is None:
        joined_into = _insert(store.conn, overflow, compose(overflow))
        log.warning("mail.overflowed", client=letter.client, message_id=overflow.message_id)
    id_ = _insert(store.conn, letter, b"")
    table.join(store.conn, [id_], joined_into)
    return id_


def _insert(conn: Connection, letter: Letter, body: bytes) -> int:
    return table.insert(conn, msgspec.structs.replace(letter, subject=safe_subject(letter.subject)), body)


def due(store: Store, now: datetime) -> Mail | None:
    """Return the mail that may be tried now, under all limits; None when there is none."""
    return table.next_mail(store.conn, now, last_retry_s=LAST_RETRY_S)


def take(store: Store, now: datetime) -> Mail | None:
    """Return the next mail to deliver, joined with later ones, this attempt already counted."""
    first = due(store, now)
    if first is None:
        return None
    with store.transaction():
        # One host at a time takes a mail: so the limits hold over all of them.
        if store.conn.lock("") and (first := due(store, now)) is None:
            return None
        mails = _joinable(store.conn, first)
        mail = first if len(mails) == 1 else _join(store.conn, mails, now)
        mail = msgspec.structs.replace(mail, attempts=mail.attempts + 1)
        if not table.lease(store.conn, mail, now, due_at=now + retry_delay(mail.attempts, permanent=False)):
            return None
    for joined in mails:
        if joined.id != mail.id:
            log.info("mail.joined", into=mail.message_id, **_traits(joined))
    return mail


def _joinable(conn: Connection, mail: Mail) -> list[Mail]:
    """
    Return the mails that can leave together with this one, itself included, of the oldest that wait.

    Only those never tried: one that was tried may have arrived, and must be repeated as it was.
    """
    if mail.attempts:
        return [mail]
    ids, size_bytes = [mail.id], len(mail.body)
    for id_, body_bytes in table.never_tried(conn, mail, at_most=MAX_DIGEST_MAILS):
        if id_ != mail.id and size_bytes + body_bytes <= MAX_DIGEST_BYTES:
            ids.append(id_)
            size_bytes += body_bytes
    return table.mails(conn, ids[:MAX_DIGEST_MAILS])


def _join(conn: Connection, mails: Sequence[Mail], now: datetime) -> Mail:
    """Replace several waiting mails by their digest, which carries all they said."""
    letter = digest(mails, now)
    joined_into = _insert(conn, letter, compose(letter))
    table.join(conn, [mail.id for mail in mails], joined_into)
    return table.mails(conn, [joined_into])[0]


def record(store: Store, delivery: Delivery, now: datetime) -> None:
    """Record and log how an attempt ended."""
    if delivery.refused:
        _record_refused(store.conn, delivery, now)
        return
    with store.transaction():
        table.mark_sent(store.conn, delivery.mail.id, now, delivery.reason)
        table.forget(store.conn, now)
    log.info("mail.sent", **({"reason": delivery.reason} if delivery.reason else {}), **_traits(delivery.mail))


def _record_refused(conn: Connection, delivery: Delivery, now: datetime) -> None:
    """Keep the mail for those who lack it; whoever took it is not sent it again."""
    mail, delivered = delivery.mail, len(delivery.mail.recipients) - len(delivery.refused)
    dead = is_spent(mail.attempts, mail.created_at, now)
    undelivered = table.Undelivered(
        recipients=delivery.refused,
        reason=delivery.reason,
        is_permanent=delivery.permanent,
        is_dead=dead,
        due_at=now + retry_delay(mail.attempts, permanent=delivery.permanent),
        sent_at=now if delivered else None,
    )
    table.mark_undelivered(conn, mail.id, undelivered)
    about = {**_traits(mail), "delivered": delivered, "refused": len(delivery.refused), "reason": delivery.reason}
    if dead:
        log.error("mail.dead", **about)
    elif delivery.permanent:
        log.error("mail.deferred", **about)
    else:
        log.warning("mail.deferred", **about)


def _traits(mail: Mail) -> dict[str, str | int]:
    return {
        "client": mail.client,
        "claim_id": mail.claim_id,
        "message_id": mail.message_id,
        "attempts": mail.attempts,
    }
