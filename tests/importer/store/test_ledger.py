"""The ledger: what is known of a claim after a restart."""

from __future__ import annotations

from datetime import UTC, datetime

from importer.model import Outcome
from importer.store import ledger
from importer.store.ledger import Entry
from tests.engine import ARCHIVE, CLIENT, HEADER, Engine
from tests.tables import tables_of

AT = datetime(2026, 11, 22, 7, 42, 5, tzinfo=UTC)
GOOD = "S1,OPSCOM,Ann,Lee,ann@example.org,ann"


def test_a_claim_that_was_committed_is_found(engine: Engine) -> None:
    """A claim is found by its id once its import is committed, and not before."""
    claim_id = engine.rows(GOOD).receipt.claim.claim_id
    expected = Entry(
        claim_id=claim_id,
        client=CLIENT,
        file="users.csv",
        archive=ARCHIVE,
        outcome=Outcome.IMPORTED,
        archived=False,
    )
    assert expected == ledger.find(engine.store.conn, claim_id)
    assert None is ledger.find(engine.store.conn, "20261122T074205Z-never")


def test_what_is_not_archived_yet_is_listed_until_it_is(engine: Engine) -> None:
    """Committed files that are not known to lie in .bak are listed oldest first, for their client alone."""
    first, second = (engine.rows(GOOD).receipt.claim.claim_id for _ in range(2))
    refused = engine.upload(b"%PDF-1.7").receipt.claim.claim_id
    engine.settings(name="beta").rows(GOOD)
    listed = ledger.unarchived(engine.store.conn, CLIENT)
    assert [(first, Outcome.IMPORTED), (second, Outcome.IMPORTED), (refused, Outcome.REFUSED)] == [
        (entry.claim_id, entry.outcome) for entry in listed
    ]
    ledger.mark_archived(engine.store.conn, [second], AT)
    assert [first, refused] == [entry.claim_id for entry in ledger.unarchived(engine.store.conn, CLIENT)]
    found = ledger.find(engine.store.conn, second)
    assert found is not None
    assert found.archived


def test_names_of_archives_are_bytes(engine: Engine) -> None:
    """The ledger keeps the name in .bak to the byte."""
    claim_id = engine.rows(GOOD).receipt.claim.claim_id
    engine.store.conn.execute("UPDATE imports SET archive = x'ff0a80'")
    found = ledger.find(engine.store.conn, claim_id)
    assert b"\xff\x0a\x80" == (found.archive if found else b"")


def test_times_are_text_that_sorts(engine: Engine) -> None:
    """A time is recorded in UTC to the second, always as wide."""
    claim_id = engine.rows(GOOD).receipt.claim.claim_id
    ledger.mark_archived(engine.store.conn, [claim_id], AT)
    (row,) = tables_of(engine.store).query("SELECT archived_at FROM imports")
    assert {"archived_at": "2026-11-22T07:42:05Z"} == row


def test_what_the_file_before_was_warned_of(engine: Engine) -> None:
    """The ledger remembers of each client what its last file was warned of, files that could not be read left out."""
    conn = engine.store.conn
    assert None is ledger.last_warnings(conn, CLIENT, file="users.csv", before="")
    last = engine.upload(f"{HEADER}\n{GOOD}".encode()).receipt.claim.claim_id
    engine.file("nonsense", "S1")
    assert frozenset({"file.unterminated"}) == ledger.last_warnings(conn, CLIENT, file="users.csv", before="")
    assert None is ledger.last_warnings(conn, CLIENT, file="users.csv", before=last)
    assert None is ledger.last_warnings(conn, "beta", file="users.csv", before="")
    engine.rows(GOOD)
    assert frozenset() == ledger.last_warnings(conn, CLIENT, file="users.csv", before="")
