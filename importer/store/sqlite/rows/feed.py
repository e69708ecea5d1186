"""The users of one feed, while a file of it is recorded: who is in it, and who a snapshot lacks. See `roster/feeds`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from importer.characters import unique_id_in
from importer.file import closing
from importer.model import Change, FileWarning, message
from importer.roster import removals
from importer.rows.batches import Examination
from importer.rows.validate import Rejected
from importer.settings import FeedSettings
from importer.store.connection import Connection
from importer.store.roster import pauses
from importer.store.roster.feeds import WITHOUT, counted, deactivate, last_snapshot, note_snapshot, path_of, word_of
from importer.store.roster.states import SNAPSHOT
from importer.store.sqlite.rows.conflicts import Scope
from importer.store.sqlite.rows.others import Others
from importer.store.sqlite.rows.protected import rowids_of

_NO_USERS: Final = frozenset(
    f"9003/{kind}" for kind in (closing.CLOSING, closing.DASHES, closing.ERROR, closing.GROUP, closing.TEXT)
)
_DUPLICATE: Final = "9022"

# Of absent users those who are active, and belong to the feed; with how many snapshots in a row lacked them.
_ABSENT: Final = """
    INSERT INTO temp.absent SELECT candidates.id, ifnull(json_extract(missed, :path), 0) + 1,
      ifnull(replace(feeds, :feed, ' '), '') NOT IN ('', ' ')
    FROM temp.candidates CROSS JOIN users ON users.rowid = candidates.id
    WHERE inactive_by IS NULL AND (NOT :is_kept OR instr(feeds, :feed))"""
_ONE_MORE: Final = """
    UPDATE users SET missed = json_set(ifnull(missed, '{}'), :path, misses) FROM temp.absent
    WHERE absent.id = users.rowid AND inactive_by IS NULL AND NOT (misses >= :limit AND is_elsewhere)"""
_TAKEN_BACK: Final = """
    UPDATE users SET missed = json_set(ifnull(missed, '{}'), :path, misses - 1),
      feeds = iif(is_elsewhere AND misses >= :limit, replace(feeds || :feed, '  ', ' '), feeds)
    FROM temp.absent WHERE absent.id = users.rowid"""
_DUE: Final = "SELECT id FROM temp.absent WHERE misses >= :limit"
_CREATED: Final = {
    "candidates": "id INTEGER PRIMARY KEY",
    "absent": "id INTEGER PRIMARY KEY, misses INTEGER NOT NULL, is_elsewhere INTEGER NOT NULL",
}


def prepare_gone(conn: Connection, unique_ids: Iterable[str]) -> None:
    """Keep the ids in lines of the last file that this one does not have."""
    conn.execute("DROP TABLE IF EXISTS temp.gone")
    conn.execute("CREATE TEMP TABLE gone (unique_id TEXT PRIMARY KEY) WITHOUT ROWID")
    conn.executemany("INSERT OR IGNORE INTO temp.gone VALUES (?)", ((each,) for each in unique_ids))


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the users whom a snapshot lacks."""

    deactivated: int = 0
    pending: int = 0  # who would be, were it not for the guard
    change: Change | None = None  # as the guard counts it
    is_unknown: bool = False  # rows fail that may be anybody's
    is_counted: bool = False  # who is missing has missed one more


