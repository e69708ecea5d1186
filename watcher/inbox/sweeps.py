"""
Finds the names in the inboxes, by events and by listing them, and passes them to the settling.

Events are hints, the sweep is the truth. An inbox whose sweeps take long is swept less often.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

import structlog

from importer.names import BAK, CHECK, WORK
from importer.settings import ClientSettings
from watcher.health.trouble import Troubles, raise_if_fatal
from watcher.inbox import entries
from watcher.inbox.events import EventQueue, InboxEvent
from watcher.inbox.large_files import FRUITLESS_SHARE
from watcher.inbox.layout import Inbox, opened, remove_abandoned
from watcher.inbox.settle import Settling
from watcher.inbox.sources import EventSources
from watcher.inbox.work.claims import Claims
from watcher.model import Identity, Sighting
from watcher.settings import Config
from watcher.strays.report import Strays

log = structlog.get_logger()

SWEEP_PAUSE_S: Final = 10.0  # between repeated sweeps, because of lost events, errors or a crowded inbox


class Sweeps:
    """
    The inboxes of all clients; at first all are due for a sweep.

    Each time an inbox is opened, `sources` are given the folder that it is now.
    """

    def __init__(
        self,
        config: Config,
        settling: Settling,
        claims: Claims,
        troubles: Troubles,
        sources: EventSources,
        strays: Strays,
    ) -> None:
        self.crowded: set[str] = set()  # clients with more files than are kept in memory
        self.unusable: set[str] = set()  # clients whose inbox could not be used since its last good sweep
        self._clients: dict[str, ClientSettings] = {}
        self._settling = settling
        self._claims = claims
        self._troubles = troubles
        self._sources = sources
        self._strays = strays
        self._last_sweep: dict[str, tuple[float, float]] = {}  # when it was, and how long it took
        self.use(config)

    def use(self, config: Config) -> None:
        """Use this configuration from now on; every inbox is swept again, and no hold is restarted."""
        before = self._clients
        self._config = config
        self._clients = config.clients_by_name
        for client in before:
            if client not in self._clients or self._clients[client].inbox != before[client].inbox:
                # It is no longer the inbox of the client.
                self._settling.forget_client(client)
                self.crowded.discard(client)
                self.unusable.discard(client)
                self._last_sweep.pop(client, None)
        self._settling.use(config.intake)
        self._sweep_at = dict.fromkeys(self._clients, -math.inf)
        self._next_at = -math.inf  # at the earliest: each turn would look at all clients

    @property
    def next_at(self) -> float:
        """Return when the next inbox may be due for a sweep."""
        return self._next_at

    def last_sweep(self, client: str) -> tuple[float, float]:
        """Return when a client's inbox was swept last, and how long that took."""
        return self._last_sweep.get(client, (-math.inf, 0.0))

    def take_in(self, events: EventQueue) -> None:
        """Process the events since the last call."""
        everywhere, doubtful = events.take_sweep_requests()
        for client in self._clients if everywhere else doubtful & self._clients.keys():
            self._sweep_again(client)
        by_client: dict[str, list[InboxEvent]] = {}
        for event in events.take():
            if event.client in self._clients:  # else it was taken out of the configuration meanwhile
                by_client.setdefault(event.client, []).append(event)
        for client, of_client in by_client.items():
            self.note(client, of_client)

    def note(self, client: str, events: list[InboxEvent]) -> None:
        """Pass the names that events reported to the settling, with the files that have them now."""

        def note_all(inbox: Inbox) -> None:
            for event in events:
                self._note_in(inbox, event)

        work_in(self._clients[client], note_all, lambda error: self._leave(client, error))

    def _note_in(self, inbox: Inbox, event: InboxEvent) -> None:
        is_behind = event.client in self.crowded and event.name not in self._settling.of(event.client)
        if is_behind or not self._settling.has_room(event.client, event.name):
            self.crowded.add(event.client)  # older files wait for a sweep, so this one does, too
            self._sweep_again(event.client)
        elif (identity := entries.find_identity(inbox, event.name)) is not None:
            sighting = Sighting(
                client=event.client,
                name=event.name,
                identity=identity,
                closed=event.closed,
                broken_off=event.broken_off,
            )
            self._settling.note(sighting, quiet_since(event, identity, time.monotonic(), time.time_ns()))

    def _leave(self, client: str, error: Exception) -> None:
        """Report an inbox that cannot be used, and retry it soon; until then its events are not received."""
        self._troubles.close_inbox(client, error)
        self.unusable.add(client)
        self._sources.follow(self._clients[client], None)
        self.sweep_soon(client, time.monotonic() + SWEEP_PAUSE_S)

    def due_for_sweep(self) -> Iterator[str]:
        """Yield the clients whose inbox is due for a sweep."""
        if (now := time.monotonic()) < self._next_at:
            return
        yield from [client for client, due_at in self._sweep_at.items() if due_at <= now]
        self._next_at = min(self._sweep_at.values(), default=math.inf)

    def _sweep_again(self, client: str) -> None:
        """Schedule a sweep as soon as the last one allows."""
        swept_at, sweep_s = self.last_sweep(client)
        self.sweep_soon(client, swept_at + max(SWEEP_PAUSE_S, sweep_s / FRUITLESS_SHARE))

    def sweep_soon(self, client: str, at: float) -> None:
        """Schedule a sweep of an inbox for that time at the latest."""
        self._sweep_at[client] = min(self._sweep_at[client], at)
        self._next_at = min(self._next_at, at)

    def sweep(self, client: str) -> bool:
        """List an inbox, and find the claims that were left in it; return whether it could be used."""
        now = time.monotonic()
        self._last_sweep[client] = now, self.last_sweep(client)[1]
        self._sweep_at[client] = now + self._config.service.sweep_interval_s
        return work_in(
            self._clients[client],
            lambda inbox: self._sweep_in(inbox, client, now),
            lambda error: self._leave(client, error),
        )

    def _sweep_in(self, inbox: Inbox, client: str, now: float) -> None:
        self._sources.follow(self._clients[client], inbox.identity)
        files = self._list(inbox, client, now)
        names, waiting = self._settling.names, self._settling.waiting(client)
        self._claims.room.note_inbox(client, lambda: entries.staying_bytes(inbox, names.accept, waiting))
        self._claims.find_unfinished(client, inbox)
        remove_abandoned(inbox, time.time())
        own = (WORK, BAK, CHECK) if self._clients[client].check_folder else (WORK, BAK)
        self._strays.note(client, entries.find_strays(inbox, names, time.time(), own), names, datetime.now(UTC))
        self._troubles.resolve(client)
        if self._troubles.clear("inbox.unusable", client):
            log.info("inbox.restored", client=client)
        self.unusable.discard(client)
        self._last_sweep[client] = now, time.monotonic() - now
        if client in self.crowded:
            self._sweep_again(client)
        log.debug("sweep.finished", client=client, files=files)

    def _list(self, inbox: Inbox, client: str, now: float) -> int:
        """Pass the names in an inbox to the settling; return their number, at most as many as are kept in memory."""
        limit = self._config.intake.max_waiting
        files = entries.list_files(inbox, self._settling.names.accept, limit)
        whole = len(files) < limit
        at_ns = None if self._sources.are_live else time.time_ns()
        self.crowded.discard(client)
        if not self._settling.note_listing(client, files, now, whole=whole, at_ns=at_ns) or not whole:
            self.crowded.add(client)
        return len(files)


def work_in(client: ClientSettings, work: Callable[[Inbox], None], give_up: Callable[[Exception], None]) -> bool:
    """
    Do some work in the inbox of a client; on an error, report the inbox as unusable. Return whether it was done.

    No error about the files of one client may stop the service for others.
    """
    try:
        with opened(client.name, client.inbox, client.companion) as inbox:
            work(inbox)
    except Exception as error:  # noqa: BLE001 - as above; what must end the process is raised again
        raise_if_fatal(error)
        give_up(error)
        return False
    return True


def quiet_since(event: InboxEvent, identity: Identity, now: float, now_ns: int) -> float:
    """Return since when a file has been quiet: its event may have waited while another file was imported."""
    unchanged_s = max(0.0, (now_ns - identity.ctime_ns) / 1e9)
    return max(event.at, now - unchanged_s)
