"""A client's earlier files, with which the next one is compared."""

from __future__ import annotations

import contextlib
import tempfile
from array import array
from collections.abc import Iterator
from typing import Final

from importer.file.upload import Upload
from importer.fs import temporary_folder
from importer.model import Change, Claim, Receipt, Tally
from importer.rows import fingerprint
from importer.rows.batches import Examination
from importer.rows.delta import MOST_LINES, Baseline, Incomparable, compare
from importer.settings import FeedSettings
from importer.store.connection import Connection
from importer.store.database import Store
from importer.store.recording import Rejections
from importer.store.roster.feeds import last_snapshot

_KEPT_BASELINES: Final = 8  # of a feed: a client may upload files of several names, or one whose name has the day in it


def of_missing_rows(conn: Connection, client: str, feed: str, rows: int) -> Change | None:
    """Return how many rows a file lacks of those of the feed's last one, a corrected failed CSV aside; None: none."""
    last = conn.execute(
        f"""SELECT {" + ".join(Tally.OF_ROWS)} FROM imports
            WHERE client = ? AND feed = ? AND kind = 'file' AND outcome NOT IN ('refused', 'on_hold')
            AND is_correction = 0 AND file NOT LIKE '%.failed.csv' ORDER BY id DESC LIMIT 1""",
        (client, feed),
    ).fetchone()
    if last is None or last[0] <= rows:
        return None
    return Change(guard="fewer_rows", count=last[0] - rows, of=last[0])


def find(conn: Connection, claim: Claim, feed: FeedSettings, terms: str) -> Baseline | None:
    """
    Return what to compare a file with: the last one of its name, or else of its feed, judged by these terms.

    Its archive is on this host. Of a snapshot it is the last one alone: by another it could not be told who is missing.
    """
    last = last_snapshot(conn, claim.client, feed.name) if feed.is_snapshot else 0
    row = conn.execute(
        """SELECT import_id, archive, sha256, odd_lines FROM baselines JOIN imports ON imports.id = import_id
           WHERE baselines.client = ? AND host = ? AND feed = ? AND terms = ? AND purged_at IS NULL
           AND rewritten_sha256 IS NULL AND ? IN (0, import_id)
           ORDER BY baselines.file = ? DESC, import_id DESC LIMIT 1""",
        (claim.client, conn.host, feed.name, terms, last, claim.file),
    ).fetchone()
    if row is None:
        return None
    return Baseline(import_id=row[0], archive=row[1], sha256=row[2], recheck_lines=array("I", row[3]))


def exist(conn: Connection, client: str) -> bool:
    """Return whether there is anything with which a file of a client may be compared."""
    return bool(conn.execute("SELECT EXISTS (SELECT 1 FROM baselines WHERE client = ?)", (client,)).fetchone()[0])


@contextlib.contextmanager
def left_to_examine(store: Store, claim: Claim, examination: Examination) -> Iterator[tuple[Examination, int]]:
    """Yield what is left to examine of a file, and how many of its users the database has already, unchanged."""
    whole, conn = (examination, 0), store.conn
    feed = examination.terms.client.feed_of(claim.file)
    baseline = find(conn, claim, feed, fingerprint.of_terms(examination)) if examination.is_comparable else None
    if baseline is None or claim.bak_fd is None:
        yield whole
        return
    with contextlib.ExitStack() as files:
        excerpt, gone = (files.enter_context(tempfile.TemporaryFile(dir=temporary_folder())) for _ in range(2))
        try:
            with Upload(baseline.archive, lambda: None, folder_fd=claim.bak_fd) as archive:
                # The ids have no name here: 250,000 would stay in memory, 16 MB, until the file is recorded.
                difference = compare(
                    examination.table,
                    archive,
                    baseline,
                    ids_changed_since(conn, claim.client, baseline.import_id),
                    excerpt,
                    gone if feed.is_snapshot else None,
                )
            if feed.is_snapshot:
                store.note_gone(difference.gone)
            left = examination.excerpt(excerpt, difference.lines, difference.skippable), difference.skippable
        except (OSError, Incomparable):
            left = whole
        yield left


def keep(conn: Connection, import_id: int, receipt: Receipt, examination: Examination, rejected: Rejections) -> None:
    """Let later files be compared with this one, if it can be, and is in the archive as it was read."""
    claim, tally, recheck_lines = receipt.claim, receipt.tally, examination.findings.recheck_lines
    if not tally.applied or max(tally.failed, len(rejected.recheck_lines)) > MOST_LINES or recheck_lines is None:
        return
    if receipt.sha256 != examination.terms.scan.sha256:
        return
    odd = array("I", sorted({*array("I", recheck_lines), *rejected.lines(), *rejected.recheck_lines}))
    row = (claim.client, claim.file, import_id, fingerprint.of_terms(examination), odd.tobytes())
    conn.execute(
        """INSERT INTO baselines VALUES (?, ?, ?, ?, ?) ON CONFLICT (client, file) DO UPDATE
           SET import_id = excluded.import_id, terms = excluded.terms, odd_lines = excluded.odd_lines""",
        row,
    )
    conn.execute(
        """DELETE FROM baselines WHERE client = :client AND import_id NOT IN
           (SELECT import_id FROM
             (SELECT import_id, row_number() OVER (PARTITION BY feed ORDER BY import_id DESC) AS age
              FROM baselines JOIN imports ON imports.id = import_id WHERE baselines.client = :client) AS files
            WHERE age <= :kept)""",
        {"client": claim.client, "kept": _KEPT_BASELINES},
    )


def forget(conn: Connection, client: str) -> None:
    """Let the next files of a client be examined whole, as the users are not what the last files have made of them."""
    conn.execute("DELETE FROM baselines WHERE client = ?", (client,))


def ids_changed_since(conn: Connection, client: str, import_id: int) -> list[str]:
    """Return the users that later imports have created or changed; of very many, some too many."""
    changes = conn.execute(
        """SELECT EXISTS (SELECT 1 FROM imports WHERE client = ? AND id > ?
           AND created + updated + reinstated + deactivated > 0)""",
        (client, import_id),
    )
    if not changes.fetchone()[0]:
        return []
    # The whole table in its order: by the index of clients each row would be a look-up of its own.
    rows = conn.execute(
        f"SELECT unique_id FROM {conn.in_its_order('users')} WHERE client = ? AND import_id > ? LIMIT ?",
        (client, import_id, MOST_LINES + 1),
    )
    return [unique_id for (unique_id,) in rows.fetchall()]