class FeedRoster:
    """The users of one feed, while a file of it is recorded; `approved` is what it may change."""

    def __init__(
        self, others: Others, feed: FeedSettings, examination: Examination, approved: Sequence[Change]
    ) -> None:
        conn = others.conn
        header = examination.table.header
        (top,) = conn.execute("SELECT coalesce(max(rowid), 0) FROM users").fetchone()
        self._conn = conn
        self._others = others
        self._client = examination.terms.client
        self._feed = feed
        self._id_place = header.columns["unique_id"][0]
        self._is_snapshot = feed.is_snapshot and not header.is_failed_csv
        self._is_excerpt = examination.is_excerpt
        self._approved = approved
        self._word = word_of(feed)
        self._present = bytearray(top + 1 if feed.is_snapshot else 0)  # by rowid
        if feed.is_snapshot:  # who is protected never leaves by a file, and counts as present
            for rowid in rowids_of(conn, self._client.name, examination.terms.protected):
                self._present[rowid] = True
        self._unknown_rows = 0  # that fail, and may be anybody's
        self._last_snapshot: int | None = None
        self.left = Left()
        self._named: dict[str, str | int] = {
            "client": self._client.name,
            "feed": self._word,
            "path": path_of(feed.name),
            "is_kept": self._client.keeps_feeds,
            "limit": feed.misses,
        }

    @property
    def new(self) -> dict[str, str]:
        """Return values of columns of new users."""
        columns = {"feeds": self._word} if self._client.keeps_feeds else {}
        if self._feed.is_snapshot and not self._is_snapshot:
            columns["missed"] = f'{{"{self._feed.name}":0}}'
        return columns

    def note(self, known: Iterable[tuple[int, str | None]]) -> None:
        """Note users in the file who are recorded: rowid and `feeds`."""
        if self._feed.is_snapshot:
            present = self._present
            for rowid, _ in known:
                present[rowid] = True
        if self._client.keeps_feeds:
            self._join([rowid for rowid, feeds in known if self._word not in (feeds or "")])

    def _join(self, rowids: Sequence[int]) -> None:
        named = {**self._named, "is_new": self._feed.is_snapshot and not self._is_snapshot}
        self._conn.executemany(
            """UPDATE users SET missed = iif(:is_new, json_set(ifnull(missed, '{}'), :path, 0), missed),
                 feeds = replace(ifnull(feeds, '') || :feed, '  ', ' ')
               WHERE rowid = :id""",
            [{**named, "id": rowid} for rowid in rowids],
        )

    def reinstate(self, rowids: Sequence[int]) -> None:
        """Note users who are active again: they belong to this feed alone."""
        columns = ", ".join(f"{column} = :{column}" for column in self.new)
        if columns:
            values = [{**self.new, "id": rowid} for rowid in rowids]
            self._conn.executemany(f"UPDATE users SET {columns} WHERE rowid = :id", values)

    def note_rejected(self, rows: Sequence[Rejected]) -> None:
        """Note rows that fail: their users are in the file."""
        if not self._is_snapshot:
            return
        ids = []
        for row in rows:
            unique_id = _id_in(row, self._id_place)
            if unique_id:
                ids.append(unique_id)
            elif not _NO_USERS.issuperset(problem.reason.key for problem in row.problems):
                self._unknown_rows += 1
        query = f"SELECT rowid FROM users WHERE client = ? AND unique_id IN ({', '.join('?' * len(ids))})"
        for (rowid,) in self._conn.execute(query, (self._client.name, *ids)).fetchall():
            if rowid < len(self._present):
                self._present[rowid] = True

    # At the end of the file

    def leave(self, scope: Scope, at: str, *, has_rows: bool, by_status: int) -> int:
        """
        Deactivate who was missing often enough, before addresses are compared; return how many.

        `has_rows`: a row of the file could be applied. If not, or if it cannot be told whose rows fail, nobody counts
        as missing. `by_status`: so many have left by their status in it.
        """
        if not self._feed.is_snapshot:
            return 0
        self._forget_misses()
        if not self._is_snapshot:
            return 0
        is_known = has_rows and not self._unknown_rows
        self._last_snapshot = last_snapshot(self._conn, self._client.name, self._feed.name)
        note_snapshot(self._conn, self._client.name, self._feed.name, int(scope["import_id"]) if is_known else None)
        if is_known:
            self._find_absent()
            self._settle({**scope, **self._named, "at": at, "by": SNAPSHOT}, by_status)
        else:
            self.left = Left(is_unknown=has_rows)
        return self.left.deactivated

    def _forget_misses(self) -> None:
        """Let those who are in the file have missed none: of a corrected file they are not in the last snapshot."""
        rows = self._conn.execute(
            """SELECT rowid FROM users INDEXED BY users_missed
               WHERE client = :client AND missed IS NOT NULL AND json_extract(missed, :path) IS NOT NULL""",
            self._named,
        ).fetchall()
        now = WITHOUT if self._is_snapshot else "missed = json_set(missed, :path, 0)"
        self._conn.executemany(
            f"UPDATE users SET {now} WHERE rowid = :id",
            [{"path": self._named["path"], "id": rowid} for (rowid,) in rows if self._is_present(rowid)],
        )

    def _is_present(self, rowid: int) -> bool:
        return rowid >= len(self._present) or bool(self._present[rowid])

    def _find_absent(self) -> None:
        """Fill `temp.absent`; of a file that has all users of the client with nobody."""
        for name, columns in _CREATED.items():
            self._conn.execute(f"DROP TABLE IF EXISTS temp.{name}")
            self._conn.execute(f"CREATE TEMP TABLE {name} ({columns})")
        if not self._is_excerpt:
            (known,) = self._conn.execute(
                "SELECT count(*) FROM users WHERE client = ? AND rowid < ?", (self._client.name, len(self._present))
            ).fetchone()
            if known == self._present.count(1):
                return
        self._conn.executemany(
            "INSERT OR IGNORE INTO temp.candidates VALUES (?)",
            ((rowid,) for rowid in self._candidates() if not self._is_present(rowid)),
        )
        self._conn.execute(_ABSENT, self._named)

    def _candidates(self) -> Iterator[int]:
        query = "SELECT rowid FROM users INDEXED BY users_by_id WHERE client = :client"
        if self._is_excerpt:
            query = """SELECT users.rowid FROM temp.gone CROSS JOIN users INDEXED BY users_by_id
                         ON client = :client AND users.unique_id = gone.unique_id
                       UNION ALL SELECT rowid FROM users INDEXED BY users_missed
                         WHERE client = :client AND missed IS NOT NULL AND json_extract(missed, :path) IS NOT NULL"""
        with contextlib.closing(self._conn.execute(query, self._named)) as rows:
            while some := rows.fetchmany(1000):
                yield from (rowid for (rowid,) in some)

    def _settle(self, named: Mapping[str, str | int], by_status: int) -> None:
        """Act on `temp.absent`."""
        conn = self._conn
        due, elsewhere, absent = conn.execute(
            """SELECT count(*) FILTER (WHERE misses >= :limit AND NOT is_elsewhere),
                 count(*) FILTER (WHERE misses >= :limit AND is_elsewhere), count(*) FROM temp.absent""",
            named,
        ).fetchone()
        if elsewhere:
            conn.execute(
                f"""UPDATE users SET feeds = replace(feeds, :feed, ' '), {WITHOUT}
                    WHERE rowid IN ({_DUE} AND is_elsewhere)""",
                named,
            )
        change = None
        if due:
            named = {**named, "others": self._others.active()}
            change = counted(conn, self._client.guard, self._feed.name, named, due=due, gone=by_status)
        is_over = (
            change is not None
            and removals.is_over(change, self._client.guard, self._approved)
            and not _is_paused(conn, self._client.name)
        )
        if due and not is_over:
            deactivate(conn, f"{_DUE} AND NOT is_elsewhere", named)
        if absent > elsewhere + (0 if is_over else due):
            conn.execute(_ONE_MORE, named)
        left, pending = (0, due) if is_over else (due, 0)
        self.left = Left(deactivated=left, pending=pending, change=change, is_counted=True)

    def take_back(self) -> None:
        """
        Let nobody be missing after all: no row could be applied once addresses were compared.

        So it is when a new student system has given everybody another id. Nothing if users were deactivated.
        """
        if self.left.is_counted and not self.left.deactivated:
            note_snapshot(self._conn, self._client.name, self._feed.name, self._last_snapshot)
            self._conn.execute(_TAKEN_BACK, self._named)
            self.left = Left()

    def changes(self) -> Iterator[Change]:
        """Yield how many leave, if they may be too many, or are a large share."""
        if self.left.change and removals.is_told(self.left.change, self._client.guard):
            yield self.left.change

    def warnings(self) -> Iterator[FileWarning]:
        """Yield what the client has to know of those who are missing."""
        if self.left.is_unknown:
            yield FileWarning(reason=message("snapshot.unknown"))


def _is_paused(conn: Connection, client: str) -> bool:
    return removals.GUARD in {each.guard for each in pauses.active(conn, datetime.now(UTC), client)}


def _id_in(row: Rejected, place: int) -> str:
    """Return the id of a row, "" if it may be another than it says."""
    if any(each.field == "unique_id" and each.code != _DUPLICATE for each in row.problems):
        return ""
    if row.user:
        return str(row.user[0] or "")
    return unique_id_in(row.cells[place]) if place < len(row.cells) else ""
