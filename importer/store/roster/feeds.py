"""
Who of a feed is in a file of it, and what becomes of the others once it is a snapshot.

Two columns of `users` keep what is known. `feeds`: the names of the feeds that state a user, each between blanks, "*"
for files that belong to none; only of clients for which that matters. `missed`, a JSON object by feed: how many of its
snapshots in a row lacked the user. It is 0 for somebody whom a corrected file has brought since the last snapshot.

So whoever a snapshot lacks is in the last snapshot, whose lines are compared, or has an entry in `missed`: nothing else
is read of a file that was compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from importer.model import Change, Claim, Message, message
from importer.roster import order, removals
from importer.settings import FeedSettings, GuardSettings
from importer.store.connection import Connection, stamp
from importer.store.roster import pauses

WITHOUT: Final = "missed = nullif(json_remove(missed, :path), '{}')"
# Files of the last days that deactivated users unasked, but for those that were undone, unless the undo was undone.
_UNDO: Final = "{name}.client = {of}.client AND {name}.kind = 'undo' AND {name}.file = 'undo of ' || {of}.id"
_RECENT: Final = f"""
    SELECT ifnull(sum(deactivated), 0) FROM imports INDEXED BY imports_by_client
    WHERE client = ? AND feed = ? AND finished_at >= ?
      AND kind = 'file' AND outcome <> 'on_hold' AND approved_by = ''
      AND NOT (deactivated AND EXISTS (SELECT 1 FROM imports AS undo WHERE {_UNDO.format(name="undo", of="imports")}
        AND NOT EXISTS (SELECT 1 FROM imports AS redo WHERE {_UNDO.format(name="redo", of="undo")})))"""
# Of clients whose feeds are kept it takes a look at each user.
_ACTIVE_OF_FEED: Final = """
    SELECT count(*) FROM (SELECT 1 FROM users WHERE client = :client AND rowid <= :top AND inactive_by IS NULL
                          AND instr(feeds, :feed) LIMIT :most)"""
_ACTIVE: Final = """
    SELECT (SELECT count(*) FROM users INDEXED BY users_by_id WHERE client = :client AND rowid <= :top)
      - (SELECT count(*) FROM users INDEXED BY users_inactive
         WHERE client = :client AND rowid <= :top AND inactive_by IS NOT NULL)"""


def last_snapshot(conn: Connection, client: str, feed: str) -> int | None:
    """Return the import of the last snapshot of a feed by which it is known who is missing, None when there is none."""
    row = conn.execute("SELECT snapshot_import FROM feeds WHERE client = ? AND feed = ?", (client, feed)).fetchone()
    return None if row is None else row[0]


def note_snapshot(conn: Connection, client: str, feed: str, import_id: int | None) -> None:
    """Note the last snapshot of a feed; None: by the last one nobody can tell who is missing."""
    conn.execute(
        """INSERT INTO feeds (client, feed, snapshot_import) VALUES (?, ?, ?)
           ON CONFLICT (client, feed) DO UPDATE SET snapshot_import = excluded.snapshot_import""",
        (client, feed, import_id),
    )


def refusal(conn: Connection, claim: Claim, feed: FeedSettings, timezone: str) -> Message | None:
    """Return why a file is refused unread, None if it is not; `timezone` is that of days."""
    frozen = pauses.refusal_of_freeze(conn, claim, feed, timezone)
    return frozen or _refusal_of_date(conn, claim.client, feed, claim.file)


def _refusal_of_date(conn: Connection, client: str, feed: FeedSettings, file: str) -> Message | None:
    """Return why a file is refused whose name has an older date than one that was applied, None if it has not."""
    date = order.date_in(file, feed.dated)
    if not date:
        return None
    row = conn.execute("SELECT last_date FROM feeds WHERE client = ? AND feed = ?", (client, feed.name)).fetchone()
    last = str(row[0]) if row else ""
    return message("order.older", date=last.partition("T")[0]) if date < last else None


def note_date(conn: Connection, client: str, feed: FeedSettings, file: str) -> None:
    """Note the date in the name of a file that was applied."""
    if feed.dated:
        conn.execute(
            """INSERT INTO feeds (client, feed, last_date) VALUES (?, ?, ?)
               ON CONFLICT (client, feed) DO UPDATE SET last_date =
                 CASE WHEN feeds.last_date > excluded.last_date THEN feeds.last_date ELSE excluded.last_date END""",
            (client, feed.name, order.date_in(file, feed.dated)),
        )


def word_of(feed: FeedSettings) -> str:
    """Return how `feeds` names a feed: that of files that belong to no other has a name that no feed can have."""
    return f" {feed.name or '*'} "


def path_of(feed: str) -> str:
    """Return where `missed` has a feed."""
    return f'$."{feed}"'


def counted(
    conn: Connection,
    settings: GuardSettings,
    feed: str,
    named: Mapping[str, str | int],
    *,
    due: int,
    gone: int,
) -> Change:
    """
    Return how many users a file and those of the last days deactivate, of how many; `gone` are inactive already.

    `others` of the named are active, and not in the table.
    """
    since = stamp(datetime.now(UTC) - timedelta(days=removals.DAYS))
    (recent,) = conn.execute(_RECENT, (named["client"], feed, since)).fetchone()
    count = due + gone + int(recent)
    query = _ACTIVE_OF_FEED if named["is_kept"] else _ACTIVE
    most = removals.most_counted(count, settings)
    (active,) = conn.execute(query, {**named, "most": most}).fetchone()
    others = int(named.get("others", 0))
    active += others
    if named["is_kept"] and most >= 0:
        active = min(active, most)
    return Change(guard="deactivated", count=count, of=active + gone)


def deactivate(conn: Connection, rowids: str, named: Mapping[str, str | int]) -> None:
    """Make users inactive whom a feed has lost; `rowids` is a query of theirs."""
    conn.execute(f"INSERT INTO temp.before SELECT rowid, 0, * FROM users WHERE rowid IN ({rowids})", named)
    conn.execute(
        f"""UPDATE users SET inactive_by = :by, email_key = NULL, user_name_key = NULL, {WITHOUT},
              import_id = :import_id, import_line = 0, updated_at = :at WHERE rowid IN ({rowids})""",
        named,
    )
