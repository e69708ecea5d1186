"""What becomes of files on hold with time, and of approvals that do not fit."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from importer.model import OnHold, Outcome
from importer.settings import GuardSettings
from tests.engine import HEADER, Engine, Result
from watcher.approval.files import LOOK_INTERVAL_S, FilesOnHold, as_decided
from watcher.settings import Config

STRICT = GuardSettings(identity="10 %", identity_floor=2, approval_days=3, approve_by=("operator", "client"))
NOW = datetime.now(UTC)


def rows(surname: str, count: int = 4) -> list[str]:
    return [f"{n},OPSCOM,Ann,{surname}{n},{surname.lower()}{n}@example.org,{surname}{n}" for n in range(count)]


@pytest.fixture
def guarded(engine: Engine) -> Engine:
    engine.settings(guard=STRICT)
    engine.rows(*rows("Lee", 40))
    return engine


@pytest.fixture
def files(guarded: Engine) -> FilesOnHold:
    mail = msgspec.structs.replace(guarded.mail_settings, operator=("operator@example.org",))
    return FilesOnHold(Config(clients=(guarded.client,), mail=mail), guarded.store)


def hold(engine: Engine, name: str = "users.csv", surname: str = "Roy", count: int = 20) -> OnHold:
    result = engine.file(HEADER, *rows(surname, count), name=name)
    assert result.receipt.on_hold is not None
    return result.receipt.on_hold


def again(engine: Engine, held: OnHold, content: list[str]) -> Result:
    """Import the file of a claim again, as is done once it was decided on."""
    folder = engine.folder / held.claim_id
    (folder / held.file).write_text("\n".join((HEADER, *content, "")))
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with engine.claimed(b"x") as other:
            claim = msgspec.structs.replace(other, claim_id=held.claim_id, folder_fd=folder_fd, name=held.file.encode())
        return engine._result(engine.importer().import_file(claim, engine.client))
    finally:
        os.close(folder_fd)


def subjects(engine: Engine) -> list[str]:
    return [row[0] for row in engine.store.conn.execute("SELECT subject FROM outbox ORDER BY id").fetchall()]


def test_a_file_is_given_up_and_reminded_of(guarded: Engine, files: FilesOnHold) -> None:
    """After a day the operator is mailed, once a day; after approval_days the file expires, and once only."""
    held = hold(guarded)
    before = len(subjects(guarded))
    times = [held.held_at + timedelta(hours=hours) for hours in (1, 25, 26, 49, 71)]
    for turn, at in enumerate(times):
        files.tend(turn * LOOK_INTERVAL_S + 1, at)
    days = {at.date() for at in times[1:]}
    assert ["files still wait for an approval"] * len(days) == [
        each.split(": ")[1] for each in subjects(guarded)[before:]
    ]
    assert [] == files.take_decided()
    files.tend(100 * LOOK_INTERVAL_S, held.held_at + timedelta(hours=73))
    files.tend(200 * LOOK_INTERVAL_S, held.held_at + timedelta(hours=74))
    assert [held.claim_id] == files.take_decided()
    assert [] == files.waiting("acme")


def test_an_approval_is_good_for_about_the_same(guarded: Engine, files: FilesOnHold) -> None:
    """What would do a tenth more by now is on hold anew, with another code, and says so; else it is imported."""
    held = hold(guarded)
    assert files.decide(held, "approved", "operator")
    more = again(guarded, held, rows("Roy", 23))
    assert (Outcome.ON_HOLD, True) == (more.receipt.outcome, more.receipt.on_hold is not None)
    assert "The file was approved, but by now it would change more" in more.text
    (anew,) = files.waiting("acme")
    assert (True, True) == (anew.was_approved, anew.code != held.code)
    assert files.decide(anew, "approved", "operator")
    done = again(guarded, held, rows("Roy", 22))
    assert (Outcome.IMPORTED, "operator") == (done.receipt.outcome, done.receipt.approved_by)
    assert "The file was on hold, and was approved." in done.text
    ledger = guarded.store.conn.execute("SELECT outcome, approved_by FROM imports ORDER BY id").fetchall()
    assert [("imported", ""), ("imported", "operator")] == ledger


def test_only_one_decision_counts(guarded: Engine, files: FilesOnHold) -> None:
    """What was decided first is done."""
    held = hold(guarded)
    assert (True, False) == (files.decide(held, "rejected", "operator"), files.decide(held, "approved", "client"))
    with guarded.claimed(b"x") as claim:
        refusal = as_decided(claim, files.find(held.claim_id) or held).refusal
    assert refusal is not None
    assert "guard.rejected" == refusal.code


def test_a_correction_replaces_nothing_and_waits_for_nothing(guarded: Engine, files: FilesOnHold) -> None:
    """By its columns a corrected failed CSV is told from a newer file, whatever its name."""
    held = hold(guarded)
    assert "" == files.behind("acme", b"users.csv", lambda: False)
    assert "users.csv" == files.behind("acme", b"other.csv", lambda: False)
    assert "" == files.behind("acme", b"other.csv", lambda: True)
    guarded.file(f"{HEADER},import_line", "77,OPSCOM,Eve,Fox,eve@example.org,eve,3")
    assert [held.claim_id] == [each.claim_id for each in files.waiting("acme")]
    guarded.rows(*rows("Lee", 40))
    assert [] == files.waiting("acme")


def test_the_code_stays_good_while_the_newer_file_does_the_same(guarded: Engine) -> None:
    """A newer file that trips the same guards has the code of the one it replaces, one that does more another."""
    first = hold(guarded, count=25)
    same = hold(guarded, surname="Kim", count=27)
    more = hold(guarded, surname="Fox", count=40)
    assert first.code == same.code != more.code


def test_a_pass_lets_its_limits_not_count(guarded: Engine) -> None:
    """While a limit is paused it trips nothing; others do, and it ends by itself."""
    guarded.store.conn.execute("INSERT INTO guard_pauses VALUES ('acme', 'attribute', '2999-01-01T00:00:00Z')")
    assert ["identity"] == [each.guard for each in hold(guarded, count=25).tripped]
    guarded.store.conn.execute("INSERT INTO guard_pauses VALUES ('acme', 'identity', '2999-01-01T00:00:00Z')")
    assert Outcome.IMPORTED is guarded.rows(*rows("Roy", 40)).receipt.outcome
    guarded.store.conn.execute("UPDATE guard_pauses SET until = '2020-01-01T00:00:00Z'")
    assert {"identity", "attribute"} == {each.guard for each in hold(guarded, surname="Kim", count=25).tripped}


def test_missing_rows_can_put_a_file_on_hold(guarded: Engine) -> None:
    """Rows are compared with the last file of the feed, which no corrected failed CSV is; one has no lines to name."""
    guarded.settings(guard=GuardSettings(fewer_rows="20 %"))
    guarded.file(f"{HEADER},import_line", *(f"{row},2" for row in rows("Lee", 1)))
    assert Outcome.IMPORTED is guarded.rows(*rows("Lee", 32)).receipt.outcome
    guarded.rows(*rows("Lee", 40))
    result = guarded.rows(*rows("Lee", 31))
    assert (Outcome.ON_HOLD, "guard.fewer_rows") == (result.receipt.outcome, result.receipt.code)
    assert "- The file has 9 rows fewer than your last one, which had 40. Check" in result.text


def test_a_code_approves_once(guarded: Engine, files: FilesOnHold, tmp_path: Path) -> None:
    """A wrong code approves nothing, is removed and told; the right one approves once and is then removed silently."""
    held = hold(guarded)
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    inbox_fd = os.open(inbox, os.O_RDONLY | os.O_DIRECTORY)
    before = len(subjects(guarded))
    for code, waiting in (("ZZZZZZ", 1), ("ZZZZZY", 1), (held.code.lower(), 0), (held.code, 0)):
        name = f"users.csv.approve-{code}"
        (inbox / name).touch()
        files.take_approval("acme", name.encode(), inbox_fd)
        assert (waiting, []) == (len(files.waiting("acme")), os.listdir(inbox))
    os.close(inbox_fd)
    assert ["Your upload users.csv.approve-ZZZZZZ approves no file"] == subjects(guarded)[before:]
