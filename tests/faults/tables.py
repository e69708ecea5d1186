"""The tables of a database on a server, as the judge wants them, once nobody writes to it any more."""

from __future__ import annotations

from typing import Any

from tests.lab import wait_until

Row = dict[str, Any]

_OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rosterd' AND datname = current_database()"
_EMPTY = "SELECT count(*) = 0 FROM pg_tables WHERE tablename = 'imports'"
_ORDER = {
    "imports": "id",
    "users": "client, unique_id",
    "user_changes": "import_id, unique_id",
    "outbox": "id",
    "on_hold": "(SELECT id FROM imports WHERE imports.claim_id = on_hold.claim_id), kind",
    "feeds": "client, feed",
}


def of_server(url: str) -> dict[str, list[Row]]:
    """Return their rows. What was killed may have sessions that are not over: those are waited for."""
    import psycopg  # noqa: PLC0415 - takes libpq
    from psycopg.rows import dict_row, scalar_row  # noqa: PLC0415

    with psycopg.connect(url, autocommit=True) as conn:
        asking = conn.cursor(row_factory=scalar_row)
        wait_until(lambda: asking.execute(_OURS).fetchone() == 0, "the end of lost sessions")
        if asking.execute(_EMPTY).fetchone():
            return {name: [] for name in _ORDER}
        reading = conn.cursor(row_factory=dict_row)
        rows = {name: f"SELECT * FROM {name} ORDER BY {order}" for name, order in _ORDER.items()}  # noqa: S608 - ours
        return {name: reading.execute(statement.encode()).fetchall() for name, statement in rows.items()}
