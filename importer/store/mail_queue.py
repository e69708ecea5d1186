"""
The table of mails to send. Its statements cost the same for any number of waiting mails.

A row is `waiting` until it is `sent`, `joined` into another one, `dead` after its last try, or `dropped` by a person.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from importer.model import Letter, Mail
from importer.store.connection import Connection, marks, stamp

# In an hour sixty mails leave, and the last twenty of them only to clients that had none in that hour; whoever had
# fewer goes first. So a few clients with many mails never use up the hour of the others.
CLIENT_WINDOW: Final = timedelta(minutes=5)  # one mail per client, the rest joins a digest
MAILS_PER_HOUR: Final = 60
MAILS_FOR_NEWCOMERS: Final = 20  # of these, to clients that had none in the hour

LEASE: Final = timedelta(minutes=30)  # an attempt takes ten time-outs of the server at most, three minutes
_KEEP_SENT_BODY: Final = timedelta(days=14)

# A mail that another host has in hand counts as sent, until that host is gone for so long that its lease has ended.
_LEASED: Final = "leased_until > :now AND leased_until <= :leases_end AND host <> :host"


# What a person wants tried at once (`at_once`) goes ahead of all.
# SQLite has no loose index scan: each client that has mail waiting is found from the one before it.
# A time further ahead than any back-off, or a sending in the future, comes from a clock that was wrong: it is ignored.
# While a client's older mail is being retried its new ones wait, so that an outage ends in one digest, not in a flood;
# a mail that the server refuses for good delays no others.
def _next(leased: str) -> str:
    return f"""
WITH RECURSIVE
  hour (mails) AS MATERIALIZED (
    SELECT (SELECT count(*) FROM outbox WHERE sent_at > :hour_start AND sent_at <= :now)
         + (SELECT count(*) FROM outbox WHERE leased_until <> '' AND {leased})),
  clients (name) AS (
    SELECT min(client) FROM outbox WHERE state = 'waiting'
    UNION ALL
    SELECT (SELECT min(client) FROM outbox WHERE state = 'waiting' AND client > name)
    FROM clients WHERE name IS NOT NULL),
  shares (name, mails) AS MATERIALIZED (
    SELECT name, (SELECT count(*) FROM outbox WHERE client = name AND sent_at > :hour_start AND sent_at <= :now)
    FROM clients WHERE name IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM outbox WHERE client = name AND sent_at > :window_start AND sent_at <= :now)
    AND NOT EXISTS (SELECT 1 FROM outbox WHERE client = name AND leased_until <> '' AND {leased})),
  turns (mail, mails) AS MATERIALIZED (
    SELECT coalesce(
      (SELECT id FROM outbox WHERE client = name AND state = 'waiting' AND (attempts > 0) = true AND due_at <= :now
       ORDER BY due_at LIMIT 1),
      (SELECT id FROM outbox WHERE client = name AND state = 'waiting' AND (attempts > 0) = true AND due_at > :latest
       ORDER BY due_at LIMIT 1),
      (SELECT id FROM outbox WHERE client = name AND state = 'waiting' AND (attempts > 0) = false AND NOT EXISTS (
         SELECT 1 FROM outbox WHERE client = name AND state = 'waiting' AND attempts > 0 AND permanent = 0)
       ORDER BY due_at LIMIT 1)),
      mails
    FROM shares WHERE mails = 0 OR (SELECT mails FROM hour) < {MAILS_PER_HOUR - MAILS_FOR_NEWCOMERS})
SELECT id FROM (
  SELECT * FROM (
    SELECT id, -1 AS mails, due_at FROM outbox WHERE state = 'waiting' AND at_once = 1 AND NOT ({leased})
    ORDER BY due_at LIMIT 1
  ) AS at_once
  UNION ALL SELECT id, mails, due_at FROM turns CROSS JOIN outbox WHERE id = mail) AS candidates
