"""
Freezes of feeds: each is announced to its client by one mail, from the day before it begins; so is an early end.

Mail and the note that it was written are one transaction: killed before its commit, it is written by the next look.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Final

import structlog

from importer.mail import outbox
from importer.store.database import Store
from importer.store.roster import pauses
from watcher.approval.letters import freeze_announced, freeze_ended
from watcher.settings import Config

log = structlog.get_logger()

LOOK_INTERVAL_S: Final = 60.0
NOTICE: Final = timedelta(days=1)


class Announcements:
    """Writes the mails."""

    def __init__(self, config: Config, store: Store) -> None:
        self._store = store
        self.use(config)

    def use(self, config: Config) -> None:
        """Use this configuration from now on."""
        self._clients = config.clients_by_name
        self._mail = config.mail
        self.next_at = -math.inf  # by the monotonic clock

    def tend(self, now: float, at: datetime) -> None:
        """
        Announce the freezes that begin within a day, or have begun, and the end of those that the operator has ended.

        A client without an address gets no mail.
        """
        if now < self.next_at:
            return
        self.next_at = now + LOOK_INTERVAL_S
        for name, feed in pauses.ended_early(self._store.conn):
            if client := self._clients.get(name):
                with self._store.transaction():
                    pauses.note_end_told(self._store.conn, name, feed)
                    if self._mail.recipients_of(client):
                        outbox.add(self._store, freeze_ended(feed, client, self._mail, at))
                log.info("freeze.ended", client=name, feed=feed)
        for freeze in pauses.freezes(self._store.conn, at):
            client = self._clients.get(freeze.client)
            is_due = not freeze.is_announced and freeze.frozen_from - NOTICE <= at
            if is_due and client and self._mail.recipients_of(client):
                with self._store.transaction():
                    pauses.note_announced(self._store.conn, freeze)
                    outbox.add(self._store, freeze_announced(freeze, client, self._mail, at))
                log.info("freeze.announced", client=freeze.client, feed=freeze.feed)
