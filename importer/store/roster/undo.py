"""
Taking back what one import did, value by value.

An attribute goes back only where it still has what that import gave it. A user whom it made becomes inactive, one that
it deactivated active. What somebody has changed since, or what another user has by now, stays: a conflict, which is
told and not forced.
"""

from __future__ import annotations

from typing import Final

import msgspec

from importer.rows.validate import KEYS
from importer.store.connection import Connection
from importer.store.database import Store
from importer.store.roster import ids
from importer.store.roster.action import Action, Done, NotPossible, Scope, carry_out
from importer.store.roster.states import STATUS, TAKE_KEYS, UNDO

MOST_TOLD: Final = 1000  # conflicts; all are counted
# Somebody may be made as a leaver. Who became one later was changed since.
_OTHER_STATE: Final = """
    SELECT 1 FROM imports CROSS JOIN user_changes ON import_id = imports.id AND user_changes.unique_id = users.unique_id
    WHERE imports.client = :client AND imports.id > :undone AND json_type(changes, '$.inactive_by') IS NOT NULL"""
# Users who have been given a value that another has: there were none before.
_CLAIMANTS: Final = """
    SELECT users.rowid FROM temp.before CROSS JOIN users ON users.rowid = before.id
    WHERE users.{key} IS NOT NULL AND users.{key} IS NOT before.{key} AND EXISTS (
      SELECT 1 FROM users AS theirs WHERE theirs.client = :client AND theirs.{key} = users.{key}
      AND theirs.rowid <> users.rowid)"""


class Conflict(msgspec.Struct, frozen=True):
    """A value that stays as it is."""

    unique_id: str
    field: str  # an attribute, or `inactive_by`
    is_taken: bool  # by another user; else it was changed since


class Undone(msgspec.Struct, frozen=True, kw_only=True):
    """What was, or would be, taken back."""

    done: Done
    client: str
    values: int  # of attributes
    deactivated: int
    reinstated: int
    conflicts: int
    listed: tuple[Conflict, ...]  # the first of them


def undo(store: Store, import_id: int, *, is_applied: bool, by: str = "") -> Undone:
    """Take back what an import did, or only try it. Raises NotPossible."""
    client = _client_of(store.conn, import_id)
    results: list[Undone] = []

    def change(conn: Connection, scope: Scope) -> None:
        _plan(conn, {**scope, "undone": import_id, "by": UNDO})
        conn.execute("INSERT INTO temp.before SELECT rowid, 0, * FROM users WHERE rowid IN (SELECT id FROM temp.plan)")
        _move_back(conn, scope)
        _set_back(conn)
        while _keep_taken(conn, scope):
            pass
        results.append(_result(conn, client))

    action = Action(client=client, kind="undo", title=f"undo of {import_id}", requested_by=by, is_applied=is_applied)
    done = carry_out(store, action, change, kind="undone")
    return msgspec.structs.replace(results[0], done=done)


def _client_of(conn: Connection, import_id: int) -> str:
    row = conn.execute("SELECT client, kind FROM imports WHERE id = ?", (import_id,)).fetchone()
    if row is None:
        raise NotPossible(f"there is no import {import_id}; `rosterd imports` lists all")
    client, kind = row
    if kind == "erase":
        raise NotPossible("an erased person cannot be brought back")
    (first,) = conn.execute("SELECT history_from FROM retention").fetchone()
    if import_id < first:
        raise NotPossible(
            f"what import {import_id} changed is no longer stored; the history begins with import {first}"
        )
    return str(client)


def _plan(conn: Connection, scope: Scope) -> None:
    """Note in `plan` which values go back, and in `kept` those that were changed since."""
    for name in ("plan", "kept"):
        conn.execute(f"DROP TABLE IF EXISTS temp.{name}")
    conn.execute(
        """CREATE TEMP TABLE plan (id INTEGER, field TEXT, given TEXT, former TEXT, PRIMARY KEY (id, field))
           WITHOUT ROWID"""
    )
    conn.execute("CREATE TEMP TABLE kept (id INTEGER, field TEXT, is_taken INTEGER)")
    conn.execute(
        """INSERT INTO temp.plan
           SELECT users.rowid, each.key, json_extract(each.value, '$[1]'), json_extract(each.value, '$[0]')
           FROM user_changes CROSS JOIN users ON users.client = :client AND users.unique_id = user_changes.unique_id
           CROSS JOIN json_each(user_changes.changes) AS each WHERE user_changes.import_id = :undone""",
        scope,
    )
    conn.execute(
        f"""INSERT OR IGNORE INTO temp.plan SELECT rowid, 'inactive_by', inactive_by, :by FROM users NOT INDEXED
            WHERE client = :client AND created_import = :undone
            AND (inactive_by IS NULL OR (inactive_by = '{STATUS}' AND NOT EXISTS ({_OTHER_STATE})))""",
        scope,
    )
    for field in _fields(conn):
        of_field = f"plan.field = '{field}' AND users.rowid = plan.id"
        conn.execute(
            f"""INSERT INTO temp.kept SELECT plan.id, plan.field, 0 FROM temp.plan JOIN users ON {of_field}
                WHERE users.{field} IS NOT plan.given AND users.{field} IS NOT plan.former"""
        )
        conn.execute(
            f"""DELETE FROM temp.plan WHERE field = '{field}' AND NOT EXISTS (
                  SELECT 1 FROM users WHERE {of_field} AND users.{field} IS plan.given)"""
        )


