"""
Tables that actions on users work with, and the users as they were before: of one transaction, and of one client.

In SQLite they are temporary. In PostgreSQL they are ordinary ones, as not all that speak it have others: nobody but the
transaction sees its rows, which are removed before its commit. Users are named by their unique ids: `id` is the present
one, also once somebody was given another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from importer.attributes import ATTRIBUTES
from importer.rows.validate import KEYS
from importer.store.connection import Connection

Scope = dict[str, str | int]  # what statements name: client, import_id, at
_IMAGE: Final = ("import_line", *ATTRIBUTES, *KEYS.values(), "inactive_by")
TABLES: Final = {
    "work_images": ("client", "id", *_IMAGE),
    "work_plan": ("client", "id", "field", "given", "former"),
    "work_kept": ("client", "id", "field", "is_taken"),
    "work_moves": ("client", "old", "new"),
    "work_moved": (
        *("client", "moved_to", "import_id", "unique_id"),
        *("kind", "line", "line_before", "changed_at", "changes"),
    ),
}
# Each user with the image of it; the caller's conditions follow.
WITH_IMAGES: Final = """work_images AS before CROSS JOIN users
    WHERE before.client = :client AND users.client = :client AND users.unique_id = before.id"""
IMAGES: Final = "work_images WHERE client = :client"


def prepare(conn: Connection) -> None:
    """Make the tables, or find them empty."""
    for name, columns in TABLES.items():
        conn.make_work_table(name, columns)


def clear(conn: Connection, scope: Mapping[str, str | int]) -> None:
    """Remove the rows of this transaction."""
    for name in TABLES:
        conn.execute(f"DELETE FROM {name} WHERE client = :client", scope)


def keep_images(conn: Connection, scope: Mapping[str, str | int], which: str) -> int:
    """Keep users of the client as they are, before they are changed; return how many these are."""
    columns = ", ".join(_IMAGE)
    return conn.execute(
        f"""INSERT INTO work_images (client, id, {columns}) SELECT client, unique_id, {columns} FROM users
            WHERE client = :client AND {which}""",
        scope,
    ).rowcount
