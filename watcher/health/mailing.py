"""Sends mail by the current settings. What prevents sending stops no import, and is retried."""

from __future__ import annotations

import math
import time
from datetime import datetime
from typing import Final

import structlog

from importer.mail import outbox
from importer.mail.channel import Delivery, failed
from importer.mail.delivery import make_transport
from importer.model import Mail
from importer.sending.sender import Pump, Sender
from importer.settings import MailSettings, MailUnusable
from importer.store.database import Store
from importer.store.errors import StoreError
from watcher.config import ConfigError, smtp_password
from watcher.health.trouble import Troubles

log = structlog.get_logger()

POLL_S: Final = 0.1
_INTERVAL_S: Final = 1.0
_LOOK_AGAIN_S: Final = 10.0  # to check whether mail can be sent now


class Mailing:
    """
    Sends what is due, one mail at a time. One thread uses the methods.

    Without a password, or with unreadable certificates, mail waits without a try; `trouble` says why.
    """

    def __init__(self, store: Store, troubles: Troubles, settings: MailSettings) -> None:
        self._store = store
        self._troubles = troubles
        self._settings = settings
        self._pump: Pump[Mail, Delivery] | None = None  # None: mail could not be sent so far
        self._retry_at = -math.inf
        self.trouble = ""
        self.next_at = -math.inf  # by the monotonic clock

    def use(self, settings: MailSettings) -> str:
        """Use these settings from now on; if they would prevent sending, keep the old ones and return why."""
        reason = self._connect(settings)
        if reason and self._pump is not None:
            return reason
        self._settings = settings
        self._note(reason)
        return ""

    def move(self, at: datetime, *, at_once: bool = False) -> bool:
        """Send the next mail, if it is time; return whether one is being sent. Raises SyncFailed."""
        now = time.monotonic()
        if now < self.next_at and not at_once:
            return False
        if self._pump is None and now >= self._retry_at:
            self._retry_at = now + _LOOK_AGAIN_S
            self._note(self._connect(self._settings))
        is_under_way = self._pump is not None and self._pumped(self._pump, at)
        self.next_at = now + (POLL_S if is_under_way else _INTERVAL_S)
        return is_under_way

    def close(self, at: datetime) -> None:
        """Stop sending, for which it may take a few seconds. Raises StoreError; the mail is then sent again."""
        if self._pump is not None:
            self._pump.close(self._store, at)

    def _pumped(self, pump: Pump[Mail, Delivery], at: datetime) -> bool:
        try:
            return pump.pump(self._store, at)
        except StoreError as error:
            self._troubles.report_error("mail.stuck", error)
            return False

    def _note(self, reason: str) -> None:
        """Report why mail cannot be sent, or that it can again."""
        if reason:
            self._troubles.report("mail.unusable", reason=reason)
        elif self.trouble:
            log.info("mail.restored")
        self.trouble = reason

    def _connect(self, settings: MailSettings) -> str:
        """Set up delivery by these settings; return why that fails, or ""."""
        try:
            transport = make_transport(settings, smtp_password())
        except (ConfigError, MailUnusable) as error:
            return str(error)
        if self._pump is None:
            sender = Sender(transport, failed)
            sender.start()
            self._pump = Pump(sender, outbox.take, outbox.record)
        self._pump.use(transport)
        return ""
