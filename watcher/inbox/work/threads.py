"""
Threads that process claims next to the loop, several at a time: where the database is on a server.

The loop decides which claim is next, makes claims, and acts on how each ended. A thread has a connection of its own,
and opens and changes the folders of the one claim that it has; nothing else is shared. It is started once there is
something to do for it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Final

from importer.model import Claim
from importer.store.database import Store
from importer.store.errors import StoreUnreachable
from watcher.health.room import Room
from watcher.health.trouble import Troubles
from watcher.inbox.processing import End, Job, Processing
from watcher.inbox.work.committed import Record
from watcher.inbox.work.lost import LostClaims
from watcher.settings import Config
from watcher.signals import Signals

_PATIENCE_S: Final = 2.0  # for all at the end; what a thread has not committed then is rolled back by the server


class ImportThreads:
    """The threads. The methods are for the loop; `wake` lets it know that there is something to take."""

    def __init__(self, signals: Signals, troubles: Troubles, wake: Callable[[], None], lost: LostClaims) -> None:
        self._signals = signals
        self._troubles = troubles
        self._wake = wake
        self.lost = lost
        self._jobs: queue.SimpleQueue[tuple[Config, Job] | None] = queue.SimpleQueue()
        self._ends: queue.SimpleQueue[End] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0
        self._is_closing = False

    def give(self, config: Config, job: Job) -> None:
        """Have a claim processed by this configuration."""
        self._busy += 1
        if self._busy > len(self._threads):
            # A daemon thread: one that hangs must not keep the process from ending.
            thread = threading.Thread(target=self._run, name="import", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._jobs.put((config, job))

    @property
    def has_ended(self) -> bool:
        """Return whether there is an end to take."""
        return not self._ends.empty()

    def take(self) -> End | None:
        """Return how a claim ended, None while there is none."""
        try:
            end = self._ends.get_nowait()
        except queue.Empty:
            return None
        self._busy -= 1
        return end

    def close(self) -> None:
        """Abort what is under way, and end the threads."""
        self._is_closing = True
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(_PATIENCE_S)

    def should_abort(self) -> bool:
        """Return whether to abort what is under way; unlike that of the loop it says nothing to the watchdog."""
        return self._is_closing or self._signals.stop_overdue()

    # The threads

    def _run(self) -> None:
        own = _Own(self._troubles, self.should_abort, self.lost.record)
        while (given := self._jobs.get()) is not None:
            end = own.process(*given)
            del given
            self._ends.put(end)
            del end
            self._wake()
        own.close()


class _Own:
    """What a thread has of its own."""

    def __init__(self, troubles: Troubles, should_abort: Callable[[], bool], record: Record) -> None:
        self._troubles = troubles
        self._record = record
        self._pace = _Unhurried(should_abort)
        self._store: Store | None = None
        self._config: Config | None = None

    def process(self, config: Config, job: Job) -> End:
        """Process a claim; once more by a new connection, if that of before was lost while there was nothing to do."""
        was_open = self._store is not None
        end = self._process(config, job)
        if isinstance(end.error, StoreUnreachable):
            self.close()
            if was_open and end.receipt is None:
                return self._process(config, job)
        return end

    def _process(self, config: Config, job: Job) -> End:
        try:
            if self._store is None:
                self._store, self._config = config.service.place.open(), None
            if self._config is not config:
                room = Room(self._store, self._troubles, self._pace.should_abort)
                self._config = config
                self._processing = Processing(self._store, room, self._pace, self._record)
                self._processing.use(config)
        except Exception as error:  # noqa: BLE001 - the loop knows what each means
            return End(job, error=error)
        return self._processing.process(job)

    def close(self) -> None:
        """Close the connection."""
        if self._store is not None:
            self._store.close()
            self._store = None


class _Unhurried:
    """The pace of a thread: no other file waits for the one that it has."""

    def __init__(self, should_abort: Callable[[], bool]) -> None:
        self.should_abort = should_abort

    def must_wait(self, _: Claim) -> bool:
        return False

    def check_for(self, _: Claim) -> Callable[[], bool]:
        return self.should_abort
