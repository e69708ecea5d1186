"""
Whom a file concerns, fetched into the working copy in a few statements for a file of any size.

Its ids and keys are put into `work_rows` (`staging`), next to which PostgreSQL finds: the users of its rows; who
holds an address or a user name that a row claims; of a snapshot those who are missing. The rows go again in the same
transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from importer.attributes import STATUS
from importer.model import FileWarning
from importer.roster import guards, removals
from importer.rows.validate import KEYS
from importer.store.connection import stamp
from importer.store.postgresql.rows.staging import HOLDERS, IS_STAGED, STAGED, Staging
from importer.store.postgresql.rows.waiting import Waiting
from importer.store.roster.counts import UNDOS
from importer.store.sqlite.connection import SqliteConnection
from importer.store.sqlite.rows.others import Others, spelled_otherwise


class Concerned(Others):
    """The users of the client who are in the working copy, and what is to be known of the others."""

    exist = True

    def __init__(self, copy: SqliteConnection, staging: Staging) -> None:
        super().__init__(copy)
        self._staging = staging
        self._server, self._file = staging.conn, staging.file
        self._active = self._fetched = 0
        self._undone: dict[int, int] = {}
        self._warnings: list[FileWarning] = []

    def fetch(self, waiting: Waiting) -> None:
        """Fill the working copy."""
        file, copy = self._file, self.conn
        if file.feed.is_snapshot and file.examination.is_excerpt:
            waiting.note(copy.execute("SELECT unique_id, '', '' FROM temp.gone").fetchall())
        self._staging.stage_ids(waiting)
        known = self._staging.fetch(f"users WHERE client = :client AND {IS_STAGED}")
        has_keys = self._staging.stage_keys(waiting, known)
        if self._stage_of_inactive(waiting) or has_keys:
            self._staging.fetch(f"({HOLDERS}) AS users")
        if file.feed.is_snapshot:
            missing = "missed IS NOT NULL"
            if file.is_snapshot and not file.examination.is_excerpt:
                of_feed = "strpos(feeds, :feed) > 0" if file.keeps_feeds else "true"
                missing += f""" OR inactive_by IS NULL AND {of_feed}
                    AND NOT EXISTS (SELECT 1 FROM {STAGED} AND work_rows.unique_id = users.unique_id)"""
            self._staging.fetch(f"users WHERE client = :client AND ({missing})")
        if file.feed.is_snapshot or STATUS.name in file.examination.checker.columns:
            self._fetch_roster()
            self._active = self._count_active()
        self._staging.complete()
        (self._fetched,) = copy.execute("SELECT count(*) FROM users").fetchone()

    def _stage_of_inactive(self, waiting: Waiting) -> bool:
        """Stage what users take again when a row makes them active; tell whether there is any."""
        keys = ", ".join(f"ifnull(casefolded({name}), '')" for name in KEYS)
        found = self.conn.execute(f"SELECT unique_id, {keys} FROM users WHERE inactive_by IS NOT NULL").fetchall()
        waiting.note(found)
        return self._staging.stage(waiting)

    def _fetch_roster(self) -> None:
        """Fetch by what it is judged how many leave."""
        since = stamp(datetime.now(UTC) - timedelta(days=removals.DAYS))
        for table, condition in (
            ("guard_pauses", "true"),
            ("feeds", "client = :client"),
            ("imports", "client = :client AND finished_at >= :since AND kind IN ('file', 'undo')"),
        ):
            self._fetch_rows(table, condition, {**self._file.named, "since": since})

    def _fetch_rows(self, table: str, condition: str, named: Mapping[str, str | int]) -> None:
        (names,) = zip(*self.conn.execute(f"SELECT name FROM pragma_table_info('{table}')").fetchall(), strict=True)
        rows = self._server.execute(f"SELECT {', '.join(names)} FROM {table} WHERE {condition}", named).fetchall()
        marks = ", ".join("?" * len(names))
        self.conn.executemany(f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({marks})", rows)

    def _count_active(self) -> int:
        """Return how many active users are not in the working copy."""
        of_feed = {False: ("", ""), True: (" AND strpos(feeds, :feed) > 0", " AND instr(feeds, :feed)")}
        theirs, ours = of_feed[self._file.keeps_feeds]
        query = "SELECT count(*) FROM users WHERE client = :client AND inactive_by IS NULL"
        (all_of_them,) = self._server.execute(query + theirs, self._file.named).fetchone()
        (here,) = self.conn.execute(query + ours, self._file.named).fetchone()
        return int(all_of_them) - int(here)

    def look_closer(self, waiting: Waiting) -> None:
        """Look up what is only asked once all is recorded, and needs the staged rows."""
        if self._file.is_snapshot:  # who is missing is in no row
            query = "SELECT unique_id, '', '' FROM users WHERE import_id = :import_id AND import_line = 0"
            waiting.note(self.conn.execute(query, self._file.named).fetchall())
            self._staging.stage_ids(waiting)
        named, copy = self._file.named, self.conn
        created = f"created_import = :import_id AND client = :client AND {IS_STAGED}"
        was_there = "theirs.created_import <> :import_id"
        if copy.execute("SELECT EXISTS (SELECT 1 FROM users WHERE created_import = :import_id)", named).fetchone()[0]:
            found = spelled_otherwise(self._server, named, is_new=created, was_there=was_there)
            self._warnings = [*found]
        is_limited = guards.limit_of("undone", self._file.examination.terms.client.guard)
        if is_limited and (undos := [int(id_) for (id_,) in self._server.execute(UNDOS, named).fetchall()]):
            self._fetch_undos(undos)

    def _fetch_undos(self, undos: list[int]) -> None:
        """Fetch what the last undos have changed of the users in the file, and how much of all."""
        ids = ", ".join(map(str, undos))
        self._fetch_rows("imports", f"client = :client AND id IN ({ids})", self._file.named)
        theirs = f"client = :client AND import_id IN ({ids})"
        self._fetch_rows("user_changes", f"{theirs} AND {IS_STAGED}", self._file.named)
        counts = f"""SELECT import_id, count(*) FROM user_changes CROSS JOIN json_object_keys(CAST(changes AS JSON))
            WHERE {theirs} GROUP BY import_id"""
        rows = self._server.execute(counts, self._file.named).fetchall()
        self._undone = {int(undo): int(count) for undo, count in rows}

    def recorded(self) -> int:
        """Return how many there are."""
        query = "SELECT count(*) FROM users WHERE client = :client AND created_import <> :import_id"
        return int(self._server.execute(query, self._file.named).fetchone()[0]) - self._fetched

    def active(self) -> int:
        """Return how many of them are active, and in the feed of the file if the feeds of users are kept."""
        return self._active

    def values_of(self, undo: int) -> int:
        """Return how many values an undo has changed, of all users."""
        return self._undone.get(undo, 0)

    def other_spellings(self, _: Mapping[str, str | int]) -> Iterator[FileWarning]:
        """Yield the warnings that new users have the id of a recorded one in another spelling."""
        yield from self._warnings
