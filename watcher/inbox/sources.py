"""The sources of events: the watched folders, and the logs of SFTP sessions."""

from __future__ import annotations

import math
import os

from importer.names import CHECK
from importer.settings import ClientSettings
from watcher.health.trouble import Troubles, reason
from watcher.inbox.events import EventQueue, FolderIdentity, Watch
from watcher.inbox.settle import Names
from watcher.inbox.sftp_log import SessionLogs
from watcher.settings import Config


def check_of(client: str) -> str:
    """Return the name under which the folder `check` of a client is watched; no client has such a name."""
    return f"{client}/{CHECK.decode()}"


class EventSources:
    """
    What is watched for the configured clients; nothing in a single pass, which is not `watching`.

    All events are added to `events`. One thread uses the methods.
    """

    def __init__(self, config: Config, events: EventQueue, troubles: Troubles, *, watching: bool) -> None:
        self._troubles = troubles
        self._names = Names(config.intake.pattern)
        self._clients = {client.name for client in config.clients}
        canary_folder = os.path.join(config.service.state_dir, "canary")
        self._watch = Watch(events, self._upload_of, canary_folder) if watching else None
        self._session_logs = SessionLogs(events, self._upload_of)

    def use(self, config: Config) -> None:
        """Use this configuration from now on; stop watching clients that it does not have."""
        self._names = Names(config.intake.pattern)
        before, self._clients = self._clients, {client.name for client in config.clients}
        for client in before - self._clients:
            self._session_logs.forget(client)
            if self._watch is not None:
                self._watch.forget(client)

    @property
    def are_live(self) -> bool:
        """Return whether events are received at all; not in a single pass."""
        return self._watch is not None

    def _upload_of(self, name: bytes) -> bytes | None:
        return self._names.upload_of(name)

    def start(self, now: float) -> None:
        """Start watching. Raises OSError."""
        if self._watch is not None:
            self._watch.start(now)

    def close(self) -> None:
        """Stop watching and listening."""
        if self._watch is not None:
            self._watch.close()
        self._session_logs.close()

    @property
    def next_at(self) -> float:
        """Return when `tend` is to be called next, by the monotonic clock."""
        return math.inf if self._watch is None else self._watch.next_at

    def tend(self, now: float) -> None:
        """Test, if it is time, that events still arrive."""
        if self._watch is not None:
            self._watch.tend(now)

    @property
    def restarts(self) -> int:
        """Return how often watching was restarted because events had stopped."""
        return 0 if self._watch is None else self._watch.restarts

    def is_watching(self, client: str) -> bool:
        """Return whether events of a client's inbox arrive."""
        return self._watch is not None and self._watch.is_watching(client)

    def follow(self, client: ClientSettings, identity: FolderIdentity | None) -> None:
        """Watch the folder that is a client's inbox now; None: it cannot be used."""
        if self._watch is None:
            return
        self._watch.follow(client.name, client.inbox, identity)
        if identity is not None:
            self._follow_sessions(client)

    def follow_check(self, client: ClientSettings, identity: FolderIdentity | None, events: EventQueue) -> None:
        """Watch the folder that is a client's `check` now; None: it has none, or it cannot be used."""
        if self._watch is not None:
            path = os.path.join(client.inbox, os.fsdecode(CHECK))
            self._watch.follow(check_of(client.name), path, identity, events)

    def forget_check(self, client: str) -> None:
        """Stop watching the folder `check` of a client."""
        if self._watch is not None:
            self._watch.forget(check_of(client))

    def _follow_sessions(self, client: ClientSettings) -> None:
        if not client.log_socket:
            self._session_logs.forget(client.name)
            return
        path = os.path.join(os.path.dirname(client.inbox), client.log_socket)
        try:
            self._session_logs.follow(client.name, path, client.inbox)
        except OSError as error:
            self._troubles.report("sessions.unheard", client=client.name, reason=reason(error))
        else:
            self._troubles.clear("sessions.unheard", client.name)