WHERE (SELECT mails FROM hour) < {MAILS_PER_HOUR}
ORDER BY mails, due_at, id LIMIT 1
"""


_NEXT: Final = _next(_LEASED)
_NEXT_ALONE: Final = _next("1 = 0")  # where no other host sends; the condition took a tenth of the time


def next_mail(conn: Connection, now: datetime, *, last_retry_s: int) -> Mail | None:
    """
    Return the mail that may be tried now, under all limits; None when there is none.

    `last_retry_s` is the longest pause between two tries.
    """
    # To plan the query takes PostgreSQL 1.4 ms, and it is asked after each file.
    if not conn.execute("SELECT EXISTS (SELECT 1 FROM outbox WHERE state = 'waiting')").fetchone()[0]:
        return None
    moments = {
        "host": conn.host,
        "now": stamp(now),
        "leases_end": stamp(now + LEASE),
        "latest": stamp(now + timedelta(seconds=2 * last_retry_s)),
        "window_start": stamp(now - CLIENT_WINDOW),
        "hour_start": stamp(now - timedelta(hours=1)),
    }
    row = conn.execute(_NEXT if conn.host else _NEXT_ALONE, moments).fetchone()
    return None if row is None else mails(conn, row)[0]


def mails(conn: Connection, ids: Sequence[int]) -> list[Mail]:
    """Return the mails with these ids, oldest first."""
    fields = Mail.__struct_fields__
    rows = conn.execute(f"SELECT {', '.join(fields)} FROM outbox WHERE id IN {marks(ids)} ORDER BY id", ids).fetchall()
    return [_mail(dict(zip(fields, row, strict=True))) for row in rows]


def _mail(row: dict[str, Any]) -> Mail:
    """Return a row as a Mail; every column has the type that its STRICT table gave it."""
    return msgspec.convert({**row, "recipients": json.loads(row["recipients"])}, Mail)


def never_tried(conn: Connection, mail: Mail, *, at_most: int) -> list[tuple[int, int]]:
    """Return id and size in bytes of the oldest mails of this client to the same people, by time; some may be left."""
    rows = conn.execute(
        """SELECT id, sender, recipients, length(body) FROM outbox
           WHERE client = ? AND state = 'waiting' AND (attempts > 0) = false ORDER BY due_at LIMIT ?""",
        (mail.client, at_most),
    ).fetchall()
    same = (mail.sender, json.dumps(mail.recipients))
    return [(id_, size_bytes) for id_, *to, size_bytes in rows if tuple(to) == same]


def waiting(conn: Connection, client: str, *, at_most: int) -> tuple[int, int]:
    """Return how many mails wait for a client, counted up to `at_most`, and how many bytes those are."""
    count, size_bytes = conn.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM ("
        "SELECT length(body) AS size FROM outbox WHERE client = ? AND state = 'waiting' LIMIT ?) AS bodies",
        (client, at_most),
    ).fetchone()
    return count, int(size_bytes)


def find_id(conn: Connection, message_id: str) -> int | None:
    """Return the id of the mail with this Message-ID, None when there never was one."""
    row = conn.execute("SELECT id FROM outbox WHERE message_id = ?", (message_id,)).fetchone()
    return None if row is None else int(row[0])


def insert(conn: Connection, letter: Letter, body: bytes) -> int:
    """Write the row of a letter, with its finished bytes; return its id."""
    row = conn.execute(
        "INSERT INTO outbox (message_id, client, claim_id, sender, recipients, subject, created_at, due_at, body, host)"
        " VALUES (:message_id, :client, :claim_id, :sender, :recipients, :subject, :at, :at, :body, :host)"
        " RETURNING id",
        {
            "message_id": letter.message_id,
            "client": letter.client,
            "claim_id": letter.claim_id,
            "sender": letter.sender,
            "recipients": json.dumps(letter.recipients),
            "subject": letter.subject,
            "at": stamp(letter.written_at),
            "body": body,
            "host": conn.host,
        },
    ).fetchone()
    return int(row[0])


def join(conn: Connection, ids: Sequence[int], into: int) -> None:
    """Mark mails as replaced by another one, and empty their bodies."""
    conn.executemany(
        "UPDATE outbox SET state = 'joined', joined_into = ?, body = ? WHERE id = ?", [(into, b"", id_) for id_ in ids]
    )


def lease(conn: Connection, mail: Mail, now: datetime, *, due_at: datetime) -> bool:
    """
    Note that this host is about to try a mail, for the time `mail.attempts`; return False if another host has it.

    `due_at`: when it is due again unless an answer is recorded.
    """
    cursor = conn.execute(
        f"""UPDATE outbox SET attempts = :attempts, due_at = :due_at, at_once = 0, host = :host, leased_until = :until
            WHERE client = :client AND id = :id AND state = 'waiting' AND NOT ({_LEASED})""",
        {
            "client": mail.client,
            "id": mail.id,
            "attempts": mail.attempts,
            "due_at": stamp(due_at),
            "host": conn.host,
            "until": stamp(now + LEASE),
            "now": stamp(now),
            "leases_end": stamp(now + LEASE),
        },
    )
    return cursor.rowcount == 1


def mark_sent(conn: Connection, id_: int, now: datetime, reason: str) -> None:
    """Note that all recipients have the mail; `reason`: where it was stored instead, "" if it was sent."""
    conn.execute(
        "UPDATE outbox SET state = 'sent', sent_at = ?, last_error = ?, leased_until = '' WHERE id = ?",
        (stamp(now), reason, id_),
    )


class Undelivered(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt leaves of a mail that not everybody took."""

    recipients: tuple[str, ...]  # who still lack it
    reason: str
    is_permanent: bool
    is_dead: bool  # it is not tried again
    due_at: datetime
    sent_at: datetime | None  # when some recipients got it, None when none did


