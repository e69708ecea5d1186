"""Orders that change users: undo, new ids, active or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from importer.model import Interrupted
from importer.store.database import Store
from importer.store.roster import deactivation, ids
from importer.store.roster.action import Done, NotPossible
from importer.store.roster.undo import Undone, undo
from watcher.control.client import Order
from watcher.control.server import Handler, Refused

ONLY_TRIED: Final = "Nothing was changed. The same command with --apply does it."


def roster_orders(store: Store, stopping: Callable[[], bool] = lambda: False) -> dict[str, Handler]:
    """Return the orders about users; `stopping` is asked now and then whether to leave it: nothing is changed then."""

    def take_back(order: Order) -> str:
        if order.number is None:
            raise Refused("expected the number of an import; `rosterd imports` lists all")
        undone = undo(store, order.number, is_applied=order.is_applied, by=order.by)
        if not undone.done.users:
            raise Refused("\n".join((f"nothing is left to undo of import {order.id}", *_conflicts(undone))))
        title = f"undo of import {order.id} of {undone.client}"
        return "\n".join((_ended(title, undone.done), *_counts(undone), *_conflicts(undone), *_hint(undone.done)))

    def rekey(order: Order) -> str:
        done = ids.rekey(store, order.client, order.new_ids, is_applied=order.is_applied)
        return "\n".join((_ended(f"new ids of {order.client}", done), *_hint(done)))

    def deactivate(order: Order) -> str:
        return _ended("deactivated", deactivation.deactivate(store, order.client, order.unique_ids))

    def reactivate(order: Order) -> str:
        return _ended("reactivated", deactivation.reactivate(store, order.client, order.unique_ids))

    handlers: dict[str, Callable[[Order], str]] = {
        "roster.undo": take_back,
        "roster.rekey": rekey,
        "roster.deactivate": deactivate,
        "roster.reactivate": reactivate,
    }
    return {name: _refusing(handler, store, stopping) for name, handler in handlers.items()}


def _refusing(handler: Callable[[Order], str], store: Store, stopping: Callable[[], bool]) -> Handler:
    """Return the handler with what is not possible told as a refusal, in lines."""

    def carry_out(order: Order) -> str:
        try:
            with store.interruptible(stopping):
                return handler(order)
        except Interrupted:
            raise Refused("the service is stopping; nothing was changed") from None
        except NotPossible as error:
            raise Refused("\n".join((str(error), *error.conflicts))) from None

    return carry_out


def _ended(title: str, done: Done) -> str:
    number = f" (import {done.import_id})" if done.import_id else ""
    return f"{title}: {done.users:,} {'user' if done.users == 1 else 'users'}{number}"


def _counts(undone: Undone) -> Iterator[str]:
    counts = {
        ("value goes back to what it was", "values go back to what they were"): undone.values,
        ("user becomes inactive", "users become inactive"): undone.deactivated,
        ("user becomes active again", "users become active again"): undone.reinstated,
    }
    yield from (f"  {count:,} {one if count == 1 else many}" for (one, many), count in counts.items() if count)


def _conflicts(undone: Undone) -> Iterator[str]:
    if undone.conflicts:
        yield f"{undone.conflicts:,} {'value stays as it is' if undone.conflicts == 1 else 'values stay as they are'}:"
    for each in undone.listed:
        field = "state" if each.field == "inactive_by" else each.field
        yield f"  {each.unique_id}: {field} {'belongs to another user' if each.is_taken else 'was changed since'}"
    if more := undone.conflicts - len(undone.listed):
        yield f"  and {more:,} more"


def _hint(done: Done) -> tuple[str, ...]:
    return () if done.import_id else (ONLY_TRIED,)
