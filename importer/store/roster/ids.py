"""New unique ids for recorded users: what the history has of a person goes with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from importer.store.connection import Connection
from importer.store.database import Store
from importer.store.roster import history
from importer.store.roster.action import Action, Done, NotPossible, carry_out
from importer.store.roster.work import Scope, keep_images

_MOVED: Final = "SELECT old FROM work_moves WHERE client = :client"
# Moves to an id that somebody has who keeps it.
_TAKEN: Final = f"""
    SELECT old FROM work_moves JOIN users ON users.client = work_moves.client AND users.unique_id = work_moves.new
    WHERE work_moves.client = :client AND users.unique_id NOT IN ({_MOVED})"""
_BETWEEN: Final = "\x01"  # before an id that two may be about to exchange: no id begins with it


def rekey(store: Store, client: str, pairs: Iterable[tuple[str, str]], *, is_applied: bool) -> Done:
    """
    Give users, named by the first of each pair, the second as their id: all, or none.

    Raises NotPossible, with every pair that is in the way.
    """

    def change(conn: Connection, scope: Scope) -> None:
        conn.executemany(
            "INSERT INTO work_moves (client, old, new) VALUES (?, ?, ?)",
            [(client, old, new) for old, new in dict(pairs).items()],
        )
        if problems := (*_unknown(conn, scope), *_taken_ids(conn, scope)):
            raise NotPossible("nobody was given a new id, because some cannot be", problems)
        keep_images(conn, scope, f"unique_id IN ({_MOVED})")
        move(conn, scope)

    return carry_out(
        store, Action(client=client, kind="rekey", title="rekey", is_applied=is_applied), change, kind="rekeyed"
    )


def _unknown(conn: Connection, scope: Scope) -> list[str]:
    rows = conn.execute(
        f"""{_MOVED} AND NOT EXISTS (SELECT 1 FROM users WHERE users.client = :client
              AND users.unique_id = work_moves.old) ORDER BY old""",
        scope,
    ).fetchall()
    return [f"{old}: is not recorded" for (old,) in rows]


def _taken_ids(conn: Connection, scope: Scope) -> list[str]:
    query = f"SELECT new FROM work_moves WHERE client = :client AND old IN ({_TAKEN}) ORDER BY new"
    return [f"{new}: is recorded for another user" for (new,) in conn.execute(query, scope).fetchall()]


def drop_taken(conn: Connection, scope: Scope) -> None:
    """Leave out of the moves those to an id that somebody has who keeps it, until none is left."""
    while conn.execute(f"DELETE FROM work_moves WHERE client = :client AND old IN ({_TAKEN})", scope).rowcount:
        pass


def move(conn: Connection, scope: Scope) -> None:
    """Give the users in `work_moves` their new ids: in the table of users, their images, and the history."""
    # In two steps: two may exchange their ids.
    between = {**scope, "between": _BETWEEN}
    conn.execute(
        f"UPDATE users SET unique_id = :between || unique_id WHERE client = :client AND unique_id IN ({_MOVED})",
        between,
    )
    conn.execute(
        """UPDATE users SET unique_id = work_moves.new FROM work_moves
           WHERE work_moves.client = :client AND users.client = :client
           AND users.unique_id = :between || work_moves.old""",
        between,
    )
    follow(conn, scope, "work_images")
    is_theirs = conn.same_client("user_changes", ":client")
    conn.execute(
        f"""INSERT INTO work_moved (client, moved_to, {history.COLUMNS})
            SELECT imports.client, work_moves.new, import_id, unique_id, user_changes.kind, line, line_before,
              changed_at, changes
            FROM imports CROSS JOIN user_changes CROSS JOIN work_moves
            WHERE imports.client = :client AND user_changes.import_id = imports.id AND {is_theirs}
            AND user_changes.kind <> 'erased'
            AND work_moves.client = :client AND work_moves.old = user_changes.unique_id""",
        scope,
    )
    # In the place of what is left of somebody whom no command has removed.
    for id_ in ("unique_id", "moved_to"):
        conn.execute(
            f"""DELETE FROM user_changes WHERE {is_theirs} AND (import_id, unique_id) IN (
                  SELECT import_id, {id_} FROM work_moved WHERE client = :client)""",
            scope,
        )
    conn.execute(
        f"""INSERT INTO user_changes ({conn.with_client("client", history.COLUMNS)})
            SELECT {conn.with_client("client", history.COLUMNS.replace("unique_id", "moved_to"))}
            FROM work_moved WHERE client = :client""",
        scope,
    )
    conn.execute("DELETE FROM work_moved WHERE client = :client", scope)


def follow(conn: Connection, scope: Scope, table: str) -> None:
    """Name users in a table by the ids that they have been given."""
    conn.execute(
        f"""UPDATE {table} SET id = work_moves.new FROM work_moves
            WHERE {table}.client = :client AND work_moves.client = :client AND work_moves.old = {table}.id""",
        scope,
    )
