"""Feeds and snapshots: who belongs to a feed, who is missing from its files, and what becomes of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from importer.model import Outcome
from importer.rows import delta
from importer.settings import FeedSettings, GuardSettings
from importer.store import ledger
from importer.store.roster import history, pauses
from importer.store.roster.undo import undo
from importer.store.sqlite.database import SqliteStore
from tests.engine import CLIENT, HEADER, Engine, Result, corrected

pytestmark = pytest.mark.usefixtures("both_databases")


def user(number: int, **other: str) -> str:
    """Return the row of a user."""
    values = {"id": f"S{number}", "first": "Ann", "last": f"Lee{number}", "email": f"s{number}@example.org"} | other
    return f"{values['id']},OPSCOM,{values['first']},{values['last']},{values['email']},u{number}"


def users(*numbers: int) -> list[str]:
    return [HEADER, *map(user, numbers)]


def snapshots(engine: Engine, *names: str, **changed: Any) -> Engine:  # noqa: ANN401 - the fields of FeedSettings
    """Let the files of these names be snapshots; without a name all files."""
    feeds = {name: f"{name}*" for name in names} or {"all": "*"}
    return engine.settings(
        feed=tuple(
            FeedSettings(**{"name": name, "files": files, "mode": "snapshot", **changed})
            for name, files in feeds.items()
        )
    )


@pytest.fixture(params=["whole", "compared"])
def engine(engine: Engine, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Return an engine that looks at every line, or at those that differ."""
    monkeypatch.setattr(delta, "MIN_BYTES", 0 if request.param == "compared" else 1 << 30)
    return engine


def inactive(engine: Engine) -> dict[str, str]:
    """Return who is inactive, and by whom."""
    return dict(
        engine.store.conn.execute("SELECT unique_id, inactive_by FROM users WHERE inactive_by IS NOT NULL").fetchall()
    )


def counts(result: Result) -> tuple[int, int, int, int]:
    """Return how many were created, reinstated, failed and deactivated."""
    tally = result.tally
    return tally.created, tally.reinstated, tally.failed, tally.deactivated


def test_who_is_missing_has_left(engine: Engine) -> None:
    """A user who is not in a snapshot becomes inactive, with a row of history; back in a file, active again."""
    snapshots(engine)
    engine.file(*users(*range(20)))
    gone = engine.file(*users(*range(2, 20)))
    assert (0, 0, 0, 2) == counts(gone)
    assert "2 users who are not in the file are not active any more." in gone.text
    assert {"S0": "snapshot", "S1": "snapshot"} == inactive(engine)
    assert 0 == engine.file(*users(*range(2, 20))).tally.deactivated
    back = engine.file(*users(*range(1, 20)))
    assert (0, 1, 0, 0) == counts(back)
    assert 18 == back.tally.unchanged
    assert "1 active again" in back.text
    kinds = [(each.import_id, each.kind) for each in history.of_person(engine.store.conn, CLIENT, "S1")]
    assert [(2, "deactivated"), (4, "reinstated")] == kinds
    assert {"S0": "snapshot"} == inactive(engine)


def test_an_upsert_says_nothing_of_others(engine: Engine) -> None:
    """Without a snapshot, and in another feed than that of a user, nobody is missing."""
    engine.file(*users(*range(9)))
    engine.file(*users(1))
    snapshots(engine, "students")
    engine.file(*users(1), name="staff.csv")
    engine.file(*users(2), name="students.csv")
    assert {} == inactive(engine)


def test_only_so_many_misses_in_a_row_count(engine: Engine) -> None:
    """Whoever comes back in between begins anew."""
    snapshots(engine, misses=2)
    engine.file(*users(*range(9)))
    for numbers, left in ((range(1, 9), 0), (range(9), 0), (range(1, 9), 0), (range(1, 9), 1)):
        assert left == engine.file(*users(*numbers)).tally.deactivated
    assert {"S0": "snapshot"} == inactive(engine)


