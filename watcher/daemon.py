"""
The daemon: the one work loop.

The loop runs in the main thread, which owns the store; other threads receive events, deliver mail and write the log,
and never touch folders or database. One file is worked on at a time, clients take turns, and between two files
everything else that is due is done. With a database on a server, claims are processed by threads next to the loop,
several at a time: see `inbox/work`.
"""

from __future__ import annotations

import contextlib
import time
from typing import Final

import structlog

from importer.store.database import Store
from importer.store.sqlite.connection import VERSION
from watcher import notify
from watcher.adopted import NotReloadable, read_again
from watcher.checking.checks import Checks
from watcher.chores import Chores
from watcher.control.archives import archive_orders
from watcher.control.orders import approval_orders, held_orders, store_orders
from watcher.control.server import ControlServer, Handler, Refused
from watcher.health.alerts import Alerts
from watcher.health.metrics_source import Source, source_of
from watcher.health.trouble import Troubles, raise_if_fatal
from watcher.inbox.events import EventQueue
from watcher.inbox.inboxes import Inboxes
from watcher.settings import Config
from watcher.signals import Signals

log = structlog.get_logger()

_MOST_SWEPT: Final = 8  # in a turn: of 10,000 inboxes some are due all the time, and files wait for none of them


class Daemon:
    """The work loop and the parts it uses."""

    def __init__(self, config: Config, store: Store, events: EventQueue, signals: Signals) -> None:
        self._config = config
        self._store = store
        self._events = events
        self._signals = signals
        alerts = Alerts(config.mail)
        troubles = Troubles(alerts, watching=True)
        self._inboxes = Inboxes(config, store, events, signals, troubles, watching=True)
        self._checks = Checks(config, store, self._inboxes, troubles, watching=True)
        self._chores = Chores(config, store, self._inboxes, alerts, troubles)
        self._chores.check_folder = self._checks.status_of
        self._control = ControlServer(config.service.state_dir, events.wake)
        self._control.use(config)

    def source(self) -> Source:
        """Return the source of metrics for the current configuration."""
        return source_of(self._config)

    def run(self) -> None:
        """Work until a signal to stop. Raises StoreUnusable; OSError, SyncFailed or StoreError when a disk fails."""
        self._inboxes.sources.start(time.monotonic())
        self._control.start()
        self._chores.start()
        swept = self._inboxes.sweep_due()
        self._chores.note_sweeps(swept)
        self._checks.take_in(swept)
        log.info("daemon.started", clients=len(self._config.clients), sqlite=VERSION)
        _log_deprecated(self._config)
        notify.ready()
        while not self._signals.stop_asked:
            if not self._turn():
                next_at = min(self._inboxes.next_at(), self._checks.next_at, self._chores.next_at)
                self._events.wait(next_at - time.monotonic())
        self._inboxes.finish()
        self._chores.write_mail()  # not after an error: the database, or its disk, may be what failed

    def _turn(self) -> bool:
        """Process events and orders, do what is due, then one piece of work; return whether there was one."""
        notify.watchdog()
        self._obey()
        self._inboxes.sweeps.take_in(self._events)
        if swept := self._inboxes.sweep_due(_MOST_SWEPT):
            self._chores.note_sweeps(swept)
        self._checks.take_in(swept)
        self._chores.before_work()
        worked = self._inboxes.work() or self._checks.work() or self._chores.purge()
        self._chores.after_work(worked=worked, is_news=worked or bool(swept))
        return worked

    def _obey(self) -> None:
        """Carry out orders given by signal or by command."""
        if self._signals.take_reload():
            with contextlib.suppress(Refused):  # it is in the log
                self._reload()
        self._control.serve_pending(self._orders(), check=raise_if_fatal)

    def _orders(self) -> dict[str, Handler]:
        return {
            **store_orders(self._store, mailing=self._chores.outgoing.mailing, stopping=self._signals.should_abort),
            **held_orders(self._store, self._inboxes.intake.settling, time.monotonic),
            **approval_orders(self._inboxes.on_hold),
            **archive_orders(self._store, lambda: self._config, self._signals.should_abort),
            "reload": self._reload,
        }

    def _reload(self, _order: object = None) -> str:
        """Read the configuration again and use all of it, or keep the old one. Raises Refused."""
        try:
            config = read_again(self._config)
            self._chores.use(config)
        except NotReloadable as error:
            log.error("config.refused", reason=str(error))
            self._chores.reload_trouble = str(error)
            raise Refused(f"the old configuration stays in effect: {error}") from None
        self._config = config
        self._chores.reload_trouble = ""
        self._inboxes.use(config)
        self._checks.use(config)
        self._control.use(config)
        log.info("config.reloaded", clients=len(config.clients))
        _log_deprecated(config)
        return f"the configuration was reloaded; {len(config.clients)} clients"

    def close(self) -> None:
        """Stop watching, listening and sending."""
        notify.stopping()
        self._control.close()
        self._inboxes.close()
        self._chores.close(self._signals)


def _log_deprecated(config: Config) -> None:
    for client in config.clients:
        if client.deprecated:
            setting, instead = client.deprecated
            log.warning("config.deprecated", client=client.name, setting=setting, instead=instead)
