"""Active or not: who is inactive stays recorded, and holds no address and no user name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from importer.rows.validate import KEYS
from importer.store.connection import Connection

# Who made a user inactive, in `users.inactive_by`. A file that has the user makes it active again, unless it was the
# operator.
OPERATOR: Final = "operator"
UNDO: Final = "undo"
SNAPSHOT: Final = "snapshot"  # it was missing from the files of its feed
STATUS: Final = "status"  # a row said so: another has to say that it is active, while the client has such a column

_AT_ONCE: Final = 5000
_SET_KEYS: Final = ", ".join(f"{key} = :{key}" for key in KEYS.values())


def take_keys(conn: Connection, scope: Mapping[str, str | int], chosen: str) -> None:
    """
    Let users of the client hold what they have as address and user name, if they are active, else nothing.

    `chosen`: table and condition of their ids.
    """
    after, columns = "", ", ".join(KEYS)
    while True:
        users = conn.execute(
            f"""SELECT unique_id, inactive_by, {columns} FROM (
                  SELECT DISTINCT id FROM {chosen} AND id > :after ORDER BY id LIMIT {_AT_ONCE}) AS chosen
                CROSS JOIN users WHERE client = :client AND unique_id = chosen.id ORDER BY unique_id""",
            {**scope, "after": after},
        ).fetchall()
        if not users:
            return
        after = users[-1][0]
        conn.executemany(
            f"UPDATE users SET {_SET_KEYS} WHERE client = :client AND unique_id = :unique_id",
            [
                {
                    "client": scope["client"],
                    "unique_id": unique_id,
                    **dict(zip(KEYS.values(), (_key(value, inactive_by) for value in values), strict=True)),
                }
                for unique_id, inactive_by, *values in users
            ],
        )


def _key(value: str | None, inactive_by: str | None) -> str | None:
    """Return an address or a user name as users are compared by it; SQL of each database folds letters its own way."""
    return value.casefold() if value and inactive_by is None else None