def test_feeds_that_overlap(engine: Engine) -> None:
    """Who is dropped by one feed stays while another states it, and leaves once that drops it, too."""
    snapshots(engine, "students", "staff")
    engine.file(*users(*range(9)), name="students1.csv")
    engine.file(*users(0, 20, 21), name="staff1.csv")
    assert 1 == engine.file(*users(*range(2, 9)), name="students2.csv").tally.deactivated
    assert {"S1": "snapshot"} == inactive(engine)
    assert 1 == engine.file(*users(20, 21), name="staff2.csv").tally.deactivated
    assert {"S0": "snapshot", "S1": "snapshot"} == inactive(engine)
    assert (0, 1, 0, 0) == counts(engine.file(*users(0, 20, 21), name="staff3.csv"))
    assert 0 == engine.file(*users(*range(2, 9)), name="students3.csv").tally.deactivated


def test_the_address_of_a_leaver_is_free_in_the_same_file(engine: Engine) -> None:
    """A joiner may have it at once; the leaver cannot come back into it."""
    snapshots(engine)
    engine.file(*users(*range(9)))
    joined = engine.file(*users(*range(1, 9)), user(9, email="s0@example.org"))
    assert (1, 0, 0, 1) == counts(joined)
    back = engine.file(*users(*range(9)), user(9, email="s0@example.org"))
    assert {2: "9019"} == back.codes
    assert {"S0": "snapshot"} == inactive(engine)


def test_a_row_that_failed_is_there(engine: Engine) -> None:
    """A user whose row fails is not missing, whatever it fails for."""
    snapshots(engine)
    engine.file(*users(*range(9)))
    failing = engine.file(
        *users(*range(3, 9)), user(0, email="no address"), user(1, email="s8@example.org"), "S2,OPSCOM,Ann"
    )
    assert (0, 0, 3, 0) == counts(failing)
    again = engine.file(*users(*range(3, 9)), user(1, email="s8@example.org"))
    assert (0, 0, 1, 2) == counts(again)


@pytest.mark.parametrize("row", [",OPSCOM,Ann,Lee,x@example.org,x", "1.2E+05,OPSCOM,Ann,Lee,x@example.org,x"])
def test_a_row_that_may_be_anybody(engine: Engine, row: str) -> None:
    """While nobody can tell whose row fails, nobody is missing, and the answer says so."""
    snapshots(engine)
    engine.file(*users(*range(9)))
    unknown = engine.file(*users(*range(1, 9)), row)
    assert (0, 0, 1, 0) == counts(unknown)
    assert "snapshot.unknown" in unknown.warnings
    assert 1 == engine.file(*users(*range(1, 9)), "Total: 8").tally.deactivated


def test_a_truncated_snapshot_asks(engine: Engine) -> None:
    """Above the limit the rest is applied, nobody is deactivated, and the next whole file is as if nothing was."""
    snapshots(engine)
    engine.file(*users(*range(60)))
    for known, is_mailed in ((60, True), (61, False)):
        truncated = engine.file(*users(*range(30)), user(99))
        assert 0 == truncated.tally.deactivated
        assert f"30 of {known} users are not in the file" in truncated.text
        assert is_mailed == (truncated.mail is not None)
    assert {} == inactive(engine)
    assert 0 == engine.file(*users(*range(60), 99)).tally.deactivated
    assert [] == engine.store.conn.execute("SELECT 1 FROM users WHERE missed IS NOT NULL").fetchall()


def test_a_little_less_each_night_asks(engine: Engine) -> None:
    """What the snapshots of a week deactivate counts together."""
    snapshots(engine)
    engine.file(*users(*range(100)))
    assert 9 == engine.file(*users(*range(91))).tally.deactivated
    assert 0 == engine.file(*users(*range(83))).tally.deactivated
    assert 9 == len(inactive(engine))


def test_an_empty_file_is_no_snapshot(engine: Engine) -> None:
    """A file without a row that counts says of nobody that it left."""
    snapshots(engine)
    engine.file(*users(*range(4)))
    for rows in ([], ["S0,OPSCOM,Ann"]):
        assert 0 == engine.file(HEADER, *rows).tally.deactivated


def test_a_corrected_file_is_no_snapshot(engine: Engine) -> None:
    """It brings users into the feed, and the next snapshot may lack them."""
    snapshots(engine)
    failed = engine.file(*users(*range(9)), user(9, email=""))
    assert (1, 0, 0, 0) == counts(engine.upload(corrected(failed, email="s9@example.org"), name="users.failed.csv"))
    assert 0 == engine.file(*users(*range(9)), user(9, email="")).tally.deactivated
    assert 1 == engine.file(*users(*range(9))).tally.deactivated
    assert {"S9": "snapshot"} == inactive(engine)


