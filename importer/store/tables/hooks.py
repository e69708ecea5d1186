"""
The tables of events for webhooks. Their statements cost the same for any number of events.

A row is one event for one hook: `waiting` until it is `sent`, `dead` after its last try, or `dropped` by a person. Sent
and dropped ones are removed after 14 days, so what was sent is counted in a table of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from importer.store.connection import Connection, Values, marks, stamp

TABLES: Final = (
    """CREATE TABLE hook_events (
        id INTEGER PRIMARY KEY,
        event_id TEXT NOT NULL,
        hook TEXT NOT NULL,
        event TEXT NOT NULL,
        client TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'dead', 'dropped')),
        attempts INTEGER NOT NULL DEFAULT 0,
        created_at TEXT NOT NULL,
        due_at TEXT NOT NULL,
        ended_at TEXT,
        last_error TEXT NOT NULL DEFAULT '',
        body TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX hook_events_waiting ON hook_events (hook, due_at) WHERE state = 'waiting'",
    "CREATE INDEX hook_events_dead ON hook_events (hook) WHERE state = 'dead'",
    "CREATE INDEX hook_events_ended ON hook_events (ended_at) WHERE ended_at IS NOT NULL",
    """CREATE TABLE hook_totals (
        hook TEXT PRIMARY KEY,
        sent INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0,
        dead INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID""",
)
_KEEP_SENT: Final = timedelta(days=14)
_AT_ONCE: Final = 1000
_UNKNOWN: Final = "no hook of this name is configured"
_LEASE: Final = timedelta(minutes=30)  # as that of a mail
_LEASED: Final = "leased_until > :now AND leased_until <= :leases_end AND host <> :host"
# A time further ahead than any back-off comes from a clock that was wrong: it is ignored.
_NEXT: Final = f"""
SELECT id FROM (
  SELECT * FROM (SELECT id, due_at FROM hook_events WHERE hook = :hook AND state = 'waiting' AND due_at <= :now
    AND NOT ({_LEASED}) ORDER BY due_at, id LIMIT 1) AS due
  UNION ALL
  SELECT * FROM (SELECT id, due_at FROM hook_events WHERE hook = :hook AND state = 'waiting' AND due_at > :latest
    AND NOT ({_LEASED}) ORDER BY due_at, id LIMIT 1) AS undated) AS candidates
ORDER BY due_at LIMIT 1
"""


class HookEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event for one hook."""

    id: int
    event_id: str  # the same for all hooks, and for all tries
    hook: str
    event: str  # its name in the log
    client: str  # "" when it is about none
    state: str
    attempts: int
    created_at: datetime
    due_at: datetime
    ended_at: datetime | None
    last_error: str
    body: str  # JSON, as it is sent


class HookCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many events of a hook ended how, since it was first used; and how many wait, or were given up, now."""

    sent: int = 0
    failed: int = 0  # attempts
    given_up: int = 0
    waiting: int = 0
    dead: int = 0
    waiting_since: datetime | None = None


def insert(conn: Connection, event: HookEvent, hooks: Iterable[str]) -> None:
    """Write an event for each of these hooks, but where it is there already, inside the caller's transaction."""
    at = stamp(event.created_at)
    conn.executemany(
        "INSERT INTO hook_events (hook, event_id, event, client, created_at, due_at, body, host)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (client, hook, event_id) DO NOTHING",
        [(hook, event.event_id, event.event, event.client, at, at, event.body, conn.host) for hook in hooks],
    )


def next_event(conn: Connection, hook: str, now: datetime, *, last_retry_s: int) -> HookEvent | None:
    """
    Return the event of a hook that is to be tried now; None when there is none.

    `last_retry_s` is the longest pause between two tries.
    """
    moments = {"hook": hook, "latest": stamp(now + timedelta(seconds=2 * last_retry_s)), **_lease(conn, now)}
    row = conn.execute(_NEXT, moments).fetchone()
    return None if row is None else find(conn, row[0])


def _lease(conn: Connection, now: datetime) -> dict[str, str]:
    return {"host": conn.host, "now": stamp(now), "leases_end": stamp(now + _LEASE)}


def find(conn: Connection, id_: int) -> HookEvent | None:
    """Return the event with this id."""
    return next(iter(_events(conn, "WHERE id = ?", (id_,))), None)


def events(conn: Connection, *, hook: str | None, states: Sequence[str], limit: int) -> list[HookEvent]:
    """Return the newest events in one of these states."""
    return _events(
        conn,
        f"WHERE (? IS NULL OR hook = ?) AND state IN {marks(states)} ORDER BY id DESC LIMIT ?",
        (hook, hook, *states, limit),
    )


def _events(conn: Connection, condition: str, values: Values) -> list[HookEvent]:
    fields = HookEvent.__struct_fields__
    rows = conn.execute(f"SELECT {', '.join(fields)} FROM hook_events {condition}", values).fetchall()
    return [msgspec.convert(dict(zip(fields, row, strict=True)), HookEvent) for row in rows]


def lease(conn: Connection, event: HookEvent, now: datetime, *, due_at: datetime) -> bool:
    """
    Note that this host is about to try an event, for the time `event.attempts`; return False if another host has it.

    `due_at`: when it is due again unless an answer is recorded.
    """
    cursor = conn.execute(
        f"""UPDATE hook_events SET attempts = :attempts, due_at = :due_at, host = :host, leased_until = :leases_end
            WHERE client = :client AND id = :id AND state = 'waiting' AND attempts < :attempts AND NOT ({_LEASED})""",
        {
            "client": event.client,
            "id": event.id,
            "attempts": event.attempts,
            "due_at": stamp(due_at),
            **_lease(conn, now),
        },
    )
    return cursor.rowcount == 1


