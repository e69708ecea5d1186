"""All users of a client, as a stream, from the database or from the read copy."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Final

from importer.store.connection import Connection
from importer.store.queries import USER_COLUMNS

COLUMNS: Final = tuple(name for name in USER_COLUMNS if name not in ("created_import", "import_line"))


def count(conn: Connection, client: str, *, with_former: bool) -> int:
    """Return how many users `people` yields."""
    query = "SELECT count(*) FROM users WHERE client = ? AND (? = 1 OR inactive_by IS NULL)"
    return int(conn.execute(query, (client, with_former)).fetchone()[0])


def people(conn: Connection, client: str, *, with_former: bool) -> Generator[tuple[str | int | None, ...], None, None]:
    """
    Yield the active users of a client by unique id, with values for COLUMNS; `with_former`: the others, too.

    Close it before the database, unless it has come to its end.
    """
    query = f"""SELECT {", ".join(COLUMNS)} FROM users WHERE client = ? AND (? = 1 OR inactive_by IS NULL)
        ORDER BY unique_id"""
    with contextlib.closing(conn.stream(query, (client, with_former))) as rows:
        yield from rows
