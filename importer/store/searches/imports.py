"""Imports that fit a filter, newest first, a page at a time."""

from __future__ import annotations

from datetime import datetime

import msgspec

from importer.store.connection import Connection, stamp
from importer.store.queries import IMPORTS, Import, literally, rows_of


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which imports; what is empty, 0 or None does not matter."""

    clients: tuple[str, ...] | None = None  # None: all, which is not the same as none
    outcome: str = ""
    since: datetime | None = None
    until: datetime | None = None  # before this moment
    file: str = ""  # a part of its name
    code: str = ""  # of the file, or of one of its rows
    before: int = 0  # only older imports than this


def search(conn: Connection, wanted: Wanted, limit: int) -> list[Import]:
    """Return the newest imports that fit, at most `limit`."""
    parts = {
        "outcome = :outcome": wanted.outcome,
        "finished_at >= :since": wanted.since,
        "finished_at < :until": wanted.until,
        "file LIKE :file ESCAPE '!'": wanted.file,
        f"""(code = :code OR EXISTS (SELECT 1 FROM import_problems AS problem WHERE problem.import_id = ledger.id
            AND {conn.same_client("problem", "ledger.client")} AND problem.code = :code))""": wanted.code,
        "id < :before": wanted.before,
    }
    conditions = [sql for sql, value in parts.items() if value]
    names: dict[str, str] = {}
    if wanted.clients is not None:
        # Bound one by one: SQLite then reads each client's imports by their index, newest first.
        names = {f"client{number}": name for number, name in enumerate(wanted.clients)}
        conditions.append(f"client IN ({', '.join(f':{name}' for name in names)})")
    if wanted.since is not None:
        conditions.append("id >= :first")
    if wanted.until is not None:
        conditions.append("id < :end")
    named: dict[str, str | int | None] = {
        **names,
        "outcome": wanted.outcome,
        "since": stamp(wanted.since) if wanted.since else None,
        "until": stamp(wanted.until) if wanted.until else None,
        "file": f"%{literally(wanted.file)}%",
        "code": wanted.code,
        "before": wanted.before,
        "first": first_since(conn, wanted.since) if wanted.since else 0,
        "end": first_since(conn, wanted.until) if wanted.until else 0,
        "limit": limit,
    }
    where = " AND ".join(conditions) or "1 = 1"
    return rows_of(conn, Import, f"{IMPORTS} WHERE {where} ORDER BY id DESC LIMIT :limit", named)


def first_since(conn: Connection, since: datetime) -> int:
    """
    Return the id of the first import that finished since then, or one above all.

    Found by halving, as no index has the times: ids rise with them, but for a clock that was set back.
    """
    (last,) = conn.execute("SELECT coalesce(max(id), 0) FROM imports").fetchone()
    low, high, moment = 1, last + 1, stamp(since)
    while low < high:
        middle = (low + high) // 2
        id_, finished_at = conn.execute(
            "SELECT id, finished_at FROM imports WHERE id >= ? ORDER BY id LIMIT 1", (middle,)
        ).fetchone()
        if finished_at < moment:
            low = id_ + 1
        else:
            high = middle
    return int(low)
