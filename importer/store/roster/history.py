"""What each import has changed of which user: `user_changes`. A creation is recorded in the user's own row."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from importer.attributes import ATTRIBUTES
from importer.store.connection import Connection

Values = tuple[str | None, str | None]  # old, new
COLUMNS: Final = "import_id, unique_id, kind, line, line_before, changed_at, changes"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What one import changed of one person."""

    import_id: int
    file: str  # or what the operator did
    approved_by: str  # who approved the file, if it was on hold; pause: a limit that it exceeds was paused
    requested_by: str  # the console user who asked for it, if it is a replay or an undo
    line: int  # 0: it was in no file, or is not known any more
    line_before: int  # where its values before had stood
    kind: str  # updated, deactivated, reinstated, rekeyed, undone; created and erased, which have no changes
    changed_at: str
    changes: dict[str, Values]  # by attribute; `inactive_by` is among them


_KIND: Final = """
    CASE WHEN before.inactive_by IS users.inactive_by
           OR (before.inactive_by IS NOT NULL AND users.inactive_by = 'status') THEN 'updated'
         WHEN users.inactive_by IS NULL THEN 'reinstated' ELSE 'deactivated' END"""


def of_client(conn: Connection) -> str:
    """Return from where statements read what imports changed of users of `:client`; their conditions follow."""
    # Imports first: there are few compared with what they changed, and each has its changes in the order of ids.
    return f"""imports CROSS JOIN user_changes WHERE user_changes.import_id = imports.id AND imports.client = :client
        AND {conn.same_client("user_changes", ":client")}"""


def record(
    conn: Connection,
    scope: Mapping[str, str | int],
    images: str,
    columns: Collection[str] = (*ATTRIBUTES,),
    kind: str = _KIND,
) -> None:
    """
    Write what the import that `scope` names has changed; `images` joins users to `before`, what they were.

    `columns`: all in which it may have changed a user. The changes are JSON: attribute -> [old value, new value].
    """
    names = [*(name for name in ATTRIBUTES if name in columns), "inactive_by"]
    pairs = " || ".join(
        f"""CASE WHEN before.{name} IS users.{name} THEN ''
            ELSE ',"{name}":' || {conn.pair_in_json(f"before.{name}", f"users.{name}")} END"""
        for name in names
    )
    values = f":import_id, users.unique_id, {kind}, users.import_line, before.import_line, users.updated_at"
    conn.execute(
        f"""INSERT INTO user_changes ({conn.with_client("client", COLUMNS)})
            SELECT {conn.with_client(":client", values)}, '{{' || substr({pairs}, 2) || '}}'
            FROM {images} AND users.import_id = :import_id ORDER BY users.unique_id""",
        scope,
    )


def of_person(conn: Connection, client: str, unique_id: str) -> list[Change]:
    """Return what was changed of a person, oldest first."""
    rows = conn.execute(
        f"""SELECT import_id, file, approved_by, requested_by, line, line_before, user_changes.kind, changed_at, changes
            FROM {_of_person(conn)} ORDER BY 1""",
        {"client": client, "unique_id": unique_id},
    ).fetchall()
    return [
        Change(
            **dict(zip(Change.__struct_fields__, row[:-1], strict=False)),
            changes=msgspec.json.decode(row[-1], type=dict[str, Values]),
        )
        for row in rows
    ]


def _of_person(conn: Connection) -> str:
    return f"{of_client(conn)} AND unique_id = :unique_id AND user_changes.kind <> 'erased'"


def story(conn: Connection, client: str, unique_id: str) -> list[Change]:
    """Return everything that is known to have happened to a person, or to former ones of this id, oldest first."""
    changes = of_person(conn, client, unique_id)
    rows = conn.execute(
        f"""SELECT import_id, file, approved_by, requested_by, 'erased', changed_at, 0
            FROM {of_client(conn)} AND unique_id = :unique_id AND user_changes.kind = 'erased'
            UNION ALL
            SELECT created_import, file, approved_by, requested_by, 'created', created_at,
              CASE WHEN import_id = created_import THEN import_line ELSE 0 END
            FROM users JOIN imports ON imports.id = created_import AND imports.client = users.client
            WHERE users.client = :client AND unique_id = :unique_id""",
        {"client": client, "unique_id": unique_id},
    ).fetchall()
    (first,) = conn.execute("SELECT history_from FROM retention").fetchone()
    events = [
        Change(
            import_id=import_id,
            file=file,
            approved_by=approved_by,
            requested_by=requested_by,
            line=changes[0].line_before if kind == "created" and changes and import_id >= first else line,
            line_before=0,
            kind=kind,
            changed_at=at,
            changes={},
        )
        for import_id, file, approved_by, requested_by, kind, at, line in rows
    ]
    return sorted([*events, *changes], key=lambda change: change.import_id)


def former_ids(conn: Connection, client: str, unique_id: str) -> set[str]:
    """Return the ids that a person had before."""
    pairs = [change.changes.get("unique_id", ()) for change in of_person(conn, client, unique_id)]
    return {id_ for pair in pairs for id_ in pair if id_ is not None}


def later_id(conn: Connection, client: str, unique_id: str) -> str:
    """Return the id that somebody has now who had this one, "" for nobody; of several the last."""
    row = conn.execute(
        f"""SELECT user_changes.unique_id FROM {of_client(conn)} AND imports.kind IN ('rekey', 'undo')
            AND {conn.in_json("changes", "unique_id", 0)} = :unique_id ORDER BY import_id DESC LIMIT 1""",
        {"client": client, "unique_id": unique_id},
    ).fetchone()
    return str(row[0]) if row else ""


def forget_person(conn: Connection, client: str, unique_id: str) -> int:
    """Remove what was changed of a person; return how often it was."""
    return conn.execute(
        f"""DELETE FROM user_changes WHERE {conn.same_client("user_changes", ":client")}
            AND (import_id, unique_id) IN (
              SELECT user_changes.import_id, user_changes.unique_id FROM {_of_person(conn)})""",
        {"client": client, "unique_id": unique_id},
    ).rowcount


def note_erased(conn: Connection, import_id: int, client: str, ids: Collection[str]) -> None:
    """Note of ids of an erased person, as far as they are nobody's now, that they are gone."""
    conn.executemany(
        f"""INSERT INTO user_changes ({conn.with_client("client", COLUMNS)})
            SELECT {conn.with_client(":client", ":import_id, :unique_id, 'erased', 0, 0, finished_at, '{}'")}
            FROM imports WHERE client = :client AND id = :import_id
            AND NOT EXISTS (SELECT 1 FROM users WHERE client = :client AND unique_id = :unique_id)""",
        [{"import_id": import_id, "client": client, "unique_id": each} for each in ids],
    )