def _fields(conn: Connection) -> list[str]:
    return [field for (field,) in conn.execute("SELECT DISTINCT field FROM temp.plan ORDER BY field").fetchall()]


def _move_back(conn: Connection, scope: Scope) -> None:
    """Give users their former ids, unless these are another's."""
    ids.prepare(conn)
    conn.execute("INSERT INTO temp.moves SELECT given, former, id FROM temp.plan WHERE field = 'unique_id'")
    ids.drop_taken(conn, scope)
    _keep(conn, "field = 'unique_id' AND id NOT IN (SELECT id FROM temp.moves)", scope)
    ids.move(conn, scope)


def _keep(conn: Connection, which: str, scope: Scope) -> int:
    """Leave values out of the plan, as another user has them; return how many."""
    conn.execute(f"INSERT INTO temp.kept SELECT id, field, 1 FROM temp.plan WHERE {which}", scope)
    return conn.execute(f"DELETE FROM temp.plan WHERE {which}", scope).rowcount


def _set_back(conn: Connection) -> None:
    for field in (name for name in _fields(conn) if name != "unique_id"):
        conn.execute(
            f"UPDATE users SET {field} = plan.former FROM temp.plan WHERE plan.field = ? AND plan.id = users.rowid",
            (field,),
        )
    keyed = ", ".join(f"'{name}'" for name in (*KEYS, "inactive_by"))
    conn.execute(f"UPDATE users SET {TAKE_KEYS} WHERE rowid IN (SELECT id FROM temp.plan WHERE field IN ({keyed}))")


def _keep_taken(conn: Connection, scope: Scope) -> bool:
    """
    Let users keep what they have where their former address or user name is another's; tell whether there were any.

    To be repeated: who keeps an address may have one that was given back to another meanwhile.
    """
    conflicts = 0
    for attribute, key in KEYS.items():
        claimants = _CLAIMANTS.format(key=key)
        only_state = f"""field = 'inactive_by' AND NOT EXISTS (
            SELECT 1 FROM temp.plan AS other WHERE other.id = plan.id AND other.field = '{attribute}')"""
        conflicts += _keep(conn, f"id IN ({claimants}) AND (field = '{attribute}' OR {only_state})", scope)
        for field in (attribute, "inactive_by"):
            conn.execute(
                f"""UPDATE users SET {field} = before.{field} FROM temp.before WHERE before.id = users.rowid
                    AND before.id IN (SELECT id FROM temp.kept WHERE is_taken AND field = '{field}')"""
            )
        conn.execute(f"UPDATE users SET {TAKE_KEYS} WHERE rowid IN (SELECT id FROM temp.kept WHERE is_taken)")
    return bool(conflicts)


def _result(conn: Connection, client: str) -> Undone:
    counts = conn.execute(
        """SELECT coalesce(sum(field <> 'inactive_by'), 0), coalesce(sum(field = 'inactive_by' AND given IS NULL), 0),
             coalesce(sum(field = 'inactive_by' AND former IS NULL), 0) FROM temp.plan"""
    ).fetchone()
    conflicts = conn.execute(
        """SELECT unique_id, field, is_taken FROM temp.kept JOIN users ON users.rowid = kept.id
           ORDER BY unique_id, field LIMIT ?""",
        (MOST_TOLD,),
    ).fetchall()
    return Undone(
        done=Done(0, 0),
        client=client,
        values=counts[0],
        deactivated=counts[1],
        reinstated=counts[2],
        conflicts=int(conn.execute("SELECT count(*) FROM temp.kept").fetchone()[0]),
        listed=tuple(Conflict(unique_id, field, bool(is_taken)) for unique_id, field, is_taken in conflicts),
    )
