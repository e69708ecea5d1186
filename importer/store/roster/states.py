"""Active or not: who is inactive stays recorded, and holds no address and no user name."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Final

from importer.rows.validate import KEYS
from importer.store.connection import Connection

# Who made a user inactive, in `users.inactive_by`. A file that has the user makes it active again, unless it was the
# operator.
OPERATOR: Final = "operator"
UNDO: Final = "undo"
SNAPSHOT: Final = "snapshot"  # it was missing from the files of its feed
STATUS: Final = "status"  # a row said so: another has to say that it is active, while the client has such a column

_READ_AT_ONCE: Final = 20_000
_WRITTEN_AT_ONCE: Final = 300  # users in a statement
_INACTIVE_HOLD_NOTHING: Final = f"""
    UPDATE users SET {", ".join(f"{key} = NULL" for key in KEYS.values())}
    WHERE client = :client AND inactive_by IS NOT NULL AND coalesce({", ".join(KEYS.values())}) IS NOT NULL
      AND unique_id IN (SELECT id FROM {{chosen}})"""
# The columns of VALUES have these names in both databases.
_SET_KEYS: Final = ", ".join(f"{key} = given.column{place}" for place, key in enumerate(KEYS.values(), 2))


def take_keys(conn: Connection, scope: Mapping[str, str | int], chosen: str) -> None:
    """
    Let users of the client hold what they have as address and user name, if they are active, else nothing.

    `chosen`: table and condition of their ids.
    """
    conn.execute(_INACTIVE_HOLD_NOTHING.format(chosen=chosen), scope)
    after, columns = "", ", ".join((*KEYS.values(), *KEYS))
    while True:
        users = conn.execute(
            f"""SELECT unique_id, {columns} FROM users
                WHERE client = :client AND inactive_by IS NULL AND unique_id IN (SELECT id FROM {chosen})
                AND unique_id > :after ORDER BY unique_id LIMIT {_READ_AT_ONCE}""",
            {**scope, "after": after},
        ).fetchall()
        if not users:
            return
        after = users[-1][0]
        changed = [each for each in map(_with_keys, users) if each]
        for place in range(0, len(changed), _WRITTEN_AT_ONCE):
            _set_keys(conn, str(scope["client"]), changed[place : place + _WRITTEN_AT_ONCE])


def _with_keys(user: Sequence[str | None]) -> tuple[str | None, ...]:
    """Return the id of a user and the keys to be held, nothing if they are; SQL folds letters its own way."""
    unique_id, *held = user[: 1 + len(KEYS)]
    keys = [value.casefold() if value else None for value in user[1 + len(KEYS) :]]
    return () if keys == held else (unique_id, *keys)


def _set_keys(conn: Connection, client: str, users: Sequence[tuple[str | None, ...]]) -> None:
    values = ", ".join([f"({', '.join('?' * (1 + len(KEYS)))})"] * len(users))
    conn.execute(
        f"""UPDATE users SET {_SET_KEYS} FROM (VALUES {values}) AS given
            WHERE users.client = ? AND users.unique_id = given.column1""",
        (*itertools.chain(*users), client),
    )
