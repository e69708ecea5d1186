"""Users whom the operator makes inactive, or active again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from importer.rows.validate import KEYS
from importer.store.connection import Connection
from importer.store.database import Store
from importer.store.roster.action import Action, Done, NotPossible, carry_out
from importer.store.roster.states import OPERATOR, take_keys
from importer.store.roster.work import IMAGES, WITH_IMAGES, Scope, keep_images

_OTHER_HOLDER: Final = """
    SELECT before.id FROM {images} AND EXISTS (
      SELECT 1 FROM users AS theirs WHERE theirs.client = :client AND theirs.{key} = users.{key}
      AND theirs.unique_id <> users.unique_id) ORDER BY before.id"""


def deactivate(store: Store, client: str, unique_ids: Sequence[str]) -> Done:
    """Make users inactive until the operator says otherwise. Raises NotPossible."""
    return _set_state(store, Action(client=client, kind="deactivate", title="users deactivate"), unique_ids, OPERATOR)


def reactivate(store: Store, client: str, unique_ids: Sequence[str]) -> Done:
    """Make users active. Raises NotPossible, also when another user has the address or user name by now."""
    return _set_state(store, Action(client=client, kind="reactivate", title="users reactivate"), unique_ids, None)


def _set_state(store: Store, action: Action, unique_ids: Sequence[str], by: str | None) -> Done:
    def change(conn: Connection, scope: Scope) -> None:
        _keep_images(conn, scope, unique_ids)
        conn.execute(
            f"UPDATE users SET inactive_by = :by WHERE client = :client AND unique_id IN (SELECT id FROM {IMAGES})",
            {**scope, "by": by},
        )
        take_keys(conn, scope, IMAGES)
        if taken := _without_their_own(conn, scope):
            raise NotPossible("no user was made active, because what some had is another user's now", taken)

    return carry_out(store, action, change)


def _keep_images(conn: Connection, scope: Scope, unique_ids: Sequence[str]) -> None:
    """Keep the images of these users. Raises NotPossible with those that are not recorded."""
    unknown = [
        f"{unique_id}: is not recorded"
        for unique_id in dict.fromkeys(unique_ids)
        if not keep_images(conn, {**scope, "id": unique_id}, "unique_id = :id")
    ]
    if unknown:
        raise NotPossible("no user was changed, because some are not recorded", tuple(unknown))


def _without_their_own(conn: Connection, scope: Scope) -> tuple[str, ...]:
    return tuple(
        f"{unique_id}: {attribute} is another user's now"
        for attribute, key in KEYS.items()
        for (unique_id,) in conn.execute(_OTHER_HOLDER.format(key=key, images=WITH_IMAGES), scope).fetchall()
    )
