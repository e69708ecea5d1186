"""A single pass over the inboxes, with no events, orders or status: `rosterd sweep`."""

from __future__ import annotations

from datetime import UTC, datetime

from importer.store.database import Store
from watcher import notify
from watcher.checking.checks import Checks
from watcher.chores import Chores
from watcher.health.alerts import Alerts
from watcher.health.mailing import POLL_S
from watcher.health.trouble import Troubles
from watcher.inbox.events import EventQueue
from watcher.inbox.inboxes import Inboxes
from watcher.settings import Config
from watcher.signals import Signals


class SinglePass:
    """
    Imports what is in the inboxes now.

    A new file gets its quiet period, and its grace when only the end of its last line is missing; files that are being
    written or held for longer are left for a later pass.
    """

    def __init__(self, config: Config, store: Store, events: EventQueue, signals: Signals) -> None:
        self._events = events
        self._signals = signals
        alerts = Alerts(config.mail)
        self._troubles = Troubles(alerts, watching=False)
        self._inboxes = Inboxes(config, store, events, signals, self._troubles, watching=False)
        self._checks = Checks(config, store, self._inboxes, self._troubles, watching=False)
        self._chores = Chores(config, store, self._inboxes, alerts, self._troubles)

    def run(self) -> int:
        """Return the exit code, which is not 0 when a problem left a file behind. Raises as `Daemon.run`."""
        self._chores.start()
        swept = self._inboxes.sweep_due()
        self._chores.note_sweeps(swept)
        self._checks.take_in(swept)
        self._inboxes.work_off()
        self._sweep_crowded_inboxes()
        self._checks.work_off()
        self._chores.write_mail()
        outgoing = self._chores.outgoing
        while not self._signals.stop_asked and outgoing.move(datetime.now(UTC), at_once=True):
            self._events.wait(POLL_S)
        while not self._signals.stop_asked and self._chores.purge():
            notify.watchdog()
        self._chores.write_mail()
        return 0 if self._signals.stop_asked else self._troubles.exit_code

    def _sweep_crowded_inboxes(self) -> None:
        """Sweep inboxes with more files than are kept in memory again, as long as that finds files."""
        intake, sweeps, taken = self._inboxes.intake, self._inboxes.sweeps, 0
        while sweeps.crowded and intake.taken > taken and not self._signals.stop_asked:
            taken = intake.taken
            for client in sorted(sweeps.crowded):
                sweeps.sweep(client)
                self._chores.note_sweeps([client])
            self._inboxes.work_off()

    def close(self) -> None:
        """End looks at files that are in progress."""
        notify.stopping()
        self._inboxes.close()
        self._chores.close(self._signals)
