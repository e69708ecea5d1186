"""
Trouble that only the operator can end: told once an hour for each cause, in the log and by mail.

Of what a client can cause again and again, under ever new names, one mail an hour is written: there are not many mails
an hour in all, and those to other clients must not wait for it.
"""

from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime
from typing import Final

import structlog

from importer.mail import outbox
from importer.model import Letter, for_operator, host_name, message_id_of
from importer.settings import MailSettings
from importer.store.database import Store
from watcher.health.alert_texts import alert_text

log = structlog.get_logger()

ALERT_INTERVAL_S: Final = 3600.0


class Alerts:
    """
    Remembers what was told and when.

    Trouble may be told at any place, inside a transaction too. So letters wait here until the loop calls `tend`.
    """

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings
        self._letters: list[tuple[str, Letter]] = []  # event, letter: not in the outbox yet
        self._told_at: dict[tuple[str, ...], float] = {}  # oldest first
        self._shared_at: dict[tuple[str, ...], float] = {}  # likewise; not over when it is for one of those it meets
        self._mailed_at: dict[tuple[str, ...], float] = {}  # likewise

    def use(self, settings: MailSettings) -> None:
        """Mail by these settings from now on; what was told stays told."""
        self._settings = settings

    def report(
        self, event: str, now: float, *, shared_cause: str = "", exc_info: Exception | None = None, **about: str
    ) -> None:
        """
        Tell of trouble, unless the very same was told within the hour.

        `shared_cause` names one that lies with no client and no part of ours: whoever meets it first tells of it, the
        others of an hour do not.
        """
        cause = (event, *about.values())
        is_told = not _note(self._told_at, cause, now)
        if is_told or (shared_cause and not _note(self._shared_at, (shared_cause,), now)):
            log.debug(event, **about)
            return
        log.error(event, exc_info=exc_info, **about)
        subject = (event, about["client"]) if "client" in about else cause
        if self._settings.operator and _note(self._mailed_at, subject, now):
            self._mail(event, about)

    def reason_for(self, event: str, client: str) -> str:
        """Return the reason that was told last of this trouble of a client, "" when there is none."""
        return next((cause[-1] for cause in reversed(self._told_at) if cause[:2] == (event, client)), "")

    def clear(self, event: str, **about: str) -> bool:
        """
        Forget what was told about a trouble that is over; return whether there was any.

        `about` may name the first of its traits only.
        """
        over = (event, *about.values())
        causes = [cause for cause in self._told_at if cause[: len(over)] == over]
        for cause in causes:
            del self._told_at[cause]
        return bool(causes)

    @property
    def next_at(self) -> float:
        """Return when `tend` is to be called next, by the monotonic clock."""
        return -math.inf if self._letters else math.inf

    def tend(self, store: Store) -> None:
        """Put the letters that wait into the outbox. One that cannot be put there is dropped: the log has the event."""
        letters, self._letters = self._letters, []
        for event, letter in letters:
            try:
                with store.transaction():
                    outbox.add(store, letter)
            except Exception:  # noqa: BLE001 - it may be the very trouble that is told
                log.debug("alert.unmailed", alert=event)

    def _mail(self, event: str, about: dict[str, str]) -> None:
        sender = self._settings.reply_to
        letter = Letter(
            message_id=message_id_of(str(uuid.uuid4()), sender),
            client="",
            claim_id="",
            sender=sender,
            recipients=self._settings.operator,
            subject=for_operator(f"{event} {about.get('client', '')}".rstrip()),
            text=alert_text(host_name(), event, about),
            written_at=datetime.now(UTC),
        )
        self._letters.append((event, letter))


def _note(noted_at: dict[tuple[str, ...], float], what: tuple[str, ...], now: float) -> bool:
    """Note something unless it was within the hour; return whether it was not. What did not come again is forgotten."""
    while noted_at and next(iter(noted_at.values())) <= now - 2 * ALERT_INTERVAL_S:
        del noted_at[next(iter(noted_at))]
    if now < noted_at.get(what, -math.inf) + ALERT_INTERVAL_S:
        return False
    noted_at.pop(what, None)
    noted_at[what] = now
    return True
