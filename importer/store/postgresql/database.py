"""The one connection of this host that writes, and its transactions."""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from importer.model import Interrupted
from importer.store.database import Transactions
from importer.store.errors import StoreBusy, StoreInterrupted
from importer.store.postgresql.connection import LOCK_TIMEOUT, PostgresqlConnection, connect
from importer.store.postgresql.migrating import migrate
from importer.store.postgresql.rows.copies import WorkingCopies

if TYPE_CHECKING:  # what only imports need
    from importer.model import Change
    from importer.rows.batches import Examination
    from importer.settings import FeedSettings
    from importer.store.recording import Recorder

# Whatever is the default: what others have committed is seen by the next statement, as after the wait for a lock.
# Of one transaction alone: a pooler gives the next one to another session. Nothing waits, or is held, for ever.
_BEGIN: Final = f"""
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL lock_timeout = '{LOCK_TIMEOUT}';
SET LOCAL statement_timeout = '15min';
SET LOCAL idle_in_transaction_session_timeout = '5min';
SET LOCAL client_connection_check_interval = '10s'
"""


_CLOCK_S: Final = 60.0  # so often the clocks are compared
_CLOCK_SLACK: Final = timedelta(seconds=5)  # the way to the server takes time, too
_SIZE_S: Final = 10.0  # a size is kept: the server looks at each file of the database, for each file of a client


class PostgresqlStore(Transactions):
    """The database of several hosts, as `store/database` names what is asked of it."""

    conn: PostgresqlConnection

    def __init__(self, conn: PostgresqlConnection, connect_again: Callable[[], PostgresqlConnection]) -> None:
        self.conn = conn
        self._copies = WorkingCopies()
        self._size_bytes, self._size_until = 0, -math.inf
        self._ahead, self._ahead_until = timedelta(), -math.inf  # of the server's clock
        self._connect_again = connect_again

    @classmethod
    def open(
        cls, url: str, host: str = "", password: str = "", *, waiting: Callable[[], None] | None = None
    ) -> PostgresqlStore:
        """Open the database and bring it up to date; more as in `connect`. Raises StoreUnusable, StoreError."""
        connect_again = functools.partial(connect, url, host, password, waiting=waiting)
        conn = connect_again()
        try:
            migrate(conn)
        except BaseException:
            conn.close()
            raise
        return cls(conn, connect_again)

    @contextlib.contextmanager
    def _whole(self, before_commit: Callable[[], None]) -> Iterator[None]:
        """Raise StoreUnreachable when the connection is lost: at the COMMIT it is then not known what came of it."""
        self.conn.execute_later(_BEGIN)
        try:
            yield
            before_commit()
            self.conn.execute("COMMIT")
        except BaseException:
            self.conn.roll_back()
            raise

    @contextlib.contextmanager
    def importing(self, before_commit: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Run the block in a transaction; what the server itself changes is not noticed, see docs/scale-out.md."""
        with self.transaction(before_commit):
            try:
                yield
            finally:
                self._copies.close()

    def recorder(
        self, examination: Examination, feed: FeedSettings, *, import_id: int, at: datetime, approved: Sequence[Change]
    ) -> Recorder:
        """Return what records a file in the transaction that is open; somebody has `approved` changes of it."""
        from importer.store.postgresql.rows import recorder, staging

        file = staging.File(examination, feed, import_id)
        return recorder.PostgresqlRecorder(self.conn, self._copies, file, at=at, approved=approved)

    def note_gone(self, unique_ids: Iterable[str]) -> None:
        """Keep ids in lines of the last file that this one does not have, for its recorder."""
        from importer.store.sqlite.rows import feed

        feed.prepare_gone(self._copies.renewed(), unique_ids)

    @contextlib.contextmanager
    def interruptible(self, stopping: Callable[[], bool]) -> Iterator[None]:
        """Ask `stopping` before each statement, and now and then while one is under way. Raises Interrupted."""

        def ask() -> None:
            if stopping():
                raise Interrupted

        conn = self.conn
        conn.before_each, conn.raw.stopping, self._copies.stopping = ask, stopping, stopping
        try:
            yield
        except StoreInterrupted:  # in a working copy
            ask()
            raise Interrupted from None
        except StoreBusy:  # it may have been cancelled
            ask()
            raise
        finally:
            conn.before_each, conn.raw.stopping, self._copies.stopping = lambda: None, None, lambda: False

    def check_writable(self) -> None:
        """
        Raise StoreUnavailable when nothing could be written now; StoreBusy while an earlier check is not over.

        It writes, and commits: a server that waits for its standby, or whose log is full, shows only then.
        """
        with self.transaction():
            self.conn.execute("SET LOCAL lock_timeout = '3s'")
            self.conn.execute("UPDATE hosts SET last_seen = last_seen WHERE host = ?", (self.conn.host,))

    def is_replaced(self) -> bool:
        """Tell that it is not a file that another one could replace."""
        return False

    def may_give_up(self) -> bool:
        """Tell the same."""
        return False

    def fold_log(self, *, shrink: bool = False) -> None:
        """Leave the log to the server."""

    def open_again(self) -> None:
        """Connect again: a connection that was lost stays so."""
        fresh = self._connect_again()
        self.conn.close()
        self.conn = fresh

    @property
    def size_bytes(self) -> int:
        """Return the size of the database, some seconds ago at most; 0 where the server does not tell."""
        if (now := time.monotonic()) >= self._size_until:
            (size_bytes,) = self.conn.execute("SELECT pg_database_size(current_database())").fetchone()
            self._size_bytes, self._size_until = int(size_bytes or 0), now + _SIZE_S
        return self._size_bytes

    def shared_time(self, now: datetime) -> datetime:
        """Return it by the server's clock, by which leases and limits hold for all hosts."""
        if (tick := time.monotonic()) >= self._ahead_until:
            (server_s,) = self.conn.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone()
            ahead = datetime.fromtimestamp(float(server_s), UTC) - datetime.now(UTC)
            self._ahead = ahead if abs(ahead) > _CLOCK_SLACK else timedelta()
            self._ahead_until = tick + _CLOCK_S
        return now + self._ahead

    def close(self) -> None:
        """Close the connection."""
        self.conn.close()
