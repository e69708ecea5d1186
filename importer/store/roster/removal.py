"""
Users who are missing from a snapshot, and about whom somebody decides.

The decision, what follows from it and the mail about it are one transaction: killed before its commit nothing is
decided, after it nothing is left to do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Final

import msgspec

from importer.model import OnHold
from importer.rows.validate import KEYS
from importer.settings import FeedSettings
from importer.store.connection import Connection
from importer.store.database import Store
from importer.store.roster import feeds, held_files, work
from importer.store.roster.action import Action, Done, carry_out
from importer.store.roster.counts import ChangedValue, Kind
from importer.store.roster.states import SNAPSHOT
from importer.store.roster.work import Scope

_MISSED: Final = """
    SELECT unique_id, first_name, last_name, feeds, missed FROM users
    WHERE client = ? AND missed IS NOT NULL AND inactive_by IS NULL ORDER BY unique_id"""


class _Leaving(msgspec.Struct, frozen=True):
    """A user whom so many snapshots lacked that it leaves, if somebody approves."""

    unique_id: str
    name: str
    missed: dict[str, int]  # snapshots in a row, by feed


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
    leaving = _leaving(conn, client, feed, protected)
    return [ChangedValue(0, each.unique_id, Kind.DEACTIVATED, "name", each.name, None) for each in leaving]


def count_missing(conn: Connection, client: str, feed: FeedSettings, protected: Sequence[str]) -> int:
    """Return how many they are."""
    return sum(1 for _ in _leaving(conn, client, feed, protected))


def _leaving(conn: Connection, client: str, feed: FeedSettings, protected: Sequence[str]) -> Iterator[_Leaving]:
    """Yield them, but for those whom another feed has stated since."""
    stay, word = {*protected}, feeds.word_of(feed)
    with contextlib.closing(conn.execute(_MISSED, (client,))) as rows:
        for unique_id, first_name, last_name, stated_by, missed in rows:
            misses = msgspec.json.decode(missed, type=dict[str, int])
            if misses.get(feed.name, -1) >= feed.misses and not (unique_id in stay or _is_elsewhere(stated_by, word)):
                yield _Leaving(unique_id, f"{first_name or ''} {last_name or ''}".strip(" "), misses)


def _is_elsewhere(feeds_of_user: str | None, word: str) -> bool:
    """Tell whether another feed than this states a user, too."""
    return (feeds_of_user or "").replace(word, " ") not in ("", " ")


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
        leaving = [*_leaving(conn, held.client, feed, decision.protected)]
        _deactivate(conn, scope, feed, leaving)
        tell(Done(int(scope["import_id"]), len(leaving)))

    action = Action(client=held.client, kind="removals", title=f"removals of {held.import_id}", approved_by=decision.by)
    done = carry_out(store, action, change)
    return done if done.users else None


def _deactivate(conn: Connection, scope: Scope, feed: FeedSettings, leaving: Sequence[_Leaving]) -> None:
    """Make users inactive whom a feed has lost."""
    for each in leaving:
        work.keep_images(conn, {**scope, "id": each.unique_id}, "unique_id = :id")
    keys = "".join(f", {key} = NULL" for key in KEYS.values())
    conn.executemany(
        f"""UPDATE users SET inactive_by = :by, missed = :missed{keys}
            WHERE client = :client AND unique_id = :id""",
        [
            {"client": scope["client"], "id": each.unique_id, "by": SNAPSHOT, "missed": _without(each.missed, feed)}
            for each in leaving
        ],
    )


def _without(missed: dict[str, int], feed: FeedSettings) -> str | None:
    """Return what snapshots of the other feeds have missed, as the database has it."""
    others = {name: misses for name, misses in missed.items() if name != feed.name}
    return msgspec.json.encode(others).decode() if others else None


def _note(conn: Connection, decision: Decision) -> int:
    claims, reason = [decision.held.claim_id], decision.reason
    return held_files.decide(conn, claims, decision.verdict, decision.by, decision.at, reason=reason)