def mark_undelivered(conn: Connection, id_: int, what: Undelivered) -> None:
    """Keep the mail for those who lack it, unless it was dropped meanwhile."""
    conn.execute(
        "UPDATE outbox SET state = :state, recipients = :recipients, due_at = :due_at, last_error = :reason,"
        " permanent = :permanent, sent_at = coalesce(:sent_at, sent_at), leased_until = ''"
        " WHERE id = :id AND state = 'waiting'",
        {
            "state": "dead" if what.is_dead else "waiting",
            "recipients": json.dumps(what.recipients),
            "due_at": stamp(what.due_at),
            "reason": what.reason,
            "permanent": what.is_permanent,
            "sent_at": stamp(what.sent_at) if what.sent_at else None,
            "id": id_,
        },
    )


def forget(conn: Connection, now: datetime) -> None:
    """Empty the bodies of mail sent long ago: they have personal data, and the client has the failed CSV."""
    conn.execute(
        "UPDATE outbox SET body = ? WHERE state = 'sent' AND sent_at < ? AND length(body) > 0",
        (
            b"",
            stamp(now - _KEEP_SENT_BODY),
        ),
    )


def retry(conn: Connection, id_: int, now: datetime) -> bool:
    """
    Let a waiting or dead mail be tried now, with hours of tries to come; return False when there is none such.

    It goes ahead of all others, also when its client had a mail just now; only the limit of an hour holds. One that was
    tried stays so: it may have arrived, and is repeated as it is.
    """
    cursor = conn.execute(
        "UPDATE outbox SET state = 'waiting', due_at = :now, at_once = 1, permanent = 0,"
        " attempts = CASE WHEN attempts > 0 THEN 1 ELSE 0 END"
        " WHERE id = :id AND state IN ('waiting', 'dead')",
        {"id": id_, "now": stamp(now)},
    )
    return cursor.rowcount == 1


def drop(conn: Connection, id_: int) -> bool:
    """
    Give up a waiting or dead mail for good and empty its body; return False when there is none such.

    One that is under way this very moment may still arrive, and then counts as sent.
    """
    cursor = conn.execute(
        "UPDATE outbox SET state = 'dropped', body = ? WHERE id = ? AND state IN ('waiting', 'dead')", (b"", id_)
    )
    return cursor.rowcount == 1
