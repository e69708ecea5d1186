"""The one connection that writes, and its transactions."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from importer import fs
from importer.model import Interrupted
from importer.roster.removals import DAYS
from importer.store.connection import stamp
from importer.store.database import Transactions
from importer.store.errors import StoreError, StoreFull, StoreInterrupted, StoreUnavailable, StoreUnusable
from importer.store.sqlite import shape
from importer.store.sqlite.connection import APPLICATION_ID, SqliteConnection, connect, current, is_whole, log_files

if TYPE_CHECKING:  # what only imports need
    from importer.model import Change
    from importer.rows.batches import Examination
    from importer.settings import FeedSettings
    from importer.store.recording import Recorder

# 1M random keys outgrow SQLite's 2 MiB; 16 MiB is 1.3 times as fast and 64 MiB only a little more (measured).
CACHE_KIB: Final = 16 * 1024
BUSY_TIMEOUT_MS: Final = 5000
_STEPS_BETWEEN_LOOKS: Final = 200_000  # of SQLite's virtual machine, a few ms
# What a file of a client is compared with: passes, dates and freezes; who left within some days; the last file of each
# feed; its users.
COPIED: Final = {
    "guard_pauses": "1 = 1",
    "feeds": "1 = 1",
    "imports": """(kind = 'undo' AND finished_at >= :since)
        OR kind = 'file' AND outcome NOT IN ('refused', 'on_hold') AND (finished_at >= :since OR id IN (
        SELECT max(id) FROM source.imports WHERE client = :client AND kind = 'file' AND is_correction = 0
        AND outcome NOT IN ('refused', 'on_hold') AND file NOT LIKE '%.failed.csv' GROUP BY feed))""",
    "users": "1 = 1",
}
_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_LARGE_CHANGES: Final = 10_000  # of rows in one transaction: some thousand pages of the log
_FOLD_AT_PAGES: Final = 1000  # SQLite's own default


class SqliteStore(Transactions):
    """
    The database. Everything that writes goes through one instance, on the thread that opened it.

    `conn` is what the functions of this folder take.
    """

    conn: SqliteConnection

    def __init__(self, conn: SqliteConnection, path: Path) -> None:
        self.conn = conn
        self._path = path
        self._identity = _identity(path)
        self._is_unfolded = False

    @classmethod
    def open(cls, path: Path, *, model: Path | None = None) -> SqliteStore:
        """
        Open the database, create it when there is none, bring it up to date.

        A new one gets the tables of `model`, another database, if that is up to date: the same, and faster made.
        Raises StoreUnusable; StoreUnavailable when it is locked or the disk refuses.
        """
        _make_private(path)
        conn = connect(path.absolute().as_uri())
        try:
            conn.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            if model is not None:
                shape.take_over(conn, model)
            _prepare(conn, path)
            store = cls(conn, path)
            store.fold_log(shrink=True)  # a process that was killed during an import left it as large as it was then
        except BaseException as error:
            conn.close()
            if isinstance(error, StoreError) and not isinstance(error, StoreUnavailable):
                raise StoreUnusable(
                    f"{path}: {error}; restore it from a backup, or move it away to start with a new one"
                ) from error
            raise
        return store

    def copy_users(self, database: Path, client: str) -> None:
        """Take over users of one client from another database, which is only read, and what guards compare with."""
        current(database).close()  # ATTACH does not tell apart why it fails
        since = stamp(datetime.now(UTC) - timedelta(days=DAYS))
        # SQLite alone moves the rows: by way of Python that was measured to take 2.5 times as long.
        self.conn.execute("ATTACH ? AS source", (f"{database.absolute().as_uri()}?mode=ro",))
        try:
            with self.importing():
                for table, condition in COPIED.items():
                    rows = self.conn.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()
                    columns = [name for (name,) in rows]
                    # The imports of that database are none of this one's: an equal id would be taken for the same one.
                    values = ("0" if (table, name) == ("users", "import_id") else name for name in columns)
                    self.conn.execute(
                        f"INSERT OR FAIL INTO main.{table} ({', '.join(columns)}) SELECT {', '.join(values)} "
                        f"FROM source.{table} WHERE client = :client AND ({condition})",
                        {"client": client, "since": since},
                    )
        finally:
            self.conn.execute("DETACH source")

    def check_writable(self) -> None:
        """Raise StoreUnavailable when nothing could be written now; StoreBusy when another process writes."""
        self.conn.execute("PRAGMA busy_timeout = 0").fetchall()
        try:
            self.conn.execute("BEGIN IMMEDIATE")  # alone it would pass where nothing can be written
            self.conn.execute("INSERT INTO importing VALUES (1)")
        finally:
            if self.conn.in_transaction:
                self.conn.execute("ROLLBACK")
            self.conn.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}").fetchall()

    def is_replaced(self) -> bool:
        """Tell whether another file is in the place of the database that is open."""
        return _identity(self._path) != self._identity

    def may_give_up(self) -> bool:
        """
        Tell whether a complete database of rosterd has replaced the open one, and nothing is lost by closing that.

        Its log has to be empty: SQLite finds logs by name, and would apply it to the other database.
        """
        self.fold_log(shrink=True)
        log = log_files(self._path)[0]
        try:
            return is_whole(self._path) and not (log.exists() and log.stat().st_size)
        except FileNotFoundError:  # just now
            return False

    def open_again(self) -> None:
        """Open the database again: a connection that once could not write stays read-only."""
        fresh = SqliteStore.open(self._path)
        self.conn.close()
        self.conn, self._identity = fresh.conn, fresh._identity  # noqa: SLF001 - our own class
        self._is_unfolded = False

    def close(self) -> None:
        """Close the connection; the last one out folds the write-ahead log into the database."""
        self.conn.close()

    @contextlib.contextmanager
    def importing(self, before_commit: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Run the block in a transaction in which changes of users are those of an import (`m006_edits_by_hand`)."""
        with self.transaction(before_commit):
            self.conn.execute("INSERT INTO importing VALUES (1)")
            yield
            self.conn.execute("DELETE FROM importing")

    def recorder(
        self, examination: Examination, feed: FeedSettings, *, import_id: int, at: datetime, approved: Sequence[Change]
    ) -> Recorder:
        """Return what records a file in the transaction that is open; somebody has `approved` changes of it."""
        from importer.store.sqlite.rows import others, recorder

        everybody = others.Others(self.conn)
        return recorder.Recorder(everybody, examination, feed, import_id=import_id, at=at, approved=approved)

    def note_gone(self, unique_ids: Iterable[str]) -> None:
        """Keep ids in lines of the last file that this one does not have, for its recorder."""
        from importer.store.sqlite.rows import feed

        feed.prepare_gone(self.conn, unique_ids)

    @contextlib.contextmanager
    def interruptible(self, stopping: Callable[[], bool]) -> Iterator[None]:
        """
        Let SQLite itself ask `stopping` now and then: one statement, such as making an index, can take seconds.

        Raises Interrupted, and what `stopping` raises: SQLite would swallow that.
        """
        raised: list[BaseException] = []

        def should_stop() -> bool:
            try:
                return stopping()
            except BaseException as error:  # noqa: BLE001 - raised again below
                raised.append(error)
                return True

        self.conn.set_progress_handler(should_stop, _STEPS_BETWEEN_LOOKS)
        try:
            yield
        except StoreInterrupted:
            raise (raised or [Interrupted()])[0] from None
        finally:
            self.conn.set_progress_handler(None, 0)

    @contextlib.contextmanager
    def _whole(self, before_commit: Callable[[], None]) -> Iterator[None]:
        """Take the write lock at once."""
        before = self.conn.total_changes
        self.conn.execute("BEGIN IMMEDIATE")
        try:
            yield
            before_commit()
            if self.conn.total_changes - before >= _LARGE_CHANGES:
                self._is_unfolded = True
                self.conn.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
            self.conn.execute("COMMIT")
        except BaseException as error:
            if self.conn.in_transaction:
                self.conn.execute("ROLLBACK")
            if isinstance(error, StoreFull) or (isinstance(error, OSError) and error.errno in _DISK_FULL):
                self.fold_log(shrink=True)
            raise

    def fold_log(self, *, shrink: bool = False) -> None:
        """
        Write what large transactions have changed from the log into the database.

        SQLite would do so within their commit, which is durable before: for a first file of 1,000,000 users that takes
        1.6 s, a sixth of the time until its answers. What cannot be done now SQLite does after a later commit.

        `shrink`: whatever is in the log, and free its disk space, unless another process is reading. What was rolled
        back stays in it otherwise, and SQLite never gives back space on its own.
        """
        if self._is_unfolded or shrink:
            self._is_unfolded = False
            self.conn.execute(f"PRAGMA wal_autocheckpoint = {_FOLD_AT_PAGES}").fetchall()
            with contextlib.suppress(StoreUnavailable):
                self.conn.execute(f"PRAGMA main.wal_checkpoint({'TRUNCATE' if shrink else 'PASSIVE'})").fetchall()

    @property
    def size_bytes(self) -> int:
        """Return the size of the database without its log."""
        (size_bytes,) = self.conn.execute(
            "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        ).fetchone()
        return int(size_bytes)


def _identity(path: Path) -> tuple[int, int]:
    info = path.stat()
    return info.st_dev, info.st_ino


def _make_private(path: Path) -> None:
    """
    Let only whom its folder lets in read the database, and the files that SQLite creates next to it with its mode.

    What cannot be done is left to SQLite, which then says what is wrong.
    """
    with contextlib.suppress(OSError):
        os.close(os.open(path, fs.NEW_FILE, 0o600))
    of_others = fs.own_mode(path.parent) & 0o077
    for each in (path, *log_files(path)):
        with contextlib.suppress(OSError):
            mode = stat.S_IMODE(each.stat().st_mode)
            if mode & 0o077 != of_others:
                each.chmod(mode & 0o700 | of_others)


def _prepare(conn: SqliteConnection, path: Path) -> None:
    """Set up a connection to a database of ours, up to date; nothing is written when it is. Raises StoreUnusable."""
    if shape.is_current(conn) and conn.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,):
        _set_up(conn)
        return
    from importer.store.sqlite import checks

    checks.make_ours(conn, path)
    _set_up(conn)
    checks.bring_up_to_date(conn, path)


def _set_up(conn: SqliteConnection) -> None:
    """Set what SQLite does not keep, and read back what matters."""
    wanted = {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "cache_size": -CACHE_KIB,
        "temp_store": 1,
        "secure_delete": 1,  # what an update frees must not outlive an erasure; Debian's SQLite does so by itself
    }
    for pragma, value in wanted.items():
        conn.execute(f"PRAGMA {pragma} = {value}").fetchall()
        if (actual := conn.execute(f"PRAGMA {pragma}").fetchone()[0]) != value:
            raise StoreUnusable(f"PRAGMA {pragma}: got {actual}; expected {value}. Is the file system fit for SQLite?")
    conn.execute(f"PRAGMA journal_size_limit = {64 << 20}").fetchall()