def mark_sent(conn: Connection, event: HookEvent, now: datetime) -> None:
    """Note that a hook has taken an event, and forget those of long ago; inside the caller's transaction."""
    conn.execute(
        "UPDATE hook_events SET state = 'sent', ended_at = ?, last_error = '', leased_until = '' WHERE id = ?",
        (stamp(now), event.id),
    )
    _count(conn, event.hook, "sent")
    conn.execute(
        """DELETE FROM hook_events WHERE id IN (
             SELECT id FROM hook_events WHERE ended_at < ? AND state IN ('sent', 'dropped') LIMIT ?)""",
        (stamp(now - _KEEP_SENT), _AT_ONCE),
    )


def mark_failed(conn: Connection, event: HookEvent, reason: str, *, due_at: datetime) -> None:
    """Note that a try failed, unless the event was dropped meanwhile; inside the caller's transaction."""
    conn.execute(
        "UPDATE hook_events SET due_at = ?, last_error = ?, leased_until = '' WHERE id = ? AND state = 'waiting'",
        (stamp(due_at), reason, event.id),
    )
    _count(conn, event.hook, "failed")


def mark_dead(conn: Connection, event: HookEvent, reason: str, now: datetime) -> None:
    """Note that the last try failed, unless the event was dropped meanwhile; inside the caller's transaction."""
    conn.execute(
        "UPDATE hook_events SET state = 'dead', ended_at = ?, last_error = ?, leased_until = ''"
        " WHERE id = ? AND state = 'waiting'",
        (stamp(now), reason, event.id),
    )
    _count(conn, event.hook, "failed")
    _count(conn, event.hook, "dead")


def _count(conn: Connection, hook: str, what: str) -> None:
    conn.execute(
        f"INSERT INTO hook_totals (hook, {what}) VALUES (?, 1) ON CONFLICT (hook) DO UPDATE"
        f" SET {what} = hook_totals.{what} + 1",
        (hook,),
    )


def give_up_unknown(conn: Connection, known: Collection[str], now: datetime) -> int:
    """Give up what this host has for a hook that is not configured any more; return how many events that are."""
    return conn.execute(
        f"""UPDATE hook_events SET state = 'dead', ended_at = ?, last_error = ?
           WHERE state = 'waiting' AND host = ? AND hook NOT IN {marks(known)}""",
        (stamp(now), _UNKNOWN, conn.host, *known),
    ).rowcount


def retry(conn: Connection, id_: int, now: datetime) -> bool:
    """Let a waiting or dead event be tried now, with hours of tries to come; return False when there is none such."""
    cursor = conn.execute(
        """UPDATE hook_events SET state = 'waiting', due_at = ?, ended_at = NULL,
             attempts = CASE WHEN attempts > 0 THEN 1 ELSE 0 END
           WHERE id = ? AND state IN ('waiting', 'dead')""",
        (stamp(now), id_),
    )
    return cursor.rowcount == 1


def drop(conn: Connection, id_: int, now: datetime) -> bool:
    """
    Give up a waiting or dead event for good; return False when there is none such.

    One that is under way this very moment may still arrive, and then counts as sent.
    """
    cursor = conn.execute(
        "UPDATE hook_events SET state = 'dropped', ended_at = ? WHERE id = ? AND state IN ('waiting', 'dead')",
        (stamp(now), id_),
    )
    return cursor.rowcount == 1


def forget(conn: Connection, before: datetime) -> int:
    """Remove some of the events that ended before this time, also those that were given up; return how many."""
    return conn.execute(
        "DELETE FROM hook_events WHERE id IN (SELECT id FROM hook_events WHERE ended_at < ? LIMIT ?)",
        (stamp(before), _AT_ONCE),
    ).rowcount


def counts(conn: Connection) -> dict[str, HookCounts]:
    """Return the counts of each hook that ever had an event."""
    totals = {
        hook: {"sent": sent, "failed": failed, "given_up": dead}
        for hook, sent, failed, dead in conn.execute("SELECT hook, sent, failed, dead FROM hook_totals").fetchall()
    }
    waiting = {
        hook: {"waiting": count, "waiting_since": since}
        for hook, count, since in conn.execute(
            "SELECT hook, count(*), min(created_at) FROM hook_events WHERE state = 'waiting' GROUP BY hook"
        ).fetchall()
    }
    dead = {
        hook: {"dead": count}
        for hook, count in conn.execute(
            "SELECT hook, count(*) FROM hook_events WHERE state = 'dead' GROUP BY hook"
        ).fetchall()
    }
    return {
        hook: msgspec.convert({**totals.get(hook, {}), **waiting.get(hook, {}), **dead.get(hook, {})}, HookCounts)
        for hook in sorted({*totals, *waiting, *dead})
    }


def failing(conn: Connection) -> dict[str, dict[str, int]]:
    """Return for each hook how many of its events wait for another try, by what went wrong last, most first."""
    rows = conn.execute(
        """SELECT hook, last_error, count(*) FROM hook_events WHERE state = 'waiting' AND last_error <> ''
           GROUP BY hook, last_error ORDER BY count(*) DESC, max(id) DESC"""
    ).fetchall()
    causes: dict[str, dict[str, int]] = {}
    for hook, reason, count in rows:
        causes.setdefault(hook, {})[reason] = count
    return causes
