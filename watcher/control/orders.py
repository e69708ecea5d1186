"""The orders of an operator: about the store, or about files that only the running daemon knows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

from importer.model import OnHold, printable
from importer.roster.protection import ListUnusable
from importer.store import mail_queue, personal_data
from importer.store.database import Store
from importer.store.roster import pauses
from importer.store.tables import hooks as hook_events
from importer.store.tables import replays
from watcher.approval.files import FilesOnHold
from watcher.control.client import MOST_REASON_CHARS, Answer, Order
from watcher.control.roster import roster_orders
from watcher.control.server import Handler, Refused
from watcher.health.mailing import Mailing
from watcher.health.status import state_of
from watcher.inbox.settle import Settling

log = structlog.get_logger()

EndHold = Callable[[str, bytes, float], bool]


def store_orders(
    store: Store, *, mailing: Mailing | None = None, stopping: Callable[[], bool] = lambda: False
) -> dict[str, Handler]:
    """
    Return the orders about the store; a command that holds the lock itself has no `mailing`.

    `stopping` is asked now and then whether to leave an order that takes long.
    """
    retried = "is retried as soon as the service runs" if mailing is None else "is retried now"

    def retry(order: Order) -> str:
        _change_mail(order, lambda id_: mail_queue.retry(store.conn, id_, datetime.now(UTC)))
        if mailing is not None and mailing.trouble:
            return f"mail {order.id} is retried as soon as mail can be sent: {mailing.trouble}"
        return f"mail {order.id} {retried}"

    def drop(order: Order) -> str:
        _change_mail(order, lambda id_: mail_queue.drop(store.conn, id_))
        return f"mail {order.id} will not be sent"

    def erase(order: Order) -> str:
        erased = personal_data.erase(store, order.client, order.unique_id)
        if erased == personal_data.Erased(users=0, changes=0, mails=0, quotes=0):
            raise Refused(f"{order.client}: no user with this unique id is recorded, and no mail names them")
        quotes = f", quotations of a row {erased.quotes}" if erased.quotes else ""
        changes = f", changes {erased.changes}" if erased.changes else ""
        return f"removed: users {erased.users}{changes}, mails {erased.mails}{quotes}"

    def pause(order: Order) -> str:
        until = datetime.fromisoformat(order.until).replace(tzinfo=UTC) + timedelta(days=1)
        pauses.add(store.conn, order.client, order.guards, until)
        log.info("guard.paused", client=order.client, guards=order.guards, until=order.until)
        return f"{', '.join(order.guards)} of {order.client}: paused through {order.until} (UTC)"

    def freeze(order: Order) -> str:
        begins_at, ends_at, now = *map(datetime.fromisoformat, (order.since, order.until)), datetime.now(UTC)
        pauses.freeze(store.conn, order.client, order.feed, begins_at, ends_at, now)
        log.info("feed.frozen", client=order.client, feed=order.feed, since=order.since, until=order.until)
        days = f"from {begins_at:%F} through {ends_at - timedelta(seconds=1):%F}"
        if ends_at <= now:
            return (
                f"{order.feed or 'files'} of {order.client}: not frozen, and the client is told if it knew of a freeze"
            )
        return f"{order.feed or 'files'} of {order.client}: frozen {days}, and the client is told the day before"

    orders: dict[str, Handler] = {
        "feed.freeze": freeze,
        "guard.pause": pause,
        "mail.retry": retry,
        "mail.drop": drop,
        "person.erase": erase,
    }
    return orders | hook_orders(store, retried) | roster_orders(store, stopping)


def hook_orders(store: Store, retried: str) -> dict[str, Handler]:
    """Return the orders about events for webhooks, and that a backup was made, which is told to them."""

    def retry(order: Order) -> str:
        _change_event(order, lambda id_: hook_events.retry(store.conn, id_, datetime.now(UTC)))
        return f"event {order.id} {retried}"

    def drop(order: Order) -> str:
        _change_event(order, lambda id_: hook_events.drop(store.conn, id_, datetime.now(UTC)))
        return f"event {order.id} will not be sent"

    def note_backup(order: Order) -> str:
        log.info("backup.made", file=order.file, last_import=int(order.id))
        return "noted"

    return {"hook.retry": retry, "hook.drop": drop, "backup.note": note_backup}


def held_orders(store: Store, settling: Settling, now: Callable[[], float]) -> dict[str, Handler]:
    """Return the orders about waiting files, which only the running daemon knows."""

    def release(order: Order) -> str:
        _end_hold(store, settling, settling.release, order, now())
        return f"{order.file} is imported as it is"

    def refuse(order: Order) -> str:
        _end_hold(store, settling, settling.refuse, order, now())
        return f"{order.file} is refused, and the client is notified"

    def report_state(order: Order) -> Answer:
        for waiting in settling.waiting(order.client):
            if printable(waiting.name) == order.file:
                state, reason = state_of(waiting), str(waiting.hold_reason) if waiting.held else ""
                return Answer(done=True, text=f"{order.file}: {state}", state=state, hold_reason=reason)
        raise Refused(f"no file {order.file} of {order.client} is waiting")

    return {"file.release": release, "file.refuse": refuse, "file.state": report_state}


def approval_orders(files: FilesOnHold) -> dict[str, Handler]:
    """Return the orders; `id` of an order is the import that the operator has seen, so that no other is meant."""

    def approve(order: Order) -> str:
        held = _on_hold(files, order)
        if held.is_of_removals:
            try:
                done = files.decide_on_removals(held, "approved", order.by or "operator")
            except ListUnusable as error:
                raise Refused(f"nobody is deactivated: {error}") from None
            if done is None:
                raise _no_longer(order)
            return _deactivated(held, done.users)
        if not files.decide(held, "approved", order.by or "operator"):
            raise _no_longer(order)
        return f"{held.file} of {held.client} is approved, and imported as soon as the service runs"

    def reject(order: Order) -> str:
        held, reason = _on_hold(files, order), _reason(order)
        if not files.decide(held, "rejected", order.by or "operator", reason=reason):
            raise _no_longer(order)
        if held.is_of_removals:
            return f"users of {held.client} who are missing from {held.file} stay active, and the client is told"
        return f"{held.file} of {held.client} is rejected, and the client is told"

    return {"file.approve": approve, "file.reject": reject}


def _reason(order: Order) -> str:
    """Return the reason as it is stored, on one line and without its full stop: a sentence of ours goes around it."""
    reason = " ".join(order.reason.split()).removesuffix(".")
    if len(reason) > MOST_REASON_CHARS:
        raise Refused(f"the reason has {len(reason):,} characters; expected at most {MOST_REASON_CHARS}")
    if not reason.isprintable():
        raise Refused("the reason has characters that cannot be printed; expected text alone")
    return reason


def _change_mail(order: Order, change: Callable[[int], bool]) -> None:
    if order.number is None:
        raise Refused("expected the number of a mail; `rosterd mail list` shows it")
    if not change(order.number):
        raise Refused(
            f"no mail {order.id} is waiting or dead; `rosterd mail list --all` also shows those that were sent"
        )


def _change_event(order: Order, change: Callable[[int], bool]) -> None:
    if order.number is None:
        raise Refused("expected the number of an event; `rosterd hook list` shows it")
    if not change(order.number):
        raise Refused(
            f"no event {order.id} is waiting or dead; `rosterd hook list --all` also shows those that were sent"
        )


def _end_hold(store: Store, settling: Settling, end: EndHold, order: Order, now: float) -> None:
    """End the hold of the file with this name, given as text."""
    names = [waiting.name for waiting in settling.waiting(order.client) if waiting.held]
    name = next((name for name in names if printable(name) == order.file), None)
    if name is not None and order.by:
        identity = settling.of(order.client)[name].identity
        replays.add(store.conn, order.client, identity.inode, identity.mtime_ns, order.by, datetime.now(UTC))
    if name is None or not end(order.client, name, now):
        raise Refused(f"no file {order.file} of {order.client} is held; `rosterd status` lists those that are")


def _deactivated(held: OnHold, users: int) -> str:
    if not users:
        return f"nobody whom {held.file} of {held.client} lacked is missing any more: no user was deactivated"
    are = "1 user is" if users == 1 else f"{users:,} users are"
    return f"{are} deactivated who were missing from {held.file} of {held.client}, and the client is told"


def _on_hold(files: FilesOnHold, order: Order) -> OnHold:
    for held in files.waiting(order.client):
        if held.file == order.file and str(held.import_id) == order.id:
            return held
    raise _no_longer(order)


def _no_longer(order: Order) -> Refused:
    """Return that it was decided before; by another host also since we looked."""
    return Refused(
        f"{order.file} of {order.client} is no longer on hold as import {order.id}; `rosterd status` lists what is"
    )
