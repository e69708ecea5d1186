"""All that leaves this host, for the loop: mail, and events for webhooks."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import Final

from importer.store.database import Store
from importer.store.errors import StoreError
from watcher.health.mailing import Mailing
from watcher.health.trouble import Troubles
from watcher.outgoing.hooks import Hooks
from watcher.settings import Config
from watcher.signals import MAIL_PATIENCE_S

_HOOK_PATIENCE_S: Final = 1.0  # for the events under way, after a signal to stop
PATIENCE_S: Final = MAIL_PATIENCE_S + _HOOK_PATIENCE_S


class Outgoing:
    """Mail and hooks. One thread uses the methods."""

    def __init__(self, store: Store, troubles: Troubles, config: Config) -> None:
        self.mailing = Mailing(store, troubles, config.mail)
        self.hooks = Hooks(store, troubles, config.hook)

    def use(self, config: Config) -> str:
        """Use this configuration; if it would prevent sending mail, keep the old one and return why."""
        if reason := self.mailing.use(config.mail):
            return reason
        self.hooks.use(config.hook)
        return ""

    @property
    def next_at(self) -> float:
        """Return when `move` is to be called next, by the monotonic clock."""
        return min(self.mailing.next_at, self.hooks.next_at)

    @property
    def troubles(self) -> tuple[str, str]:
        """Return why mail, and why events cannot be sent, "" for nothing."""
        return self.mailing.trouble, self.hooks.trouble

    def move(self, at: datetime, *, at_once: bool = False) -> bool:
        """Send what is due; return whether anything is being sent. Raises SyncFailed."""
        mails = self.mailing.move(at, at_once=at_once)
        return self.hooks.move(at, at_once=at_once) or mails

    def close(self, at: datetime) -> None:
        """Stop sending, for which it may take a few seconds; what was not recorded is sent again."""
        with contextlib.suppress(StoreError):
            self.hooks.close(at, _HOOK_PATIENCE_S)
        with contextlib.suppress(StoreError):  # the mail is sent again, with the same Message-ID
            self.mailing.close(at)
