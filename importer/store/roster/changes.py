"""What other systems follow: every user that was created or changed since an import, as it is now."""

from __future__ import annotations

import contextlib
import heapq
import operator
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from importer.store.connection import Connection
from importer.store.queries import USER_COLUMNS, User

_IS_ASKED_FOR: Final = "import_id > :since AND import_id <= :until AND (:client IS NULL OR client = :client)"
# BETWEEN: of two equalities, one of which follows from the other, PostgreSQL expects next to no rows, and would then go
# through all that there are for each user.
_HISTORY: Final = """
    (SELECT imports.id AS import_id, imports.client AS client, unique_id, user_changes.kind AS kind, changes
     FROM imports CROSS JOIN user_changes
     WHERE {same_client} AND user_changes.import_id BETWEEN imports.id AND imports.id) AS history"""
_KINDS: Final = ("updated", "deactivated", "reinstated", "rekeyed", "undone", "erased")
# Which of them there are, as a sum of powers of two: each database has a list of its own kind.
_SUM_OF_KINDS: Final = " + ".join(
    f"max(CASE WHEN kind = '{kind}' THEN {1 << place} ELSE 0 END)" for place, kind in enumerate(_KINDS)
)
# All users are read: they have no index by import.
_CHANGED: Final = f"""
    WITH told AS MATERIALIZED (
      SELECT client AS whose, unique_id AS id, {_SUM_OF_KINDS} AS kinds FROM {{history}}
      WHERE {_IS_ASKED_FOR} GROUP BY client, unique_id)
    SELECT CASE WHEN created_import > :since THEN 1 ELSE 0 END, coalesce(kinds, 0), {", ".join(USER_COLUMNS)}
    FROM users LEFT JOIN told ON whose = client AND id = unique_id
    WHERE {_IS_ASKED_FOR} ORDER BY import_id, client, unique_id"""
# Ids that nobody has any more: of erased people, and of those who were given others.
_GONE: Final = f"""
    SELECT max(import_id), client, id, {_SUM_OF_KINDS} FROM (
      SELECT import_id, client, CASE WHEN kind = 'erased' THEN kind ELSE 'rekeyed' END AS kind,
        CASE WHEN kind = 'erased' THEN unique_id ELSE {{former_id}} END AS id
      FROM {{history}} WHERE kind IN ('erased', 'rekeyed', 'undone') AND {_IS_ASKED_FOR}) AS gone
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
    return conn.newest_import_id()


def since(conn: Connection, cursor: int, client: str | None) -> Iterator[ChangedUser]:
    """
    Yield the users that imports after this one have created or changed, by import. Raises CursorUnusable.

    Several hosts may import at a time, and ids are not committed in their order: it ends before the first import that
    is under way, so that each id of an import in the answer can be the next cursor.
    """
    until = newest(conn)
    (first,) = conn.execute("SELECT history_from FROM retention").fetchone()
    if cursor > until:
        raise CursorUnusable(f"there is no import {cursor}: was the database restored from a backup?")
    if 0 < cursor < first - 1:
        raise CursorUnusable(f"the history begins with import {first}: who was erased before is not known any more")
    history = _HISTORY.format(same_client=conn.same_client("user_changes", "imports.client"))
    gone_since = _GONE.format(history=history, former_id=conn.in_json("changes", "unique_id", 0))
    named = {"since": cursor, "until": until, "client": client}
    with (
        contextlib.closing(conn.stream(_CHANGED.format(history=history), named)) as changed,
        contextlib.closing(conn.stream(gone_since, named)) as gone,
    ):
        yield from heapq.merge((_as_it_is(row) for row in changed), (_as_gone(*row) for row in gone), key=_place)


_place: Final = operator.attrgetter("import_id", "client", "unique_id")


def _as_it_is(row: tuple[Any, ...]) -> ChangedUser:
    is_new, kinds, *values = row
    user = dict(zip(USER_COLUMNS, values, strict=True))
    names = [*_names(kinds), *(["created"] if is_new else [])]
    changed = {name: user[name] for name in ("import_id", "client", "unique_id")}
    return msgspec.convert({**changed, "kinds": sorted(names), "user": user}, ChangedUser)


def _as_gone(import_id: int, client: str, unique_id: str, kinds: int) -> ChangedUser:
    names = tuple(sorted(_names(kinds)))
    return ChangedUser(import_id=import_id, client=client, unique_id=unique_id, kinds=names, user=None)


def _names(kinds: int) -> list[str]:
    return [kind for place, kind in enumerate(_KINDS) if kinds >> place & 1]
