"""
Users who are missing from a snapshot, and about whom somebody decides.

The decision, what follows from it and the mail about it are one transaction: killed before its commit nothing is
decided, after it nothing is left to do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import msgspec

from importer.model import OnHold
from importer.settings import FeedSettings
from importer.store.connection import Connection
from importer.store.database import Store
from importer.store.roster import feeds, held_files
from importer.store.roster.action import Action, Done, Scope, carry_out
from importer.store.roster.counts import NAME, ChangedValue, Kind
from importer.store.roster.states import SNAPSHOT

# But for those whom another feed has stated since.
_PENDING: Final = """
    FROM users INDEXED BY users_missed WHERE client = :client AND missed IS NOT NULL
    AND json_extract(missed, :path) >= :misses AND inactive_by IS NULL
    AND unique_id NOT IN (SELECT value FROM json_each(:protected))
    AND ifnull(replace(feeds, :feed, ' '), '') IN ('', ' ')"""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What is decided about removals on hold, by whom and when."""

    held: OnHold
    verdict: str  # approved, rejected, expired
    by: str
    at: datetime
    protected: tuple[str, ...] = ()  # ids of users who stay in any case
    reason: str = ""  # why it is rejected


def missing(conn: Connection, client: str, feed: FeedSettings, protected: Sequence[str]) -> list[ChangedValue]:
    """Return the users whom so many snapshots of a feed in a row lack, who are still active and not protected."""
    named = _named(client, feed, protected)
    rows = conn.execute(f"SELECT unique_id, {NAME} {_PENDING} ORDER BY unique_id", named).fetchall()
    return [ChangedValue(0, unique_id, Kind.DEACTIVATED, "name", name, None) for unique_id, name in rows]


def count_missing(conn: Connection, client: str, feed: FeedSettings, protected: Sequence[str]) -> int:
    """Return how many they are."""
    return int(conn.execute(f"SELECT count(*) {_PENDING}", _named(client, feed, protected)).fetchone()[0])


def decide(store: Store, decision: Decision, feed: FeedSettings | None, tell: Callable[[Done], None]) -> Done | None:
    """
    Decide on removals; if they are approved, deactivate those who are missing still. None: it was decided before.

    Without a `feed`, as the settings have it no more, nobody is. `tell` may put mail into the outbox.
    """
    held = decision.held
    if decision.verdict == "approved" and feed and count_missing(store.conn, held.client, feed, decision.protected):
        return _remove(store, decision, feed, tell)
    with store.transaction():
        if not _note(store.conn, decision):
            return None
        tell(Done(0, 0))
    return Done(0, 0)


def _remove(store: Store, decision: Decision, feed: FeedSettings, tell: Callable[[Done], None]) -> Done | None:
    held = decision.held

    def change(conn: Connection, scope: Scope) -> None:
        if not _note(conn, decision):
            return  # nobody is changed, and nothing is committed
        conn.execute("DROP TABLE IF EXISTS temp.leaving")
        conn.execute("CREATE TEMP TABLE leaving (id INTEGER PRIMARY KEY)")
        named = {**scope, **_named(held.client, feed, decision.protected)}
        leaving = conn.execute(f"INSERT INTO temp.leaving SELECT rowid {_PENDING}", named).rowcount
        feeds.deactivate(
            conn, "SELECT id FROM temp.leaving", {**scope, "path": feeds.path_of(feed.name), "by": SNAPSHOT}
        )
        tell(Done(int(scope["import_id"]), leaving))

    action = Action(client=held.client, kind="removals", title=f"removals of {held.import_id}", approved_by=decision.by)
    done = carry_out(store, action, change)
    return done if done.users else None


def _named(client: str, feed: FeedSettings, protected: Sequence[str]) -> dict[str, str | int]:
    return {
        "client": client,
        "feed": feeds.word_of(feed),
        "path": feeds.path_of(feed.name),
        "misses": feed.misses,
        "protected": json.dumps([*protected]),
    }


def _note(conn: Connection, decision: Decision) -> int:
    claims, reason = [decision.held.claim_id], decision.reason
    return held_files.decide(conn, claims, decision.verdict, decision.by, decision.at, reason=reason)
