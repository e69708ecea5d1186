"""Overdue uploads: each is reported once, in the log and, if configured, by mail."""

from __future__ import annotations

import math
from collections.abc import Collection
from datetime import datetime
from typing import Final

import structlog

from importer.mail import outbox
from importer.settings import ClientSettings
from importer.store import queries
from importer.store.database import Store
from watcher.health.overdue_mail import OverdueUpload, letters
from watcher.settings import Config

log = structlog.get_logger()

_LOOK_INTERVAL_S: Final = 60.0


class OverdueUploads:
    """Looks once a minute for clients whose upload is overdue. The outbox remembers what was mailed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._clients: dict[str, ClientSettings] = {}
        self._known_since: dict[str, datetime] = {}
        self._reported: set[str] = set()
        self.next_at = -math.inf  # by the monotonic clock

    def use(self, config: Config, at: datetime) -> None:
        """Use this configuration from now on; for a client without uploads time starts with its first configuration."""
        self._mail = config.mail
        self._clients = {client.name: client for client in config.clients if client.expected_s is not None}
        self._known_since = {name: self._known_since.get(name, at) for name in self._clients}
        self.next_at = -math.inf if self._clients else math.inf

    def tend(self, now: float, at: datetime, waiting: Collection[str]) -> None:
        """
        Report each upload that is overdue; to be called when `next_at` is reached.

        `waiting`: the clients with a file that is not imported yet. Raises StoreError.
        """
        self.next_at = now + _LOOK_INTERVAL_S
        for name, overdue in self.overdue(at).items():
            if name not in waiting and overdue.name not in self._reported:
                self._report(overdue, at)
                self._reported.add(overdue.name)

    def overdue(self, at: datetime) -> dict[str, OverdueUpload]:
        """
        Return the uploads that are overdue, by client, except that a file may be waiting.

        Log, mail, `rosterd status` and the metrics all use this. Raises StoreError.
        """
        uploads = {}
        last = queries.last_uploads_at(self._store.conn, [*self._clients])
        for name, client in self._clients.items():
            since = last.get(name) or self._known_since[name]
            if (at - since).total_seconds() > (client.expected_s or math.inf):
                uploads[name] = OverdueUpload(client=client, last_at=last.get(name))
        return uploads

    def _report(self, overdue: OverdueUpload, at: datetime) -> None:
        client, last_at = overdue.client, overdue.last_at
        for letter in letters(overdue, self._mail, at):
            if not queries.knows_mail(self._store.conn, letter.message_id):
                with self._store.transaction():
                    outbox.add(self._store, letter)
        log.warning(
            "upload.missed",
            client=client.name,
            last_at=last_at.isoformat() if last_at else "",
            expect_every=client.expect_every,
        )
