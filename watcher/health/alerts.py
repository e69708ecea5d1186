"""
Problems that only the operator can solve: reported once an hour for each cause, in the log and by mail.

For what a client can cause repeatedly, under ever new names, one mail an hour is sent: the total rate of mail is
limited, and mail to other clients must not wait.
"""

from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime
from typing import Final

import structlog

from importer.mail import outbox
from importer.mail.letter import to_operator
from importer.model import Letter, host_name
from importer.settings import MailSettings
from importer.store.database import Store
from watcher.health.alert_texts import alert_text

log = structlog.get_logger()

ALERT_INTERVAL_S: Final = 3600.0


class Alerts:
    """
    Remembers what was reported and when.

    Problems may be reported anywhere, even within a transaction. So letters wait here until the loop calls `tend`.
    """

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings
        self._letters: list[tuple[str, Letter]] = []  # event, letter: not in the outbox yet
        self._reported_at: dict[tuple[str, ...], float] = {}  # oldest first
        self._shared_at: dict[tuple[str, ...], float] = {}  # likewise; kept when over for one of those affected
        self._mailed_at: dict[tuple[str, ...], float] = {}  # likewise

    def use(self, settings: MailSettings) -> None:
        """Use these settings from now on; what was reported is not repeated."""
        self._settings = settings

    def report(
        self, event: str, now: float, *, shared_cause: str = "", exc_info: Exception | None = None, **about: str
    ) -> None:
        """
        Report a problem, unless the same was reported within the hour.

        `shared_cause` names a cause outside of any client and of rosterd: within an hour it is reported once.
        """
        cause = (event, *about.values())
        is_repeated = not _note(self._reported_at, cause, now)
        if is_repeated or (shared_cause and not _note(self._shared_at, (shared_cause,), now)):
            log.debug(event, **about)
            return
        log.error(event, exc_info=exc_info, **about)
        subject = (event, about["client"]) if "client" in about else cause
        if self._settings.operator and _note(self._mailed_at, subject, now):
            self._mail(event, about)

    def reason_for(self, event: str, client: str) -> str:
        """Return the last reported reason of this problem of a client, "" when there is none."""
        return next((cause[-1] for cause in reversed(self._reported_at) if cause[:2] == (event, client)), "")

    def clear(self, event: str, **about: str) -> bool:
        """
        Clear a problem that is over; return whether it had been reported.

        `about` may have only the first of its fields.
        """
        over = (event, *about.values())
        causes = [cause for cause in self._reported_at if cause[: len(over)] == over]
        for cause in causes:
            del self._reported_at[cause]
        return bool(causes)

    def is_shared(self, shared_cause: str) -> bool:
        """Return whether this cause was reported, and is not over."""
        return (shared_cause,) in self._shared_at

    def end_shared(self, shared_cause: str, event: str) -> bool:
        """Clear a cause that is over for all, and the problem which tells of it; return whether it was reported."""
        if self._shared_at.pop((shared_cause,), None) is None:
            return False
        self.clear(event)
        return True

    @property
    def next_at(self) -> float:
        """Return when `tend` is to be called next, by the monotonic clock."""
        return -math.inf if self._letters else math.inf

    def tend(self, store: Store) -> None:
        """Put the waiting letters into the outbox. One that fails is dropped: the log has the event."""
        letters, self._letters = self._letters, []
        for event, letter in letters:
            try:
                with store.transaction():
                    outbox.add(store, letter)
            except Exception:  # noqa: BLE001 - its cause may be the reported problem itself
                log.debug("alert.unmailed", alert=event)

    def _mail(self, event: str, about: dict[str, str]) -> None:
        letter = to_operator(
            self._settings,
            str(uuid.uuid4()),
            f"{event} {about.get('client', '')}".rstrip(),
            alert_text(host_name(), event, about),
            datetime.now(UTC),
        )
        self._letters.append((event, letter))


def _note(noted_at: dict[tuple[str, ...], float], what: tuple[str, ...], now: float) -> bool:
    """Record something unless it was recorded within the hour; return whether it was not. Removes what is older."""
    while noted_at and next(iter(noted_at.values())) <= now - 2 * ALERT_INTERVAL_S:
        del noted_at[next(iter(noted_at))]
    if now < noted_at.get(what, -math.inf) + ALERT_INTERVAL_S:
        return False
    noted_at.pop(what, None)
    noted_at[what] = now
    return True
