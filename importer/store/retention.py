"""
Retention: removes old uploads and their answers, problems, mail, events and history. The ledger's rows are kept.

Durable steps of one import, and what a restart finds after each:

1. its files unlinked in `.bak`, the folder synced: a row that is not marked; it is still due, and marked then.
2. problems deleted and the row marked `purged_at`, in one transaction (very many problems in several): nothing to do.

A clock that jumps ahead must not delete a file, so each pass uses the time of the pass before, a day ago: there is a
day to correct the clock, and everything is kept up to two days longer than necessary.
"""

from __future__ import annotations

import contextlib
import os
import stat
from datetime import datetime, timedelta
from typing import Final

import msgspec
import structlog

from importer import names
from importer.durable import sync
from importer.model import printable
from importer.settings import ClientSettings, RetentionSettings
from importer.store import queries
from importer.store.connection import Connection, stamp
from importer.store.database import Store
from importer.store.tables import hooks as tables
from importer.store.tables import hosts

log = structlog.get_logger()

_PASS_INTERVAL: Final = timedelta(days=1)
_PROBLEMS_AT_ONCE: Final = 10_000
_CHANGES_AT_ONCE: Final = 10_000
_MAILS_AT_ONCE: Final = 10  # of up to 8 MiB, which are overwritten


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One import whose files, and problems, are still there."""

    id: int
    claim_id: str
    client: str
    file: str
    archive: bytes  # name in `.bak`


def days_of(client: ClientSettings | None, settings: RetentionSettings) -> int:
    """Return for how many days to keep a client's data; None: a client that is not configured any more."""
    return settings.days if client is None or client.retention_days is None else client.retention_days


def clock(store: Store, now: datetime) -> datetime | None:
    """Return the time to go by if a pass is due now, None when it is not."""
    (passed_at,) = store.conn.execute("SELECT passed_at FROM retention").fetchone()
    own = store.conn.execute("SELECT passed_at FROM hosts WHERE host = ?", (store.conn.host,)).fetchone()
    before = datetime.fromisoformat((own and own[0]) or passed_at)
    if before > now:  # the clock was ahead at that pass, and has been put right
        note_pass(store, now)
        return None
    return before if now - before >= _PASS_INTERVAL else None


def note_pass(store: Store, began_at: datetime) -> None:
    """Record the time of a pass that is complete."""
    with store.transaction():
        if store.conn.host:
            hosts.note_pass(store.conn, began_at)
        else:
            store.conn.execute("UPDATE retention SET passed_at = ?", (stamp(began_at),))


def clients(conn: Connection) -> list[str]:
    """Return whose mail or problems are kept; "" is the operator."""
    rows = conn.execute(
        f"""SELECT client FROM outbox WHERE length(body) > 0
            UNION SELECT client FROM imports WHERE {_has_problems(conn)} ORDER BY client"""
    ).fetchall()
    return [client for (client,) in rows]


def _has_problems(conn: Connection) -> str:
    return f"""EXISTS (SELECT 1 FROM import_problems
        WHERE import_id = imports.id AND {conn.same_client("import_problems", "imports.client")})"""


def due(conn: Connection, client: str, before: datetime) -> Kept | None:
    """Return the oldest import of a client that ended before this time and is in `.bak` on this host."""
    row = conn.execute(
        """SELECT id, claim_id, client, file, archive FROM imports
           WHERE client = ? AND host = ? AND finished_at < ? AND purged_at IS NULL AND archived_at IS NOT NULL
           ORDER BY finished_at LIMIT 1""",
        (client, conn.host, stamp(before)),
    ).fetchone()
    return None if row is None else Kept(id=row[0], claim_id=row[1], client=row[2], file=row[3], archive=row[4])


