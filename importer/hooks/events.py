"""What is sent of an event, and its rows in the queue of each hook that wants it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from importer.hooks.names import wanted
from importer.model import Outcome, Receipt, host_name, shown_counts
from importer.settings import HookSettings
from importer.store.connection import Connection
from importer.store.tables import hooks as tables
from importer.store.tables.hooks import HookEvent

# A client chooses the names of its files: in a chat they must not call everybody, nor become links.
_TAMED: Final = str.maketrans({"@": "(at)", "<": "\u2039", ">": "\u203a", "[": "(", "]": ")", "`": "'"})

Value = str | int | float | bool | list[str] | None


def add(conn: Connection, hooks: Iterable[HookSettings], event: str, at: datetime, data: Mapping[str, Value]) -> None:
    """Queue an event for the hooks that want it, inside the caller's transaction."""
    queue(conn, hooks, made(event, at, data))


def queue(conn: Connection, hooks: Iterable[HookSettings], event: HookEvent) -> None:
    """Do so with one that was made before, and may be queued already."""
    if names := [hook.name for hook in hooks if wanted(hook, event.event)]:
        tables.insert(conn, event, names)


def made(event: str, at: datetime, data: Mapping[str, Value]) -> HookEvent:
    """Return a new event, for no hook yet. `data` has no value of a cell: counts, codes and names only."""
    body = {
        "type": event,
        "timestamp": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "host": host_name(),
        "text": _sentence(event, data),
        "data": data,
    }
    return HookEvent(
        id=0,
        event_id=f"evt_{uuid.uuid4().hex}",
        hook="",
        event=event,
        client=str(data.get("client", "")),
        state="waiting",
        attempts=0,
        created_at=at,
        due_at=at,
        ended_at=None,
        last_error="",
        body=msgspec.json.encode(body).decode(),
    )


def _sentence(event: str, data: Mapping[str, Value]) -> str:
    """Return what a chat shows: the names and values that are not empty."""
    shown = (f"{name} {_shown(value)}" for name, value in data.items() if value not in ("", None, [], 0, False))
    return ", ".join([f"rosterd on {host_name()}: {event}", *shown])


def _shown(value: Value) -> str:
    return (" ".join(value) if isinstance(value, list) else str(value)).translate(_TAMED)


def add_receipt(conn: Connection, hooks: Sequence[HookSettings], receipt: Receipt, import_id: int) -> None:
    """Queue how a file ended, inside the transaction that records it."""
    if not hooks:
        return
    for event, data in _of_receipt(receipt):
        add(conn, hooks, event, receipt.finished_at, {**_about(receipt, import_id), **data})


def _about(receipt: Receipt, import_id: int) -> dict[str, Value]:
    claim = receipt.claim
    about = {"client": claim.client, "feed": receipt.feed, "file": claim.file, "claim_id": claim.claim_id}
    return {**about, "import_id": import_id}


def _of_receipt(receipt: Receipt) -> Iterable[tuple[str, dict[str, Value]]]:
    """Yield the events with what the log has of each."""
    counts = {name: getattr(receipt.tally, name) for name in ("rows", *shown_counts([receipt.tally]))}
    if receipt.on_hold is not None:
        tripped = receipt.on_hold.tripped
        guards = sorted({each.guard for each in tripped})
        yield "hold.placed", {"guards": guards, "changes": sum(each.count for each in tripped)}
    elif receipt.outcome is Outcome.REFUSED:
        codes = [receipt.refusal.code] if receipt.refusal else _codes(receipt)
        yield "file.refused", {"codes": codes, **counts}
    else:
        yield "file.imported", {"outcome": str(receipt.outcome), "codes": _codes(receipt), **counts}
    if receipt.removals is not None:
        yield "removals.placed", {"users": receipt.removals.users}


def _codes(receipt: Receipt) -> list[str]:
    """Return the codes of rows that failed."""
    return sorted({problem.code for problem in receipt.problems})
