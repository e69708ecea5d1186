"""The ledger: which claim ended how, and whether its file has reached the archive."""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlite_utils import Database

from importer.model import FileRejected, Outcome, Receipt
from importer.store.connection import stamp, stored


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One claim that was dealt with."""

    claim_id: str
    client: str
    archive: bytes  # name in `.bak`
    outcome: Outcome
    archived: bool


def next_id(db: Database) -> int:
    """Return the id that the import of this transaction will have."""
    return int(db.execute("SELECT coalesce(max(id), 0) + 1 FROM imports").fetchone()[0])


def add(db: Database, import_id: int, receipt: Receipt) -> None:
    """Write the row of an import, inside the caller's transaction."""
    claim, tally = receipt.claim, receipt.tally
    db.table("imports").insert(
        {
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
            "archived_at": None,
        }
    )


def add_problem(db: Database, import_id: int, rejected: FileRejected) -> None:
    """Write down why a file was refused as a whole."""
    db.table("import_problems").insert(
        {"import_id": import_id, "line": rejected.line, "code": rejected.code, "field": "", "detail": rejected.detail}
    )


def ended_unterminated(db: Database, client: str, *, before: str) -> bool:
    """Tell whether the client's last file before this claim did not end its last line either."""
    row = db.execute(
        "SELECT ends_line FROM imports WHERE client = ? AND claim_id <> ? ORDER BY id DESC LIMIT 1", (client, before)
    ).fetchone()
    return row is not None and not row[0]


def find(db: Database, claim_id: str) -> Entry | None:
    """Return the entry of a claim, None when its import was never committed."""
    return next(iter(_entries(db, "claim_id = ?", claim_id)), None)


def unarchived(db: Database, client: str) -> list[Entry]:
    """Return the entries of a client whose files are not known to lie in `.bak` yet, oldest first."""
    return _entries(db, "client = ? AND archived_at IS NULL ORDER BY id", client)


def mark_archived(db: Database, claim_id: str, at: datetime) -> None:
    """Note that the file of a claim lies in `.bak`."""
    db.execute("UPDATE imports SET archived_at = ? WHERE claim_id = ?", (stamp(at), claim_id))


def _entries(db: Database, where: str, value: str) -> list[Entry]:
    rows = db.execute(
        f"SELECT claim_id, client, archive, outcome, archived_at IS NOT NULL FROM imports WHERE {where}", (value,)
    ).fetchall()
    return [
        Entry(claim_id=claim_id, client=client, archive=archive, outcome=Outcome(outcome), archived=bool(archived))
        for claim_id, client, archive, outcome, archived in rows
    ]
