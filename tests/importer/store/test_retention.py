"""What was kept long enough is removed, and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlite_utils import Database

from importer.settings import ClientSettings, RetentionSettings
from importer.store import retention
from importer.store.connection import stamp
from importer.store.database import Store
from importer.store.errors import StoreBusy
from importer.store.retention import Kept
from importer.store.sqlite.connection import APPLICATION_ID
from importer.store.sqlite.database import SqliteStore
from importer.store.sqlite.schema import migrations
from tests.conftest import Needs
from tests.faults.nursery import Nursery
from tests.faults.tracing import Commands, Point
from tests.lab import wait_until
from tests.lab.daemon import Rosterd, swept
from watcher.control.archives import LOOK_INTERVAL_S, Purging
from watcher.settings import Config

HEADER = "unique_id,login_source,first_name,last_name,email\n"
ANN = "1,OPSCOM,Ann,Lee,ann@school.example\n"
BOB = "2,OPSCOM,Bob,,bob\n"
NOW = datetime(2026, 11, 22, 7, 42, 5, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rosterd]:
    """Yield an installation that is down and has imported `old.csv` and `new.csv`, each with a row that failed."""
    uploads = [(name, HEADER + ANN + BOB) for name in ("old.csv", "new.csv")]
    with swept(tmp_path_factory.mktemp("retention"), uploads, {"retention": {"days": 30}}) as installation:
        yield installation


@pytest.fixture
def rosterd(prepared: Rosterd, tmp_path: Path) -> Iterator[Rosterd]:
    """Yield one like that for this test alone."""
    with prepared.copy(tmp_path) as installation:
        yield installation


@pytest.fixture
def bak(tmp_path: Path) -> Path:
    return tmp_path / "acme" / ".bak"


def age(rosterd: Rosterd, *, days: float = 40, passed_days: float = 2) -> None:
    """Let the first import, and all mail, be so old, and the last pass so long ago."""
    now = datetime.now(UTC)
    then, last = stamp(now - days * DAY), stamp(now - passed_days * DAY)
    rosterd.change(f"UPDATE imports SET finished_at = '{then}' WHERE id = 1")  # noqa: S608 - a time of ours
    rosterd.change(f"UPDATE outbox SET state = 'sent', created_at = '{then}', sent_at = '{stamp(now)}'")  # noqa: S608
    rosterd.change(f"UPDATE retention SET passed_at = '{last}'")  # noqa: S608


def verified(rosterd: Rosterd) -> list[str]:
    """Return what `verify` finds."""
    return found(rosterd.execute("verify", "--json").stdout)


def found(told: str) -> list[str]:
    return [finding["check"] for finding in json.loads(told)["findings"]]


def bodies(rosterd: Rosterd) -> list[bool]:
    """Return of each mail whether its text is there."""
    return [bool(row["bytes"]) for row in rosterd.query("SELECT length(body) AS bytes FROM outbox ORDER BY id")]


ALL = ["new.csv", "new.failed.csv", "new.result.txt", "old.csv", "old.failed.csv", "old.result.txt"]


@pytest.mark.parametrize("running", [True, False], ids=["by the daemon", "by a sweep"])
def test_what_is_old_is_removed(rosterd: Rosterd, *, running: bool) -> None:
    """Upload, answers, problems and mail go when their days are over; ledger row and users stay, and all is sound."""
    age(rosterd)
    if running:
        rosterd.start()
        rosterd.wait_for_event("retention.purged")
    else:
        assert rosterd.execute("sweep").returncode == 0

    assert ALL[:3] == rosterd.archived()
    old, new = rosterd.imports()
    assert old["purged_at"] is not None
    assert new["purged_at"] is None
    assert [{"import_id": 2}] == rosterd.query("SELECT DISTINCT import_id FROM import_problems")
    assert [False, False] == bodies(rosterd)
    assert ["1"] == list(rosterd.users())
    assert [] == verified(rosterd)


@pytest.mark.parametrize("running", [True, False], ids=["by the daemon", "by a sweep"])
def test_problems_of_a_client_that_is_gone(rosterd: Rosterd, *, running: bool) -> None:
    """Problems of a client that is not configured any more go when the days of all are over; younger ones stay."""
    age(rosterd, days=100)
    rosterd.reload(lambda text: text.partition("[[client]]")[0])
    if running:
        rosterd.start()
        assert 2 == rosterd.wait_for_event("retention.purged")["problems"]
    else:
        assert rosterd.execute("sweep").returncode == 0
    assert [{"import_id": 2}] == rosterd.query("SELECT DISTINCT import_id FROM import_problems")
    assert [None, None] == [row["purged_at"] for row in rosterd.imports()]
    assert ALL == rosterd.archived()
    assert "No longer stored." in rosterd.execute("show", "1").stdout


def test_a_purge_is_logged(rosterd: Rosterd) -> None:
    """Each import that goes is an event, and what went of a client is counted."""
    age(rosterd)
    rosterd.start()
    counted = rosterd.wait_for_event("retention.purged")
    [purged] = rosterd.events("archive.purged")
    assert counted.items() >= {"client": "acme", "archives": 1, "mails": 2}.items()
    assert purged.items() >= {"client": "acme", "file": "old.csv"}.items()


def test_commands_tell_that_it_is_gone(rosterd: Rosterd) -> None:
    """`show` says since when the files of an import are gone, and `replay` that it cannot be done."""
    age(rosterd)
    assert rosterd.execute("sweep").returncode == 0
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    shown = rosterd.execute("show", "1").stdout
    assert 3 == shown.count(f"purged on {today}")
    assert f"Purged on {today}." in shown
    replayed = rosterd.execute("replay", "1")
    assert (2, f"import 1: its file was purged on {today}\n") == (replayed.returncode, replayed.stderr)
    assert "there" in rosterd.execute("show", "2").stdout


@pytest.mark.parametrize(
    "change",
    [
        lambda rosterd: age(rosterd, days=29),
        lambda rosterd: age(rosterd, passed_days=0.5),
        lambda rosterd: age(rosterd, passed_days=15),  # as old as it is by a clock that may have jumped
        lambda rosterd: age(rosterd, passed_days=-3),
        lambda rosterd: rosterd.reload(lambda text: text.replace("days = 30", "days = 0")),
        lambda rosterd: rosterd.reload(lambda text: f"{text}retention_days = 0\n"),
    ],
    ids=[
        "not old",
        "looked a moment ago",
        "clock may be ahead",
        "clock was ahead",
        "for ever",
        "for ever for this one",
    ],
)
def test_what_stays(rosterd: Rosterd, change: Callable[[Rosterd], None]) -> None:
    """Nothing goes before its time, by a clock that nobody had a day to put right, or when it is kept for ever."""
    age(rosterd)
    change(rosterd)
    assert rosterd.execute("sweep").returncode == 0
    assert ALL == rosterd.archived()
    assert [True, True] == bodies(rosterd)


def test_a_clients_own_days(rosterd: Rosterd) -> None:
    """A client's days hold in place of those of all."""
    age(rosterd, days=29)
    rosterd.reload(lambda text: f"{text}retention_days = 7\n")
    assert rosterd.execute("sweep").returncode == 0
    assert ALL[:3] == rosterd.archived()


