"""
Files on hold, and what was decided about each: a row next to that of the ledger, which stays for support.

A decision is committed first, and then acted on by whoever works on the claim: what a restart finds is done once.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec

from importer.model import Change, OnHold
from importer.store.connection import Connection, stamp

_COLUMNS: Final = ", ".join(OnHold.__struct_fields__)
_JSON: Final = ("tripped", "changes")
_CHANGES: Final = msgspec.json.Decoder(tuple[Change, ...])


def add(conn: Connection, held: OnHold) -> None:
    """Write down that a file is on hold, inside the caller's transaction; an earlier preview of it is replaced."""
    row = {name: getattr(held, name) for name in OnHold.__struct_fields__}
    row |= {name: msgspec.json.encode(row[name]).decode() for name in _JSON}
    row |= {"held_at": stamp(held.held_at), "decided_at": None}
    conn.execute("DELETE FROM on_hold WHERE claim_id = ?", (held.claim_id,))
    conn.execute(f"INSERT INTO on_hold ({_COLUMNS}) VALUES ({', '.join(f':{name}' for name in row)})", row)


def find(conn: Connection, claim_id: str) -> OnHold | None:
    """Return the preview of a claim that is, or was, on hold."""
    return next(iter(_rows(conn, "WHERE claim_id = :value", claim_id)), None)


def waiting(conn: Connection, client: str | None = None) -> list[OnHold]:
    """Return the files that nobody has decided on, oldest first; of all clients without a name."""
    return _rows(conn, "WHERE decision = '' AND (:value IS NULL OR client = :value) ORDER BY import_id", client)


def decided_here(conn: Connection) -> list[str]:
    """Return the claims on hold in the inboxes of this host that were decided on, on whichever host, oldest first."""
    rows = conn.execute(
        """SELECT on_hold.claim_id FROM on_hold
           JOIN imports ON imports.client = on_hold.client AND imports.claim_id = on_hold.claim_id
           WHERE decision <> '' AND outcome = 'on_hold' AND host = ? ORDER BY import_id""",
        (conn.host,),
    ).fetchall()
    return [claim_id for (claim_id,) in rows]


def is_used(conn: Connection, client: str, code: str) -> bool:
    """Tell whether the code was that of a file of a client that is decided on."""
    row = conn.execute(
        "SELECT EXISTS (SELECT 1 FROM on_hold WHERE client = ? AND code = ? AND decision <> '')", (client, code)
    ).fetchone()
    return bool(row[0])


def first_mailed(conn: Connection, files: Iterable[OnHold]) -> list[OnHold]:
    """Return of each file the one with which its code was mailed first: others may have replaced that since."""
    where = "WHERE client = :client AND code = :value ORDER BY import_id LIMIT 1"
    return [first for each in files for first in _rows(conn, where, each.code, each.client)]


def code_of(conn: Connection, import_id: str) -> str:
    """Return the code of what is, or was, on hold as this import, "" for none."""
    row = conn.execute("SELECT code FROM on_hold WHERE CAST(import_id AS TEXT) = ?", (import_id,)).fetchone()
    return str(row[0]) if row else ""


def decide(
    conn: Connection, claim_ids: Iterable[str], decision: str, by: str, at: datetime, *, reason: str = ""
) -> int:
    """Note what is to be done with files on hold, unless it was decided before; return how many were not."""
    count = 0
    for claim_id in claim_ids:
        count += conn.execute(
            "UPDATE on_hold SET decision = ?, decided_by = ?, decided_at = ?, reason = ?"
            " WHERE claim_id = ? AND decision = ''",
            (decision, by, stamp(at), reason, claim_id),
        ).rowcount
    return count


def _rows(conn: Connection, where: str, value: str | None, client: str = "") -> list[OnHold]:
    named = {"value": value, "client": client}
    rows = conn.execute(f"SELECT {_COLUMNS} FROM on_hold {where}", named).fetchall()
    return [_on_hold(dict(zip(OnHold.__struct_fields__, row, strict=True))) for row in rows]


def _on_hold(row: dict[str, str]) -> OnHold:
    changes = {name: _CHANGES.decode(row[name]) for name in _JSON}
    return msgspec.convert({**row, **changes}, OnHold, strict=False)
