"""New unique ids for recorded users: what the history has of a person goes with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from importer.store.connection import Connection
from importer.store.database import Store
from importer.store.roster.action import Action, Done, NotPossible, Scope, carry_out

_MOVES: Final = "CREATE TEMP TABLE moves (old TEXT PRIMARY KEY, new TEXT NOT NULL, id INTEGER) WITHOUT ROWID"
# Moves to an id that somebody has who keeps it.
_TAKEN: Final = """
    SELECT old FROM temp.moves JOIN users ON users.client = :client AND users.unique_id = moves.new
    WHERE users.rowid NOT IN (SELECT id FROM temp.moves WHERE id IS NOT NULL)"""


def rekey(store: Store, client: str, pairs: Iterable[tuple[str, str]], *, is_applied: bool) -> Done:
    """
    Give users, named by the first of each pair, the second as their id: all, or none.

    Raises NotPossible, with every pair that is in the way.
    """

    def change(conn: Connection, scope: Scope) -> None:
        prepare(conn)
        conn.executemany("INSERT OR REPLACE INTO temp.moves (old, new) VALUES (?, ?)", pairs)
        conn.execute(
            """UPDATE temp.moves SET id = users.rowid FROM users
               WHERE users.client = :client AND users.unique_id = moves.old""",
            scope,
        )
        if problems := (*_unknown(conn), *(f"{new}: is recorded for another user" for new in _taken_ids(conn, scope))):
            raise NotPossible("nobody was given a new id, because some cannot be", problems)
        conn.execute("INSERT INTO temp.before SELECT rowid, 0, * FROM users WHERE rowid IN (SELECT id FROM temp.moves)")
        move(conn, scope)

    return carry_out(
        store, Action(client=client, kind="rekey", title="rekey", is_applied=is_applied), change, kind="rekeyed"
    )


def prepare(conn: Connection) -> None:
    """Create the temporary table of who gets which id."""
    conn.execute("DROP TABLE IF EXISTS temp.moves")
    conn.execute(_MOVES)


def _unknown(conn: Connection) -> list[str]:
    rows = conn.execute("SELECT old FROM temp.moves WHERE id IS NULL ORDER BY old").fetchall()
    return [f"{old}: is not recorded" for (old,) in rows]


def _taken_ids(conn: Connection, scope: Scope) -> list[str]:
    rows = conn.execute(f"SELECT new FROM temp.moves WHERE old IN ({_TAKEN}) ORDER BY new", scope).fetchall()
    return [new for (new,) in rows]


def drop_taken(conn: Connection, scope: Scope) -> None:
    """Leave out of the moves those to an id that somebody has who keeps it, until none is left."""
    while conn.execute(f"DELETE FROM temp.moves WHERE old IN ({_TAKEN})", scope).rowcount:
        pass


def move(conn: Connection, scope: Scope) -> None:
    """Give the users in `moves` their new ids, in the table of users and in the history."""
    # In two steps: two may exchange their ids.
    conn.execute("UPDATE users SET unique_id = char(1) || rowid WHERE rowid IN (SELECT id FROM temp.moves)")
    conn.execute("UPDATE users SET unique_id = moves.new FROM temp.moves WHERE moves.id = users.rowid")
    conn.execute("DROP TABLE IF EXISTS temp.moved")
    conn.execute(
        """CREATE TEMP TABLE moved AS SELECT moves.new AS moved_to, user_changes.* FROM imports
           CROSS JOIN user_changes ON user_changes.import_id = imports.id AND user_changes.kind <> 'erased'
           CROSS JOIN temp.moves ON moves.old = user_changes.unique_id WHERE imports.client = :client""",
        scope,
    )
    conn.execute(
        "DELETE FROM user_changes WHERE (import_id, unique_id) IN (SELECT import_id, unique_id FROM temp.moved)"
    )
    # In the place of what is left of somebody whom no command has removed.
    conn.execute(
        """INSERT OR REPLACE INTO user_changes
           SELECT import_id, moved_to, kind, line, line_before, changed_at, changes FROM temp.moved"""
    )
    conn.execute("DROP TABLE temp.moved")
