"""What other systems follow: every user that was created or changed since an import, as it is now."""

from __future__ import annotations

import contextlib
import heapq
import operator
from collections.abc import Iterator
from typing import Final

import msgspec

from importer.store.connection import Connection
from importer.store.queries import USER_COLUMNS, User

_IS_ASKED_FOR: Final = "import_id > :since AND (:client IS NULL OR client = :client)"
_HISTORY: Final = """
    (SELECT import_id, imports.client AS client, unique_id, user_changes.kind AS kind, changes
     FROM user_changes JOIN imports ON imports.id = import_id)"""
_CHANGED: Final = f"""
    WITH told AS MATERIALIZED (
      SELECT client, unique_id, json_group_array(DISTINCT kind) AS kinds FROM {_HISTORY}
      WHERE {_IS_ASKED_FOR} GROUP BY client, unique_id)
    SELECT created_import > :since, coalesce((SELECT kinds FROM told
             WHERE told.client = users.client AND told.unique_id = users.unique_id), '[]'), {", ".join(USER_COLUMNS)}
    FROM users NOT INDEXED WHERE {_IS_ASKED_FOR} ORDER BY import_id, client, unique_id"""
# Ids that nobody has any more: of erased people, and of those who were given others.
_GONE: Final = f"""
    SELECT max(import_id), client, id, json_group_array(DISTINCT kind) FROM (
      SELECT import_id, client, iif(kind = 'erased', kind, 'rekeyed') AS kind,
        iif(kind = 'erased', unique_id, json_extract(changes, '$.unique_id[0]')) AS id
      FROM {_HISTORY} WHERE kind IN ('erased', 'rekeyed', 'undone') AND {_IS_ASKED_FOR}) AS gone
    WHERE id IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM users WHERE users.client = gone.client AND users.unique_id = gone.id)
    GROUP BY client, id ORDER BY 1, 2, 3"""


class ChangedUser(msgspec.Struct, frozen=True, kw_only=True):
    """One user, as it is now."""

    import_id: int  # that changed it last
    client: str
    unique_id: str
    kinds: tuple[str, ...]  # what happened since: created, updated, deactivated, reinstated, rekeyed, undone, erased
    user: User | None  # None: nobody has this id any more


class CursorUnusable(Exception):
    """What changed since that import is not known. The message says why."""


def newest(conn: Connection) -> int:
    """Return the cursor from which nothing has changed yet."""
    return int(conn.execute("SELECT coalesce(max(id), 0) FROM imports").fetchone()[0])


def since(conn: Connection, cursor: int, client: str | None) -> Iterator[ChangedUser]:
    """Yield the users that imports after this one have created or changed, by import. Raises CursorUnusable."""
    (first,) = conn.execute("SELECT history_from FROM retention").fetchone()
    if cursor > newest(conn):
        raise CursorUnusable(f"there is no import {cursor}: was the database restored from a backup?")
    if 0 < cursor < first - 1:
        raise CursorUnusable(f"the history begins with import {first}: who was erased before is not known any more")
    named = {"since": cursor, "client": client}
    with (
        contextlib.closing(conn.execute(_CHANGED, named)) as changed,
        contextlib.closing(conn.execute(_GONE, named)) as gone,
    ):
        yield from heapq.merge((_as_it_is(row) for row in changed), (_as_gone(*row) for row in gone), key=_place)


_place: Final = operator.attrgetter("import_id", "client", "unique_id")


def _as_it_is(row: tuple[object, ...]) -> ChangedUser:
    is_new, kinds, *values = row
    user = dict(zip(USER_COLUMNS, values, strict=True))
    names = msgspec.json.decode(str(kinds), type=set[str]) | ({"created"} if is_new else set())
    changed = {name: user[name] for name in ("import_id", "client", "unique_id")}
    return msgspec.convert({**changed, "kinds": sorted(names), "user": user}, ChangedUser)


def _as_gone(import_id: int, client: str, unique_id: str, kinds: str) -> ChangedUser:
    names = msgspec.json.decode(kinds, type=list[str])
    return ChangedUser(import_id=import_id, client=client, unique_id=unique_id, kinds=tuple(sorted(names)), user=None)
