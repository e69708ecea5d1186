"""The ledger: which claim ended how, and whether its file has reached the archive."""

from __future__ import annotations

from datetime import datetime

import msgspec

from importer.model import FileRejected, Outcome, Receipt
from importer.store.connection import Connection, stamp, stored


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One claim that was dealt with."""

    claim_id: str
    client: str
    archive: bytes  # name in `.bak`
    outcome: Outcome
    archived: bool


def next_id(conn: Connection) -> int:
    """Return the id that the import of this transaction will have."""
    return int(conn.execute("SELECT coalesce(max(id), 0) + 1 FROM imports").fetchone()[0])


def add(conn: Connection, import_id: int, receipt: Receipt) -> None:
    """Write the row of an import, inside the caller's transaction."""
    claim, tally = receipt.claim, receipt.tally
    row = {
        "id": import_id,
        "claim_id": claim.claim_id,
        "client": claim.client,
        "file": claim.file,
        "sha256": receipt.sha256,
        "size_bytes": claim.size_bytes,
        "device": stored(claim.device),
        "inode": stored(claim.inode),
        "mtime_ns": stored(claim.mtime_ns),
        "outcome": str(receipt.outcome),
        "ends_line": not any(notice.code == "file.unterminated" for notice in receipt.warnings),
        "code": receipt.refusal.code if receipt.refusal else "",
        "created": tally.created,
        "updated": tally.updated,
        "unchanged": tally.unchanged,
        "failed": tally.failed,
        "repeated": tally.repeated,
        "archive": claim.archive,
        "claimed_at": stamp(claim.claimed_at),
        "finished_at": stamp(receipt.finished_at),
    }
    conn.execute(f"INSERT INTO imports ({', '.join(row)}) VALUES ({', '.join(f':{column}' for column in row)})", row)


def add_problem(conn: Connection, import_id: int, rejected: FileRejected) -> None:
    """Write down why a file was refused as a whole."""
    conn.execute(
        "INSERT INTO import_problems VALUES (?, ?, ?, '', ?)",
        (import_id, rejected.line, rejected.code, rejected.detail),
    )


def ended_unterminated(conn: Connection, client: str, *, before: str) -> bool:
    """Tell whether the client's last file before this claim did not end its last line either."""
    row = conn.execute(
        "SELECT ends_line FROM imports WHERE client = ? AND claim_id <> ? ORDER BY id DESC LIMIT 1", (client, before)
    ).fetchone()
    return row is not None and not row[0]


def find(conn: Connection, claim_id: str) -> Entry | None:
    """Return the entry of a claim, None when its import was never committed."""
    return next(iter(_entries(conn, "claim_id = ?", claim_id)), None)


def unarchived(conn: Connection, client: str) -> list[Entry]:
    """Return the entries of a client whose files are not known to lie in `.bak` yet, oldest first."""
    return _entries(conn, "client = ? AND archived_at IS NULL ORDER BY id", client)


def mark_archived(conn: Connection, claim_id: str, at: datetime) -> None:
    """Note that the file of a claim is in `.bak`."""
    conn.execute("UPDATE imports SET archived_at = ? WHERE claim_id = ?", (stamp(at), claim_id))


def mark_rewritten(conn: Connection, id_: int, sha256: str, size_bytes: int) -> None:
    """Note what the archive of an import is since rows were taken out of it."""
    conn.execute("UPDATE imports SET rewritten_sha256 = ?, rewritten_bytes = ? WHERE id = ?", (sha256, size_bytes, id_))


def _entries(conn: Connection, where: str, value: str) -> list[Entry]:
    rows = conn.execute(
        f"SELECT claim_id, client, archive, outcome, archived_at IS NOT NULL FROM imports WHERE {where}", (value,)
    ).fetchall()
    return [
        Entry(claim_id=claim_id, client=client, archive=archive, outcome=Outcome(outcome), archived=bool(archived))
        for claim_id, client, archive, outcome, archived in rows
    ]
