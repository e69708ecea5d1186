"""What an operator may order of the store; the daemon adds the orders that only it can carry out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from importer import outbox
from importer.store import Store
from watcher.control import Handler, Order, Refused


def store_orders(store: Store) -> dict[str, Handler]:
    """Return the orders that need nothing but the store: of the daemon, or of a command that holds its lock."""

    def retry(order: Order) -> str:
        _change_mail(order, lambda id_: outbox.retry(store.db, id_, datetime.now(UTC)))
        return f"mail {order.id} is tried again now"

    def drop(order: Order) -> str:
        _change_mail(order, lambda id_: outbox.drop(store.db, id_))
        return f"mail {order.id} will not be sent"

    return {"mail.retry": retry, "mail.drop": drop}


def _change_mail(order: Order, change: Callable[[int], bool]) -> None:
    if not (order.id.isascii() and order.id.isdigit()):
        raise Refused("a mail is named by its number; `rosterd mail list` tells it")
    if not change(int(order.id)):
        raise Refused(f"no mail {order.id} is waiting or dead; `rosterd mail list --all` has those sent, too")
