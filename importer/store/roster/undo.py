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
from importer.store.roster import history, ids
from importer.store.roster.action import Action, Done, NotPossible, carry_out
from importer.store.roster.states import STATUS, UNDO, take_keys
from importer.store.roster.work import WITH_IMAGES, Scope, keep_images

MOST_TOLD: Final = 1000  # conflicts; all are counted
# Somebody may be made as a leaver. Who became one later was changed since.
_OTHER_STATE: Final = """
    SELECT 1 FROM {changes} AND user_changes.unique_id = users.unique_id
    AND imports.id > :undone AND {state} IS NOT NULL"""
_CHANGES: Final = """SELECT unique_id, changes FROM user_changes
    WHERE {same_client} AND import_id = :undone AND unique_id > :after ORDER BY unique_id LIMIT 5000"""
# Users who have been given a value that another has: there were none before.
_CLAIMANTS: Final = """
    SELECT before.id FROM {images} AND users.{key} IS NOT NULL AND users.{key} IS NOT before.{key} AND EXISTS (
      SELECT 1 FROM users AS theirs WHERE theirs.client = :client AND theirs.{key} = users.{key}
      AND theirs.unique_id <> users.unique_id)"""


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
        keep_images(conn, scope, "unique_id IN (SELECT id FROM work_plan WHERE client = :client)")
        _move_back(conn, scope)
        _set_back(conn, scope)
        while _keep_taken(conn, scope):
            pass
        results.append(_result(conn, scope))

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
    """Note in `work_plan` which values go back, and in `work_kept` those that were changed since."""
    after, count = "", 0
    changes_after = _CHANGES.format(same_client=conn.same_client("user_changes", ":client"))
    while some := conn.execute(changes_after, {**scope, "after": after}).fetchall():
        after, count = some[-1][0], count + len(some)
        conn.executemany(
            "INSERT INTO work_plan (client, id, field, given, former) VALUES (?, ?, ?, ?, ?)",
            [
                (scope["client"], unique_id, field, given, former)
                for unique_id, changes in some
                for field, (former, given) in msgspec.json.decode(changes, type=dict[str, history.Values]).items()
            ],
        )
    other_state = _OTHER_STATE.format(changes=history.of_client(conn), state=conn.in_json("changes", "inactive_by"))
    count += conn.execute(
        f"""INSERT INTO work_plan (client, id, field, given, former)
            SELECT client, unique_id, 'inactive_by', inactive_by, :by FROM users
            WHERE client = :client AND created_import = :undone
            AND (inactive_by IS NULL OR (inactive_by = '{STATUS}' AND NOT EXISTS ({other_state})))
            AND NOT EXISTS (SELECT 1 FROM work_plan AS other WHERE other.client = :client
                            AND other.id = users.unique_id AND other.field = 'inactive_by')""",
        scope,
    ).rowcount
    conn.expect_rows(count)
    for field in _fields(conn, scope):
        its = f"work_plan.client = :client AND work_plan.field = '{field}'"
        user = "users.client = :client AND users.unique_id = work_plan.id"
        conn.execute(
            f"""INSERT INTO work_kept (client, id, field, is_taken)
                SELECT work_plan.client, work_plan.id, work_plan.field, 0 FROM work_plan CROSS JOIN users
                WHERE {its} AND {user} AND users.{field} IS NOT given AND users.{field} IS NOT former""",
            scope,
        )
        conn.execute(
            f"""DELETE FROM work_plan WHERE {its}
                AND NOT EXISTS (SELECT 1 FROM users WHERE {user} AND users.{field} IS work_plan.given)""",
            scope,
        )


def _fields(conn: Connection, scope: Scope) -> list[str]:
    rows = conn.execute("SELECT DISTINCT field FROM work_plan WHERE client = :client ORDER BY field", scope).fetchall()
    return [field for (field,) in rows]


def _move_back(conn: Connection, scope: Scope) -> None:
    """Give users their former ids, unless these are another's."""
    conn.execute(
        """INSERT INTO work_moves (client, old, new) SELECT client, given, former FROM work_plan
           WHERE client = :client AND field = 'unique_id'""",
        scope,
    )
    ids.drop_taken(conn, scope)
    _keep(conn, "field = 'unique_id' AND id NOT IN (SELECT old FROM work_moves WHERE client = :client)", scope)
    ids.move(conn, scope)
    for table in ("work_plan", "work_kept"):
        ids.follow(conn, scope, table)


