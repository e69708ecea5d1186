"""
The state of the host: the database, the clock, and what `rosterd doctor` found.

The service may not read the configuration of sshd, the logins or the processes of the host. Doctor may, as its timer
runs it as root; the service logs what that recorded.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from importer.names import WORK
from importer.settings import ClientSettings
from importer.store.database import Store
from importer.store.errors import StoreError
from importer.store.tables import hosts
from watcher.health.checks.clock import SLACK_S, ahead_s, difference
from watcher.health.checks.results import DOCTOR, last_run
from watcher.health.storage import Storage
from watcher.health.trouble import Troubles
from watcher.settings import ServiceSettings

log = structlog.get_logger()

_NOTE_INTERVAL_S: Final = 60.0  # a host is missed after five minutes
DOCTOR_LASTS: Final = timedelta(hours=1)  # what it found is not told any more once its timer is off


class Host:
    """Looks at the host regularly."""

    def __init__(self, store: Store, service: ServiceSettings, troubles: Troubles) -> None:
        self._store = store
        self._note_at = -math.inf  # by the monotonic clock
        self._storage = Storage(store, service.place, troubles)
        self._state_dir = service.state_dir
        self._troubles = troubles
        self._ahead_s: dict[str, float] = {}  # the file systems of inboxes, by `.work`
        self._differing: dict[str, float] = {}  # those by too much: to look for them would take each sweep of all
        self._faults: tuple[str, ...] = ()  # of doctor, as logged

    @property
    def next_at(self) -> float:
        """Return when `tend` is to be called next, by the monotonic clock."""
        return self._storage.next_at

    @property
    def database_trouble(self) -> str:
        """Return why nothing can be recorded, "" if it can."""
        return self._storage.trouble

    @property
    def clock_ahead_s(self) -> float:
        """Return by how much the clock is ahead of that of a file system, negative if behind: the most of all."""
        return -max(self._ahead_s.values(), key=abs, default=0.0)

    @property
    def clock_trouble(self) -> str:
        """Return what is wrong with the clock, "" for nothing."""
        return next((difference(folder, ahead) for folder, ahead in self._differing.items()), "")

    def use(self, clients: Iterable[ClientSettings]) -> None:
        """Look at the inboxes of these clients from now on."""
        folders = {_work_of(client) for client in clients}
        self._ahead_s = {folder: ahead for folder, ahead in self._ahead_s.items() if folder in folders}
        self._differing = {folder: ahead for folder, ahead in self._differing.items() if folder in folders}

    def tend(self, now: float) -> None:
        """Check database and doctor, if it is time. Raises as `Storage.tend` does."""
        if now >= self.next_at:
            self._note_doctor()
            self._storage.tend(now)
            self._note_host(now)

    def note_swept(self, client: ClientSettings) -> None:
        """Compare the clock with that of the file system of an inbox that was swept just now."""
        folder, had_trouble = _work_of(client), bool(self._differing)
        self._differing.pop(folder, None)
        try:
            self._ahead_s[folder] = ahead = ahead_s(folder)
        except OSError:  # the next sweep says why
            self._ahead_s.pop(folder, None)
        else:
            if difference(folder, ahead):
                self._differing[folder] = ahead
        if self._differing:
            self._troubles.report("clock.differs", reason=f"by more than {SLACK_S} s from that of a file system")
        elif had_trouble:
            self._troubles.clear("clock.differs")
            log.info("clock.agrees")

    def _note_host(self, now: float) -> None:
        """Let other hosts know that this one is there."""
        if now >= self._note_at and not self._storage.trouble:
            self._note_at = now + _NOTE_INTERVAL_S
            with contextlib.suppress(StoreError):  # its next check tells of it
                hosts.note(self._store.conn, self._store.shared_time(datetime.now(UTC)))

    def _note_doctor(self) -> None:
        run = last_run(self._state_dir, DOCTOR)
        is_fresh = run is not None and datetime.now(UTC) - run.at < DOCTOR_LASTS
        faults = run.faults if run is not None and is_fresh else ()
        before, self._faults = self._faults, faults
        if run is not None and faults and faults != before:
            log.error("host.faulty", faults=run.problems.get("fault", 0), reason="; ".join(faults))
        elif before and not faults:
            log.info("host.recovered")


def _work_of(client: ClientSettings) -> str:
    return os.path.join(client.inbox, os.fsdecode(WORK))
