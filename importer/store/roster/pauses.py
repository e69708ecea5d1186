"""What the operator suspends for a time: limits of a client, and imports of a feed. Each ends by itself."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Final

import msgspec

from importer.model import Claim, Message, message
from importer.settings import FeedSettings
from importer.store.connection import Connection, stamp
from importer.wording.times import local_day

# What the client was told of a freeze, in `feeds.is_freeze_announced`; 0: nothing.
_TOLD: Final = 1
_END_UNTOLD: Final = 2  # and it has ended early since, which the client is still to be told


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """One limit of a client that does not count for a time."""

    client: str
    guard: str
    until: datetime

    @property
    def last_day(self) -> date:
        """Return the last day of it, as it was asked for."""
        return (self.until - timedelta(microseconds=1)).date()


def add(conn: Connection, client: str, guards: Iterable[str], until: datetime) -> None:
    """Let limits of a client not count until then; a time that is over ends a pass."""
    conn.executemany(
        """INSERT INTO guard_pauses VALUES (?, ?, ?)
           ON CONFLICT (client, guard) DO UPDATE SET until = excluded.until""",
        [(client, guard, stamp(until)) for guard in guards],
    )


def active(conn: Connection, at: datetime, client: str | None = None) -> list[Pause]:
    """Return the passes that count at a time, of one client or of all."""
    rows = conn.execute(
        """SELECT client, guard, until FROM guard_pauses
           WHERE until > :at AND (:client IS NULL OR client = :client) ORDER BY client, guard""",
        {"at": stamp(at), "client": client},
    ).fetchall()
    return [msgspec.convert(dict(zip(Pause.__struct_fields__, row, strict=True)), Pause, strict=False) for row in rows]


class Freeze(msgspec.Struct, frozen=True, kw_only=True):
    """From when until when no file of a feed is imported."""

    client: str
    feed: str  # "": that of all files that belong to no other
    frozen_from: datetime
    frozen_until: datetime
    is_announced: bool

    def days(self, timezone: str) -> tuple[str, str]:
        """Return its first and last day at a place; "" for the zone of this host."""
        return local_day(self.frozen_from, timezone), local_day(self.frozen_until - timedelta(seconds=1), timezone)


def freeze(conn: Connection, client: str, feed: str, begins_at: datetime, ends_at: datetime, at: datetime) -> None:
    """Let no file of a feed be imported from then until then; a time that is over `at` this one ends a freeze."""
    times = {"begins_at": begins_at, "ends_at": ends_at, "now": at}
    conn.execute(
        """INSERT INTO feeds (client, feed, frozen_from, frozen_until) VALUES (:client, :feed, :begins_at, :ends_at)
           ON CONFLICT (client, feed) DO UPDATE
           SET frozen_from = excluded.frozen_from, frozen_until = excluded.frozen_until,
             is_freeze_announced = CASE
               WHEN excluded.frozen_until > :now THEN CASE WHEN feeds.is_freeze_announced = :told
                 AND feeds.frozen_from = excluded.frozen_from AND feeds.frozen_until = excluded.frozen_until
                 THEN :told ELSE 0 END
               WHEN feeds.is_freeze_announced = :told AND feeds.frozen_until > :now THEN :untold
               WHEN feeds.is_freeze_announced = :untold THEN :untold ELSE 0 END""",
        {
            "client": client,
            "feed": feed,
            "told": _TOLD,
            "untold": _END_UNTOLD,
            **{name: stamp(time.astimezone(UTC)) for name, time in times.items()},
        },
    )


def ended_early(conn: Connection) -> list[tuple[str, str]]:
    """Return clients and their feeds whose freeze was announced and then ended by the operator, unknown to them."""
    query = "SELECT client, feed FROM feeds WHERE is_freeze_announced = ? ORDER BY client, feed"
    return conn.execute(query, (_END_UNTOLD,)).fetchall()


def note_end_told(conn: Connection, client: str, feed: str) -> None:
    """Note that the client is told of it, inside the transaction of the mail."""
    conn.execute("UPDATE feeds SET is_freeze_announced = 0 WHERE client = ? AND feed = ?", (client, feed))


def freezes(conn: Connection, at: datetime, client: str | None = None) -> list[Freeze]:
    """Return the freezes that are not over at a time, of one client or of all."""
    rows = conn.execute(
        f"""SELECT client, feed, frozen_from, frozen_until, is_freeze_announced = {_TOLD} FROM feeds
           WHERE frozen_from < frozen_until AND frozen_until > :at AND (:client IS NULL OR client = :client)
           ORDER BY client, feed""",
        {"at": stamp(at), "client": client},
    ).fetchall()
    return [
        msgspec.convert(dict(zip(Freeze.__struct_fields__, row, strict=True)), Freeze, strict=False) for row in rows
    ]


def note_announced(conn: Connection, frozen: Freeze) -> None:
    """Note that the client is told of a freeze, inside the transaction of the mail."""
    values = (_TOLD, frozen.client, frozen.feed)
    conn.execute("UPDATE feeds SET is_freeze_announced = ? WHERE client = ? AND feed = ?", values)


def refusal_of_freeze(conn: Connection, claim: Claim, feed: FeedSettings, timezone: str) -> Message | None:
    """Return why a file is refused that came while its feed is frozen, None if it did not."""
    for each in freezes(conn, claim.claimed_at, claim.client):
        if each.feed == feed.name and each.frozen_from <= claim.claimed_at:
            first, last = each.days(timezone)
            return message("feed.frozen", first=first, last=last)
    return None
