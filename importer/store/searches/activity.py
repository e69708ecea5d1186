"""What came each day: files and rows, by client."""

from __future__ import annotations

from datetime import datetime

import msgspec

from importer.model import Tally
from importer.store.connection import Connection, stamp
from importer.store.searches.imports import first_since


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """All files of a client that were dealt with on one day, in UTC."""

    client: str
    day: str  # "2026-09-05"
    files: int
    refused: int  # of the files
    rows: int
    failed: int  # of the rows


def days(conn: Connection, since: datetime) -> list[Day]:
    """Return the days since a moment on which a client uploaded anything, oldest first."""
    rows = " + ".join(Tally.OF_ROWS)
    found = conn.execute(
        f"""SELECT client, substr(finished_at, 1, 10), count(*), sum(outcome = 'refused'), sum({rows}), sum(failed)
            FROM imports WHERE id >= :first AND finished_at >= :since AND kind = 'file' AND outcome <> 'on_hold'
            GROUP BY client, 2 ORDER BY 2, client""",
        {"first": first_since(conn, since), "since": stamp(since)},
    ).fetchall()
    return [Day(**dict(zip(Day.__struct_fields__, row, strict=True))) for row in found]