def test_a_recycled_id(engine: Engine) -> None:
    """An id that comes back with another name and address fails, and stays whose it was."""
    snapshots(engine)
    engine.file(*users(*range(9)))
    engine.file(*users(*range(1, 9)))
    for _ in range(2):
        back = engine.file(*users(*range(1, 9)), user(0, first="Bob", last="Roy", email="bob@example.org"))
        assert {10: "id.recycled"} == back.codes
        assert "another unique_id" in back.text
    assert {"S0": "snapshot"} == inactive(engine)
    assert (0, 1, 0, 0) == counts(engine.file(*users(*range(1, 9)), user(0, last="Roy", email="bob@example.org")))


@pytest.mark.sqlite
def test_whom_the_operator_deactivated(engine: Engine) -> None:
    """The row is applied, the user stays inactive, and each file that has it is warned of it."""
    snapshots(engine)
    engine.file(*users(*range(9)))
    engine.store.conn.execute(
        "UPDATE users SET inactive_by = 'operator', email_key = NULL, user_name_key = NULL WHERE unique_id = 'S0'"
    )
    for _ in range(2):
        result = engine.file(*users(*range(9)))
        assert (9, (2,)) == (result.tally.unchanged, result.warnings["id.inactive"].lines)
    assert 0 == engine.file(*users(*range(1, 9))).tally.deactivated
    assert {"S0": "operator"} == inactive(engine)


def test_an_older_name_is_refused(engine: Engine) -> None:
    """A file whose name has an older date than the last one applied is refused; others, and the same day, are not."""
    snapshots(engine, dated="users_%Y%m%d.csv")
    engine.file(*users(*range(9)), name="users_20261129.csv")
    older = engine.file(*users(1), name="users_20261128.csv")
    assert ("order.older", 0) == (older.code, older.tally.deactivated)
    assert "a file of 2026-11-29" in older.text
    for name in ("users_20261129.csv", "users.csv", "users_20261201.csv"):
        assert "" == engine.file(*users(*range(9)), name=name).code


def test_a_pause_lets_many_leave(engine: Engine) -> None:
    """While the limit is paused, or off, a snapshot deactivates whom it lacks; the ceiling counts alone."""
    snapshots(engine)
    engine.file(*users(*range(60)))
    engine.settings(guard=GuardSettings(deactivated="100 %", deactivated_ceiling=10))
    assert 0 == engine.file(*users(*range(40))).tally.deactivated
    pauses.add(engine.store.conn, CLIENT, ["deactivated"], datetime.now(UTC) + timedelta(days=1))
    assert 20 == engine.file(*users(*range(40))).tally.deactivated
    pauses.add(engine.store.conn, CLIENT, ["deactivated"], datetime.now(UTC))
    assert 0 == engine.file(*users(*range(20))).tally.deactivated
    engine.settings(guard=GuardSettings(deactivated="off"))
    assert 20 == engine.file(*users(*range(20))).tally.deactivated


