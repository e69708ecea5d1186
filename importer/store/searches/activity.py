"""What came each day: files and rows, of one client or of all."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

import msgspec

from importer.model import Tally
from importer.store.connection import Connection, stamp
from importer.store.searches.imports import first_since

_ROWS: Final = " + ".join(Tally.OF_ROWS)
_SUMS: Final = ("CASE WHEN outcome = 'refused' THEN 1 ELSE 0 END", _ROWS, "failed")
_COUNTS: Final = ", ".join(["count(*)", *(f"coalesce(sum({each}), 0)" for each in _SUMS)])  # as the fields of Day
_FILES: Final = "kind = 'file' AND outcome <> 'on_hold'"


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """All files that were dealt with on one day, in UTC."""

    files: int = 0
    refused: int = 0  # of the files
    rows: int = 0
    failed: int = 0  # of the rows


def of_client(conn: Connection, client: str, first: int) -> dict[str, Day]:
    """Return the days on which a client uploaded anything, from an import on: "2026-09-05" and what came."""
    rows = conn.execute(
        f"""SELECT substr(finished_at, 1, 10), {_COUNTS} FROM imports
            WHERE client = ? AND id >= ? AND {_FILES} GROUP BY 1""",
        (client, first),
    ).fetchall()
    return {day: _day(counts) for day, *counts in rows}


def of_day(conn: Connection, day: datetime, clients: Collection[str] | None) -> Day:
    """Return what came on the day that begins then, from these clients; None: from all."""
    # By the range of ids: no index has the times.
    first, end = first_since(conn, day), first_since(conn, day + timedelta(days=1))
    named = {f"client{number}": name for number, name in enumerate(clients or ())}
    seen = f"AND client IN ({', '.join(f':{name}' for name in named)})" if clients is not None else ""
    row = conn.execute(
        f"""SELECT {_COUNTS} FROM imports WHERE id >= :first AND id < :end AND {_FILES} {seen}
            AND finished_at >= :since AND finished_at < :until""",
        {**named, "first": first, "end": end, "since": stamp(day), "until": stamp(day + timedelta(days=1))},
    ).fetchone()
    return _day(row)


def _day(counts: Collection[int]) -> Day:
    return Day(**dict(zip(Day.__struct_fields__, counts, strict=True)))
