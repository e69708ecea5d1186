"""One person in the database: what is recorded, and how it is removed for good."""

from __future__ import annotations

import email
import sqlite3
from collections.abc import Iterator
from email import policy

import msgspec

from importer.store import Store


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed."""

    users: int  # 0 or 1
    mails: int  # whose content was emptied; those not sent yet will not be


def erase(store: Store, client: str, unique_id: str) -> Erased:
    """
    Remove a person from users and from the outbox, overwriting what the disk holds of them.

    The ledger and its problems name nobody: problems hold line numbers and never a cell.
    """
    store.conn.execute("PRAGMA secure_delete = ON").fetchall()
    with store.transaction():
        mails = mails_about(store.conn, client, unique_id)
        for id_ in mails:
            store.conn.execute(
                "UPDATE outbox SET body = x'', state = iif(state IN ('waiting', 'dead'), 'dropped', state)"
                " WHERE id = ?",
                (id_,),
            )
        users = store.conn.execute("DELETE FROM users WHERE client = ? AND unique_id = ?", (client, unique_id)).rowcount
    # The write-ahead log has the old pages until it is folded in and cut; a reader may keep that for later.
    store.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return Erased(users=users, mails=len(mails))


def mails_about(conn: sqlite3.Connection, client: str, unique_id: str) -> list[int]:
    """Return the ids of the mails whose attached rows have this cell."""
    cell = '"' + unique_id.replace('"', '""') + '"'  # all cells of a failed CSV are quoted
    rows = conn.execute("SELECT id, body FROM outbox WHERE client = ? AND length(body) > 0", (client,))
    return [id_ for id_, body in rows if any(cell in text for text in _attached(body))]


def _attached(body: bytes) -> Iterator[str]:
    message = email.message_from_bytes(body, policy=policy.default)
    for part in message.iter_attachments():
        content = part.get_payload(decode=True)
        if isinstance(content, bytes):
            yield content.decode("utf-8", "replace")