def test_a_crash_in_between_leaves_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import that ends before its commit has deactivated nobody; done again, it is as if it were the first time."""
    snapshots(engine, "students", "staff", misses=2)
    engine.file(*users(*range(20)), name="students1.csv")
    engine.file(*users(*range(1, 20)), name="students2.csv")
    state = "SELECT unique_id, inactive_by, feeds, missed FROM users ORDER BY 1"
    before = engine.store.conn.execute(state).fetchall()

    def crash(*_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as crashing:
        crashing.setattr(ledger, "add", crash)
        with pytest.raises(RuntimeError):
            engine.file(*users(*range(1, 20)), name="students3.csv")
    assert before == engine.store.conn.execute(state).fetchall()
    assert 1 == engine.file(*users(*range(1, 20)), name="students3.csv").tally.deactivated


def test_who_left_during_a_pause_does_not_count_later(engine: Engine) -> None:
    """After the pass for graduates the next night is as any other, and the history tells why they left."""
    snapshots(engine).settings(guard=GuardSettings())
    engine.file(*users(*range(60)))
    pauses.add(engine.store.conn, CLIENT, ["deactivated"], datetime.now(UTC) + timedelta(days=1))
    assert 30 == engine.file(*users(*range(30))).tally.deactivated
    pauses.add(engine.store.conn, CLIENT, ["deactivated"], datetime.now(UTC))
    assert 3 == engine.file(*users(*range(27))).tally.deactivated
    assert ["", "pause", ""] == [
        each for (each,) in engine.store.conn.execute("SELECT approved_by FROM imports ORDER BY id").fetchall()
    ]
    assert "pause" == history.of_person(engine.store.conn, CLIENT, "S40")[0].approved_by


def test_files_of_no_feed_keep_whom_they_state(engine: Engine) -> None:
    """A user whom a file of no feed has stays active when the snapshots of two others drop it."""
    snapshots(engine, "students", "staff")
    for name in ("lockers.csv", "students.csv", "staff.csv"):
        engine.file(*users(1, 2), name=name)
    for name in ("students.csv", "staff.csv"):
        engine.file(*users(2), name=name)
    assert {} == inactive(engine)


@pytest.mark.sqlite
def test_who_belongs_to_no_feed_is_told_after_an_update(engine: Engine, tmp_path: Path) -> None:
    """What earlier versions wrote for files of no feed, two blanks, is read as before."""
    snapshots(engine, "students")
    engine.file(*users(1, 2), name="students.csv")
    conn = engine.store.conn
    conn.execute("UPDATE users SET feeds = ' students  ' WHERE unique_id = 'S1'")
    conn.execute("DELETE FROM _sqlite_migrations WHERE name = 'm015_rest'")
    engine.store.close()
    engine.store = SqliteStore.open(tmp_path / "rosterd.db")
    engine.file(*users(2), name="students.csv")
    assert {} == inactive(engine)
    feeds = engine.store.conn.execute("SELECT feeds FROM users ORDER BY unique_id").fetchall()
    assert [(" * ",), (" students ",)] == feeds


def test_an_undone_snapshot_does_not_count_later(engine: Engine) -> None:
    """Whom an undo has brought back did not leave, unless the undo is undone."""
    snapshots(engine).settings(guard=GuardSettings())
    engine.file(*users(*range(100)))
    assert 9 == engine.file(*users(*range(91))).tally.deactivated
    undo(engine.store, 2, is_applied=True)
    assert 2 == engine.file(*users(*range(98))).tally.deactivated
    undo(engine.store, 3, is_applied=True)
    assert 0 == engine.file(*users(*range(90))).tally.deactivated


@pytest.mark.parametrize("misses", [1, 2])
def test_new_ids_for_all_are_no_leavers(engine: Engine, misses: int) -> None:
    """A new student system gives everybody another id: all rows fail, nobody is missing, and nobody is asked."""
    snapshots(engine, "students", "staff", misses=misses).settings(guard=GuardSettings())
    engine.file(*users(*range(20)), name="students.csv")
    engine.file(*users(19), name="staff.csv")
    before = belonging(engine)
    last = "SELECT snapshot_import FROM feeds ORDER BY feed"
    snapshot = engine.store.conn.execute(last).fetchall()
    renumbered = [HEADER, *(user(number, id=f"N{number}") for number in range(20))]
    for _ in range(3):
        result = engine.file(*renumbered, name="students.csv")
        assert (Outcome.REFUSED, None) == (result.receipt.outcome, result.receipt.removals)
        assert "not in the file" not in result.text
        assert (before, snapshot) == (belonging(engine), engine.store.conn.execute(last).fetchall())
    assert [] == engine.store.conn.execute("SELECT 1 FROM on_hold").fetchall()
    assert 20 == engine.file(*users(*range(20)), name="students.csv").tally.unchanged


def belonging(engine: Engine) -> list[tuple[str, str | None, list[str], int]]:
    """Return of each user who says that it is inactive, its feeds, and how many snapshots of the students lack it."""
    conn = engine.store.conn
    query = f"SELECT unique_id, inactive_by, feeds, {conn.in_json('missed', 'students')} FROM users ORDER BY 1"  # noqa: S608
    rows = conn.execute(query).fetchall()
    return [(unique_id, by, sorted(feeds.split()), int(missed or 0)) for unique_id, by, feeds, missed in rows]
