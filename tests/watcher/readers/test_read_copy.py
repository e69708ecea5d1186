"""The read copy: whole, of one moment, for its readers alone, and never in the way of imports."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from importer.model import Interrupted
from importer.store.database import Store
from importer.store.sqlite.database import SqliteStore
from importer.store.sqlite.for_readers import VIEWS, write_copy
from tests import REPOSITORY
from tests.lab.daemon import Rosterd, make_inboxes
from watcher.health.alerts import Alerts
from watcher.health.trouble import Troubles
from watcher.readers.read_copy import ReadCopy, is_due_tonight
from watcher.settings import Config, ServiceSettings

HEADER = "unique_id,login_source,first_name,last_name,email\n"
ANN = HEADER + "S-1,OPSCOM,Ann,Lee,ann@school.example\n"
NOBODY = 65534
READERS = 64999
NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
Needs = Callable[..., None]


@pytest.fixture
def tmp_path() -> Iterator[Path]:  # pytest's own is closed to other users
    """Yield a folder that everybody may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def readers(tmp_path: Path) -> Path:
    """Return a folder as the package makes it, which others may enter by their group."""
    folder = tmp_path / "readers"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, 0, READERS)
    folder.chmod(0o2750)
    return folder


def told(copy: Path, sql: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(f"{copy.as_uri()}?mode=ro", uri=True)) as conn:
        return conn.execute(sql).fetchall()


