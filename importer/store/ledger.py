"""The ledger: which claim ended how, and whether its file has reached the archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from importer.model import FileRejected, Outcome, Receipt
from importer.store.connection import Connection, marks, stamp, stored
from importer.store.tables import replays
from importer.wording.catalogue import words

BY_PAUSE: Final = "pause"  # in place of who approved it: a limit that it exceeds was paused
_COUNTED_AS: Final = {"deactivate": "deactivated", "removals": "deactivated", "reactivate": "reinstated"}
_COMPARED_FILES: Final = 100  # of a client


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One claim that was dealt with."""

    claim_id: str
    client: str
    file: str
    archive: bytes  # name in `.bak`
    outcome: Outcome
    archived: bool


def next_id(conn: Connection, client: str) -> int:
    """
    Return the id for the import of this transaction, which from now on is the only one that changes the client's users.

    So it comes before all that an import reads: ids of a client are in the order of commits.
    """
    conn.lock(client)
    return conn.new_import_id()


def add(conn: Connection, import_id: int, receipt: Receipt) -> None:
    """Write the row of an import, inside the caller's transaction; one of the same claim on hold is replaced."""
    claim = receipt.claim
    warnings = sorted({warning.code for warning in receipt.warnings})
    row = {
        "id": import_id,
        "claim_id": claim.claim_id,
        "client": claim.client,
        "file": claim.file,
        "feed": receipt.feed,
        "sha256": receipt.sha256,
        "size_bytes": claim.size_bytes,
        "device": stored(claim.device),
        "inode": stored(claim.inode),
        "mtime_ns": stored(claim.mtime_ns),
        "outcome": str(receipt.outcome),
        "ends_line": "file.unterminated" not in warnings,  # nothing reads it but what others may have built on it
        "warnings": " ".join(warnings),
        "code": receipt.code,
        "is_correction": receipt.is_correction,
        "requested_by": replays.requested_by(conn, claim.client, claim.inode, claim.mtime_ns),
        "approved_by": receipt.approved_by or (BY_PAUSE if receipt.is_by_pause else ""),
        **msgspec.structs.asdict(receipt.tally),
        "archive": claim.archive,
        "claimed_at": stamp(claim.claimed_at),
        "finished_at": stamp(receipt.finished_at),
        "host": conn.host,
    }
    conn.execute("DELETE FROM imports WHERE claim_id = ? AND outcome = 'on_hold'", (claim.claim_id,))
    _insert(conn, row)


def _insert(conn: Connection, row: Mapping[str, object]) -> None:
    conn.execute(f"INSERT INTO imports ({', '.join(row)}) VALUES ({', '.join(f':{column}' for column in row)})", row)


def add_action(conn: Connection, import_id: int, *, client: str, kind: str, title: str, users: int) -> None:
    """Write the row of what the operator did to so many users: there is no file to archive, or to be purged."""
    now = datetime.now(UTC)
    row = {
        "id": import_id,
        "claim_id": f"{kind}-{import_id}",
        "client": client,
        "file": title,
        "kind": kind,
        "outcome": str(Outcome.IMPORTED),
        **dict.fromkeys(("created", "updated", "unchanged", "failed", "repeated"), 0),
        _COUNTED_AS.get(kind, "updated"): users,
        **dict.fromkeys(("sha256", "code"), ""),
        **dict.fromkeys(("size_bytes", "device", "inode", "mtime_ns"), 0),
        "ends_line": 1,
        "archive": b"",
        **dict.fromkeys(("claimed_at", "finished_at", "archived_at", "purged_at"), stamp(now)),
        "host": conn.host,
    }
    _insert(conn, row)


def note_request(conn: Connection, import_id: int, by: str) -> None:
    """Note which user of the console asked for what was done."""
    conn.execute("UPDATE imports SET requested_by = ? WHERE id = ?", (by, import_id))


