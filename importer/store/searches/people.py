"""Users whose id, address or user name begins with a text: by the indexes, however many users there are."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from importer.store.connection import Connection
from importer.store.queries import User, literally, users_of

_LAST: Final = "\U0010ffff"  # after every text that begins alike
_NAMES: Final = ("first_name", "last_name", "first_name || ' ' || last_name")
_WHOSE: Final = "(:is_of_all = 1 OR client IN (SELECT name FROM whose))"
# Each question stops by itself: a text with which millions begin is no reason to collect all of them.
_BEGINS: Final = f"""
    (WITH whose (name) AS (VALUES {{clients}})
      SELECT client AS of_client, unique_id AS id FROM (
        SELECT client, unique_id FROM whose CROSS JOIN users
        WHERE client = name AND unique_id >= :text AND unique_id < :text_end LIMIT :limit) AS by_id
      UNION SELECT * FROM (SELECT client, unique_id FROM users
                           WHERE email_key >= :key AND email_key < :key_end AND {_WHOSE} LIMIT :limit) AS by_email
      UNION SELECT * FROM (SELECT client, unique_id FROM users WHERE user_name_key >= :key
                           AND user_name_key < :key_end AND {_WHOSE} LIMIT :limit) AS by_user_name) AS hits
    CROSS JOIN users WHERE client = of_client AND unique_id = id ORDER BY client, unique_id"""
_IS_NAMED: Final = " OR ".join(f"{name} LIKE :pattern ESCAPE '!'" for name in _NAMES)


def begin_with(conn: Connection, text: str, clients: Collection[str], *, is_of_all: bool, limit: int) -> list[User]:
    """
    Return users of these clients whose unique id, address or user name begins with a text that is not empty.

    `is_of_all` says that no user is of another client.
    """
    if not clients:
        return []
    key = text.casefold()
    names = {f"client_{number}": client for number, client in enumerate(clients)}
    values: dict[str, str | int | None] = {
        **names,
        "is_of_all": is_of_all,
        "key": key,
        "key_end": key + _LAST,
        "limit": limit,
        "text": text,
        "text_end": text + _LAST,
    }
    return users_of(conn, _BEGINS.format(clients=", ".join(f"(:{name})" for name in names)), values)


def named(conn: Connection, text: str, client: str, limit: int) -> list[User]:
    """Return users of one client whose first, last or whole name begins with a text. It reads all of the client's."""
    order = "last_name NULLS FIRST, first_name NULLS FIRST, unique_id"
    where = f"users WHERE client = :client AND ({_IS_NAMED}) ORDER BY {order}"
    return users_of(conn, where, {"client": client, "pattern": f"{literally(text)}%", "limit": limit})
