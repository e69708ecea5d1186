"""What the ledger tells of a client's earlier files, for judging the next one."""

from __future__ import annotations

from array import array
from typing import Final

from importer.model import Claim
from importer.rows.delta import MOST_LINES, Baseline
from importer.store.connection import Connection

_COUNTED_FILES: Final = 100  # of a client: corrections may come after the last whole file
_KEPT_BASELINES: Final = 8  # of a client: it may upload files of several names, or one whose name has the day in it


def row_counts(db: Connection, client: str) -> list[tuple[str, bytes, int]]:
    """Return name, archive and number of rows of the last files of which something was applied, newest first."""
    return db.execute(
        "SELECT file, archive, created + updated + unchanged + failed + repeated FROM imports"
        " WHERE client = ? AND outcome <> 'refused' ORDER BY id DESC LIMIT ?",
        (client, _COUNTED_FILES),
    ).fetchall()


def find(db: Connection, claim: Claim, terms: str) -> Baseline | None:
    """Return what to compare a file with: the last one of its name, or else of any, that was judged by these terms."""
    row = db.execute(
        """SELECT import_id, archive, sha256, odd_lines FROM baselines JOIN imports ON imports.id = import_id
           WHERE baselines.client = ? AND terms = ? AND purged_at IS NULL AND rewritten_sha256 IS NULL
           ORDER BY baselines.file = ? DESC, import_id DESC LIMIT 1""",
        (claim.client, terms, claim.file),
    ).fetchone()
    if row is None:
        return None
    return Baseline(import_id=row[0], archive=row[1], sha256=row[2], odd_lines=array("I", row[3]))


def exist(db: Connection, client: str) -> bool:
    """Return whether there is anything with which a file of a client may be compared."""
    return bool(db.execute("SELECT EXISTS (SELECT 1 FROM baselines WHERE client = ?)", (client,)).fetchone()[0])


def keep(db: Connection, claim: Claim, import_id: int, terms: str, odd_lines: list[int]) -> None:
    """Let later files be compared with this one."""
    row = (claim.client, claim.file, import_id, terms, array("I", odd_lines).tobytes())
    db.execute("INSERT OR REPLACE INTO baselines VALUES (?, ?, ?, ?, ?)", row)
    db.execute(
        """DELETE FROM baselines WHERE client = :client AND import_id NOT IN
           (SELECT import_id FROM baselines WHERE client = :client ORDER BY import_id DESC LIMIT :kept)""",
        {"client": claim.client, "kept": _KEPT_BASELINES},
    )


def ids_changed_since(db: Connection, client: str, import_id: int) -> list[str]:
    """Return the users whom imports after this one have created or changed; if they are very many, some too many."""
    changes = db.execute(
        "SELECT EXISTS (SELECT 1 FROM imports WHERE client = ? AND id > ? AND created + updated > 0)",
        (client, import_id),
    )
    if not changes.fetchone()[0]:
        return []
    # The whole table in its order: by the index of clients each row would be a look-up of its own.
    rows = db.execute(
        "SELECT unique_id FROM users NOT INDEXED WHERE client = ? AND import_id > ? LIMIT ?",
        (client, import_id, MOST_LINES + 1),
    )
    return [unique_id for (unique_id,) in rows.fetchall()]
