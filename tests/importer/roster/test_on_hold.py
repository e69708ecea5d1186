"""Files on hold: which a newer one replaces, and what they do not count as."""

from __future__ import annotations

import pytest

from importer.model import Outcome
from importer.names import approval_in
from importer.roster.on_hold import blocking, superseded
from importer.settings import FeedSettings, GuardSettings
from importer.store import queries
from tests.engine import Engine

pytestmark = pytest.mark.usefixtures("both_databases")


def users(last_name: str, count: int = 20) -> list[str]:
    """Return the lines of a file in which so many people have this last name, and an address made of it."""
    rows = [f"S{n},OPSCOM,Ann,{last_name},{last_name}{n}@example.org" for n in range(count)]
    return ["unique_id,login_source,first_name,last_name,email", *rows]


def test_the_ledger_tells_which_file_is_newer(engine: Engine) -> None:
    """A newer file replaces an older one though its claim has a smaller id, as within a second or by another clock."""
    engine.settings(guard=GuardSettings())
    engine.file(*users("Lee"))
    engine._files = 20
    older = engine.file(*users("Roy")).receipt
    engine._files = 10
    newer = engine.file(*users("Fox")).receipt
    assert (Outcome.ON_HOLD, Outcome.ON_HOLD) == (older.outcome, newer.outcome)
    assert (older.claim.claim_id,) == newer.superseded


def test_a_file_on_hold_is_not_one_that_cannot_be_archived(engine: Engine) -> None:
    """Monitoring asks for files that cannot be moved to .bak: one on hold stays in .work for days."""
    engine.settings(guard=GuardSettings())
    engine.file(*users("Lee"))
    before = queries.count_unarchived(engine.store.conn)
    assert engine.file(*users("Roy")).receipt.outcome is Outcome.ON_HOLD
    assert before == queries.count_unarchived(engine.store.conn)


@pytest.mark.parametrize(
    ("name", "approval"),
    [
        (b"users.csv.approve-K7Q2MD", (b"users.csv", "K7Q2MD")),
        (b"users.csv.approve-k7q2md.txt", (b"users.csv", "k7q2md")),
        (b"Users.CSV.approve-K7Q2MD.TXT", (b"Users.CSV", "K7Q2MD")),
        (b"users.csv.approve-K7Q2MD.csv", (b"users.csv", "K7Q2MD")),
        (b"users.approve-2026.csv", None),
        (b"users.csv.approve-", None),
        (b"users.csv.approve-K7Q2MD.xlsx", None),
    ],
)
def test_what_approves_a_file(name: bytes, approval: tuple[bytes, str] | None) -> None:
    """Windows keeps the hidden ending of a text file, or of a copy of the upload, behind the name it is given."""
    assert approval == approval_in(name)


def test_an_older_name_replaces_no_newer_one(engine: Engine) -> None:
    """A copy of the day before waits behind the file on hold, and is not taken for a newer one."""
    held = engine.settings(
        guard=GuardSettings(), feed=(FeedSettings(name="all", files="*", mode="snapshot", dated="users_%Y%m%d.csv"),)
    )
    held.file(*users("Lee"), name="users_20260901.csv")
    waiting = [on_hold] if (on_hold := held.file(*users("Roy"), name="users_20260903.csv").receipt.on_hold) else []
    assert ["users_20260903.csv"] * 3 == [
        blocking(waiting, "users_20260902.csv", held.client),
        *(each.file for each in superseded(waiting, "users_20260904.csv", held.client, is_correction=False)),
        *(each.file for each in superseded(waiting, "users_20260903.csv", held.client, is_correction=False)),
    ]
    assert [] == superseded(waiting, "users_20260902.csv", held.client, is_correction=False)


def test_a_code_is_good_for_a_tenth_more_in_all(engine: Engine) -> None:
    """A file that does a little more each night has another code once it does a tenth more than the one mailed."""
    engine.settings(guard=GuardSettings(), feed=(FeedSettings(name="all", files="*", mode="snapshot"),))
    engine.file(*users("Lee", 120))
    codes = []
    for count in (100, 109, 118):
        header, *rows = users("Roy", count)
        held = engine.file(header, *rows, *users("Lee", 120)[count + 1 :]).receipt.on_hold
        codes.append(held.code if held else "")
    assert (True, True, False) == (bool(codes[0]), codes[0] == codes[1], codes[1] == codes[2])