def purge(store: Store, bak_fd: int, archived: Kept, at: datetime) -> bool:
    """
    Remove the files of an import and its problems; return False if it must be called again for more.

    Raises OSError, and has not marked the row then.
    """
    _remove(bak_fd, archived.archive)
    with store.transaction():
        _forget_some_problems(store.conn, archived.client, archived.id)
        left = f"SELECT 1 FROM {queries.problems_of(store.conn)} LIMIT 1"
        if store.conn.execute(left, {"client": archived.client, "import_id": archived.id}).fetchone():
            return False
        store.conn.execute("UPDATE imports SET purged_at = ? WHERE id = ?", (stamp(at), archived.id))
        store.conn.execute("UPDATE on_hold SET reason = '' WHERE claim_id = ?", (archived.claim_id,))
    archive = printable(archived.archive)
    log.info("archive.purged", client=archived.client, file=archived.file, claim_id=archived.claim_id, archive=archive)
    return True


def forget_problems(store: Store, client: str, before: datetime) -> int:
    """
    Remove some of the problems of a client that is not configured any more; return how many there were.

    Where its files are is not known: they stay, and the imports are not marked as purged.
    """
    with store.transaction():
        row = store.conn.execute(
            f"""SELECT id FROM imports WHERE client = ? AND finished_at < ? AND {_has_problems(store.conn)}
                ORDER BY id LIMIT 1""",
            (client, stamp(before)),
        ).fetchone()
        return _forget_some_problems(store.conn, client, int(row[0])) if row else 0


def _forget_some_problems(conn: Connection, client: str, import_id: int) -> int:
    """Remove problems of an import, down to a line or all; return how many. Only the line tells them apart."""
    its = queries.problems_of(conn)
    named = {"client": client, "import_id": import_id, "passed": _PROBLEMS_AT_ONCE - 1}
    line = conn.execute(f"SELECT line FROM {its} LIMIT 1 OFFSET :passed", named).fetchone()
    up_to = f" AND line <= {line[0]:d}" if line else ""
    return conn.execute(f"DELETE FROM {its}{up_to}", named).rowcount


def _remove(bak_fd: int, archive: bytes) -> None:
    """Remove an upload and its answers from `.bak`; other entries, such as links and folders, are left alone."""
    for name in names.all_of(archive):
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISREG(os.stat(name, dir_fd=bak_fd, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=bak_fd)
    sync(bak_fd)


def begin_history(store: Store, before: datetime) -> int:
    """Let the history begin with the first import that ended at this time or later; return which that is."""
    with store.transaction():
        (first,) = store.conn.execute(
            """SELECT coalesce(min(id), (SELECT coalesce(max(id), 0) + 1 FROM imports)) FROM imports
               WHERE finished_at >= ?""",
            (stamp(before),),
        ).fetchone()
        # Before the changes go: nobody may take for whole what is left.
        store.conn.execute("UPDATE retention SET history_from = ? WHERE history_from < ?", (first, first))
        return int(first)


def forget_history(store: Store, client: str, first: int) -> int:
    """Remove some of what imports of a client before the `first` have changed; return how many changes there were."""
    its = store.conn.same_client("user_changes", ":client")
    with store.transaction():
        return store.conn.execute(
            f"""DELETE FROM user_changes WHERE {its} AND (import_id, unique_id) IN (
                  SELECT import_id, unique_id FROM user_changes WHERE {its} AND import_id < :first LIMIT :most)""",
            {"client": client, "first": first, "most": _CHANGES_AT_ONCE},
        ).rowcount


def forget_hook_events(store: Store, before: datetime) -> int:
    """Remove some events for webhooks that were sent, dropped or given up before this time; return how many."""
    with store.transaction():
        return tables.forget(store.conn, before)


def forget_mails(store: Store, client: str, before: datetime) -> int:
    """
    Empty the bodies of a few mails written before this time; return how many there were.

    Those that wait to be sent stay as they are. Those that were given up are from then on `dropped`: nothing is left to
    try again.
    """
    with store.transaction():
        return store.conn.execute(
            """UPDATE outbox SET body = ?, state = CASE WHEN state = 'dead' THEN 'dropped' ELSE state END WHERE id IN (
                 SELECT id FROM outbox
                 WHERE client = ? AND created_at < ? AND state <> 'waiting' AND length(body) > 0 LIMIT ?)""",
            (b"", client, stamp(before), _MAILS_AT_ONCE),
        ).rowcount
