"""
A large import makes way for what other clients have ready.

One transaction imports one file: without this the others would wait for 20 to 40 s next to a million new users. The
check that the import makes, also from within SQLite, reads values only: clocks, and what the threads that hear of
uploads have put into the queue of hints. No folder is opened until the import was left and rolled back.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from importer.model import Claim
from watcher.inbox.events import Hints
from watcher.inbox.large_files import LARGE_BYTES, Readings
from watcher.inbox.queue import Backlog
from watcher.inbox.settle import Settling
from watcher.settings import Config
from watcher.signals import Signals

# New users, which take longest, were imported at 5 to 18 MiB a second.
_BYTES_PER_S: Final = 8 << 20
_CHECK_INTERVAL_S: Final = 0.05


class Preemption:
    """Decides whether a large file has to wait, or to be left in the midst of its import. `watching`: else never."""

    def __init__(
        self,
        settling: Settling,
        readings: Readings,
        backlog: Backlog,
        hints: Hints,
        signals: Signals,
        *,
        watching: bool,
    ) -> None:
        self._settling = settling
        self._readings = readings
        self._backlog = backlog
        self._hints = hints
        self._signals = signals
        self.should_abort = signals.should_abort  # the file in hand, for a stop
        self._watching = watching

    def use(self, config: Config) -> None:
        """Work by this configuration from now on."""
        self._quiet_s = config.intake.quiet_s
        self._give_way_s = config.intake.give_way_s
        self._max_file_bytes = config.file.max_file_bytes

    def must_wait(self, claim: Claim) -> bool:
        """Return whether another client has something ready, or will have before a large file would be imported."""
        now, without = time.monotonic(), self._unready(claim.client)
        if now >= self._turn_at(claim):
            return False
        due_at = min(self._settling.next_ready_at(without=without), self._hints.quiet_since(without) + self._quiet_s)
        return self._backlog.next_due_at(without=claim.client) <= now or due_at <= now + claim.size_bytes / _BYTES_PER_S

    def check_for(self, claim: Claim) -> Callable[[], bool]:
        """
        Return what says, asked now and then, whether to leave the file that is being imported: a stop, or others.

        It waits for no other claim: two large files would put each other off for ever. What is known of names changes
        only between two files, so it is read once.
        """
        without, turn_at = self._unready(claim.client), self._turn_at(claim)
        names_at = self._settling.next_ready_at(without=without)
        check_at = -math.inf

        def should_leave() -> bool:
            nonlocal check_at
            if self.should_abort():
                return True
            now = time.monotonic()
            if self._signals.stop_asked or not check_at <= now < turn_at:
                return False
            check_at = now + _CHECK_INTERVAL_S
            return min(names_at, self._hints.quiet_since(without) + self._quiet_s) <= now

        return should_leave

    def _turn_at(self, claim: Claim) -> float:
        """Return until when a file lets others go first; nothing is lost by that but time."""
        is_long = LARGE_BYTES <= claim.size_bytes <= self._max_file_bytes and not claim.refusal
        if not (self._watching and is_long):
            return -math.inf
        return self._backlog.note_try(claim.claim_id, time.monotonic()) + self._give_way_s

    def _unready(self, client: str) -> set[str]:
        """Return the clients whose names need not be thought of: this one, and those that cannot be served now."""
        return {client, *self._backlog.blocked(), *self._readings.unready()}
