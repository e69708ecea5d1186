"""Users whom the operator makes inactive, or active again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from importer.rows.validate import KEYS
from importer.store.connection import Connection
from importer.store.database import Store
from importer.store.roster.action import Action, Done, NotPossible, Scope, carry_out
from importer.store.roster.states import OPERATOR, TAKE_KEYS

_OTHER_HOLDER: Final = """
    SELECT mine.unique_id FROM temp.before CROSS JOIN users AS mine ON mine.rowid = before.id
    WHERE EXISTS (SELECT 1 FROM users AS theirs WHERE theirs.client = :client AND theirs.{key} = mine.{key}
                  AND theirs.rowid <> mine.rowid)"""


def deactivate(store: Store, client: str, unique_ids: Sequence[str]) -> Done:
    """Make users inactive until the operator says otherwise. Raises NotPossible."""
    return _set_state(store, Action(client=client, kind="deactivate", title="users deactivate"), unique_ids, OPERATOR)


def reactivate(store: Store, client: str, unique_ids: Sequence[str]) -> Done:
    """Make users active. Raises NotPossible, also when another user has the address or user name by now."""
    return _set_state(store, Action(client=client, kind="reactivate", title="users reactivate"), unique_ids, None)


def _set_state(store: Store, action: Action, unique_ids: Sequence[str], by: str | None) -> Done:
    def change(conn: Connection, scope: Scope) -> None:
        _keep_images(conn, action.client, unique_ids)
        conn.execute("UPDATE users SET inactive_by = ? WHERE rowid IN (SELECT id FROM temp.before)", (by,))
        conn.execute(f"UPDATE users SET {TAKE_KEYS} WHERE rowid IN (SELECT id FROM temp.before)")
        if taken := _without_their_own(conn, scope):
            raise NotPossible("no user was made active, because what some had is another user's now", taken)

    return carry_out(store, action, change)


def _keep_images(conn: Connection, client: str, unique_ids: Sequence[str]) -> None:
    """Keep the images of these users. Raises NotPossible with those that are not recorded."""
    unknown = []
    for unique_id in dict.fromkeys(unique_ids):
        added = conn.execute(
            "INSERT INTO temp.before SELECT rowid, 1, * FROM users WHERE client = ? AND unique_id = ?",
            (client, unique_id),
        ).rowcount
        if not added:
            unknown.append(f"{unique_id}: is not recorded")
    if unknown:
        raise NotPossible("no user was changed, because some are not recorded", tuple(unknown))


def _without_their_own(conn: Connection, scope: Scope) -> tuple[str, ...]:
    return tuple(
        f"{unique_id}: {attribute} is another user's now"
        for attribute, key in KEYS.items()
        for (unique_id,) in conn.execute(_OTHER_HOLDER.format(key=key), scope).fetchall()
    )