def test_members_of_the_group_read_it(tmp_path: Path, readers: Path, needs: Needs) -> None:
    """A user of the group reads the people and changes nothing; another user reads nothing; no mail is in it."""
    needs(root=True)
    copy = readers / "users.db"
    with Rosterd(tmp_path, make_inboxes(tmp_path), settings={"service": {"read_copy": str(copy)}}) as rosterd:
        rosterd.drop("users.csv", ANN)
        assert 0 == rosterd.execute("sweep").returncode
        rosterd.start()
        rosterd.wait_for_event("copy.made")
        info = copy.stat()
        assert (0o640, READERS) == (stat.S_IMODE(info.st_mode), info.st_gid)
        assert ["users.db"] == os.listdir(readers)
        assert [("acme", "S-1", "Ann")] == told(copy, "SELECT client, unique_id, first_name FROM people")
        assert [("users.csv", "imported")] == told(copy, "SELECT file, outcome FROM uploads")
        tables = {name for (name,) in told(copy, "SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert set() == tables & {"outbox", "baselines", "import_problems"}
        script = (
            "import sqlite3, sys; conn = sqlite3.connect(sys.argv[1], uri=True); "
            "print(conn.execute('SELECT unique_id FROM people').fetchall())"
        )
        for groups, code in (([READERS], 0), ([], 1)):
            done = subprocess.run(
                [sys.executable, "-c", script, f"{copy.as_uri()}?mode=ro"],
                check=False,
                capture_output=True,
                text=True,
                user=NOBODY,
                group=NOBODY,
                extra_groups=groups,
            )
            assert code == done.returncode, done.stderr
            assert (code == 0) == ("S-1" in done.stdout)


def test_the_views_are_those_of_the_document(tmp_path: Path) -> None:
    """docs/readers.md names each view with all its columns, but for the attributes, which have a document."""
    SqliteStore.open(tmp_path / "rosterd.db").close()
    (tmp_path / "copy.db").touch()
    write_copy(tmp_path / "rosterd.db", tmp_path / "copy.db", NOW, lambda: False)
    section = (REPOSITORY / "docs" / "readers.md").read_text().partition("## Views")[2].partition("##")[0]
    documented = dict(re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", section, re.MULTILINE))
    assert set(VIEWS) == set(documented)
    for view in ("uploads", "read_copy"):
        columns = [row[1] for row in told(tmp_path / "copy.db", f"PRAGMA table_info({view})")]
        assert columns == re.findall(r"`(\w+)`", documented[view])
    assert [("2026-11-29T12:00:00Z", 0)] == told(tmp_path / "copy.db", "SELECT * FROM read_copy")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Yield a database of some megabytes, more than is copied at once."""
    with contextlib.closing(SqliteStore.open(tmp_path / "rosterd.db")) as opened:
        with opened.transaction():
            opened.conn.execute("CREATE TABLE ballast (text)")
            opened.conn.executemany("INSERT INTO ballast VALUES (?)", [("x" * 4000,)] * 4000)
        yield opened


def test_imports_go_on_meanwhile(store: Store, tmp_path: Path) -> None:
    """What is committed while a copy is made is not held up and not in it: the copy is of one moment."""
    (tmp_path / "copy.db").touch()
    commits = iter(range(100))

    def commit() -> bool:
        with store.transaction():
            store.conn.execute("INSERT INTO ballast VALUES (?)", (next(commits),))
        return False

    write_copy(tmp_path / "rosterd.db", tmp_path / "copy.db", NOW, commit)
    assert next(commits) > 2
    assert [(4000,)] == told(tmp_path / "copy.db", "SELECT count(*) FROM ballast")
    assert [("ok",)] == told(tmp_path / "copy.db", "PRAGMA integrity_check")


def test_a_stop_gives_it_up(store: Store, tmp_path: Path) -> None:
    """A copy ends at once when the service stops."""
    del store
    (tmp_path / "copy.db").touch()
    with pytest.raises(Interrupted):
        write_copy(tmp_path / "rosterd.db", tmp_path / "copy.db", NOW, lambda: True)


def made(copying: ReadCopy, now: float) -> bool:
    """Look at that time, and return whether a copy began; it has ended then."""
    copying.tend(now)
    if copying._thread is None:
        return False
    copying._thread.join()
    copying.tend(now + 10)
    return True


def test_a_continuous_copy_follows_the_imports(tmp_path: Path, readers: Path) -> None:
    """It is made when something was imported since, and not more often than once a minute."""
    rosterd = Rosterd(tmp_path, make_inboxes(tmp_path))
    assert 0 == rosterd.execute("sweep").returncode
    database = tmp_path / "state" / "rosterd.db"
    service = ServiceSettings(database=str(database), read_copy=str(readers / "users.db"), read_copy_when="continuous")
    (readers / ".new-0123456789abcdef").write_text("of a process that was killed")
    copying = ReadCopy(service, Troubles(Alerts(Config().mail), watching=True))
    assert made(copying, 1000.0)
    assert ["users.db"] == os.listdir(readers)
    assert not made(copying, 2000.0)
    rosterd.drop("more.csv", ANN)
    assert 0 == rosterd.execute("sweep").returncode
    assert made(copying, 2010.0)
    rosterd.drop("again.csv", ANN.replace("Ann", "Amy"))
    assert 0 == rosterd.execute("sweep").returncode
    assert not made(copying, 2030.0)
    assert [(1,)] == told(readers / "users.db", "SELECT last_import FROM read_copy")
    assert made(copying, 2081.0)
    assert [("Amy",)] == told(readers / "users.db", "SELECT first_name FROM people")
    copying.close()


def test_what_cannot_be_made_is_told(store: Store, tmp_path: Path) -> None:
    """A folder that is missing is reported, and tried again later; nothing else stops."""
    del store
    service = ServiceSettings(database=str(tmp_path / "rosterd.db"), read_copy=str(tmp_path / "none" / "users.db"))
    troubles = Troubles(Alerts(Config().mail), watching=True)
    copying = ReadCopy(service, troubles)
    with capture_logs() as logged:
        assert made(copying, 1000.0)
        assert not made(copying, 1030.0)
        (tmp_path / "none").mkdir()
        assert made(copying, 1200.0)
    assert ["copy.refused", "copy.made"] == [entry["event"] for entry in logged]
    assert "No such file" in logged[0]["reason"]
    copying.close()


@pytest.mark.parametrize(
    ("made_at", "now", "is_due"),
    [
        ("2026-11-28T23:00", "2026-11-29T01:59", False),
        ("2026-11-28T23:00", "2026-11-29T02:00", True),
        ("2026-11-29T02:00", "2026-11-29T23:00", False),
        ("2026-11-27T23:00", "2026-11-29T01:00", True),
    ],
)
def test_a_nightly_copy_is_made_at_night(made_at: str, now: str, is_due: bool) -> None:  # noqa: FBT001 - expected
    """Once after two o'clock, or later when the service was down then."""
    times = (datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (made_at, now))
    assert is_due == is_due_tonight(*times)
