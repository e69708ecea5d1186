"""The folders `check` of all clients: uploads are found in them, by events and by listing, and passed to a settling."""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterable

import structlog

from importer.settings import ClientSettings
from watcher.checking.folder import is_due
from watcher.health.trouble import Troubles, raise_if_fatal
from watcher.inbox import entries
from watcher.inbox.events import EventQueue, InboxEvent
from watcher.inbox.large_files import FRUITLESS_SHARE
from watcher.inbox.layout import Uploads, opened, opened_check, remove_abandoned
from watcher.inbox.settle import Settling
from watcher.inbox.sources import EventSources, check_of
from watcher.inbox.sweeps import SWEEP_PAUSE_S, quiet_since
from watcher.model import InboxUnusable, Sighting
from watcher.settings import Config

log = structlog.get_logger()


class CheckFolders:
    """
    What waits in the folders `check`. `settling` has the uploads that are not answered.

    Not `watching`: a single pass, which receives no events.
    """

    def __init__(
        self, config: Config, events: EventQueue, sources: EventSources, troubles: Troubles, *, watching: bool
    ) -> None:
        self.settling = Settling(config.intake)
        self._clients: dict[str, ClientSettings] = {}
        self._events = events
        self._sources = sources
        self._troubles = troubles
        self._watching = watching
        self._sweep_at: dict[str, float] = {}
        self._swept_at: dict[str, float] = {}
        self._sweep_s: dict[str, float] = {}  # how long that took
        self._crowded: set[str] = set()  # clients with more files than are kept in memory
        self.use(config)

    def use(self, config: Config) -> None:
        """Use this configuration from now on; every folder is swept again."""
        before, self._config = self._clients, config
        self._clients = {client.name: client for client in config.clients if client.check_folder}
        for name in before:
            if name not in self._clients or self._clients[name].inbox != before[name].inbox:
                self.settling.forget_client(name)
                self._sources.forget_check(name)
                self._crowded.discard(name)
        self.settling.use(config.intake)
        self._sweep_at = dict.fromkeys(self._clients, -math.inf)

    def has(self, client: str) -> bool:
        """Return whether a client has the folder."""
        return client in self._clients

    @property
    def next_at(self) -> float:
        """Return when the next folder is due for a sweep."""
        return min(self._sweep_at.values(), default=math.inf)

    def take_in(self, swept: Iterable[str]) -> None:
        """Process events, then sweep what is due: with each inbox, and where events may be missing."""
        _, doubtful = self._events.take_sweep_requests()
        by_client: dict[str, list[InboxEvent]] = {}
        for event in self._events.take():
            by_client.setdefault(event.client, []).append(event)
        for name in self._clients:
            if name in swept:
                self._sweep_at[name] = -math.inf
            elif check_of(name) in doubtful:
                self._sweep_again(name)
            elif events := by_client.get(check_of(name)):
                self.work_in(name, functools.partial(self._note_all, events))
        for name in [name for name, due_at in self._sweep_at.items() if due_at <= time.monotonic()]:
            self._sweep(name)

    def _note_all(self, events: Iterable[InboxEvent], uploads: Uploads) -> None:
        client, names = uploads.client, self.settling.names
        for event in events:
            if client in self._crowded or not self.settling.has_room(client, event.name):
                self._sweep_again(client)  # older files wait for a sweep, so this one does, too
            elif is_due(uploads, names, event.name) and (identity := entries.find_identity(uploads, event.name)):
                sighting = Sighting(client=client, name=event.name, identity=identity, closed=event.closed)
                self.settling.note(sighting, quiet_since(event, identity, time.monotonic(), time.time_ns()))

    def _sweep_again(self, client: str) -> None:
        at = self._swept_at.get(client, -math.inf) + max(
            SWEEP_PAUSE_S, self._sweep_s.get(client, 0.0) / FRUITLESS_SHARE
        )
        self._sweep_at[client] = min(self._sweep_at[client], at)

    def _sweep(self, client: str) -> None:
        self._swept_at[client] = now = time.monotonic()
        self._sweep_at[client] = math.inf  # with the next sweep of the inbox
        is_swept = self.work_in(client, lambda uploads: self._list(uploads, now))
        self._sweep_s[client] = time.monotonic() - now
        if is_swept and client in self._crowded:
            self._sweep_again(client)

    def _list(self, uploads: Uploads, now: float) -> None:
        client, limit = uploads.client, self._config.intake.max_waiting
        remove_abandoned(uploads, time.time())
        files = entries.list_files(uploads, functools.partial(is_due, uploads, self.settling.names), limit)
        whole = len(files) < limit
        at_ns = None if self._watching else time.time_ns()
        self._crowded.discard(client)
        if not self.settling.note_listing(client, files, now, whole=whole, at_ns=at_ns) or not whole:
            self._crowded.add(client)

    def work_in(self, client: str, work: Callable[[Uploads], None]) -> bool:
        """
        Do some work in the folder of a client; report a folder that cannot be used. Return whether it was done.

        An inbox that cannot be used is reported by its own sweeps.
        """
        settings = self._clients[client]
        with contextlib.ExitStack() as handles:
            try:
                inbox = handles.enter_context(opened(client, settings.inbox))
            except (OSError, InboxUnusable):
                return False
            try:
                uploads = handles.enter_context(opened_check(inbox, settings.inbox))
                self._sources.follow_check(settings, uploads.identity, self._events)
                work(uploads)
            except Exception as error:  # noqa: BLE001 - no error about the files of one client may stop the service
                raise_if_fatal(error)
                self._troubles.report_error("check.unusable", error, client=client)
                self._sources.follow_check(settings, None, self._events)
                self._sweep_again(client)
                return False
        if self._troubles.clear("check.unusable", client):
            log.info("check.restored", client=client)
        return True
