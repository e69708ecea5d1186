"""What the ledger tells of a client's earlier files, for judging the next one."""

from __future__ import annotations

import contextlib
import tempfile
from array import array
from collections.abc import Iterator
from typing import Final

from importer.file.upload import Upload
from importer.fs import temporary_folder
from importer.model import Claim, Receipt
from importer.rows import fingerprint
from importer.rows.batches import Examination
from importer.rows.delta import MOST_LINES, Baseline, Incomparable, compare
from importer.store.connection import Connection
from importer.store.rejected import RejectedRows

_COUNTED_FILES: Final = 100  # of a client: corrections may come after the last whole file
_KEPT_BASELINES: Final = 8  # of a client: it may upload files of several names, or one whose name has the day in it


def row_counts(conn: Connection, client: str) -> list[tuple[str, bytes, int]]:
    """Return name, archive and number of rows of the last files of which something was applied, newest first."""
    return conn.execute(
        "SELECT file, archive, created + updated + unchanged + failed + repeated FROM imports"
        " WHERE client = ? AND outcome <> 'refused' ORDER BY id DESC LIMIT ?",
        (client, _COUNTED_FILES),
    ).fetchall()


def find(conn: Connection, claim: Claim, terms: str) -> Baseline | None:
    """Return what to compare a file with: the last one of its name, or else of any, that was judged by these terms."""
    row = conn.execute(
        """SELECT import_id, archive, sha256, odd_lines FROM baselines JOIN imports ON imports.id = import_id
           WHERE baselines.client = ? AND terms = ? AND purged_at IS NULL AND rewritten_sha256 IS NULL
           ORDER BY baselines.file = ? DESC, import_id DESC LIMIT 1""",
        (claim.client, terms, claim.file),
    ).fetchone()
    if row is None:
        return None
    return Baseline(import_id=row[0], archive=row[1], sha256=row[2], recheck_lines=array("I", row[3]))


def exist(conn: Connection, client: str) -> bool:
    """Return whether there is anything with which a file of a client may be compared."""
    return bool(conn.execute("SELECT EXISTS (SELECT 1 FROM baselines WHERE client = ?)", (client,)).fetchone()[0])


@contextlib.contextmanager
def left_to_examine(conn: Connection, claim: Claim, examination: Examination) -> Iterator[tuple[Examination, int]]:
    """Yield what is left to examine of a file, and how many users of it are in the database already, just so."""
    whole = (examination, 0)
    found = find(conn, claim, fingerprint.of_terms(examination)) if examination.is_comparable else None
    if found is None or claim.bak_fd is None:
        yield whole
        return
    with tempfile.TemporaryFile(dir=temporary_folder()) as excerpt:
        try:
            with Upload(found.archive, lambda: None, folder_fd=claim.bak_fd) as archive:
                # The ids have no name here: 250,000 would stay in memory, 16 MB, until the file is recorded.
                difference = compare(
                    examination.table,
                    archive,
                    found,
                    ids_changed_since(conn, claim.client, found.import_id),
                    excerpt,
                )
            left = examination.excerpt(excerpt, difference.lines), difference.skippable
        except (OSError, Incomparable):
            left = whole
        yield left


def keep(conn: Connection, import_id: int, receipt: Receipt, examination: Examination, rejected: RejectedRows) -> None:
    """Let later files be compared with this one, if it can be."""
    claim, tally, recheck_lines = receipt.claim, receipt.tally, examination.findings.recheck_lines
    if not tally.applied or tally.failed > MOST_LINES or recheck_lines is None:
        return
    odd = array("I", sorted({*array("I", recheck_lines), *rejected.lines()}))
    row = (claim.client, claim.file, import_id, fingerprint.of_terms(examination), odd.tobytes())
    conn.execute("INSERT OR REPLACE INTO baselines VALUES (?, ?, ?, ?, ?)", row)
    conn.execute(
        """DELETE FROM baselines WHERE client = :client AND import_id NOT IN
           (SELECT import_id FROM baselines WHERE client = :client ORDER BY import_id DESC LIMIT :kept)""",
        {"client": claim.client, "kept": _KEPT_BASELINES},
    )


def ids_changed_since(conn: Connection, client: str, import_id: int) -> list[str]:
    """Return the users whom imports after this one have created or changed; if they are very many, some too many."""
    changes = conn.execute(
        "SELECT EXISTS (SELECT 1 FROM imports WHERE client = ? AND id > ? AND created + updated > 0)",
        (client, import_id),
    )
    if not changes.fetchone()[0]:
        return []
    # The whole table in its order: by the index of clients each row would be a look-up of its own.
    rows = conn.execute(
        "SELECT unique_id FROM users NOT INDEXED WHERE client = ? AND import_id > ? LIMIT ?",
        (client, import_id, MOST_LINES + 1),
    )
    return [unique_id for (unique_id,) in rows.fetchall()]