def _keep(conn: Connection, which: str, scope: Scope) -> int:
    """Leave values out of the plan, as another user has them; return how many."""
    conn.execute(
        f"""INSERT INTO work_kept (client, id, field, is_taken)
            SELECT client, id, field, 1 FROM work_plan WHERE client = :client AND {which}""",
        scope,
    )
    return conn.execute(f"DELETE FROM work_plan WHERE client = :client AND {which}", scope).rowcount


def _set_back(conn: Connection, scope: Scope) -> None:
    # At once: PostgreSQL keeps every state of a user that a statement leaves, and passes over all of them from then on.
    fields = [name for name in _fields(conn, scope) if name != "unique_id"]
    if fields:
        values = ", ".join(
            f"{field} = CASE WHEN has_{field} = 1 THEN its_{field} ELSE users.{field} END" for field in fields
        )
        planned = ", ".join(
            f"""max(CASE WHEN field = '{field}' THEN 1 ELSE 0 END) AS has_{field},
                max(CASE WHEN field = '{field}' THEN former END) AS its_{field}"""
            for field in fields
        )
        conn.execute(
            f"""UPDATE users SET {values}
                FROM (SELECT id, {planned} FROM work_plan WHERE client = :client GROUP BY id) AS plan
                WHERE users.client = :client AND users.unique_id = plan.id""",
            scope,
        )
    keyed = ", ".join(f"'{name}'" for name in (*KEYS, "inactive_by"))
    take_keys(conn, scope, f"work_plan WHERE client = :client AND field IN ({keyed})")


def _keep_taken(conn: Connection, scope: Scope) -> bool:
    """
    Let users keep what they have where their former address or user name is another's; tell whether there were any.

    To be repeated: who keeps an address may have one that was given back to another meanwhile.
    """
    conflicts = 0
    kept = "work_kept WHERE client = :client AND is_taken = 1"
    for attribute, key in KEYS.items():
        claimants = _CLAIMANTS.format(key=key, images=WITH_IMAGES)
        if not conn.execute(f"SELECT EXISTS ({claimants})", scope).fetchone()[0]:
            continue
        only_state = f"""field = 'inactive_by' AND NOT EXISTS (SELECT 1 FROM work_plan AS other
            WHERE other.client = :client AND other.id = work_plan.id AND other.field = '{attribute}')"""
        conflicts += _keep(conn, f"id IN ({claimants}) AND (field = '{attribute}' OR {only_state})", scope)
        for field in (attribute, "inactive_by"):
            conn.execute(
                f"""UPDATE users SET {field} = work_images.{field} FROM work_images
                    WHERE work_images.client = :client AND users.client = :client
                    AND users.unique_id = work_images.id
                    AND work_images.id IN (SELECT id FROM {kept} AND field = '{field}')""",
                scope,
            )
        take_keys(conn, scope, kept)
    return bool(conflicts)


def _result(conn: Connection, scope: Scope) -> Undone:
    counts = conn.execute(
        """SELECT count(CASE WHEN field <> 'inactive_by' THEN 1 END),
             count(CASE WHEN field = 'inactive_by' AND given IS NULL THEN 1 END),
             count(CASE WHEN field = 'inactive_by' AND former IS NULL THEN 1 END)
           FROM work_plan WHERE client = :client""",
        scope,
    ).fetchone()
    conflicts = conn.execute(
        "SELECT id, field, is_taken FROM work_kept WHERE client = :client ORDER BY id, field LIMIT :most",
        {**scope, "most": MOST_TOLD},
    ).fetchall()
    kept = conn.execute("SELECT count(*) FROM work_kept WHERE client = :client", scope).fetchone()[0]
    return Undone(
        done=Done(0, 0),
        client=str(scope["client"]),
        values=counts[0],
        deactivated=counts[1],
        reinstated=counts[2],
        conflicts=int(kept),
        listed=tuple(Conflict(unique_id, field, bool(is_taken)) for unique_id, field, is_taken in conflicts),
    )