def test_mail_that_waits_stays(rosterd: Rosterd, tmp_path: Path) -> None:
    """Mail still to be sent is kept however old it is; what was given up goes, and is not tried again."""
    age(rosterd)
    rosterd.change("UPDATE outbox SET state = 'waiting', due_at = '2999-01-01T00:00:00Z' WHERE id = 1")
    rosterd.change("UPDATE outbox SET state = 'dead' WHERE id = 2")
    with contextlib.closing(SqliteStore.open(tmp_path / "state" / "rosterd.db")) as opened:
        assert 1 == retention.forget_mails(opened, "acme", datetime.now(UTC) - 30 * DAY)
    assert [True, False] == bodies(rosterd)
    assert ["waiting", "dropped"] == [row["state"] for row in rosterd.query("SELECT state FROM outbox ORDER BY id")]


def test_what_is_not_archived_stays(rosterd: Rosterd, tmp_path: Path) -> None:
    """A file that is not known to be archived is not touched."""
    age(rosterd)
    with contextlib.closing(SqliteStore.open(tmp_path / "state" / "rosterd.db")) as opened:
        opened.conn.execute("UPDATE imports SET archived_at = NULL")
        assert retention.due(opened.conn, "acme", datetime.now(UTC)) is None


def test_strangers_in_the_archive_stay(rosterd: Rosterd, bak: Path) -> None:
    """What no ledger row names, and a link or folder under a name of ours, is left where it is; nothing is followed."""
    age(rosterd)
    precious = bak.parent.parent / "precious.csv"
    precious.write_text("keep")
    [upload] = bak.glob("old.*Z.csv")
    upload.unlink()
    upload.symlink_to(precious)
    [result] = bak.glob("old.*.result.txt")
    result.unlink()
    result.mkdir()
    (bak / "mine.csv").write_text("keep")

    assert rosterd.execute("sweep").returncode == 0
    assert ["mine.csv", *ALL[:3], "old.csv", "old.result.txt"] == sorted(rosterd.archived())
    assert "keep" == precious.read_text()
    assert {"archive.returned", "archive.unknown"} == set(verified(rosterd))


