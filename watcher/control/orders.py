"""What an operator may order: of the store alone, or of the running daemon."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from importer.model import printable
from importer.store import outbox, personal_data
from importer.store.database import Store
from watcher.control.client import Answer, Order
from watcher.control.server import Handler, Refused
from watcher.health.mailing import Mailing
from watcher.health.status import state_of
from watcher.inbox.settle import Settling

EndHold = Callable[[str, bytes, float], bool]


def store_orders(store: Store, *, mailing: Mailing | None = None) -> dict[str, Handler]:
    """Return the orders that need little but the store; of a command that holds the lock there is no `mailing`."""
    retried = "is retried as soon as the service runs" if mailing is None else "is retried now"

    def retry(order: Order) -> str:
        _change_mail(order, lambda id_: outbox.retry(store.conn, id_, datetime.now(UTC)))
        if mailing is not None and mailing.trouble:
            return f"mail {order.id} is retried as soon as mail can be sent: {mailing.trouble}"
        return f"mail {order.id} {retried}"

    def drop(order: Order) -> str:
        _change_mail(order, lambda id_: outbox.drop(store.conn, id_))
        return f"mail {order.id} will not be sent"

    def erase(order: Order) -> str:
        erased = personal_data.erase(store, order.client, order.unique_id)
        if erased == personal_data.Erased(users=0, mails=0, quotes=0):
            raise Refused(f"{order.client}: nobody with this unique id is recorded, and no mail names them")
        quotes = f", quotations of a row {erased.quotes}" if erased.quotes else ""
        return f"removed: users {erased.users}, mails {erased.mails}{quotes}"

    return {"mail.retry": retry, "mail.drop": drop, "person.erase": erase}


def held_orders(settling: Settling, now: Callable[[], float]) -> dict[str, Handler]:
    """Return the orders about files that wait, of which only the running daemon knows."""

    def release(order: Order) -> str:
        _end_hold(settling, settling.release, order, now())
        return f"{order.file} is imported as it is"

    def refuse(order: Order) -> str:
        _end_hold(settling, settling.refuse, order, now())
        return f"{order.file} is refused, and the client is notified"

    def tell_state(order: Order) -> Answer:
        for waiting in settling.waiting(order.client):
            if printable(waiting.name) == order.file:
                state, reason = state_of(waiting), str(waiting.hold_reason) if waiting.held else ""
                return Answer(done=True, text=f"{order.file}: {state}", state=state, hold_reason=reason)
        raise Refused(f"no file {order.file} of {order.client} is waiting")

    return {"file.release": release, "file.refuse": refuse, "file.state": tell_state}


def _change_mail(order: Order, change: Callable[[int], bool]) -> None:
    if not (order.id.isascii() and order.id.isdigit()):
        raise Refused("expected the number of a mail; `rosterd mail list` shows it")
    if not change(int(order.id)):
        raise Refused(
            f"no mail {order.id} is waiting or dead; `rosterd mail list --all` also shows those that were sent"
        )


def _end_hold(settling: Settling, end: EndHold, order: Order, now: float) -> None:
    """End the hold of the file that is called so, as text."""
    names = [waiting.name for waiting in settling.waiting(order.client) if waiting.held]
    name = next((name for name in names if printable(name) == order.file), None)
    if name is None or not end(order.client, name, now):
        raise Refused(f"no file {order.file} of {order.client} is held; `rosterd status` lists those that are")
