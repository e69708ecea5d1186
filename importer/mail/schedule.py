"""
Whose mail is next: the limits on how much of it leaves, as SQL that costs the same however much waits.

In an hour sixty mails leave, and the last twenty of them only to clients that had none in that hour; whoever had fewer
goes first. So a few clients with much to be told never use up the hour of the others.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from typing import Final

from importer.store.connection import stamp

CLIENT_WINDOW: Final = timedelta(minutes=5)  # one mail per client, the rest joins a digest
MAILS_PER_HOUR: Final = 60
MAILS_FOR_NEWCOMERS: Final = 20  # of these, to clients that had none in the hour
LAST_RETRY_S: Final = 3600

# What a person wants tried at once (`at_once`) goes ahead of all.
# SQLite has no loose index scan: each client that has mail waiting is found from the one before it.
# A time further ahead than any back-off, or a sending in the future, is left from a clock that was wrong: not believed.
# While a client's older mail is being retried its new ones wait, so that an outage ends in one digest, not in a flood;
# a mail that the server refuses for good holds nobody up.
_NEXT: Final = f"""
WITH RECURSIVE
  hour (mails) AS MATERIALIZED (SELECT count(*) FROM outbox WHERE sent_at > :hour_start AND sent_at <= :now),
  clients (name) AS (
    SELECT min(client) FROM outbox WHERE state = 'waiting'
    UNION ALL
    SELECT (SELECT min(client) FROM outbox WHERE state = 'waiting' AND client > name)
    FROM clients WHERE name IS NOT NULL),
  shares (name, mails) AS MATERIALIZED (
    SELECT name, (SELECT count(*) FROM outbox WHERE client = name AND sent_at > :hour_start AND sent_at <= :now)
    FROM clients WHERE name IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM outbox WHERE client = name AND sent_at > :window_start AND sent_at <= :now)),
  turns (mail, mails) AS MATERIALIZED (
    SELECT coalesce(
      (SELECT id FROM outbox WHERE client = name AND state = 'waiting' AND (attempts > 0) = 1 AND due_at <= :now
       ORDER BY due_at LIMIT 1),
      (SELECT id FROM outbox WHERE client = name AND state = 'waiting' AND (attempts > 0) = 1 AND due_at > :latest
       ORDER BY due_at LIMIT 1),
      (SELECT id FROM outbox WHERE client = name AND state = 'waiting' AND (attempts > 0) = 0 AND NOT EXISTS (
         SELECT 1 FROM outbox WHERE client = name AND state = 'waiting' AND attempts > 0 AND permanent = 0)
       ORDER BY due_at LIMIT 1)),
      mails
    FROM shares WHERE mails = 0 OR (SELECT mails FROM hour) < {MAILS_PER_HOUR - MAILS_FOR_NEWCOMERS})
SELECT id FROM (
  SELECT * FROM (
    SELECT id, -1 AS mails, due_at FROM outbox WHERE state = 'waiting' AND at_once = 1 ORDER BY due_at LIMIT 1)
  UNION ALL SELECT id, mails, due_at FROM turns CROSS JOIN outbox ON id = mail)
WHERE (SELECT mails FROM hour) < {MAILS_PER_HOUR}
ORDER BY mails, due_at, id LIMIT 1
"""  # noqa: S608 - of constants


def next_mail(conn: sqlite3.Connection, now: datetime) -> int | None:
    """Return the id of the mail that may be tried now, under all limits; None when it is nobody's turn."""
    moments = {
        "now": stamp(now),
        "latest": stamp(now + timedelta(seconds=2 * LAST_RETRY_S)),
        "window_start": stamp(now - CLIENT_WINDOW),
        "hour_start": stamp(now - timedelta(hours=1)),
    }
    found = conn.execute(_NEXT, moments).fetchone()
    return None if found is None else int(found[0])
