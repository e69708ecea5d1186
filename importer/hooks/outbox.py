"""
Events still to send: written with what they tell about, taken for an attempt, recorded when that ended.

An event about how a file ended is written with its import, in one transaction. What a restart finds after each durable
step:

1. import committed: the event is `waiting`, never tried.
2. attempt counted, before it is made: `waiting`, due again after the back-off. A crash during the attempt costs one
   back-off and may deliver the same body twice, which receivers recognise by the webhook-id. Where several hosts share
   the database, the event is leased to this one by the same statement, as a mail is.
3. answer recorded: `sent`; or `waiting` for another try; or `dead`, for a person to look at.

Each event has a back-off of its own, and none waits for another. All functions belong to the thread that owns the
store.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
import structlog

from importer.hooks.post import Attempt
from importer.sending.retry import LAST_RETRY_S, is_spent, retry_delay
from importer.store.database import Store
from importer.store.tables import hooks as table
from importer.store.tables.hooks import HookEvent

log = structlog.get_logger()


def take(store: Store, now: datetime, *, hook: str) -> HookEvent | None:
    """Return the next event for a hook, this attempt already counted; None when none is due."""
    event = table.next_event(store.conn, hook, now, last_retry_s=LAST_RETRY_S)
    if event is None:
        return None
    event = msgspec.structs.replace(event, attempts=event.attempts + 1)
    due_at = now + retry_delay(event.attempts, permanent=False)
    return event if table.lease(store.conn, event, now, due_at=due_at) else None


def record(store: Store, attempt: Attempt, now: datetime) -> None:
    """Record and log how an attempt ended."""
    event, reason = attempt.event, attempt.reason
    about = _traits(event)
    if not reason:
        with store.transaction():
            table.mark_sent(store.conn, event, now)
        log.info("hook.sent", **about)
    elif attempt.is_gone or is_spent(event.attempts, event.created_at, now):
        with store.transaction():
            table.mark_dead(store.conn, event, reason, now)
        log.error("hook.dead", reason=reason, **about)
    else:
        due_at = now + retry_delay(event.attempts, permanent=attempt.is_permanent)
        with store.transaction():
            table.mark_failed(store.conn, event, reason, due_at=due_at)
        _log_deferred(reason, about)


def _log_deferred(reason: str, about: dict[str, str | int]) -> None:
    """Log it as news once for each event: a receiver that is down for days has many, each tried every hour."""
    if about["attempts"] == 1:
        log.warning("hook.deferred", reason=reason, **about)
    else:
        log.debug("hook.deferred", reason=reason, **about)


def _traits(event: HookEvent) -> dict[str, str | int]:
    return {"hook": event.hook, "type": event.event, "event_id": event.event_id, "attempts": event.attempts}