def test_what_vouched_for_an_upload_goes_with_it(rosterd: Rosterd, bak: Path) -> None:
    """The companion of an upload is removed with it."""
    age(rosterd)
    [upload] = bak.glob("old.*Z.csv")
    Path(f"{upload}.sha256").write_text("")
    assert rosterd.execute("sweep").returncode == 0
    assert ALL[:3] == rosterd.archived()


def test_an_inbox_that_cannot_be_used_does_not_hold_up_others(rosterd: Rosterd, bak: Path) -> None:
    """Where `.bak` is not as it must be nothing is removed and the rest is; it is told."""
    age(rosterd)
    bak.chmod(0o777)
    rosterd.start()
    rosterd.wait_for_event("retention.deferred", client="acme")
    wait_until(lambda: [False, False] == bodies(rosterd), "the mail to be emptied")
    assert ALL == rosterd.archived()
    bak.chmod(0o750)


def test_a_fault_of_ours_at_the_archives_of_a_client(rosterd: Rosterd) -> None:
    """What the archives of a client raise keeps neither the mails from being purged nor the service from its work."""
    age(rosterd)
    rosterd.planted = FAULT
    rosterd.start()
    deferred = rosterd.wait_for_event("retention.deferred", client="acme")
    wait_until(lambda: [False, False] == bodies(rosterd), "the mail to be emptied")
    assert "RuntimeError" == deferred["reason"]
    assert "Tremblay" not in rosterd.log()
    assert ALL == rosterd.archived()


FAULT = """
from importer.store import retention
def purge(*_):
    raise RuntimeError("a cell: Tremblay-4711")
retention.purge = purge
"""


@pytest.mark.parametrize("call", ["unlinkat", "fsync"])
def test_a_purge_that_is_killed(rosterd: Rosterd, tmp_path: Path, call: str, needs: Needs) -> None:
    """Killed at any of its steps, a purge is complete after the next run, and until then nothing counts as lost."""
    needs("strace")
    age(rosterd)
    files = [*(tmp_path / "state").glob("rosterd.db*"), *(tmp_path / "acme" / ".bak").iterdir()]
    content = {path: path.read_bytes() for path in files}
    number = 1
    with Nursery() as nursery:
        commands = Commands(nursery, rosterd._config, tmp_path / "told")
        while commands.killed_at(Point(call, number), "sweep"):
            assert {"archive.unmarked"} >= set(found(commands.run("verify", "--json")[1]))
            assert commands.run("sweep")[0] == 0
            assert ALL[:3] == rosterd.archived()
            assert [] == found(commands.run("verify", "--json")[1])
            for path, before in content.items():
                path.write_bytes(before)
            number += 1
    assert number > 1


# Pass by pass


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[SqliteStore]:
    with contextlib.closing(SqliteStore.open(tmp_path / "rosterd.db")) as database:
        yield database


def test_a_pass_goes_by_the_clock_of_the_one_before(opened: Store) -> None:
    """A pass is due a day after the last, and takes the time of that one; a clock put back begins the day anew."""
    retention.note_pass(opened, NOW)
    assert retention.clock(opened, NOW + DAY - timedelta(seconds=1)) is None
    assert retention.clock(opened, NOW + DAY) == NOW
    assert retention.clock(opened, NOW + 1000 * DAY) == NOW
    assert retention.clock(opened, NOW - 5 * DAY) is None
    assert retention.clock(opened, NOW - 4 * DAY) == NOW - 5 * DAY


