"""Users whose id, address or user name begins with a text: by the indexes, however many users there are."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final

from importer.store.connection import Connection
from importer.store.queries import User, literally, users_of

_LAST: Final = "\U0010ffff"  # after every text that begins alike
_NAMES: Final = ("first_name", "last_name", "first_name || ' ' || last_name")
_WHOSE: Final = "(:is_of_all OR client IN (SELECT value FROM json_each(:clients)))"
# Each question stops by itself: a text with which millions begin is no reason to collect all of them.
_BEGINS: Final = f"""
    users WHERE rowid IN (
      WITH whose AS (SELECT value AS name FROM json_each(:clients))
      SELECT id FROM (SELECT users.rowid AS id FROM whose CROSS JOIN users
                      ON client = name AND unique_id >= :text AND unique_id < :text_end LIMIT :limit)
      UNION SELECT id FROM (SELECT rowid AS id FROM users
                            WHERE email_key >= :key AND email_key < :key_end AND {_WHOSE} LIMIT :limit)
      UNION SELECT id FROM (SELECT rowid AS id FROM users
                            WHERE user_name_key >= :key AND user_name_key < :key_end AND {_WHOSE} LIMIT :limit))
    ORDER BY client, unique_id"""
_IS_NAMED: Final = " OR ".join(rf"{name} LIKE :pattern ESCAPE '\'" for name in _NAMES)


def begin_with(conn: Connection, text: str, clients: Collection[str], *, is_of_all: bool, limit: int) -> list[User]:
    """
    Return users of these clients whose unique id, address or user name begins with a text that is not empty.

    `is_of_all` says that no user is of another client.
    """
    key = text.casefold()
    values: dict[str, str | int | None] = {
        "clients": json.dumps([*clients]),
        "is_of_all": is_of_all,
        "key": key,
        "key_end": key + _LAST,
        "limit": limit,
        "text": text,
        "text_end": text + _LAST,
    }
    return users_of(conn, _BEGINS, values)


def named(conn: Connection, text: str, client: str, limit: int) -> list[User]:
    """Return users of one client whose first, last or whole name begins with a text. It reads all of the client's."""
    where = f"users WHERE client = :client AND ({_IS_NAMED}) ORDER BY last_name, first_name"
    return users_of(conn, where, {"client": client, "pattern": f"{literally(text)}%", "limit": limit})
