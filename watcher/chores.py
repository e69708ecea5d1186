"""Periodic work between two files: checks of the host, purging, mail, status and heartbeat."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Container, Iterable
from datetime import UTC, datetime

from importer.store.database import Store
from importer.store.errors import StoreError
from watcher.adopted import NotReloadable
from watcher.approval.freezes import Announcements
from watcher.control.archives import Purging
from watcher.health.alerts import Alerts
from watcher.health.checks.host import Host
from watcher.health.heartbeat import heartbeat_of
from watcher.health.overdue import OverdueUploads
from watcher.health.status import (
    CheckFolderStatus,
    ClientStatus,
    Status,
    StatusFile,
    count_states,
    listed_files,
    moment,
)
from watcher.health.trouble import Troubles
from watcher.inbox.inboxes import Inboxes
from watcher.outgoing.outgoing import PATIENCE_S, Outgoing
from watcher.readers.read_copy import ReadCopy
from watcher.settings import Config
from watcher.signals import Signals


class Chores:
    """Does each chore when it is due, on the thread of the loop. Their state survives a reload."""

    def __init__(self, config: Config, store: Store, inboxes: Inboxes, alerts: Alerts, troubles: Troubles) -> None:
        self._config = config
        self._store = store
        self._inboxes = inboxes
        self._alerts = alerts
        self._troubles = troubles
        self._started_at = datetime.now(UTC)
        self.outgoing = Outgoing(store, troubles, config)
        self._host = Host(store, config.service, troubles)
        self._read_copy = ReadCopy(config.service, troubles)
        self._purging = Purging(store)
        self._announcements = Announcements(config, store)
        self._overdue = OverdueUploads(store)
        self._overdue.use(config, self._started_at)
        self._heartbeat = heartbeat_of(config.service)
        self._status_file = StatusFile(config.service.state_dir)
        self.reload_trouble = ""  # why the last reload was refused
        self.check_folder: Callable[[str], CheckFolderStatus | None] = lambda _: None  # of a client
        self._shown: tuple[str, ...] = ()  # the troubles that the status has

    def use(self, config: Config) -> None:
        """Use this configuration. Raises NotReloadable, and changes nothing, if it would prevent sending mail."""
        if reason := self.outgoing.use(config):
            raise NotReloadable(reason)
        self._config = config
        self._alerts.use(config.mail)
        self._announcements.use(config)
        self._overdue.use(config, datetime.now(UTC))
        self._host.use(config.clients)
        fresh = heartbeat_of(config.service)
        if fresh.url != self._heartbeat.url:
            self._heartbeat.close()
            self._heartbeat = fresh
            self._heartbeat.start()

    def start(self) -> None:
        """Start the chores that have threads."""
        self._heartbeat.start()

    def close(self, signals: Signals) -> None:
        """Stop. Waits for what is being sent if there is time."""
        self._heartbeat.close()
        self._read_copy.close()
        if signals.stop_allows(PATIENCE_S):
            self.outgoing.close(datetime.now(UTC))

    @property
    def next_at(self) -> float:
        """Return when the next chore is due, by the monotonic clock."""
        mails = (self._inboxes.on_hold, self._announcements, self._overdue, self._alerts, self.outgoing)
        return min(part.next_at for part in (*mails, self._host, self._read_copy, self._status_file))

    # The order matters: whether events arrive and the database is writable is known before a file is claimed; a
    # purge waits until there is no file; then what may write mail, sending it, and the status, which reports it all.

    def before_work(self) -> None:
        """Do what is due before a file is worked on."""
        self._inboxes.sources.tend(time.monotonic())
        self._host.tend(time.monotonic())
        self._read_copy.tend(time.monotonic())

    def purge(self) -> bool:
        """Purge a little of what has reached its age; return whether there was any."""
        try:
            return self._purging.step(self._config, time.monotonic())
        except StoreError as error:
            self._troubles.report_error("store.refused", error)
            return False

    def after_work(self, *, worked: bool, is_news: bool) -> None:
        """Do what is due after it; `worked`: there may be new mail, `is_news`: the status may have changed."""
        self.write_mail()
        self.outgoing.move(datetime.now(UTC), at_once=worked)
        host = (self._host.database_trouble, self._host.clock_trouble)
        troubles = (*host, *self.outgoing.troubles, self._heartbeat.trouble, self.reload_trouble)
        before, self._shown = self._shown, troubles
        self._status_file.keep(self._status, time.monotonic(), worked=is_news or self._shown != before)
        self._store.fold_log()

    def write_mail(self) -> None:
        """Put what is due of all mail but answers into the outbox; alerts and events since the last call likewise."""
        try:
            self.outgoing.hooks.queue_logged()
            self._inboxes.on_hold.tend(time.monotonic(), datetime.now(UTC))
            self._announcements.tend(time.monotonic(), datetime.now(UTC))
        except StoreError as error:
            self._troubles.report_error("store.refused", error)
        if (now := time.monotonic()) >= self._overdue.next_at:
            waiting = {client.name for client in self._config.clients if self._inboxes.intake.has_come(client.name)}
            try:
                self._overdue.tend(now, datetime.now(UTC), waiting)
            except StoreError as error:
                self._troubles.report_error("store.refused", error)
        self._alerts.tend(self._store)

    def note_sweeps(self, swept: Iterable[str]) -> None:
        """Tell the heartbeat which inboxes were swept, and compare the clock with those of their file systems."""
        unusable, clients = self._inboxes.sweeps.unusable, self._config.clients_by_name
        for client in swept:
            if client not in unusable:
                self._host.note_swept(clients[client])
                self._heartbeat.note_sweep(client, clients.keys(), unusable)

    # The status

    def _status(self) -> Status:
        now, at = time.monotonic(), datetime.now(UTC)
        overdue = self._overdue_at(at)
        return Status(
            pid=os.getpid(),
            started_at=self._started_at,
            written_at=at,
            clients=tuple(self._status_of(client.name, now, at, overdue) for client in self._config.clients),
            watch_restarts=self._inboxes.sources.restarts,
            ping_trouble=self._heartbeat.trouble,
            database_trouble=self._host.database_trouble,
            clock_trouble=self._host.clock_trouble,
            clock_ahead_s=self._host.clock_ahead_s,
            mail_trouble=self.outgoing.mailing.trouble,
            hook_trouble=self.outgoing.hooks.trouble,
            reload_trouble=self.reload_trouble,
        )

    def _status_of(self, client: str, now: float, at: datetime, overdue: Container[str]) -> ClientStatus:
        intake = self._inboxes.intake
        waiting = list(intake.settling.waiting(client))
        swept_at, sweep_s = self._inboxes.sweeps.last_sweep(client)
        has_come = intake.has_come(client)
        strays = self._inboxes.strays
        return ClientStatus(
            client=client,
            is_watched=self._inboxes.sources.is_watching(client),
            swept_at=moment(swept_at, now, at),
            sweep_s=sweep_s,
            trouble=self._troubles.reason_for("inbox.unusable", client),
            deferred=self._troubles.reason_for("file.deferred", client) if has_come else "",
            used_bytes=self._inboxes.used_bytes(client),
            max_inbox_bytes=self._config.clients_by_name[client].max_inbox_bytes,
            is_overdue=not has_come and client in overdue,
            claims=self._inboxes.backlog.count(client),
            counts=count_states(waiting, strays.count(client)),
            files=(*listed_files(waiting, now, at), *strays.listed(client)),
            check_folder=self.check_folder(client),
        )

    def _overdue_at(self, at: datetime) -> Container[str]:
        try:
            return self._overdue.overdue(at)
        except StoreError:  # reported elsewhere, by what cannot work without it
            return ()