def test_very_many_problems_go_in_pieces(opened: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import with more problems than one transaction should delete is marked when the last are gone."""
    monkeypatch.setattr("importer.store.retention._PROBLEMS_AT_ONCE", 2)
    with opened.transaction():
        opened.conn.execute(
            """INSERT INTO imports VALUES (7, 'c', 'acme', 'u.csv', '', 0, 0, 0, 0, 'partly', '', 0, 0, 0, 5, 0, 1,
               x'752e637376', '', '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z', NULL, NULL, NULL, '', 'file',
               '', 0, '', 0, 0, '', '')"""
        )
        opened.conn.executemany(
            "INSERT INTO import_problems VALUES (7, ?, '9033', 'email', '')", [(n,) for n in range(5)]
        )
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        purged = []
        while (kept := retention.due(opened.conn, "acme", NOW)) is not None:
            purged.append(retention.purge(opened, fd, kept, NOW))
    finally:
        os.close(fd)
    assert [False, False, True] == purged
    assert [(0,)] == opened.conn.execute("SELECT count(*) FROM import_problems").fetchall()


def test_the_history_ends(rosterd: Rosterd) -> None:
    """Changes by imports that are older go, the later ones stay, and what is left is not taken for all there was."""
    for number, name in enumerate(("Lee", "Roy", "Lee"), 1):
        rosterd.drop("users.csv", HEADER + ANN.replace("Lee", f"{name}{number}"))
        assert rosterd.execute("sweep").returncode == 0
    rosterd.change("UPDATE imports SET finished_at = '2024-01-01T00:00:00Z' WHERE id <= 4")
    rosterd.change("UPDATE retention SET passed_at = '2026-11-01T00:00:00Z'")
    assert '"changes": 2' in rosterd.execute("sweep").stdout
    assert [5] == [row["import_id"] for row in rosterd.query("SELECT import_id FROM user_changes")]
    assert [5] == [row["history_from"] for row in rosterd.query("SELECT history_from FROM retention")]
    assert "begins with import 5" in rosterd.execute("undo", "4").stderr
    assert rosterd.execute("undo", "5").returncode == 0


def test_days_of_clients() -> None:
    """A client without days of its own, and one that is not configured, has those of all."""
    settings = RetentionSettings(days=5)
    client = ClientSettings(name="acme", inbox="/x")
    assert (5, 5) == (retention.days_of(client, settings), retention.days_of(None, settings))
    assert 0 == retention.days_of(ClientSettings(name="acme", inbox="/x", retention_days=0), settings)


def test_mail_of_a_client_that_is_gone(opened: Store) -> None:
    """Mail to the operator, and of a client that is not configured any more, goes by the days of all."""
    retention.note_pass(opened, datetime.now(UTC) - 2 * DAY)
    opened.conn.executemany(
        """INSERT INTO outbox
           (message_id, client, claim_id, sender, recipients, subject, state, created_at, due_at, body)
           VALUES (?, ?, '', '', '[]', '', 'sent', '2020-01-01T00:00:00Z', '', x'00')""",
        [("<1>", "gone"), ("<2>", "")],
    )
    purging = Purging(opened)
    while purging.step(Config(), 0.0):
        pass
    assert [(0,), (0,)] == opened.conn.execute("SELECT length(body) FROM outbox").fetchall()


def test_a_look_at_very_many_clients_comes_in_pieces(opened: SqliteStore, tmp_path: Path) -> None:
    """Whether anything of theirs is old is asked of one at a time, so that no upload waits for all the others."""
    retention.note_pass(opened, datetime.now(UTC) - 2 * DAY)
    config = Config(clients=tuple(ClientSettings(name=f"client{n}", inbox=str(tmp_path)) for n in range(300)))
    statements: list[str] = []
    opened.conn.set_trace_callback(statements.append)
    purging, most = Purging(opened), 0
    while purging.step(config, 0.0):
        most = max(most, len(statements))
        statements.clear()
    assert 0 < most < 30


def test_a_pass_that_fails_is_begun_anew(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """After trouble with the database the loop goes on at once, and the pass is begun anew within the hour."""
    retention.note_pass(opened, datetime.now(UTC) - 2 * DAY)
    looks: list[datetime] = []

    def clock(_store: Store, now: datetime) -> None:
        looks.append(now)
        raise StoreBusy("database is locked")

    monkeypatch.setattr("importer.store.retention.clock", clock)
    purging = Purging(opened)
    with pytest.raises(StoreBusy):
        purging.step(Config(), 0.0)
    assert [False, False] == [purging.step(Config(), at) for at in (0.0, LOOK_INTERVAL_S - 1)]
    assert 1 == len(looks)
    with pytest.raises(StoreBusy):
        purging.step(Config(), LOOK_INTERVAL_S)


def test_a_database_of_the_version_before_is_brought_up_to_date(tmp_path: Path) -> None:
    """A database that has seen no purge gets what it takes, keeps its imports, and is given a day before the first."""
    path = tmp_path / "rosterd.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        migrations.apply(Database(conn, execute_plugins=False), stop_before="m002_retention")
        conn.execute(
            """INSERT INTO imports VALUES (7, 'c', 'acme', 'u.csv', '', 0, 0, 0, 0, 'partly', '', 0, 0, 0, 5, 0, 1,
               x'752e637376', '', '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z')"""
        )
    with contextlib.closing(SqliteStore.open(path)) as opened:
        now = datetime.now(UTC)
        assert Kept(id=7, claim_id="c", client="acme", file="u.csv", archive=b"u.csv") == retention.due(
            opened.conn, "acme", now
        )
        assert retention.clock(opened, now) is None
        assert retention.clock(opened, now + DAY + timedelta(minutes=1)) is not None
