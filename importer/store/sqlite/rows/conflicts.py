"""
Addresses and user names that two users would share: rows of the file that claim them are undone.

A row that turns out not to count is undone from its image in the temporary table `before`.
"""

from __future__ import annotations

from typing import Final

from importer.attributes import ATTRIBUTES
from importer.rows.validate import KEYS
from importer.store.connection import Connection
from importer.store.sqlite.rows.rejected import FAILED_COLUMNS, TAKEN, RejectedRows

_INDEXES: Final = {"email_key": "users_by_email", "user_name_key": "users_by_user_name"}
Scope = dict[str, str | int]  # what statements about one import name: client, import_id, top (the last rowid before it)

TAKE_KEYS: Final = ", ".join(
    f"{key} = iif(inactive_by IS NULL, casefolded({attribute}), NULL)" for attribute, key in KEYS.items()
)
_TABLES: Final = {
    "before": "id INTEGER PRIMARY KEY, is_rekeyed INTEGER, {users}",
    "shared": "field TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (field, value)",
    "undone": "id INTEGER PRIMARY KEY, problems TEXT NOT NULL",
    "failed": FAILED_COLUMNS,
}
IMAGES: Final = "temp.before CROSS JOIN users WHERE users.rowid = before.id"
_RESTORED: Final = ", ".join((*ATTRIBUTES, *KEYS.values(), "inactive_by", "updated_at", "import_id", "import_line"))

# Values of {key} that more than one user has now. Before the file none had.
_SHARED_BY_SCAN: Final = """
    SELECT {key} AS value FROM users INDEXED BY {index}
    WHERE client = :client AND {key} > '' GROUP BY {key} HAVING count(*) > 1"""
_HAS_OTHER_USER: Final = """
    EXISTS (SELECT 1 FROM users AS theirs WHERE theirs.client = :client AND theirs.{key} = mine.{key}
            AND theirs.rowid <> mine.rowid)"""
_SHARED_BY_PROBE: Final = f"""
    SELECT {{key}} AS value FROM users AS mine
    WHERE (rowid > :top OR rowid IN (SELECT id FROM temp.before WHERE is_rekeyed)) AND {_HAS_OTHER_USER}"""
_SHARED_AFTER_UNDO: Final = f"""
    SELECT {{key}} AS value FROM users AS mine WHERE rowid IN (SELECT id FROM temp.undone) AND {_HAS_OTHER_USER}"""
# The users that have a shared value from this file: new ones, and those that had another value before.
_CONFLICTING: Final = """
    SELECT users.rowid AS id FROM temp.shared CROSS JOIN users ON users.client = :client AND users.{key} = shared.value
    LEFT JOIN temp.before ON before.id = users.rowid
    WHERE shared.field = '{key}' AND users.import_id = :import_id
      AND (users.rowid > :top OR before.{key} IS NOT users.{key})"""


def prepare(conn: Connection) -> None:
    """
    Create the temporary tables, or empty those of an earlier file.

    Were they made anew for each file, SQLite would have to compile all statements again: half the time of a small file.
    """
    made = {name for (name,) in conn.execute("SELECT name FROM sqlite_temp_master WHERE type = 'table'").fetchall()}
    if made.issuperset(_TABLES):
        for name in _TABLES:
            conn.execute(f"DELETE FROM temp.{name}")
        return
    users = ", ".join(name for (name,) in conn.execute("SELECT name FROM pragma_table_info('users')").fetchall())
    for name, columns in _TABLES.items():
        conn.execute(f"DROP TABLE IF EXISTS temp.{name}")
        conn.execute(f"CREATE TEMP TABLE {name} ({columns.format(users=users)})")


def keep_images(conn: Connection, rowids: list[str | int | None], *, is_rekeyed: bool) -> None:
    """Keep users as they are, before the file changes them; `is_rekeyed`: it changes an address or a user name."""
    conn.executemany(
        f"INSERT INTO temp.before SELECT rowid, {is_rekeyed:d}, * FROM users WHERE rowid = ?",
        [(rowid,) for rowid in rowids],
    )


def resolve(conn: Connection, scope: Scope, rejected: RejectedRows, *, by_scan: bool) -> tuple[int, int]:
    """
    Undo every row that claims an address or a user name which another user has as well.

    To a fixed point: a row undone has its old address again, which another row may have taken meanwhile. `by_scan`: it
    is faster to read the whole index than to look up each key. Returns as `undo`.
    """
    query = _SHARED_BY_SCAN if by_scan else _SHARED_BY_PROBE
    deleted = restored = 0
    while _find_shared(conn, scope, query):
        conn.execute("DELETE FROM temp.undone")
        for key, problem in TAKEN.items():
            conflicting = _CONFLICTING.format(key=key)
            conn.execute(
                f"INSERT INTO temp.undone SELECT id, json_array(:kind) FROM ({conflicting}) "
                "WHERE true ON CONFLICT DO UPDATE SET problems = json_insert(problems, '$[#]', :kind)",
                {**scope, "kind": rejected.kind(problem)},
            )
        rejected.add_undone()
        of_round = undo(conn, scope)
        deleted, restored = deleted + of_round[0], restored + of_round[1]
        query = _SHARED_AFTER_UNDO
    return deleted, restored


def _find_shared(conn: Connection, scope: Scope, query: str) -> bool:
    """Note the addresses and user names that more than one user has now; tell whether there are any."""
    conn.execute("DELETE FROM temp.shared")
    values = {key: query.format(key=key, index=index) for key, index in _INDEXES.items()}
    found = (
        conn.execute(f"INSERT OR IGNORE INTO temp.shared SELECT '{key}', value FROM ({each})", scope).rowcount
        for key, each in values.items()
    )
    return sum(found) > 0


def retract(conn: Connection, scope: Scope, unique_ids: list[str]) -> tuple[int, int, int]:
    """Undo the rows of these ids; return how many users there are with them, and the two numbers of `undo`."""
    conn.execute("DELETE FROM temp.undone")
    conn.executemany(
        "INSERT INTO temp.undone SELECT rowid, '[]' FROM users WHERE client = ? AND unique_id = ?",
        [(scope["client"], unique_id) for unique_id in unique_ids],
    )
    (existing,) = conn.execute("SELECT count(*) FROM temp.undone").fetchone()
    return (existing, *undo(conn, scope))


def undo(conn: Connection, scope: Scope) -> tuple[int, int]:
    """Make the users in `undone` what they were before this file; return how many were deleted, and restored."""
    deleted = conn.execute(
        "DELETE FROM users WHERE rowid > :top AND rowid IN (SELECT id FROM temp.undone)", scope
    ).rowcount
    restored = conn.execute(
        f"""UPDATE users SET ({_RESTORED}) = (SELECT {_RESTORED} FROM temp.before WHERE before.id = users.rowid)
            WHERE rowid IN (SELECT id FROM temp.undone) AND import_id = :import_id""",
        scope,
    ).rowcount
    return deleted, restored
