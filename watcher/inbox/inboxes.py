"""The inboxes of all clients, as the loop sees them: connects the parts of this folder, and reloads them together."""

from __future__ import annotations

import contextlib
import itertools
import time
from typing import Final

from importer.store.database import Store
from watcher.adopted import last_adopted, write_adopted
from watcher.health.trouble import Troubles
from watcher.inbox.events import EventQueue
from watcher.inbox.intake import Intake
from watcher.inbox.large_files import Readings
from watcher.inbox.queue import Backlog, Preemption
from watcher.inbox.settle import Settling
from watcher.inbox.sources import EventSources
from watcher.inbox.sweeps import Sweeps
from watcher.inbox.work.claims import Claims
from watcher.inbox.work.lost import LostClaims
from watcher.inbox.work.threads import ImportThreads
from watcher.settings import Config
from watcher.signals import Signals
from watcher.strays.report import Strays

_GATHERING_S: Final = 0.2


class Inboxes:
    """
    Detects uploads and takes each to its archive; not `watching`: a single pass, which receives no events.

    Its knowledge of files survives a reload.
    """

    def __init__(
        self, config: Config, store: Store, events: EventQueue, signals: Signals, troubles: Troubles, *, watching: bool
    ) -> None:
        self._config = config
        self.events = events
        self.signals = signals
        at_once = config.service.at_once
        self.backlog = Backlog(at_once)
        lost = LostClaims(config.service.state_dir, store, self.backlog, troubles) if at_once else None
        self._threads = ImportThreads(signals, troubles, events.wake, lost) if lost else None
        self.sources = EventSources(config, events, troubles, watching=watching)
        settling, readings = Settling(config.intake), Readings(watching=watching)
        preemption = Preemption(settling, readings, self.backlog, events, signals, watching=watching)
        self._claims = Claims(config, store, self.backlog, troubles, preemption, self._threads)
        self.on_hold = self._claims.on_hold
        self.strays = Strays(config, store, troubles)
        self.sweeps = Sweeps(config, settling, self._claims, troubles, self.sources, self.strays)
        self.intake = Intake(config, settling, readings, self._claims, troubles, self.sweeps)
        with contextlib.suppress(OSError):  # then earlier inboxes are not known
            if before := last_adopted(config.service.state_dir):
                self._claims.earlier.find(config, before.config, before.former)
        write_adopted(config, self._claims.earlier.folders)

    def use(self, config: Config) -> None:
        """Use this configuration from now on; every inbox is swept."""
        before, self._config = self._config, config
        self._claims.use(config)
        self._claims.earlier.find(config, before)
        self.sources.use(config)
        self.strays.use(config)
        self.sweeps.use(config)
        self.intake.use(config)
        write_adopted(config, self._claims.earlier.folders)

    def close(self) -> None:
        """Stop watching, and what is in progress."""
        self.intake.close()
        self.sources.close()
        if self._threads:
            self._threads.close()

    def used_bytes(self, client: str) -> int | None:
        """Return the size of the files that stay in an inbox, None where it has no limit."""
        return self._claims.room.inbox_bytes.get(client)

    def next_at(self) -> float:
        """Return the next time at which there is work if no event arrives, by the monotonic clock."""
        return min(self.intake.next_at(), self.sweeps.next_at, self._claims.next_at(), self.sources.next_at)

    def next_import_at(self) -> float:
        """Return when the next file is likely to be imported, by values alone: it is asked while a file is checked."""
        without = self.intake.left_alone()
        names_at = self.intake.settling.next_ready_at(without=without)
        events_at = self.events.quiet_since(without) + self._config.intake.quiet_s
        return min(names_at, events_at, self._claims.next_at())

    def sweep_due(self, most: int | None = None) -> list[str]:
        """Sweep what is due, `most` at most, until a signal to stop; return the clients, also of unusable inboxes."""
        swept = []
        for client in itertools.islice(self.sweeps.due_for_sweep(), most):
            if self.signals.stop_asked:
                break
            self.sweeps.sweep(client)
            swept.append(client)
        return swept

    def work(self) -> bool:
        """
        Examine one name, then process one claim, usually that of this name; return whether there was one.

        Of many small files some are examined first, so that their claims share what each takes alone: see `backlog`.
        """
        looked = self.intake.consider_next()
        until = time.monotonic() + _GATHERING_S
        while self.backlog.next_due(now := time.monotonic()).has_room and now < until and self.intake.consider_next():
            pass
        return self._claims.work_on_next() or looked

    def work_off(self) -> None:
        """Work until nothing more can be taken within the patience of a single pass."""
        intake = self._config.intake
        until = time.monotonic() + 2 * intake.quiet_s + intake.unterminated_grace_s
        while not self.signals.stop_asked:
            if not self.work():
                next_at = self._claims.next_at()
                if not self.backlog.is_ahead:
                    without = self.backlog.blocked()
                    next_at = min(next_at, self.intake.settling.next_due_at(without=without, in_writing=False))
                if next_at > until and not self.backlog.running.claims:
                    break
                self.events.wait(next_at - time.monotonic())
        self.finish()

    def finish(self) -> None:
        """Wait for what is being processed; after a signal to stop it ends, or is aborted, in time."""
        while self.backlog.running.claims:
            if not self._claims.take_in_ended():
                self.events.wait(_GATHERING_S)
