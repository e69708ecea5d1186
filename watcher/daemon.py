"""
The daemon: wires the parts, and the one work loop.

The loop runs in the main thread, which owns the store; other threads hear events, deliver mail and write the log, and
never touch folders or database. One file is dealt with at a time, clients take turns: `intake` looks at a name and
claims the file, `claims` imports and archives it, and between two files everything else that is due has its turn.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import structlog

from importer.store.connection import VERSION
from importer.store.database import Store
from importer.store.errors import StoreError
from watcher import notify
from watcher.adopted import last_adopted, write_adopted
from watcher.config import ConfigError, load_again, ping_url
from watcher.control.archives import Purging, archive_orders
from watcher.control.client import Order
from watcher.control.orders import held_orders, store_orders
from watcher.control.server import ControlServer, Refused
from watcher.health.alerts import Alerts
from watcher.health.heartbeat import Ping
from watcher.health.mailing import POLL_S, Mailing
from watcher.health.metrics_source import Source, source_of
from watcher.health.overdue import Lateness
from watcher.health.status import ClientStatus, Status, StatusFile, count_states, moment, told_files
from watcher.health.storage import Storage
from watcher.health.trouble import Troubles, raise_if_fatal
from watcher.inbox.events import Hints
from watcher.inbox.intake import Intake
from watcher.inbox.processing import Claims
from watcher.inbox.queue import Backlog
from watcher.inbox.sources import EventSources
from watcher.settings import Config, ServiceSettings
from watcher.signals import Signals

log = structlog.get_logger()

MAIL_PATIENCE_S: Final = 5.0  # for the mail in hand, when told to stop


class Daemon:
    """The work loop and all it works with."""

    def __init__(
        self,
        config: Config,
        store: Store,
        hints: Hints,
        signals: Signals,
        *,
        watching: bool,
    ) -> None:
        """`watching`: else it is a single pass, which neither hears of events nor takes orders."""
        self._store = store
        self._hints = hints
        self._signals = signals
        self._started_at = datetime.now(UTC)
        self._backlog = Backlog()
        self._purging = Purging(store)
        self._lateness = Lateness(store)
        self._ping = _ping_of(config.service)
        self._config = config
        self._clients = config.clients_by_name
        self._alerts = Alerts(config.mail)
        self._troubles = Troubles(self._alerts, watching=watching)
        self._mailing = Mailing(store, self._troubles, config.mail)
        self._storage = Storage(store, Path(config.service.database), self._troubles)
        self._claims = Claims(
            config,
            store,
            self._backlog,
            self._troubles,
            stopping=self._gives_up,
            others_due_at=self._others_due_at if watching else None,
        )
        self._sources = EventSources(config, hints, self._troubles, watching=watching)
        self._intake = Intake(config, self._claims, self._troubles, self._sources, watching=watching)
        self._lateness.use(config, self._started_at)
        state_dir = config.service.state_dir
        self._control = ControlServer(state_dir, hints.wake)
        held = held_orders(self._intake.settling, time.monotonic)
        of_store = store_orders(store, mail_trouble=lambda: self._mailing.trouble)
        self._orders = {**of_store, **held, "reload": self._reload_ordered}
        self._orders |= archive_orders(store, lambda: self._config, self._gives_up)
        self._status_file = StatusFile(state_dir)
        with contextlib.suppress(OSError):  # then it is not known where inboxes were
            if before := last_adopted(state_dir):
                self._claims.find_left(before)
        write_adopted(config)

    def _adopt(self, config: Config) -> None:
        """Work by this configuration from now on; every inbox is swept; what is known of files and trouble stays."""
        before, self._config = self._config, config
        self._clients = config.clients_by_name
        self._alerts.use(config.mail)
        self._claims.use(config)
        self._claims.find_left(before)
        self._sources.use(config)
        self._intake.use(config)
        self._lateness.use(config, datetime.now(UTC))
        write_adopted(config)

    def _reload(self) -> str:
        """Read the configuration again and adopt it whole; or keep the old one, and return why."""
        try:
            config = load_again(self._config)
            url = ping_url(config.service)
        except (ConfigError, PermissionError) as error:
            return str(error)
        if _fixed(config) != _fixed(self._config):
            return "[service], [log] and [metrics] change with a restart only, ping_url aside"
        if why := self._mailing.use(config.mail):
            return why
        if url != self._ping.url:
            self._ping.close()
            self._ping = Ping(url)
            self._ping.start()
        self._adopt(config)
        return ""

    def _reload_ordered(self, _order: Order | None = None) -> str:
        if why := self._reload():
            log.error("config.refused", reason=why)
            raise Refused(f"the old configuration stays: {why}")
        log.info("config.reloaded", clients=len(self._clients))
        return f"the configuration was read again; {len(self._clients)} clients"

    def source(self) -> Source:
        """Return where the figures come from, by the configuration of now."""
        return source_of(self._config)

    # The loop

    def run(self) -> None:
        """Work until told to stop. Raises StoreUnusable; OSError, SyncFailed or StoreError when a disk fails."""
        self._sources.start(time.monotonic())
        self._control.start()
        self._ping.start()
        self._sweep_due()
        log.info("daemon.started", clients=len(self._clients), sqlite=VERSION)
        notify.ready()
        while not self._signals.stop_asked:
            if not self._turn():
                self._hints.wait(self._next_at() - time.monotonic())

    def run_once(self) -> int:
        """
        Work off what lies in the inboxes; return the exit code, which is not 0 when trouble left a file behind.

        A fresh file gets its quiet period, and its grace when only the end of its last line is missing; what is being
        written or held for longer stays for another time.
        """
        self._ping.start()
        self._sweep_due()
        self._work_off()
        taken = 0
        while self._intake.crowded and self._intake.taken > taken and not self._signals.stop_asked:
            taken = self._intake.taken
            for client in sorted(self._intake.crowded):
                self._sweep(client)
            self._work_off()
        self._tell_of_missing()
        self._alerts.tend(self._store)
        self._send_all()
        while not self._signals.stop_asked and self._purge():
            notify.watchdog()
        return 0 if self._signals.stop_asked else self._troubles.exit_code

    def _work_off(self) -> None:
        """Work until nothing more can be taken within the patience of a single pass."""
        patience_s = 2 * self._config.intake.quiet_s + self._config.intake.unterminated_grace_s
        until = time.monotonic() + patience_s
        while not self._signals.stop_asked:
            if not self._work():
                blocked = self._backlog.blocked()
                names_at = self._intake.settling.next_due_at(without=blocked, in_writing=False)
                next_at = min(names_at, self._backlog.next_due_at())
                if next_at > until:
                    break
                self._hints.wait(next_at - time.monotonic())

    def _turn(self) -> bool:
        """Take in what was heard, do what is due, then one piece of work; return whether there was one."""
        notify.watchdog()
        self._obey()
        self._intake.take_in(self._hints)
        swept = self._sweep_due()
        self._sources.tend(time.monotonic())
        self._storage.tend(time.monotonic())
        worked = self._work() or self._purge()
        self._tell_of_missing()
        self._alerts.tend(self._store)
        mail_trouble = self._mailing.trouble
        self._mailing.move(datetime.now(UTC), at_once=worked)
        is_news = worked or swept or self._mailing.trouble != mail_trouble
        self._status_file.keep(self._status, time.monotonic(), worked=is_news)
        return worked

    def _obey(self) -> None:
        """Do what was ordered by signal or by command."""
        if self._signals.take_reload():
            with contextlib.suppress(Refused):  # it is in the log
                self._reload_ordered()
        self._control.serve_pending(self._orders, check=raise_if_fatal)

    def _status(self) -> Status:
        now, at = time.monotonic(), datetime.now(UTC)
        return Status(
            pid=os.getpid(),
            started_at=self._started_at,
            written_at=at,
            clients=tuple(self._status_of(client, now, at) for client in self._clients),
            watch_restarts=self._sources.restarts,
            ping_trouble=self._ping.trouble,
            database_trouble=self._storage.trouble,
            mail_trouble=self._mailing.trouble,
        )

    def _status_of(self, client: str, now: float, at: datetime) -> ClientStatus:
        waiting = list(self._intake.settling.waiting(client))
        swept_at, sweep_s = self._intake.last_sweep(client)
        return ClientStatus(
            client=client,
            is_watched=self._sources.is_watching(client),
            swept_at=moment(swept_at, now, at),
            sweep_s=sweep_s,
            trouble=self._troubles.about("inbox.unusable", client),
            deferred=self._troubles.about("file.deferred", client) if self._intake.has_come(client) else "",
            is_overdue=self._is_overdue(client, at),
            claims=self._backlog.count(client),
            counts=count_states(waiting),
            files=told_files(waiting, now, at),
        )

    def _is_overdue(self, client: str, at: datetime) -> bool:
        if self._intake.has_come(client):
            return False
        try:
            return self._lateness.missing(client, at) is not None
        except StoreError:  # told by what needs the database more
            return False

    def _next_at(self) -> float:
        """Return when there is something to do if nothing is heard."""
        return min(
            self._intake.next_at(),
            self._backlog.next_due_at(),
            self._mailing.next_at,
            self._status_file.next_at,
            self._storage.next_at,
            self._lateness.next_at,
            self._alerts.next_at,
            self._sources.next_at,
        )

    def _work(self) -> bool:
        """Look at one name, then go on with one claim, as a rule that of this name."""
        looked = self._intake.consider_next()
        return self._claims.work_on_next() or looked

    def _sweep_due(self) -> bool:
        """Sweep what is due; return whether anything was."""
        swept = False
        for client in self._intake.due_for_sweep():
            if self._signals.stop_asked:
                break
            self._sweep(client)
            swept = True
        return swept

    def _sweep(self, client: str) -> None:
        if self._intake.sweep(client):
            self._ping.note_sweep(client, self._clients, self._intake.unusable)

    # Beside the files

    def _gives_up(self) -> bool:
        """Return whether to leave the file in hand for the next start; asked now and then while it is imported."""
        notify.watchdog()
        return self._signals.stop_overdue()

    def _others_due_at(self, client: str) -> float:
        """Return when a file of any other client is due for a look; after a stop was asked for there are no looks."""
        if self._signals.stop_asked:
            return math.inf
        self._intake.take_in(self._hints, telling=False)
        return self._intake.others_due_at(client)

    def _purge(self) -> bool:
        """Remove a little of what was kept long enough; return whether there was any."""
        try:
            return self._purging.step(self._config, time.monotonic())
        except StoreError as error:
            self._troubles.tell_error("store.refused", error)
            return False

    def _tell_of_missing(self) -> None:
        """Tell of uploads that have not come in time."""
        try:
            self._lateness.tend(time.monotonic(), datetime.now(UTC), self._intake.has_come)
        except StoreError as error:
            self._troubles.tell_error("store.refused", error)

    def _send_all(self) -> None:
        """Send the mail that is due, before the end of a single pass."""
        while not self._signals.stop_asked and self._mailing.move(datetime.now(UTC), at_once=True):
            self._hints.wait(POLL_S)

    def close(self) -> None:
        """End watching, listening and sending."""
        notify.stopping()
        self._intake.close()
        self._control.close()
        self._sources.close()
        self._ping.close()
        self._alerts.tend(self._store)
        if self._signals.stop_allows(MAIL_PATIENCE_S):
            with contextlib.suppress(StoreError):  # the mail is sent again, with the same Message-ID
                self._mailing.close(datetime.now(UTC))


def _ping_of(service: ServiceSettings) -> Ping:
    """Return what gives the sign of life; a secret that cannot be read costs that, and nothing else."""
    try:
        return Ping(ping_url(service))
    except ConfigError as error:
        log.error("ping.failed", host="", reason=str(error))
        return Ping("", trouble=str(error))


def _fixed(config: Config) -> tuple[msgspec.Struct, ...]:
    """Return what cannot change while the daemon runs."""
    return msgspec.structs.replace(config.service, ping_url=""), config.log, config.metrics
