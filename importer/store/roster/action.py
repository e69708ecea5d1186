"""
What the operator does to users, in one transaction: an import of its own in the ledger, without a file.

Nothing durable is outside the transaction: killed before the commit nothing was done, after it all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import msgspec

from importer.attributes import ATTRIBUTES
from importer.store import baselines, ledger
from importer.store.connection import Connection, stamp
from importer.store.database import Store
from importer.store.roster import history, work
from importer.store.roster.work import Scope


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """What is done to the users of a client. Not `is_applied`: it is only tried, and rolled back."""

    client: str
    kind: str  # as the ledger has it: undo, rekey, deactivate, reactivate
    title: str  # in place of the name of a file, "undo of 41"
    approved_by: str = ""  # operator or client, of what a file asked for
    requested_by: str = ""  # the user of the console who asked for it
    is_applied: bool = True


class Done(msgspec.Struct, frozen=True):
    """What came of it."""

    import_id: int  # 0: it was only tried, or nothing was to do
    users: int  # who are, or would be, changed


class NotPossible(Exception):
    """It cannot be done, and nothing was changed. The message says why, `conflicts` who is in the way, a line each."""

    def __init__(self, reason: str, found: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.conflicts = found


class _OnlyTried(Exception):
    """The transaction is to be rolled back."""


_IS_CHANGED: Final = " OR ".join(f"before.{name} IS NOT users.{name}" for name in (*ATTRIBUTES, "inactive_by"))


def carry_out(
    store: Store, action: Action, change: Callable[[Connection, Scope], None], *, kind: str | None = None
) -> Done:
    """
    Let `change` change users, of whom it has kept the images (`work.keep_images`); write ledger and history.

    `kind`: what the history calls it, where the state of the user does not tell. Raises what `change` raises, and
    nothing is done then.
    """
    conn, users = store.conn, 0
    try:
        with store.importing():
            conn.lock(action.client, briefly=True)  # an import has it until its end, whoever asks hears that at once
            scope: Scope = {
                "client": action.client,
                "import_id": ledger.next_id(conn, action.client),
                "at": stamp(datetime.now(UTC)),
            }
            work.prepare(conn)
            change(conn, scope)
            users = _note_changed(conn, scope)
            done = Done(_written(conn, action, scope, users, kind), users)
            work.clear(conn, scope)
            return done
    except _OnlyTried:
        return Done(0, users)


def _written(conn: Connection, action: Action, scope: Scope, users: int, kind: str | None) -> int:
    """Write ledger and history; return the id in the ledger. Raises _OnlyTried."""
    if not (users and action.is_applied):
        raise _OnlyTried
    import_id = int(scope["import_id"])
    ledger.add_action(conn, import_id, client=action.client, kind=action.kind, title=action.title, users=users)
    ledger.note_approval(conn, import_id, action.approved_by)
    ledger.note_request(conn, import_id, action.requested_by)
    history.record(conn, scope, work.WITH_IMAGES, **({} if kind is None else {"kind": f"'{kind}'"}))
    baselines.forget(conn, action.client)
    return import_id


def _note_changed(conn: Connection, scope: Scope) -> int:
    """Name this import in the users who are not what they were; return how many there are."""
    return conn.execute(
        f"""UPDATE users SET import_id = :import_id, import_line = 0, updated_at = :at
            WHERE client = :client AND unique_id IN (SELECT before.id FROM {work.WITH_IMAGES} AND ({_IS_CHANGED}))""",
        scope,
    ).rowcount