def note_approval(conn: Connection, import_id: int, by: str) -> None:
    """Note who approved what was done."""
    conn.execute("UPDATE imports SET approved_by = ? WHERE id = ?", (by, import_id))


def add_problem(conn: Connection, import_id: int, client: str, rejected: FileRejected) -> None:
    """Record why a whole file was refused."""
    row = {
        "client": client,
        "import_id": import_id,
        "line": rejected.line,
        "code": rejected.code,
        "detail": words().refusal(rejected),
    }
    columns = conn.with_client("client", "import_id, line, code, field, detail")
    values = conn.with_client(":client", ":import_id, :line, :code, '', :detail")
    conn.execute(f"INSERT INTO import_problems ({columns}) VALUES ({values})", row)


def last_warnings(conn: Connection, client: str, *, file: str, before: str) -> frozenset[str] | None:
    """
    Return the codes of the warnings about the last file before this claim that could be read; None: no such.

    Of the last files one of the same name counts first: a client may upload several, each with warnings of its own.
    """
    row = conn.execute(
        """SELECT warnings FROM (SELECT id, file, warnings FROM imports WHERE client = ? AND claim_id <> ?
             AND kind = 'file' AND code = ''
           ORDER BY id DESC LIMIT ?) AS newest ORDER BY file = ? DESC, id DESC LIMIT 1""",
        (client, before, _COMPARED_FILES, file),
    ).fetchone()
    return None if row is None else frozenset(row[0].split())


def find(conn: Connection, claim_id: str) -> Entry | None:
    """Return the entry of a claim, None when its import was never committed."""
    return next(iter(_entries(conn, "claim_id = ?", claim_id)), None)


def recorded(conn: Connection, claim_ids: Sequence[str]) -> set[str]:
    """Return those of the claims that the ledger has."""
    rows = conn.execute(f"SELECT claim_id FROM imports WHERE claim_id IN {marks(claim_ids)}", claim_ids).fetchall()
    return {claim_id for (claim_id,) in rows}


def knows_host(conn: Connection) -> bool:
    """Tell whether the ledger has anything that this host did."""
    return conn.execute("SELECT 1 FROM imports WHERE host = ? LIMIT 1", (conn.host,)).fetchone() is not None


def unarchived(conn: Connection, client: str) -> list[Entry]:
    """Return the entries of a client whose files, on this host, are not known to be in `.bak` yet, oldest first."""
    return _entries(conn, "client = ? AND host = ? AND archived_at IS NULL ORDER BY id", client, conn.host)


def clients_unarchived(conn: Connection) -> set[str]:
    """Return the clients of whom `unarchived` returns something."""
    rows = conn.execute(
        "SELECT DISTINCT client FROM imports WHERE host = ? AND archived_at IS NULL", (conn.host,)
    ).fetchall()
    return {client for (client,) in rows}


def mark_archived(conn: Connection, claim_ids: Sequence[str], at: datetime) -> None:
    """Note that the files of some claims are in `.bak`."""
    places = ", ".join("?" * len(claim_ids))
    conn.execute(f"UPDATE imports SET archived_at = ? WHERE claim_id IN ({places})", (stamp(at), *claim_ids))


def mark_rewritten(conn: Connection, id_: int, sha256: str, size_bytes: int) -> None:
    """Note what the archive of an import is since rows were taken out of it."""
    conn.execute("UPDATE imports SET rewritten_sha256 = ?, rewritten_bytes = ? WHERE id = ?", (sha256, size_bytes, id_))


def _entries(conn: Connection, where: str, *values: str) -> list[Entry]:
    rows = conn.execute(
        f"SELECT claim_id, client, file, archive, outcome, archived_at IS NOT NULL FROM imports WHERE {where}", values
    ).fetchall()
    return [
        Entry(
            claim_id=claim_id,
            client=client,
            file=file,
            archive=archive,
            outcome=Outcome(outcome),
            archived=bool(archived),
        )
        for claim_id, client, file, archive, outcome, archived in rows
    ]
